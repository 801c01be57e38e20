//! What all stochastic steppers have in common: rows, tensors, directions, errors, the list.

use crate::sde_problems::{Each, Mirrored};
use advect_solvers::{
    BrownianPath, DiagonalSde, Elementwise, Entry, Field, Gaussian, Method, Milstein, Sde, Sea, SemilinearSde,
    SolveError, SpaceTimeLevyArea, Stepper, StratonovichSde, TimeGrid, Times, UnderdampedLangevin, WhiteNoise,
    diagonal_sde_methods, langevin_methods, method_table, sde_methods, semilinear_methods, solve, stratonovich_methods,
};
use burn::tensor::{DType, Device, Tensor, TensorData};

const SEED: u64 = 31;
const DRIFT: Each = Each(|x, t| (2.0 * x + t).sin() - x);
const DIFFUSION: Each = Each(|x, t| 0.5 + 0.2 * t + 0.3 * x.cos());
const DERIVATIVE: Each = Each(|x, _t| -0.3 * x.sin());
const SPREAD: fn(f64) -> f64 = |t| 0.5 + t * t;
const GROWTH: fn(f64) -> f64 = |t| -t * t;

fn path(ids: &[u64]) -> BrownianPath {
    BrownianPath::new(SEED, ids.to_vec(), 0.0, 1.0, 20).unwrap()
}

fn langevin() -> UnderdampedLangevin<Each> {
    UnderdampedLangevin { force: DRIFT, friction: 1.2, temperature: 0.6 }
}

/// One step of every method of every list.
fn steps<X>(ids: &[u64], x: &X, from: &Times, to: &Times) -> Vec<(Method, X)>
where
    X: Elementwise + Gaussian + 'static,
    Each: Field<X>,
{
    fn all<G, X: Clone, Y>(
        generator: &G,
        entries: Vec<Entry<G, X>>,
        x: &X,
        (from, to): (&Times, &Times),
        position: impl Fn(X) -> Y,
    ) -> Vec<(Method, Y)> {
        let step = |entry: &Entry<G, X>| {
            let step = entry.stepper().step(generator, x.clone(), from, to).unwrap();
            assert_eq!(&step.at, to);
            (entry.method, position(step.x))
        };
        entries.iter().map(step).collect()
    }
    let noise = path(ids);
    let way = (from, to);
    let mut ends = all(&Sde { drift: DRIFT, diffusion: SPREAD }, sde_methods(&noise), x, way, |x| x);
    let ito = DiagonalSde { drift: DRIFT, diffusion: DIFFUSION };
    ends.extend(all(&ito, diagonal_sde_methods(&noise, &DERIVATIVE), x, way, |x| x));
    let stratonovich = StratonovichSde { drift: DRIFT, diffusion: DIFFUSION };
    ends.extend(all(&stratonovich, stratonovich_methods(&noise), x, way, |x| x));
    let semilinear = SemilinearSde { growth: GROWTH, drift: DRIFT, diffusion: SPREAD };
    ends.extend(all(&semilinear, semilinear_methods(&noise), x, way, |x| x));
    let pair = (x.clone(), x.clone());
    ends.extend(all(&langevin(), langevin_methods(&noise), &pair, way, |x| x.0));
    ends.extend(all(&langevin(), langevin_methods(&noise), &pair, way, |x| x.1));
    ends
}

const FROM: [f64; 4] = [0.0, 0.5, 1.0, 0.25];
const TO: [f64; 4] = [0.25, 1.0, 0.125, 0.25];

#[test]
fn rows_at_their_own_times_equal_rows_on_their_own() {
    let ids = [7, 3, 9, 7];
    let x = vec![0.3, -1.0, 2.0, 0.3];
    let together = steps(&ids, &x, &Times::Each(FROM.to_vec()), &Times::Each(TO.to_vec()));
    assert_eq!(together.len(), 7 + 6 + 1 + 1 + 2 * 2);
    for row in 0..4 {
        let alone = steps(&ids[row..=row], &x[row], &FROM[row].into(), &TO[row].into());
        for ((method, rows), (_, alone)) in together.iter().zip(alone) {
            assert_eq!(rows[row].to_bits(), alone.to_bits(), "{}, row {row}", method.title);
        }
    }
    // A row that is at its end stays there.
    for (method, rows) in &together {
        assert!(rows[3] == 0.3, "{}: {}", method.title, rows[3]);
    }
}

