//! The solution between the steps.

use crate::problems::{scalar, system};
use advect_analytic::order::observed;
use advect_solvers::{
    Adaptive, AdaptiveRows, BOSH3, Counted, DOPRI5, DenseStepper, EULER, EmbeddedTableau, Field, HEUN, HEUN_EULER,
    Hermite, MIDPOINT, PiController, RK4, SolveError, TSIT5, TimeGrid, Times, Tolerance, save_at, shared, solve,
    solve_dense, unconditional,
};
use burn::tensor::{DType, Device, Tensor, TensorData};

type Dyn<X> = dyn Field<X>;

fn grid(from: f64, to: f64, steps: usize) -> TimeGrid {
    TimeGrid::uniform(from, to, steps).unwrap()
}

fn adaptive<S: advect_solvers::Embedded>(inner: S, tol: f64) -> Adaptive<S> {
    Adaptive::new(inner, Tolerance::new(tol, tol).unwrap(), PiController::standard())
}

/// The largest error at five places inside every step.
fn between(stepper: impl DenseStepper<Dyn<[f64; 2]>, [f64; 2]>, from: f64, to: f64, steps: usize) -> f64 {
    let field = shared(system::slope);
    let solution = solve_dense(&field as &Dyn<_>, stepper, system::solution(from), &grid(from, to, steps)).unwrap();
    let h = (to - from) / steps as f64;
    let places = (0..steps).flat_map(|step| [0.07, 0.31, 0.5, 0.73, 0.96].map(|s| from + h * (step as f64 + s)));
    let error = |t| {
        let ([a, b], [c, d]) = (solution.at(t).unwrap(), system::solution(t));
        (a - c).hypot(b - d)
    };
    places.map(error).fold(0.0, f64::max)
}

#[test]
fn the_order_between_the_steps_is_that_of_method_and_interpolant() {
    for (from, to) in [(0.0, 1.0), (1.0, 0.0)] {
        let check = |name: &str, order: f64, first: usize, error: &dyn Fn(usize) -> f64| {
            let fit = observed(first, 3, error);
            assert!((fit.slope - order).abs() < 0.12, "{name} from {from}: order {order}, observed {:.3}", fit.slope);
        };
        check("Euler", 1.0, 96, &|n| between(EULER.stepper(), from, to, n));
        check("midpoint", 2.0, 96, &|n| between(MIDPOINT.stepper(), from, to, n));
        check("Heun", 2.0, 96, &|n| between(HEUN.stepper(), from, to, n));
        check("Heun-Euler", 2.0, 96, &|n| between(HEUN_EULER.stepper(), from, to, n));
        check("Bosh3", 3.0, 96, &|n| between(BOSH3.stepper(), from, to, n));
        check("RK4", 4.0, 48, &|n| between(RK4.stepper(), from, to, n));
        check("RK4 made dense", 4.0, 48, &|n| between(Hermite::new(RK4.stepper()), from, to, n));
        // The cubic alone is of order 3: an error of h^4. The method's own quartic keeps its order 5.
        check("Dopri5, cubic", 4.0, 48, &|n| between(Hermite::new(DOPRI5.stepper()), from, to, n));
        check("Dopri5, its own", 5.0, 24, &|n| between(DOPRI5.stepper(), from, to, n));
        check("Tsit5, its own", 5.0, 24, &|n| between(TSIT5.stepper(), from, to, n));
    }
}

/// The weights `b_i(s)` of a dense tableau that is first same as last.
fn weights<const S: usize>(method: &EmbeddedTableau<S>, s: f64) -> [f64; S] {
    let r = 1.0 - s;
    let d = method.quartic.unwrap_or([0.0; S]);
    std::array::from_fn(|i| {
        let start = if i == 0 { s * r * r } else { 0.0 };
        let end = if i + 1 == S { -s * s * r } else { 0.0 };
        s * s * (3.0 - 2.0 * s) * method.tableau.b[i] + start + end + s * s * r * r * d[i]
    })
}

