use crate::denoiser::ends;
use crate::singlestep::{Side, second};
use crate::{Denoiser, DiffusionError, error::check};
use advect_core::{State, Times};
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// DPM-Solver++(2S): singlestep, on the data prediction.
///
/// Lu et al., 2022, "DPM-Solver++", algorithm 1. Order 2, two evaluations a step, no memory. A step from noise alone or
/// to data alone is of first order, with one evaluation.
/// Use it with strong guidance where a method must have no memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DpmSolverPp2S {
    ratio: f64,
}

impl DpmSolverPp2S {
    /// The method with its stage at `lambda + ratio (lambda' - lambda)`.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `0 < ratio <= 1`.
    pub fn new(ratio: f64) -> Result<Self, DiffusionError> {
        check(ratio > 0.0 && ratio <= 1.0, "ratio", ratio, "the stage must lie within the step, in (0, 1]")?;
        Ok(Self { ratio })
    }
}

/// The stage in the middle, as in the paper.
impl Default for DpmSolverPp2S {
    fn default() -> Self {
        Self { ratio: 0.5 }
    }
}

impl<X: State, G: Denoiser<X> + ?Sized> Stepper<G, X> for DpmSolverPp2S {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = ends(model, from, to)?;
        arrive(second(model, Side::Data, self.ratio, x, (&start, &end))?, from, to)
    }

    fn restart(&mut self) {}
}

pub(crate) const METHOD: Method = Method {
    name: "dpm-solver-pp-2s",
    title: "DPM-Solver++(2S)",
    family: Family::Diffusion,
    order: 2.0,
    weak_order: None,
    evaluations: 2.0,
    source: "Lu et al. 2022b, alg. 1",
    use_when: "with guidance, where there may be no memory",
};
