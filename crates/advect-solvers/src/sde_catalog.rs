use crate::{
    Baoab, DiagonalSde, Entry, EulerMaruyama, ExponentialEulerMaruyama, Milstein, PlatenWeak2, RungeKuttaMilstein,
    SRA1, SRA2, SRA3, SRI1W1, SRI2W1, Sea, SemilinearSde, Shark, StochasticHeun, StratonovichSde, Ubu,
    UnderdampedLangevin,
};
use crate::{
    baoab, euler_maruyama, exponential_euler_maruyama, milstein, platen_weak2, runge_kutta_milstein, sea, shark, sra1,
    sra2, sra3, sri1, sri2, stochastic_heun, ubu,
};
use advect_core::{Brownian, Elementwise, Field, Sde, SpaceTimeLevyArea, State};

/// Every method of this crate for additive noise, an [`Sde`], each driven by a copy of `noise`.
///
/// Rows of noise are keyed by sample, so copies of one [`WhiteNoise`](crate::WhiteNoise) or
/// [`BrownianPath`](crate::BrownianPath) are the same noise for all methods.
///
/// ```
/// use advect_solvers::{BrownianPath, Sde, TimeGrid, Times, sde_methods, solve};
///
/// let sde = Sde { drift: |x: f64, _t: &Times| -x.sin(), diffusion: |_t: f64| 0.3 };
/// let path = BrownianPath::new(7, vec![0], 0.0, 1.0, 20)?;
/// let grid = TimeGrid::uniform(0.0, 1.0, 64)?;
/// for entry in sde_methods(&path) {
///     let x = solve(&sde, entry.stepper(), 1.0, &grid)?;
///     println!("{}: {x:.5}", entry.method.title);
/// }
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[must_use]
pub fn sde_methods<F, D, X, B>(noise: &B) -> Vec<Entry<Sde<F, D>, X>>
where
    F: Field<X>,
    D: Fn(f64) -> f64,
    X: State,
    B: SpaceTimeLevyArea<X> + Clone + 'static,
{
    let [a, b, c, d, e, f, g] = std::array::from_fn(|_| noise.clone());
    vec![
        Entry::new(euler_maruyama::ADDITIVE, move || EulerMaruyama::new(a.clone())),
        Entry::new(sea::METHOD, move || Sea::new(b.clone())),
        Entry::new(stochastic_heun::ADDITIVE, move || StochasticHeun::new(c.clone())),
        Entry::new(shark::METHOD, move || Shark::new(d.clone())),
        Entry::new(sra1::METHOD, move || SRA1.stepper(e.clone())),
        Entry::new(sra2::METHOD, move || SRA2.stepper(f.clone())),
        Entry::new(sra3::METHOD, move || SRA3.stepper(g.clone())),
    ]
}

/// Every method of this crate for diagonal Ito noise, a [`DiagonalSde`], each driven by a copy of `noise`; `derivative`
/// is that of element i of the diffusion by element i of the state, for [`Milstein`].
#[must_use]
pub fn diagonal_sde_methods<F, G, X, B, D>(noise: &B, derivative: &D) -> Vec<Entry<DiagonalSde<F, G>, X>>
where
    F: Field<X>,
    G: Field<X>,
    X: Elementwise,
    B: SpaceTimeLevyArea<X> + Clone + 'static,
    D: Field<X> + Clone + 'static,
{
    let [a, b, c, d, e, f] = std::array::from_fn(|_| noise.clone());
    let derivative = derivative.clone();
    vec![
        Entry::new(euler_maruyama::DIAGONAL, move || EulerMaruyama::new(a.clone())),
        Entry::new(milstein::METHOD, move || Milstein::new(b.clone(), derivative.clone())),
        Entry::new(runge_kutta_milstein::METHOD, move || RungeKuttaMilstein::new(c.clone())),
        Entry::new(platen_weak2::METHOD, move || PlatenWeak2::new(d.clone())),
        Entry::new(sri1::METHOD, move || SRI1W1.stepper(e.clone())),
        Entry::new(sri2::METHOD, move || SRI2W1.stepper(f.clone())),
    ]
}

/// Every method of this crate for diagonal Stratonovich noise, a [`StratonovichSde`], each driven by a copy of `noise`.
#[must_use]
pub fn stratonovich_methods<F, G, X, B>(noise: &B) -> Vec<Entry<StratonovichSde<F, G>, X>>
where
    F: Field<X>,
    G: Field<X>,
    X: Elementwise,
    B: Brownian<X> + Clone + 'static,
{
    let noise = noise.clone();
    vec![Entry::new(stochastic_heun::DIAGONAL, move || StochasticHeun::new(noise.clone()))]
}

/// Every method of this crate for a [`SemilinearSde`], each driven by a copy of `noise`.
#[must_use]
pub fn semilinear_methods<A, F, G, X, B>(noise: &B) -> Vec<Entry<SemilinearSde<A, F, G>, X>>
where
    A: Fn(f64) -> f64,
    F: Field<X>,
    G: Fn(f64) -> f64,
    X: State,
    B: Brownian<X> + Clone + 'static,
{
    let noise = noise.clone();
    let make = move || ExponentialEulerMaruyama::new(noise.clone());
    vec![Entry::new(exponential_euler_maruyama::METHOD, make)]
}

/// Every method of this crate for [`UnderdampedLangevin`] dynamics on pairs (q, p), each driven by a copy of `noise`.
#[must_use]
pub fn langevin_methods<F, X, B>(noise: &B) -> Vec<Entry<UnderdampedLangevin<F>, (X, X)>>
where
    F: Field<X>,
    X: State + 'static,
    B: SpaceTimeLevyArea<X> + Clone + 'static,
{
    let (a, b) = (noise.clone(), noise.clone());
    vec![Entry::new(baoab::METHOD, move || Baoab::new(a.clone())), Entry::new(ubu::METHOD, move || Ubu::new(b.clone()))]
}