/// The order conditions of a continuous method up to `order` (Hairer, Norsett & Wanner I, II.6, theorem 6.1).
fn conditions<const S: usize>(method: &EmbeddedTableau<S>, order: u32, tolerance: f64) {
    let (a, c) = (&method.tableau.a, &method.tableau.c);
    let inner = |v: [f64; S]| -> [f64; S] { std::array::from_fn(|i| (0..i).map(|j| a[i][j] * v[j]).sum()) };
    let times = |u: [f64; S], v: [f64; S]| -> [f64; S] { std::array::from_fn(|i| u[i] * v[i]) };
    let (one, c2) = ([1.0; S], times(*c, *c));
    let trees = [
        (1, one, 1.0),
        (2, *c, 2.0),
        (3, c2, 3.0),
        (3, inner(*c), 6.0),
        (4, times(c2, *c), 4.0),
        (4, times(*c, inner(*c)), 8.0),
        (4, inner(c2), 12.0),
        (4, inner(inner(*c)), 24.0),
    ];
    for s in [0.1, 0.35, 0.5, 0.8, 1.0] {
        let b = weights(method, s);
        for (degree, tree, density) in trees.iter().filter(|tree| tree.0 <= order) {
            let sum: f64 = b.iter().zip(tree).map(|(b, phi)| b * phi).sum();
            let exact = s.powi(*degree as i32) / density;
            assert!((sum - exact).abs() < tolerance, "{} at {s}: {sum} for {exact}", method.tableau.name);
        }
    }
}

#[test]
fn the_interpolants_fulfil_the_order_conditions() {
    conditions(&BOSH3, 3, 1e-14);
    conditions(&DOPRI5, 4, 1e-13);
    conditions(&TSIT5, 4, 1e-13);
}

#[test]
fn the_interpolant_of_tsit5_is_the_published_one() {
    // Tsitouras (2011), section 3: the b_i(s) in factors.
    let published = |s: f64| {
        let s2 = s * s;
        [
            -1.0530884977290216 * s * (s - 1.329989018975141) * (s2 - 1.4364028541716351 * s + 0.7139816917074209),
            0.1017 * s2 * (s2 - 2.1966568338249754 * s + 1.294985250737463),
            2.490627285651253 * s2 * (s2 - 2.3853564547206165 * s + 1.5780346820809248),
            -16.548102889244902 * (s - 1.2171292729553325) * (s - 0.6162040603780009) * s2,
            47.37952196281928 * (s - 1.2030712083723627) * (s - 0.6580472926535473) * s2,
            -34.87065786149661 * (s - 1.2) * (s - 0.6666666666666666) * s2,
            2.5 * (s - 1.0) * (s - 0.6) * s2,
        ]
    };
    for s in [0.0, 0.1, 0.37, 0.5, 0.9, 1.0] {
        for (i, (a, b)) in weights(&TSIT5, s).iter().zip(published(s)).enumerate() {
            assert!((a - b).abs() < 1e-13, "b_{i} at {s}: {a} {b}");
        }
    }
}

#[test]
fn the_solution_is_continuous_with_its_slope() {
    let field = shared(system::slope);
    for (from, to) in [(0.0, 2.0), (2.0, 0.0)] {
        let solution =
            solve_dense(&field, adaptive(DOPRI5.stepper(), 1e-6), system::solution(from), &grid(from, to, 2));
        let solution = solution.unwrap();
        let steps = solution.steps();
        assert!(steps.len() > 5);
        assert_eq!((solution.start(), solution.end()), (from, to));
        assert_eq!((steps[0].start(), steps[steps.len() - 1].end()), (from, to));
        for pair in steps.windows(2) {
            let t = pair[0].end();
            assert_eq!(pair[1].start(), t);
            assert_eq!(pair[0].at(t), pair[1].at(t));
            assert_eq!(solution.at(t).unwrap(), pair[0].at(t));
            // Slopes from both sides, by second-order one-sided differences.
            let h = 1e-5 * (to - from).signum();
            let exact = system::slope(pair[0].at(t), t);
            for (step, h) in [(&pair[0], -h), (&pair[1], h)] {
                let (x0, x1, x2) = (step.at(t), step.at(t + h), step.at(t + 2.0 * h));
                for i in 0..2 {
                    let slope = (4.0 * x1[i] - 3.0 * x0[i] - x2[i]) / (2.0 * h);
                    assert!((slope - exact[i]).abs() < 1e-6, "{slope} {}", exact[i]);
                }
            }
        }
        assert_eq!(solution.at(from).unwrap(), system::solution(from));
        assert_eq!(
            solution.at(to).unwrap(),
            solve(&field, adaptive(DOPRI5.stepper(), 1e-6), system::solution(from), &grid(from, to, 2)).unwrap()
        );
    }
}

