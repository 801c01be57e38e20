//! Nonlinear, time-dependent SDEs and the noise that drives them in tests.

use advect_solvers::{
    Brownian, BrownianPath, DiagonalSde, Field, Sde, SemilinearSde, SpaceTimeLevyArea, StratonovichSde, TimeGrid, Times,
};
use std::rc::Rc;

/// The elements of a state are paths of their own.
pub(crate) const PATHS: usize = 64;
pub(crate) type Paths = [f64; PATHS];
/// The finest grid has 2^FINEST steps.
pub(crate) const FINEST: u32 = 12;

/// A Brownian path over [0, 1], read once at the finest grid and added up to the coarser ones by the definition of the
/// area: quick to read, and independent of how the path adds up itself.
#[derive(Clone)]
pub(crate) struct Recorded(Rc<Vec<Vec<(Paths, Paths)>>>);

impl Recorded {
    pub(crate) fn new(seed: u64, id: u64) -> Self {
        Self::to_level(seed, id, FINEST)
    }

    /// With 2^finest steps on the finest grid.
    pub(crate) fn to_level(seed: u64, id: u64, finest: u32) -> Self {
        let grid = TimeGrid::uniform(0.0, 1.0, 1 << finest).unwrap();
        let mut path = BrownianPath::on_grid(seed, vec![id], &grid, 0);
        let read = |pair: &[f64]| path.increment_and_area(&[0.0; PATHS], &pair[0].into(), &pair[1].into());
        let mut levels = vec![grid.points().windows(2).map(read).collect::<Vec<_>>()];
        while levels[0].len() > 1 {
            let join = |pair: &[(Paths, Paths)]| {
                let [(w, h), (v, k)] = [pair[0], pair[1]];
                // In units of the longer interval: int W = (w / 2 + h) / 2 + (w + v / 2 + k) / 2.
                let area = |i: usize| 0.5 * (0.5 * w[i] + h[i] + w[i] + 0.5 * v[i] + k[i]) - 0.5 * (w[i] + v[i]);
                (std::array::from_fn(|i| w[i] + v[i]), std::array::from_fn(area))
            };
            let next = levels[0].chunks(2).map(join).collect();
            levels.insert(0, next);
        }
        Self(Rc::new(levels))
    }

    /// Increments and areas of the finest grid.
    pub(crate) fn finest(&self) -> &[(Paths, Paths)] {
        &self.0[self.0.len() - 1]
    }
}

impl Brownian<Paths> for Recorded {
    fn increment(&mut self, like: &Paths, from: &Times, to: &Times) -> Paths {
        self.increment_and_area(like, from, to).0
    }
}

impl SpaceTimeLevyArea<Paths> for Recorded {
    fn increment_and_area(&mut self, _like: &Paths, from: &Times, to: &Times) -> (Paths, Paths) {
        let (from, to) = (from.at(0), to.at(0));
        let (a, b) = (from.min(to), from.max(to));
        let level = -(b - a).log2();
        assert_eq!(level, level.round());
        let index = a / (b - a);
        assert_eq!(index, index.round());
        let (w, h) = self.0[level as usize][index as usize];
        if to > from { (w, h) } else { (w.map(|w| -w), h) }
    }
}

/// The path turned over: minus the increments and areas.
#[derive(Clone)]
pub(crate) struct Negated<B>(pub(crate) B);

impl<B: SpaceTimeLevyArea<Paths>> Brownian<Paths> for Negated<B> {
    fn increment(&mut self, like: &Paths, from: &Times, to: &Times) -> Paths {
        self.0.increment(like, from, to).map(|w| -w)
    }
}

impl<B: SpaceTimeLevyArea<Paths>> SpaceTimeLevyArea<Paths> for Negated<B> {
    fn increment_and_area(&mut self, like: &Paths, from: &Times, to: &Times) -> (Paths, Paths) {
        let (w, h) = self.0.increment_and_area(like, from, to);
        (w.map(|w| -w), h.map(|h| -h))
    }
}

/// The path in mirrored time, t -> 1 - t.
#[derive(Clone)]
pub(crate) struct Mirrored<B>(pub(crate) B);

impl<X, B: Brownian<X>> Brownian<X> for Mirrored<B> {
    fn increment(&mut self, like: &X, from: &Times, to: &Times) -> X {
        self.0.increment(like, &from.map(|t| 1.0 - t), &to.map(|t| 1.0 - t))
    }
}

impl<X, B: SpaceTimeLevyArea<X>> SpaceTimeLevyArea<X> for Mirrored<B> {
    fn increment_and_area(&mut self, like: &X, from: &Times, to: &Times) -> (X, X) {
        self.0.increment_and_area(like, &from.map(|t| 1.0 - t), &to.map(|t| 1.0 - t))
    }
}

/// An elementwise function of state and time, as a field.
#[derive(Clone, Copy)]
pub(crate) struct Each(pub(crate) fn(f64, f64) -> f64);

impl<const N: usize> Field<[f64; N]> for Each {
    fn eval(&self, x: [f64; N], t: &Times) -> [f64; N] {
        x.map(|x| (self.0)(x, t.at(0)))
    }
}

impl Field<f64> for Each {
    fn eval(&self, x: f64, t: &Times) -> f64 {
        (self.0)(x, t.at(0))
    }
}

