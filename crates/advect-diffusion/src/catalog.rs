use crate::{
    Ancestral, AncestralSteps, Churn, Consistency, Ddim, Deis, Denoiser, DpmSolver2, DpmSolver3, DpmSolverPp2S,
    DpmSolverPp3S, DpmSolverPpMultistep, EdmChurn, EdmHeun, Ipndm, Lms, Order, Pndm, SaSolver, SdeDpmSolverPp, Seeds,
    Tcd, UniPc, UniPcVariant,
};
use crate::{
    ancestral, ancestral_steps, consistency, ddim, deis, dpm_solver_2, dpm_solver_3, dpm_solver_pp_2s,
    dpm_solver_pp_3s, dpm_solver_pp_multistep, edm_churn, edm_heun, ipndm, lms, pndm, sa_solver, sde_dpm_solver_pp,
    seeds, tcd, uni_pc,
};
use advect_core::{Brownian, State};
use advect_solvers::Entry;

/// Every deterministic sampler of this crate: the list behind the table, the order tests and programs.
///
/// [`AdaptiveDpm`](crate::AdaptiveDpm) is not in it: it needs a tolerance.
///
/// ```
/// use advect_core::{TimeGrid, shared};
/// use advect_diffusion::{Denoiser, diffusion_methods};
/// use advect_paths::{Linear, Prediction, Predictor, SourceLaw};
/// use advect_solvers::solve;
///
/// // All data at 3: every method is exact, at both ends of time.
/// let model = Predictor {
///     field: shared(|_x: f64, _t: f64| 3.0),
///     prediction: Prediction::Data,
///     schedule: Linear,
///     source: SourceLaw::GaussianIndependent,
/// };
/// for entry in diffusion_methods::<dyn Denoiser<f64>, f64>() {
///     let end = solve(&model as &dyn Denoiser<f64>, entry.stepper(), -0.7, &TimeGrid::uniform(0.0, 1.0, 8)?)?;
///     assert!((end - 3.0).abs() < 1e-9, "{}", entry.method.title);
/// }
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[must_use]
pub fn diffusion_methods<G: Denoiser<X> + ?Sized, X: State + 'static>() -> Vec<Entry<G, X>> {
    vec![
        Entry::new(ddim::METHOD, || Ddim),
        Entry::new(edm_heun::METHOD, || EdmHeun),
        Entry::new(dpm_solver_2::METHOD, DpmSolver2::default),
        Entry::new(dpm_solver_3::METHOD, || DpmSolver3),
        Entry::new(dpm_solver_pp_2s::METHOD, DpmSolverPp2S::default),
        Entry::new(dpm_solver_pp_3s::METHOD, || DpmSolverPp3S),
        Entry::new(dpm_solver_pp_multistep::METHODS[0], || DpmSolverPpMultistep::new(Order::Two)),
        Entry::new(dpm_solver_pp_multistep::METHODS[1], || DpmSolverPpMultistep::new(Order::Three)),
        Entry::new(deis::METHODS[0], || Deis::new(Order::Two)),
        Entry::new(deis::METHODS[1], || Deis::new(Order::Three)),
        Entry::new(uni_pc::METHODS[0], || UniPc::new(Order::Two, UniPcVariant::Bh2)),
        Entry::new(uni_pc::METHODS[1], || UniPc::new(Order::Two, UniPcVariant::Bh1)),
        Entry::new(uni_pc::METHODS[2], || UniPc::new(Order::Three, UniPcVariant::Bh2)),
        Entry::new(lms::METHODS[0], || Lms::new(Order::Three)),
        Entry::new(lms::METHODS[1], || Lms::new(Order::Four)),
        Entry::new(pndm::METHOD, Pndm::new),
        Entry::new(ipndm::METHOD, Ipndm::new),
    ]
}

/// Every stochastic sampler of this crate, each with its own copy of the noise.
///
/// [`Restarted`](crate::Restarted) and [`LangevinCorrected`](crate::LangevinCorrected) are not in it: they wrap
/// another.
#[must_use]
pub fn diffusion_sde_methods<G, X, B>(noise: B) -> Vec<Entry<G, X>>
where
    G: Denoiser<X> + ?Sized,
    X: State + 'static,
    B: Brownian<X> + Clone + 'static,
{
    let sde = |order: Order, noise: &B| {
        let noise = noise.clone();
        move || SdeDpmSolverPp::reverse_sde(order, noise.clone())
    };
    let [ancestral, dpm_2, dpm_2s, sa, seeds, churn] = [(); 6].map(|()| noise.clone());
    vec![
        Entry::new(ancestral::METHOD, move || Ancestral::ddpm(ancestral.clone())),
        Entry::new(ancestral_steps::METHODS[0], move || AncestralSteps::dpm_solver_2(dpm_2.clone())),
        Entry::new(ancestral_steps::METHODS[1], move || AncestralSteps::dpm_solver_pp_2s(dpm_2s.clone())),
        Entry::new(sde_dpm_solver_pp::METHODS[0], sde(Order::One, &noise)),
        Entry::new(sde_dpm_solver_pp::METHODS[1], sde(Order::Two, &noise)),
        Entry::new(sde_dpm_solver_pp::METHODS[2], sde(Order::Three, &noise)),
        Entry::new(sa_solver::METHOD, move || SaSolver::reverse_sde(sa.clone())),
        Entry::new(seeds::METHOD, move || Seeds::new(seeds.clone())),
        Entry::new(edm_churn::METHOD, move || EdmChurn::new(Churn::default(), churn.clone())),
    ]
}

/// Every sampler of this crate for models that were distilled to jump, each with its own copy of the noise.
///
/// A list of its own: on a plain denoiser they do not converge.
///
/// ```
/// use advect_core::{TimeGrid, WhiteNoise, shared};
/// use advect_diffusion::{Denoiser, few_step_methods};
/// use advect_paths::{Linear, Prediction, Predictor, SourceLaw};
/// use advect_solvers::solve;
///
/// // All data at 3: a consistency function says so wherever it is asked.
/// let model = Predictor {
///     field: shared(|_x: f64, _t: f64| 3.0),
///     prediction: Prediction::Data,
///     schedule: Linear,
///     source: SourceLaw::GaussianIndependent,
/// };
/// for entry in few_step_methods::<dyn Denoiser<f64>, f64, _>(WhiteNoise::new(1, vec![0])) {
///     let end = solve(&model as &dyn Denoiser<f64>, entry.stepper(), -0.7, &TimeGrid::uniform(0.0, 1.0, 2)?)?;
///     assert!((end - 3.0).abs() < 1e-9, "{}", entry.method.title);
/// }
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[must_use]
pub fn few_step_methods<G, X, B>(noise: B) -> Vec<Entry<G, X>>
where
    G: Denoiser<X> + ?Sized,
    X: State + 'static,
    B: Brownian<X> + Clone + 'static,
{
    let [consistency, tcd] = [(); 2].map(|()| noise.clone());
    vec![
        Entry::new(consistency::METHOD, move || Consistency::new(consistency.clone())),
        Entry::new(tcd::METHOD, move || Tcd::distilled(tcd.clone())),
    ]
}
