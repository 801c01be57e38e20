use crate::Denoiser;
use crate::denoiser::{ends, first_order};
use advect_core::{State, Times};
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// DDIM without noise: `x' = alpha' D + sigma' E`, with data D and noise E as predicted at the start of the step.
///
/// Song et al., 2021, "Denoising Diffusion Implicit Models", eq. 12 with sigma = 0; it is DPM-Solver-1, and on the
/// linear path the Euler method of the velocity. Order 1, one evaluation a step, no memory. Regular at both ends:
/// the step to t = 1 ends at the predicted data. Run down in time it is DDIM inversion.
/// Use it as the baseline, and where the model changes under way (guidance that switches, distilled models).
///
/// ```
/// use advect_core::shared;
/// use advect_diffusion::Ddim;
/// use advect_paths::{Linear, Prediction, Predictor, SourceLaw};
/// use advect_solvers::{TimeGrid, solve};
///
/// // All data at 3: every step is exact.
/// let model = Predictor {
///     field: shared(|_x: f64, _t: f64| 3.0),
///     prediction: Prediction::Data,
///     schedule: Linear,
///     source: SourceLaw::GaussianIndependent,
/// };
/// let x = solve(&model, Ddim, -0.7, &TimeGrid::uniform(0.0, 1.0, 4)?)?;
/// assert_eq!(x, 3.0);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ddim;

impl<X: State, G: Denoiser<X> + ?Sized> Stepper<G, X> for Ddim {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = ends(model, from, to)?;
        arrive(first_order(model, x, &start, &end)?, from, to)
    }

    fn restart(&mut self) {}
}

pub(crate) const METHOD: Method = Method {
    name: "ddim",
    title: "DDIM",
    family: Family::Diffusion,
    order: 1.0,
    weak_order: None,
    evaluations: 1.0,
    source: "Song et al. 2021, eq. 12",
    use_when: "as the baseline, and where the model changes under way",
};