impl Field<Vec<f64>> for Each {
    fn eval(&self, x: Vec<f64>, t: &Times) -> Vec<f64> {
        x.into_iter().enumerate().map(|(row, x)| (self.0)(x, t.at(row))).collect()
    }
}

impl<const N: usize> Field<Vec<[f64; N]>> for Each {
    fn eval(&self, x: Vec<[f64; N]>, t: &Times) -> Vec<[f64; N]> {
        x.into_iter().enumerate().map(|(row, x)| x.map(|x| (self.0)(x, t.at(row)))).collect()
    }
}

/// Additive noise: dX = (1/2 sin(2X + t) - X / 2) dt + (1 + t^2 / 2) dW.
pub(crate) mod additive {
    use super::{Each, Paths, Recorded, Sde};

    pub(crate) const START: f64 = 0.4;

    pub(crate) fn diffusion(t: f64) -> f64 {
        1.0 + 0.5 * t * t
    }

    pub(crate) fn sde() -> Sde<Each, fn(f64) -> f64> {
        Sde { drift: Each(|x, t| 0.5 * ((2.0 * x + t).sin() - x)), diffusion }
    }

    /// The Ito-Taylor method of strong order 1.5 (Kloeden & Platen, 10.4) with derivatives by hand, on the finest grid.
    pub(crate) fn reference(noise: &Recorded) -> Paths {
        let h = 1.0 / noise.finest().len() as f64;
        let mut x = [START; super::PATHS];
        for (n, (w, area)) in noise.finest().iter().enumerate() {
            let t = n as f64 * h;
            let (g, dg) = (diffusion(t), t);
            for i in 0..x.len() {
                let (sin, cos) = (2.0 * x[i] + t).sin_cos();
                let (f, fx, fxx, ft) = (0.5 * (sin - x[i]), cos - 0.5, -2.0 * sin, 0.5 * cos);
                let double = h * (0.5 * w[i] + area[i]);
                x[i] += f * h
                    + g * w[i]
                    + fx * g * double
                    + dg * (h * w[i] - double)
                    + 0.5 * h * h * (ft + f * fx + 0.5 * g * g * fxx);
            }
        }
        x
    }
}

/// Diagonal noise with a closed form: X = sinh(Y) of the Ornstein-Uhlenbeck process dY = (1 + t - 2Y) dt + s dW with
/// s = 1/2 + t/2.
pub(crate) mod diagonal {
    use super::{DiagonalSde, Each, Paths, Recorded, StratonovichSde};

    /// Of X.
    pub(crate) const START: f64 = 0.3;

    fn spread(t: f64) -> f64 {
        0.5 + 0.5 * t
    }

    fn stratonovich_drift(x: f64, t: f64) -> f64 {
        (1.0 + x * x).sqrt() * (1.0 + t - 2.0 * x.asinh())
    }

    pub(crate) const DIFFUSION: Each = Each(|x, t| spread(t) * (1.0 + x * x).sqrt());
    pub(crate) const DERIVATIVE: Each = Each(|x, t| spread(t) * x / (1.0 + x * x).sqrt());

    pub(crate) fn ito() -> DiagonalSde<Each, Each> {
        // Ito's formula: f = Y' cosh Y + s^2/2 sinh Y.
        DiagonalSde { drift: Each(|x, t| stratonovich_drift(x, t) + 0.5 * spread(t).powi(2) * x), diffusion: DIFFUSION }
    }

    pub(crate) fn stratonovich() -> StratonovichSde<Each, Each> {
        StratonovichSde { drift: Each(stratonovich_drift), diffusion: DIFFUSION }
    }

    /// The closed form on the path: the integral of `k(s) = exp(-2 (1 - s)) spread(s)` against it, in each cell by the
    /// two Legendre coefficients of k (what is left is of order 2.5 in a cell).
    pub(crate) fn reference(noise: &Recorded) -> Paths {
        let h = 1.0 / noise.finest().len() as f64;
        // y' = 1 + t - 2y without noise: y = 1/4 + t/2 + c exp(-2t).
        let mean = 0.75 + (START.asinh() - 0.25) * (-2.0_f64).exp();
        let mut y = [mean; super::PATHS];
        for (n, (w, area)) in noise.finest().iter().enumerate() {
            let t = n as f64 * h;
            let k = |s: f64| (-2.0 * (1.0 - t - s)).exp() * spread(t + s);
            let (a, b, c) = (k(0.0), k(0.5 * h), k(h));
            // By Simpson's rule: the mean, and three times the mean with (1 - 2 s / h), which goes with 2 H.
            let (even, odd) = ((a + 4.0 * b + c) / 6.0, (a - c) / 2.0);
            for i in 0..y.len() {
                y[i] += even * w[i] + 2.0 * odd * area[i];
            }
        }
        y.map(f64::sinh)
    }
}

/// The additive problem, its linear part apart.
pub(crate) fn semilinear() -> SemilinearSde<fn(f64) -> f64, Each, fn(f64) -> f64> {
    SemilinearSde {
        growth: |t| -0.5 * t,
        drift: Each(|x, t| 0.5 * (2.0 * x + t).sin()),
        diffusion: additive::diffusion,
    }
}
