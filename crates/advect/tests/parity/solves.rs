//! A solve by every method of the catalogs.
//!
//! The reference is the same method in plain f64 numbers, without any tensor.

use crate::suite::{Errors, Place, Suite, error, flat, noise, values};
use advect::core::{Elementwise, Gaussian, WhiteNoise};
use advect::diffusion::{Denoiser, diffusion_methods, diffusion_sde_methods};
use advect::guidance::Paired;
use advect::prelude::*;
use advect::solvers::{
    DiagonalSde, Entry, SemilinearSde, Separable, SolveError, Stepper, StratonovichSde, UnderdampedLangevin,
    diagonal_sde_methods, langevin_methods, ode_methods, sde_methods, semilinear_methods, stratonovich_methods,
    symplectic_methods,
};

const ROWS: usize = 3;
type Plain = Vec<[f64; 2]>;

/// (0.7 - a) cos x - t x, with a number a for each row.
#[derive(Clone)]
struct Slope(Vec<f64>);

impl Slope {
    fn new() -> Self {
        Self(vec![0.0, 0.25, 0.5])
    }
}

impl Field<Tensor<2>> for Slope {
    fn eval(&self, x: Tensor<2>, t: &Times) -> Tensor<2> {
        let place = Place { device: x.device(), dtype: x.dtype() };
        let rows = x.dims()[0];
        let height: Vec<f64> = self.0.iter().map(|a| 0.7 - a).collect();
        let height: Tensor<2> = place.tensor(&height, [rows, 1]);
        let pull: Tensor<2> = place.tensor(&t.to_vec(rows), [rows, 1]);
        x.clone().cos() * height - x * pull
    }
}

impl Field<Plain> for Slope {
    fn eval(&self, x: Plain, t: &Times) -> Plain {
        let one = |(row, x): (usize, [f64; 2])| x.map(|x| (0.7 - self.0[row]) * x.cos() - t.at(row) * x);
        x.into_iter().enumerate().map(one).collect()
    }
}

impl<X> RowField<X> for Slope
where
    Slope: Field<X>,
{
    fn select(&self, rows: &[usize]) -> Self {
        Self(rows.iter().map(|&row| self.0[row]).collect())
    }
}

/// Where every method of every catalog ends.
trait Ends: Gaussian + Elementwise + Batched + Sized + 'static
where
    Slope: Field<Self>,
{
    fn start(place: &Place) -> Self;
    fn numbers(self) -> Vec<f64>;
}

fn start() -> Plain {
    noise(11, 2 * ROWS).chunks(2).map(|x| [x[0], x[1]]).collect()
}

impl Ends for Tensor<2> {
    fn start(place: &Place) -> Self {
        place.tensor(&start().concat(), [ROWS, 2])
    }

    fn numbers(self) -> Vec<f64> {
        values(self)
    }
}

impl Ends for Plain {
    fn start(_: &Place) -> Self {
        start()
    }

    fn numbers(self) -> Vec<f64> {
        self.concat()
    }
}

fn white() -> WhiteNoise {
    WhiteNoise::new(5, vec![3, 1, 4])
}

fn solved<G: ?Sized, X: State>(generator: &G, stepper: impl Stepper<G, X>, x: X) -> X {
    let grid = TimeGrid::uniform(0.125, 0.875, 3).expect("a grid");
    solve(generator, stepper, x, &grid).expect("it solves")
}

