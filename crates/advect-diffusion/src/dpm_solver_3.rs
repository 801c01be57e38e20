use crate::Denoiser;
use crate::denoiser::ends;
use crate::singlestep::{Side, third};
use advect_core::{State, Times};
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// DPM-Solver-3: singlestep, on the noise prediction.
///
/// Lu et al., 2022, "DPM-Solver", algorithm 2 (r1 = 1/3, r2 = 2/3). Order 3, three evaluations a step, no memory. A
/// step from noise alone or to data alone is of first order, with one evaluation. Use it without guidance where many
/// evaluations are spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DpmSolver3;

impl<X: State, G: Denoiser<X> + ?Sized> Stepper<G, X> for DpmSolver3 {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = ends(model, from, to)?;
        arrive(third(model, Side::Noise, x, (&start, &end))?, from, to)
    }

    fn restart(&mut self) {}
}

pub(crate) const METHOD: Method = Method {
    name: "dpm-solver-3",
    title: "DPM-Solver-3",
    family: Family::Diffusion,
    order: 3.0,
    weak_order: None,
    evaluations: 3.0,
    source: "Lu et al. 2022a, alg. 2",
    use_when: "without guidance, with many evaluations",
};
