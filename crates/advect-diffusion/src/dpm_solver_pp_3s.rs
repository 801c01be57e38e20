use crate::Denoiser;
use crate::denoiser::ends;
use crate::singlestep::{Side, third};
use advect_core::{State, Times};
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// DPM-Solver++(3S): singlestep, on the data prediction.
///
/// Lu et al., 2022, "DPM-Solver++", section 4 (r1 = 1/3, r2 = 2/3). Order 3, three evaluations a step,
/// no memory. A step from noise alone or to data alone is of first order, with one evaluation. Use it where many
/// evaluations are spent and a method must have no memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DpmSolverPp3S;

impl<X: State, G: Denoiser<X> + ?Sized> Stepper<G, X> for DpmSolverPp3S {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = ends(model, from, to)?;
        arrive(third(model, Side::Data, x, (&start, &end))?, from, to)
    }

    fn restart(&mut self) {}
}

pub(crate) const METHOD: Method = Method {
    name: "dpm-solver-pp-3s",
    title: "DPM-Solver++(3S)",
    family: Family::Diffusion,
    order: 3.0,
    weak_order: None,
    evaluations: 3.0,
    source: "Lu et al. 2022b, sec. 4",
    use_when: "with many evaluations, where there may be no memory",
};