impl Field<Tensor<2>> for Each {
    fn eval(&self, x: Tensor<2>, t: &Times) -> Tensor<2> {
        let shape = x.dims();
        let place = (x.device(), x.dtype());
        let values = x.try_into_vec_as::<f64>().unwrap();
        let values: Vec<f64> = values.into_iter().enumerate().map(|(i, x)| (self.0)(x, t.at(i / shape[1]))).collect();
        Tensor::from_data(TensorData::new(values, shape), (&place.0, place.1))
    }
}

#[test]
fn tensors_equal_plain_numbers() {
    let ids = [7, 3, 9, 7];
    let x = vec![[0.3, 0.1], [-1.0, 0.5], [2.0, -0.7], [0.3, 0.9]];
    let tensor = Tensor::<2>::from_data(TensorData::new(x.concat(), [4, 2]), (&Device::flex(), DType::F64));
    let each = (Times::Each(FROM.to_vec()), Times::Each(TO.to_vec()));
    for (from, to) in [each, (0.25.into(), 0.5.into()), (0.75.into(), 0.5.into())] {
        let on_tensors = steps(&ids, &tensor, &from, &to);
        for ((method, a), (_, b)) in on_tensors.into_iter().zip(steps(&ids, &x, &from, &to)) {
            for (a, b) in a.try_into_vec_as::<f64>().unwrap().into_iter().zip(b.concat()) {
                assert!((a - b).abs() < 1e-13, "{}: {a} {b}", method.title);
            }
        }
    }
}

#[test]
fn a_sample_is_the_same_in_any_batch_of_white_noise() {
    let grid = TimeGrid::uniform(0.0, 1.0, 5).unwrap();
    let sde = Sde { drift: DRIFT, diffusion: SPREAD };
    let ito = DiagonalSde { drift: DRIFT, diffusion: DIFFUSION };
    let (ids, x) = (vec![4, 8, 15], vec![0.1, 0.2, 0.3]);
    let (many, one) = (WhiteNoise::new(SEED, ids.clone()), WhiteNoise::new(SEED, vec![15]));
    for (a, b) in sde_methods(&many).iter().zip(sde_methods(&one)) {
        let all: Vec<f64> = solve(&sde, a.stepper(), x.clone(), &grid).unwrap();
        let alone: f64 = solve(&sde, b.stepper(), 0.3, &grid).unwrap();
        assert_eq!(all[2].to_bits(), alone.to_bits(), "{}", a.method.title);
    }
    for (a, b) in diagonal_sde_methods(&many, &DERIVATIVE).iter().zip(diagonal_sde_methods(&one, &DERIVATIVE)) {
        let all: Vec<f64> = solve(&ito, a.stepper(), x.clone(), &grid).unwrap();
        let alone: f64 = solve(&ito, b.stepper(), 0.3, &grid).unwrap();
        assert_eq!(all[2].to_bits(), alone.to_bits(), "{}", a.method.title);
    }
}

