//! Times, grids and tolerances.

use advect_core::{CoreError, TimeGrid, Times, Tolerance};
use burn::tensor::Device;

const fn shared(t: f64) -> Times {
    Times::Shared(t)
}

fn each(times: &[f64]) -> Times {
    Times::Each(times.to_vec())
}

#[test]
fn reached_is_a_table() {
    let table = [
        (shared(1.0), shared(1.0), true),
        (shared(0.5), shared(1.0), false),
        (each(&[1.0, 1.0]), shared(1.0), true),
        (each(&[1.0, 0.5]), shared(1.0), false),
        (shared(1.0), each(&[1.0, 1.0]), true),
        (shared(1.0), each(&[1.0, 2.0]), false),
        (each(&[1.0, 2.0]), each(&[1.0, 2.0]), true),
        (each(&[1.0, 2.0]), each(&[2.0, 1.0]), false),
        // No rows have all arrived.
        (each(&[]), shared(1.0), true),
        // Zero has one time, not two; NaN never arrives.
        (shared(-0.0), shared(0.0), true),
        (shared(f64::NAN), shared(f64::NAN), false),
        (each(&[f64::NAN]), each(&[f64::NAN]), false),
    ];
    for (at, to, reached) in table {
        assert_eq!(at.reached(&to), reached, "{at} reached {to}");
    }
}

#[test]
fn zip_is_row_by_row() {
    let minus = |a: f64, b: f64| b - a;
    assert_eq!(shared(1.0).zip(&shared(3.0), minus), shared(2.0));
    assert_eq!(each(&[1.0, 2.0]).zip(&shared(3.0), minus), each(&[2.0, 1.0]));
    assert_eq!(shared(1.0).zip(&each(&[3.0, 4.0]), minus), each(&[2.0, 3.0]));
    assert_eq!(each(&[1.0, 2.0]).zip(&each(&[3.0, 5.0]), minus), each(&[2.0, 3.0]));
}

#[test]
fn rows_of_times() {
    let t = each(&[0.1, 0.2, 0.3]);
    assert_eq!((t.at(1), shared(0.5).at(7)), (0.2, 0.5));
    assert_eq!(t.select(&[2, 0, 2]), each(&[0.3, 0.1, 0.3]));
    assert_eq!(shared(0.5).select(&[2, 0]), shared(0.5));
    assert_eq!(shared(0.5).to_vec(3), [0.5; 3]);
    assert_eq!(t.to_vec(3), [0.1, 0.2, 0.3]);
    assert_eq!((t.range(), shared(0.5).range()), ((0.1, 0.3), (0.5, 0.5)));
    assert_eq!(t.map(|t| t * 2.0), each(&[0.2, 0.4, 0.6]));
    assert_eq!((t.to_string(), shared(0.5).to_string()), ("t in [0.1, 0.3] (3 rows)".into(), "t = 0.5".into()));
}

#[test]
fn times_become_a_tensor_of_rows() {
    let device = Device::flex();
    for (times, expected) in [(each(&[0.25, 0.5]), vec![0.25_f32, 0.5]), (shared(0.75), vec![0.75; 2])] {
        let tensor = times.tensor(2, &device);
        assert_eq!(tensor.dims(), [2]);
        assert_eq!(tensor.try_into_vec_as::<f32>().unwrap(), expected);
    }
}

#[test]
fn grids_are_checked() {
    use CoreError::{GridNotFinite, GridNotMonotone, GridTooShort};
    assert_eq!(TimeGrid::new(vec![]), Err(GridTooShort { points: 0 }));
    assert_eq!(TimeGrid::new(vec![1.0]), Err(GridTooShort { points: 1 }));
    assert_eq!(TimeGrid::uniform(0.0, 1.0, 0), Err(GridTooShort { points: 1 }));
    assert!(matches!(TimeGrid::new(vec![0.0, f64::NAN]), Err(GridNotFinite { index: 1, value }) if value.is_nan()));
    assert_eq!(TimeGrid::new(vec![f64::INFINITY, 1.0]), Err(GridNotFinite { index: 0, value: f64::INFINITY }));
    assert_eq!(TimeGrid::new(vec![0.0, 0.0]), Err(GridNotMonotone { index: 0, before: 0.0, after: 0.0 }));
    assert_eq!(TimeGrid::new(vec![0.0, 1.0, 0.5]), Err(GridNotMonotone { index: 1, before: 1.0, after: 0.5 }));
    assert_eq!(TimeGrid::new(vec![1.0, 0.5, 0.5]), Err(GridNotMonotone { index: 1, before: 0.5, after: 0.5 }));
    assert_eq!(TimeGrid::uniform(1.0, 1.0, 2), Err(GridNotMonotone { index: 0, before: 1.0, after: 1.0 }));
    // So fine that neighbours coincide.
    assert!(TimeGrid::uniform(1.0, 1.0 + f64::EPSILON, 2).is_err());
    let message = TimeGrid::new(vec![0.0, 1.0, 0.5]).unwrap_err().to_string();
    assert_eq!(message, "time grid points 1 and 2 are 1 and 0.5: the grid must run strictly up or strictly down");
}

#[test]
fn grids_meet_their_ends() {
    let grid = TimeGrid::uniform(0.1, 0.3, 3).unwrap();
    assert_eq!((grid.start(), grid.end(), grid.steps(), grid.points().len()), (0.1, 0.3, 3, 4));
    let down = TimeGrid::uniform(1.0, 0.0, 4).unwrap();
    assert_eq!(down.points(), [1.0, 0.75, 0.5, 0.25, 0.0]);
    assert_eq!(TimeGrid::new(vec![1.0, 0.9, -2.0]).unwrap().steps(), 2);
}

#[test]
fn tolerances_are_checked() {
    let tolerance = Tolerance::new(1e-3, 1e-6).unwrap();
    assert_eq!((tolerance.rtol(), tolerance.atol()), (1e-3, 1e-6));
    // atol + rtol max(|before|, |after|).
    assert!((tolerance.scale(-2.0, 1.0) - 0.002_001).abs() < 1e-18);
    assert!((tolerance.scale(1.0, 4.0) - 0.004_001).abs() < 1e-18);
    assert!(Tolerance::new(0.0, 1e-6).is_ok() && Tolerance::new(1e-3, 0.0).is_ok());
    for (rtol, atol) in [(0.0, 0.0), (-1e-3, 1e-6), (1e-3, -1e-6), (f64::NAN, 1e-6), (1e-3, f64::INFINITY)] {
        let error = Tolerance::new(rtol, atol).unwrap_err();
        assert!(matches!(error, CoreError::Tolerance { .. }) && error.to_string().contains("must be finite"));
    }
}