type Ended = Vec<(&'static str, Vec<f64>)>;

fn ends<G: ?Sized, X: Ends>(generator: &G, entries: Vec<Entry<G, X>>, place: &Place) -> Ended
where
    Slope: Field<X>,
{
    entries.iter().map(|e| (e.method.title, solved(generator, e.stepper(), X::start(place)).numbers())).collect()
}

fn pair_ends<G, X: Ends>(generator: &G, entries: Vec<Entry<G, (X, X)>>, place: &Place) -> Ended
where
    Slope: Field<X>,
{
    let start = || (X::start(place), X::start(place));
    let end = |e: &Entry<G, (X, X)>| {
        let (q, p) = solved(generator, e.stepper(), start());
        (e.method.title, [q.numbers(), p.numbers()].concat())
    };
    entries.iter().map(end).collect()
}

fn velocity<X: Ends>(place: &Place) -> Ended
where
    Slope: Field<X>,
{
    ends(&Slope::new() as &dyn Field<X>, ode_methods(), place)
}

fn symplectic<X: Ends>(place: &Place) -> Ended
where
    Slope: Field<X>,
{
    pair_ends(&Separable { velocity: Slope::new(), force: Slope::new() }, symplectic_methods(), place)
}

fn stochastic<X: Ends>(place: &Place) -> Ended
where
    Slope: Field<X>,
{
    let size = |t: f64| 0.3 + 0.1 * t;
    let mut all = ends(&Sde { drift: Slope::new(), diffusion: size }, sde_methods(&white()), place);
    let diagonal = DiagonalSde { drift: Slope::new(), diffusion: Slope::new() };
    all.extend(ends(&diagonal, diagonal_sde_methods(&white(), &Slope::new()), place));
    let stratonovich = StratonovichSde { drift: Slope::new(), diffusion: Slope::new() };
    all.extend(ends(&stratonovich, stratonovich_methods(&white()), place));
    let semilinear = SemilinearSde { growth: |t: f64| -0.5 * t, drift: Slope::new(), diffusion: size };
    all.extend(ends(&semilinear, semilinear_methods(&white()), place));
    let langevin = UnderdampedLangevin { force: Slope::new(), friction: 0.8, temperature: 0.5 };
    all.extend(pair_ends(&langevin, langevin_methods(&white()), place));
    all
}

fn samplers<X: Ends>(place: &Place) -> Ended
where
    Slope: Field<X>,
{
    let source = SourceLaw::GaussianIndependent;
    let model = Predictor { field: Slope::new(), prediction: Prediction::Velocity, schedule: Cosine, source };
    let mut all = ends(&model as &dyn Denoiser<X>, diffusion_methods(), place);
    all.extend(ends(&model as &dyn Denoiser<X>, diffusion_sde_methods(white()), place));
    all
}

fn guided<X: Ends>(place: &Place) -> Ended
where
    Slope: Field<X>,
{
    let scale = |t: f64| if t < 0.3 { 1.0 } else { 1.0 + t };
    let apart = Guided { strong: Slope(vec![0.0; ROWS]), weak: Slope(vec![0.5; ROWS]), scale };
    let both = Paired::new(Slope([[0.0; ROWS], [0.5; ROWS]].concat()), ROWS, scale);
    vec![
        ("guided", solved(&apart, RK4.stepper(), X::start(place)).numbers()),
        ("guided, one call", solved(&both, RK4.stepper(), X::start(place)).numbers()),
    ]
}

pub(crate) fn run(suite: &mut Suite) {
    suite.group("solver");
    let families: [(&str, fn(&Place) -> Ended, fn(&Place) -> Ended); 5] = [
        ("ODE", velocity::<Tensor<2>>, velocity::<Plain>),
        ("symplectic", symplectic::<Tensor<2>>, symplectic::<Plain>),
        ("SDE", stochastic::<Tensor<2>>, stochastic::<Plain>),
        ("diffusion", samplers::<Tensor<2>>, samplers::<Plain>),
        ("guidance", guided::<Tensor<2>>, guided::<Plain>),
    ];
    for (family, tensors, numbers) in families {
        let mut count = 0;
        let errors = |place: &Place| {
            let (got, expected) = (tensors(place), numbers(place));
            count = got.len();
            assert!(count > 0 && count == expected.len());
            let compared = got.iter().zip(&expected).map(|((name, got), (_, expected))| {
                let error = error(got, expected);
                if error > 1e-5 {
                    eprintln!("{family} {name}: {error:.1e}");
                }
                error
            });
            Errors::forward(compared.fold(0.0, f64::max))
        };
        suite.case(&format!("every {family} method"), 1e-5, errors);
    }
    adaptive(suite);
    through(suite);
    broken(suite);
}

fn broken(suite: &mut Suite) {
    // From time 7 of 40 on the slope is NaN: an error, at most 16 steps late, also when it is the last step that breaks.
    suite.case("NaN stops a solve", 0.0, |place| {
        let solved = |breaks: f64| {
            let slope = move |x: Tensor<2>, t: &Times| if t.range().0 < breaks { x * 0.1 } else { x * f64::NAN };
            let grid = TimeGrid::uniform(0.0, 40.0, 40).expect("a grid");
            solve(&slope, RK4.stepper(), Tensor::start(place), &grid)
        };
        assert!(solved(100.0).is_ok());
        for breaks in [7.0, 39.5] {
            let ended = solved(breaks).map(Tensor::into_data);
            let near = |time: &f64| (breaks - 1.0..breaks + 16.0).contains(time);
            assert!(
                matches!(&ended, Err(SolveError::NotFinite { time, .. }) if near(time)),
                "{ended:?} where it breaks at {breaks}"
            );
        }
        Errors::forward(0.0)
    });
}

fn adaptive(suite: &mut Suite) {
    // Another step size may be accepted in f32: the solution is as near as the tolerance makes it.
    suite.case("adaptive DOPRI5, shared steps and each row's own", 1e-4, |place| {
        fn end<X: Ends>(place: &Place) -> Vec<f64>
        where
            Slope: Field<X>,
        {
            let tolerance = Tolerance::new(1e-5, 1e-5).expect("valid");
            let controller = PiController::standard();
            let shared = Adaptive::new(DOPRI5.stepper(), tolerance, controller);
            let rows = AdaptiveRows::new(DOPRI5.stepper(), tolerance, controller);
            let shared = solved(&Slope::new(), shared, X::start(place)).numbers();
            [shared, solved(&Slope::new(), rows, X::start(place)).numbers()].concat()
        }
        Errors::forward(error(&end::<Tensor<2>>(place), &end::<Plain>(place)))
    });
}

fn through(suite: &mut Suite) {
    // The gradient of the end by the start, by autodiff through four RK4 steps.
    let run = |x: &[Tensor<1>]| {
        let grid = TimeGrid::uniform(0.0, 1.0, 4).expect("a grid");
        let x = x[0].clone().reshape([ROWS, 2]);
        flat(solve(&Slope::new(), RK4.stepper(), x, &grid).expect("it solves"))
    };
    suite.operator("gradient through RK4", 1e-5, &[(2 * ROWS, 1.0)], run, run);
}