#[test]
fn times_outside_are_errors() {
    let field = shared(|x: f64, _t: f64| -x);
    for (from, to) in [(0.0, 1.0), (1.0, 0.0)] {
        let solution = solve_dense(&field, RK4.stepper(), 1.0, &grid(from, to, 4)).unwrap();
        for t in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(matches!(solution.at(t), Err(SolveError::OutsideSpan { start, .. }) if start == from), "{t}");
            let saved = save_at(&field, RK4.stepper(), 1.0, &grid(from, to, 4), &[0.5, t]).map(|_| ());
            assert!(matches!(saved, Err(SolveError::OutsideSpan { .. })), "{t}");
        }
    }
    let error = save_at(&field, RK4.stepper(), 1.0, &grid(0.0, 1.0, 4), &[0.2, 0.5, 0.4]).map(|_| ()).unwrap_err();
    assert!(matches!(error, SolveError::SaveOrder { index: 2, before: 0.5, after: 0.4 }), "{error}");
    // A field that breaks ends the items after one error.
    let breaks = shared(|x: f64, t: f64| if t > 0.6 { f64::NAN } else { -x });
    let g = grid(0.0, 1.0, 4);
    let items: Vec<_> = save_at(&breaks, RK4.stepper(), 1.0, &g, &[0.1, 0.3, 0.7, 0.9]).unwrap().collect();
    assert!(items.len() == 3 && items[1].is_ok() && matches!(items[2], Err(SolveError::NotFinite { .. })), "{items:?}");
}

#[test]
fn evaluations_are_those_of_the_method_and_what_the_interpolant_needs() {
    let g = grid(0.0, 2.0, 10);
    let count = |run: &dyn Fn(&Counted<advect_solvers::Shared<fn([f64; 2], f64) -> [f64; 2]>>)| {
        let field = Counted::new(shared(system::slope as fn([f64; 2], f64) -> [f64; 2]));
        run(&field);
        field.calls()
    };
    let start = system::solution(0.0);
    let alone = count(&|f| assert!(solve(f, adaptive(DOPRI5.stepper(), 1e-6), start, &g).is_ok()));
    let dense = count(&|f| drop(solve_dense(f, adaptive(DOPRI5.stepper(), 1e-6), start, &g).unwrap()));
    assert_eq!(alone, dense);
    assert_eq!(count(&|f| drop(solve_dense(f, RK4.stepper(), start, &g).unwrap())), 41);
    assert_eq!(count(&|f| drop(solve_dense(f, Hermite::new(RK4.stepper()), start, &g).unwrap())), 51);
    assert_eq!(count(&|f| drop(solve_dense(f, HEUN_EULER.stepper(), start, &g).unwrap())), 21);
    // Looking into two steps costs one each; the solve goes no further than it is asked.
    let saved =
        |times: &[f64]| count(&|f| assert!(save_at(f, RK4.stepper(), start, &g, times).unwrap().all(|x| x.is_ok())));
    assert_eq!(saved(&[0.2, 0.4, 2.0]), 40);
    assert_eq!(saved(&[0.1, 0.11, 0.2, 0.3, 2.0]), 42);
    assert_eq!(saved(&[0.5]), 13);
    assert_eq!(saved(&[]), 0);
    assert_eq!(saved(&[0.0, 0.0]), 0);
}