#[test]
fn down_in_time_is_the_mirrored_equation_up_in_time() {
    // s = 1 - t: the drift turns its sign, the diffusion does not, the path is read the other way.
    let down = TimeGrid::uniform(1.0, 0.0, 8).unwrap();
    let up = TimeGrid::uniform(0.0, 1.0, 8).unwrap();
    let (noise, mirrored) = (path(&[5]), Mirrored(path(&[5])));
    let drift = Each(|x, s| -(DRIFT.0)(x, 1.0 - s));
    let diffusion = Each(|x, s| (DIFFUSION.0)(x, 1.0 - s));
    let derivative = Each(|x, s| (DERIVATIVE.0)(x, 1.0 - s));
    let spread: fn(f64) -> f64 = |s| SPREAD(1.0 - s);

    fn compare<G, M, X: Clone>(
        (a, first): (&G, Vec<Entry<G, X>>),
        (b, second): (&M, Vec<Entry<M, X>>),
        (x, y): (X, X),
        (down, up): (&TimeGrid, &TimeGrid),
        distance: impl Fn(&X, &X) -> f64,
    ) {
        for (one, two) in first.iter().zip(&second) {
            let end = solve(a, one.stepper(), x.clone(), down).unwrap();
            let mirror = solve(b, two.stepper(), y.clone(), up).unwrap();
            let off = distance(&end, &mirror);
            assert!(off < 1e-12, "{}: {off:e}", one.method.title);
        }
    }
    let ways = (&down, &up);
    let number = |a: &f64, b: &f64| (a - b).abs();
    let (a, b) = (Sde { drift: DRIFT, diffusion: SPREAD }, Sde { drift, diffusion: spread });
    compare((&a, sde_methods(&noise)), (&b, sde_methods(&mirrored)), (0.4, 0.4), ways, number);
    let (a, b) = (DiagonalSde { drift: DRIFT, diffusion: DIFFUSION }, DiagonalSde { drift, diffusion });
    let (one, two) = (diagonal_sde_methods(&noise, &DERIVATIVE), diagonal_sde_methods(&mirrored, &derivative));
    compare((&a, one), (&b, two), (0.4, 0.4), ways, number);
    let (a, b) = (StratonovichSde { drift: DRIFT, diffusion: DIFFUSION }, StratonovichSde { drift, diffusion });
    compare((&a, stratonovich_methods(&noise)), (&b, stratonovich_methods(&mirrored)), (0.4, 0.4), ways, number);
    let a = SemilinearSde { growth: GROWTH, drift: DRIFT, diffusion: SPREAD };
    let b = SemilinearSde { growth: |s: f64| GROWTH(1.0 - s), drift, diffusion: spread };
    compare((&a, semilinear_methods(&noise)), (&b, semilinear_methods(&mirrored)), (0.4, 0.4), ways, number);
    // q' = p turns its sign with the time: p -> -p, friction -> -friction; the noise of p turns, too.
    let a = langevin();
    let b = UnderdampedLangevin {
        force: Each(|x, s| (DRIFT.0)(x, 1.0 - s)),
        friction: -a.friction,
        temperature: -a.temperature,
    };
    let turned = Turned(mirrored);
    let pair = |a: &(f64, f64), b: &(f64, f64)| (a.0 - b.0).abs() + (a.1 + b.1).abs();
    compare((&a, langevin_methods(&noise)), (&b, langevin_methods(&turned)), ((0.4, 0.3), (0.4, -0.3)), ways, pair);
}

/// Minus the noise.
#[derive(Clone)]
struct Turned<B>(B);

impl<B: advect_solvers::Brownian<f64>> advect_solvers::Brownian<f64> for Turned<B> {
    fn increment(&mut self, like: &f64, from: &Times, to: &Times) -> f64 {
        -self.0.increment(like, from, to)
    }
}

impl<B: advect_solvers::SpaceTimeLevyArea<f64>> advect_solvers::SpaceTimeLevyArea<f64> for Turned<B> {
    fn increment_and_area(&mut self, like: &f64, from: &Times, to: &Times) -> (f64, f64) {
        let (w, h) = self.0.increment_and_area(like, from, to);
        (-w, -h)
    }
}

#[test]
fn a_drift_that_leaves_the_numbers_is_found_where_it_does() {
    let broken = Each(|x, t| if t < 0.5 { -x } else { f64::NAN });
    let grid = TimeGrid::uniform(0.0, 1.0, 8).unwrap();
    let noise = path(&[5]);
    let check = |title: &str, end: Result<f64, SolveError>| {
        // A stage may look up to one step ahead.
        let Err(SolveError::NotFinite { time, step }) = end else { panic!("{title}: {end:?}") };
        assert!((0.375..=0.5).contains(&time) && step == 0.125, "{title}: {time} {step}");
    };
    let sde = Sde { drift: broken, diffusion: SPREAD };
    for entry in sde_methods(&noise) {
        check(entry.method.title, solve(&sde, entry.stepper(), 0.4, &grid));
    }
    let ito = DiagonalSde { drift: broken, diffusion: DIFFUSION };
    for entry in diagonal_sde_methods(&noise, &DERIVATIVE) {
        check(entry.method.title, solve(&ito, entry.stepper(), 0.4, &grid));
    }
}

