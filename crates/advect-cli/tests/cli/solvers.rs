//! The one list of solvers: every name draws samples, and noise on the way belongs to the sample.

use crate::{Bench, MOONS, npy};

/// A moons run that has learned where the moons are: some seconds.
const LEARNED: &str = "train --preset moons --run run --steps 1500 --set train.batch=256 --set model.hidden=64 \
     --set train.warmup=20 --set train.learning_rate=4e-3 --set train.ema=0.98 --set train.checkpoint_every=2000 \
     --quiet";

/// The distance of a point to the two half circles.
fn distance(x: f32, y: f32) -> f32 {
    let arc = |x: f32, y: f32| {
        if y >= 0.0 { (x.hypot(y) - 1.0).abs() } else { (x.abs() - 1.0).hypot(y) }
    };
    let (x, y) = (x / 2.0 + 0.5, y / 2.0 + 0.25);
    // The second moon is the first, turned round and moved.
    2.0 * arc(x, y).min(arc(1.0 - x, 0.5 - y))
}

fn names(bench: &Bench) -> Vec<String> {
    let text = bench.ok("solvers --json");
    let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_solver_of_the_list_draws_the_moons() {
    let bench = Bench::new();
    bench.ok(LEARNED);
    let names = names(&bench);
    for old in ["euler", "midpoint", "heun", "rk4", "dopri5"] {
        assert!(names.iter().any(|name| name == old), "{old} is gone");
    }
    assert!(names.len() > 40, "{names:?}");
    let mut far = Vec::new();
    for name in &names {
        bench.ok(&format!("sample run --solver {name} --steps 12 --count 100 --out s.npy --quiet"));
        let (values, _) = npy(&bench.path("s.npy"));
        assert_eq!(values.len(), 200);
        assert!(values.iter().all(|value| value.is_finite()), "{name}: {values:?}");
        let mean = values.chunks_exact(2).map(|point| distance(point[0], point[1])).sum::<f32>() / 100.0;
        // An exact flow ends 0.08 away (the noise of the data), normal numbers are 0.456 away.
        if mean > 0.2 {
            far.push((name, mean));
        }
    }
    assert!(far.is_empty(), "mean distances to the moons: {far:?}");
}

#[test]
fn noise_on_the_way_belongs_to_the_sample() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet"));
    let draw = |more: &str| {
        bench.ok(&format!("sample run --steps 6 --out s.npy --quiet {more}"));
        npy(&bench.path("s.npy")).0
    };
    for solver in ["euler-maruyama", "shark", "ancestral", "sde-dpm-solver-pp-2m"] {
        let whole = draw(&format!("--solver {solver} --count 10 --seed 5"));
        for other in ["--count 10 --batch 3", "--count 10 --batch 1", "--count 4"] {
            let parts = draw(&format!("--solver {solver} --seed 5 {other}"));
            let worst = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{solver} {other}: samples differ by {worst}");
        }
        assert_ne!(whole, draw(&format!("--solver {solver} --count 10 --seed 6")));
    }
    // Without noise on the way these would be the samples of another seed's Euler.
    assert_ne!(draw("--solver ancestral --count 10 --seed 5"), draw("--solver ddim --count 10 --seed 5"));
}

#[test]
fn evaluations_are_those_of_the_table() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet"));
    for (solver, evaluations) in [("euler", 8.0), ("ddim", 8.0), ("dpm-solver-pp-2m", 8.0), ("euler-maruyama", 8.0)] {
        let said = bench.ok(&format!("sample run --solver {solver} --steps 8 --count 5 --out s.npy --json"));
        let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        assert_eq!(last["evaluations"], evaluations, "{solver}");
    }
    // Under step control a tighter tolerance costs more.
    let cost = |solver: &str, tolerance: &str| {
        let said = bench.ok(&format!(
            "sample run --solver {solver} --rtol {tolerance} --atol {tolerance} --count 5 --out s.npy --json"
        ));
        let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        last["evaluations"].as_f64().unwrap()
    };
    for solver in ["bosh3", "dopri5", "tsit5", "dopri8"] {
        assert!(cost(solver, "1e-6") > cost(solver, "1e-2"), "{solver}");
    }
}

#[test]
fn a_table_says_when_to_use_what() {
    let bench = Bench::new();
    let said = bench.ok("solvers");
    for part in ["solver", "evaluations", "dpm-solver-pp-2m", "diffusion SDE", "under step control"] {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
    assert_eq!(said.lines().count(), names(&bench).len() + 1);
}

#[test]
fn an_unknown_solver_is_wrong_usage_everywhere() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet"));
    let said = bench.fails(2, "sample run --solver dpm-solver-pp-2n --out s.npy");
    assert!(said.contains("dpm-solver-pp-2m") && said.contains("advect solvers"), "{said}");
    let said = bench.fails(2, "train --preset moons --run new --set sample.solver=hoin");
    assert!(said.contains("unknown solver `hoin`: did you mean `heun`?"), "{said}");
    // Every name is a setting, and it is the run's own.
    bench.ok(&format!("{MOONS} --quiet --set sample.solver=uni-pc-2").replace("--run run", "--run other"));
    assert!(bench.text("other/config.toml").contains("solver = \"uni-pc-2\""));
    bench.ok("sample other --count 3 --out s.npy");
}
