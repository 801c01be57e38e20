use crate::denoiser::stochastic_ends;
use crate::error::check;
use crate::restarted::walk;
use crate::reverse::unit;
use crate::{Coordinates, Denoiser, DiffusionError, DpmSolver2, DpmSolverPp2S};
use advect_core::{Brownian, State, Times};
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// The ancestral form of a singlestep sampler: each step goes beyond its end, and noise brings it back there.
///
/// With the levels `r = sigma / alpha` the sampler runs from r to `sqrt(r'^2 - s^2)`, `s = eta r' sqrt(1 - (r' / r)^2)`,
/// and noise of size s is added: what [`Ancestral`](crate::Ancestral) does around [`Ddim`](crate::Ddim), which gives the
/// marginals for every eta (Song et al., 2021, "Denoising Diffusion Implicit Models", eq. 16; k-diffusion, `sample_dpm_2_ancestral`
/// and `sample_dpmpp_2s_ancestral`). The noise leads exactly from the law at the one level to that at the other, so the weak order is
/// the order of the sampler; the strong order is 1. A step to data alone adds nothing, one from noise alone keeps nothing.
/// Use it where samples are to vary or errors to be forgotten.
///
/// The sampler must have no memory: it is restarted at each step.
#[derive(Debug, Clone)]
pub struct AncestralSteps<M, B> {
    sampler: M,
    eta: f64,
    noise: B,
}

impl<M, B> AncestralSteps<M, B> {
    /// A sampler with a share eta of the noise of DDPM.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `0 <= eta <= 1`.
    pub fn new(sampler: M, eta: f64, noise: B) -> Result<Self, DiffusionError> {
        check((0.0..=1.0).contains(&eta), "eta", eta, "it must be in [0, 1]: 0 adds no noise, 1 as much as DDPM")?;
        Ok(Self { sampler, eta, noise })
    }
}

impl<B> AncestralSteps<DpmSolver2, B> {
    /// DPM-Solver-2 with all the noise of DDPM ("DPM2 a", "KDPM2 ancestral").
    #[must_use]
    pub fn dpm_solver_2(noise: B) -> Self {
        Self { sampler: DpmSolver2::default(), eta: 1.0, noise }
    }
}

impl<B> AncestralSteps<DpmSolverPp2S, B> {
    /// DPM-Solver++(2S) with all the noise of DDPM ("DPM++ 2S a").
    #[must_use]
    pub fn dpm_solver_pp_2s(noise: B) -> Self {
        Self { sampler: DpmSolverPp2S::default(), eta: 1.0, noise }
    }
}

impl<X, G, M, B> Stepper<G, X> for AncestralSteps<M, B>
where
    X: State,
    G: Denoiser<X> + ?Sized,
    M: Stepper<G, X>,
    B: Brownian<X>,
{
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = stochastic_ends(model, from, to)?;
        self.sampler.restart();
        let kept = start.alpha * end.sigma / (end.alpha * start.sigma);
        let fresh = self.eta * end.sigma * ((1.0 - kept) * (1.0 + kept)).max(0.0).sqrt();
        if fresh == 0.0 {
            return arrive(walk(&mut self.sampler, model, x, from, to)?, from, to);
        }
        let left = ((end.sigma - fresh) * (end.sigma + fresh)).max(0.0).sqrt();
        let schedule = model.schedule();
        let beyond = if left > 0.0 {
            Coordinates::at_lambda(schedule, (end.alpha / left).ln())
        } else {
            Coordinates::at(schedule, 1.0)
        };
        let x = walk(&mut self.sampler, model, x, from, &Times::Shared(beyond.t))?;
        let noise = unit(&mut self.noise, &x, start.t, end.t);
        arrive(x.combine(end.alpha / beyond.alpha, &[(fresh, &noise)]), from, to)
    }

    fn restart(&mut self) {
        self.sampler.restart();
    }
}

pub(crate) const METHODS: [Method; 2] = [
    Method {
        name: "dpm-solver-2-ancestral",
        title: "DPM-Solver-2, ancestral",
        family: Family::DiffusionSde,
        order: 1.0,
        weak_order: Some(2.0),
        evaluations: 2.0,
        source: "Song et al. 2021, eq. 16; k-diffusion",
        use_when: "to forget errors, without guidance",
    },
    Method {
        name: "dpm-solver-pp-2s-ancestral",
        title: "DPM-Solver++(2S), ancestral",
        family: Family::DiffusionSde,
        order: 1.0,
        weak_order: Some(2.0),
        evaluations: 2.0,
        source: "Song et al. 2021, eq. 16; k-diffusion",
        use_when: "to forget errors, with guidance",
    },
];