#[test]
fn saving_does_not_shorten_steps() {
    let field = shared(system::slope);
    for (from, to) in [(0.0, 2.0), (2.0, 0.0)] {
        let g = grid(from, to, 1);
        let times: Vec<f64> = (0..=40).map(|i| from + (to - from) * f64::from(i) / 40.0).collect();
        let mut stepper = adaptive(DOPRI5.stepper(), 1e-8);
        let saved = save_at(&field, &mut stepper, system::solution(from), &g, &times).unwrap();
        let saved: Vec<_> = saved.collect::<Result<_, _>>().unwrap();
        let mut alone = adaptive(DOPRI5.stepper(), 1e-8);
        let end = solve(&field, &mut alone, system::solution(from), &g).unwrap();
        assert_eq!(stepper.accepted(), alone.accepted());
        let dense = solve_dense(&field, adaptive(DOPRI5.stepper(), 1e-8), system::solution(from), &g).unwrap();
        assert_eq!(saved.iter().map(|(t, _)| *t).collect::<Vec<_>>(), times);
        for (t, x) in &saved {
            let exact = system::solution(*t);
            assert!((x[0] - exact[0]).hypot(x[1] - exact[1]) < 1e-6, "{t}");
            assert_eq!(*x, dense.at(*t).unwrap());
        }
        assert_eq!(saved[40].1, end);
    }
}

#[test]
fn tensors_and_pairs_give_what_numbers_give() {
    let tensor = |values: [f64; 2]| Tensor::<1>::from_data(TensorData::from(values), (&Device::flex(), DType::F64));
    let read = |x: Tensor<1>| x.try_into_vec_as::<f64>().unwrap();
    let on_tensor = |x: Tensor<1>, t: &Times| x.clone() * x * (-2.0 * t.at(0));
    let on_array = shared(|x: [f64; 2], t: f64| x.map(|x| scalar::slope(x, t)));
    let on_pair = shared(|(x, y): (f64, Vec<f64>), t: f64| (scalar::slope(x, t), vec![scalar::slope(y[0], t)]));
    let g = grid(1.0, 0.0, 3);
    let a = solve_dense(&on_array, adaptive(DOPRI5.stepper(), 1e-7), [0.4, 0.2], &g).unwrap();
    let b = solve_dense(&on_tensor, adaptive(DOPRI5.stepper(), 1e-7), tensor([0.4, 0.2]), &g).unwrap();
    let c = solve_dense(&on_pair, adaptive(DOPRI5.stepper(), 1e-7), (0.4, vec![0.2]), &g).unwrap();
    let d = solve_dense(&on_tensor, RK4.stepper(), tensor([0.4, 0.2]), &g).unwrap();
    let e = solve_dense(&on_array, RK4.stepper(), [0.4, 0.2], &g).unwrap();
    for t in [1.0, 0.95, 0.6, 1.0 / 3.0, 0.01] {
        let (a, b, c) = (a.at(t).unwrap(), read(b.at(t).unwrap()), c.at(t).unwrap());
        let (d, e) = (read(d.at(t).unwrap()), e.at(t).unwrap());
        for i in 0..2 {
            assert!((a[i] - b[i]).abs() < 1e-14 && (d[i] - e[i]).abs() < 1e-14, "{t}: {a:?} {b:?} {d:?} {e:?}");
        }
        // The norm of a pair is the larger, so its steps are a little shorter.
        assert!((a[0] - c.0).abs() < 1e-6 && (a[1] - c.1[0]).abs() < 1e-6);
    }
}

#[test]
fn rows_at_their_own_times_are_refused() {
    let field = unconditional(|x: Vec<f64>, _t: &Times| x.iter().map(|x| -x).collect());
    let rows = AdaptiveRows::new(DOPRI5.stepper(), Tolerance::new(1e-3, 1e-3).unwrap(), PiController::standard());
    let error = solve_dense(&field, Hermite::new(rows), vec![1.0, 2.0], &grid(0.0, 1.0, 2)).map(|_| ()).unwrap_err();
    assert!(matches!(error, SolveError::RowTimes { rows: 2 }), "{error}");
}