#[test]
fn evaluations_are_those_of_the_table() {
    use advect_solvers::Counted;
    let grid = TimeGrid::uniform(0.0, 1.0, 10).unwrap();
    let noise = path(&[5]);
    let sde = Sde { drift: Counted::new(DRIFT), diffusion: SPREAD };
    for entry in sde_methods(&noise) {
        let before = sde.drift.calls();
        let _: f64 = solve(&sde, entry.stepper(), 0.4, &grid).unwrap();
        assert_eq!((sde.drift.calls() - before) as f64, 10.0 * entry.method.evaluations, "{}", entry.method.title);
    }
    let ito = DiagonalSde { drift: Counted::new(DRIFT), diffusion: DIFFUSION };
    for entry in diagonal_sde_methods(&noise, &DERIVATIVE) {
        let before = ito.drift.calls();
        let _: f64 = solve(&ito, entry.stepper(), 0.4, &grid).unwrap();
        assert_eq!((ito.drift.calls() - before) as f64, 10.0 * entry.method.evaluations, "{}", entry.method.title);
    }
}

#[test]
fn one_step_by_hand() {
    // SEA, whose shift cannot be seen in the order: x + h f(x + g (dW / 2 + H)) + g dW.
    let mut noise = path(&[5]);
    let (dw, area) = noise.increment_and_area(&0.0, &0.25.into(), &0.5.into());
    let sde = Sde { drift: Each(|x, t| x.sin() + t), diffusion: |t: f64| 1.0 + t };
    let x = Sea::new(noise).step(&sde, 2.0, &0.25.into(), &0.5.into()).unwrap().x;
    let shifted: f64 = 2.0 + 1.25 * (0.5 * dw + area);
    assert!((x - (2.0 + 0.25 * (shifted.sin() + 0.25) + 1.25 * dw)).abs() < 1e-15);
    // Milstein on geometric Brownian motion: x (1 + mu h + s dW + s^2/2 (dW^2 - h)).
    let mut noise = path(&[5]);
    let dw = advect_solvers::Brownian::increment(&mut noise, &0.0, &0.25.into(), &0.5.into());
    let gbm = DiagonalSde { drift: Each(|x, _| 0.3 * x), diffusion: Each(|x, _| 0.4 * x) };
    let x = Milstein::new(noise, Each(|_, _| 0.4)).step(&gbm, 2.0, &0.25.into(), &0.5.into()).unwrap().x;
    assert!((x - 2.0 * (1.0 + 0.3 * 0.25 + 0.4 * dw + 0.08 * (dw * dw - 0.25))).abs() < 1e-15);
}

/// A part of the documentation: its heading and the table of a list.
fn part<G, X>(heading: &str, list: Vec<Entry<G, X>>) -> String {
    format!("### {heading}\n\n{}", method_table(list.into_iter().map(|entry| entry.method)))
}

#[test]
fn the_tables_in_the_documentation_are_the_lists() {
    let noise = WhiteNoise::new(0, vec![0]);
    let parts = [
        part("Additive noise, an [`Sde`]: [`sde_methods`]", sde_methods::<Each, fn(f64) -> f64, f64, _>(&noise)),
        part(
            "Diagonal noise in the sense of Ito, a [`DiagonalSde`]: [`diagonal_sde_methods`]",
            diagonal_sde_methods::<Each, Each, f64, _, _>(&noise, &DERIVATIVE),
        ),
        part(
            "Diagonal noise in the sense of Stratonovich, a [`StratonovichSde`]: [`stratonovich_methods`]",
            stratonovich_methods::<Each, Each, f64, _>(&noise),
        ),
        part(
            "A linear part and additive noise, a [`SemilinearSde`]: [`semilinear_methods`]",
            semilinear_methods::<fn(f64) -> f64, Each, fn(f64) -> f64, f64, _>(&noise),
        ),
        part(
            "Positions and momenta, [`UnderdampedLangevin`] dynamics: [`langevin_methods`]",
            langevin_methods::<Each, f64, _>(&noise),
        ),
    ];
    let page = parts.join("\n");
    assert!(page == include_str!("../../src/sde_methods.md"), "src/sde_methods.md should be:\n{page}");
}
