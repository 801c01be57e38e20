//! The one list of grids: every name places the steps, and is a setting.

use crate::{Bench, MOONS, npy};

fn names(bench: &Bench) -> Vec<String> {
    let text = bench.ok("grids --json");
    let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_grid_of_the_list_draws_its_own_samples() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet"));
    let names = names(&bench);
    assert!(names.len() >= 9 && names[0] == "uniform", "{names:?}");
    assert_eq!(bench.ok("grids").lines().count(), names.len() + 1);
    let draw = |more: &str| {
        let said =
            bench.ok(&format!("sample run --solver dpm-solver-pp-2m --steps 5 --count 8 --out s.npy --json {more}"));
        let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        // A step is an evaluation, whatever the grid.
        assert_eq!(last["evaluations"], 5.0, "{more}");
        npy(&bench.path("s.npy")).0
    };
    let all: Vec<Vec<f32>> = names.iter().map(|name| draw(&format!("--grid {name}"))).collect();
    assert_eq!(all[0], draw(""), "without a name the steps are equal");
    for (i, samples) in all.iter().enumerate() {
        assert!(samples.iter().all(|value| value.is_finite()), "{}", names[i]);
        for (j, others) in all.iter().enumerate().skip(i + 1) {
            assert_ne!(samples, others, "{} {}", names[i], names[j]);
        }
    }
}

#[test]
fn a_grid_is_a_setting_of_the_run() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet --set sample.grid=karras"));
    assert!(bench.text("run/config.toml").contains("grid = \"karras\""));
    let draw = |more: &str| {
        bench.ok(&format!("sample run --steps 5 --count 4 --out s.npy --quiet {more}"));
        npy(&bench.path("s.npy")).0
    };
    assert_eq!(draw(""), draw("--grid karras"));
    assert_ne!(draw(""), draw("--grid uniform"));
    // A run of before has no such key: equal steps.
    let config = bench.text("run/config.toml").replace("grid = \"karras\"\n", "");
    std::fs::write(bench.path("run/config.toml"), config).unwrap();
    assert_eq!(draw(""), draw("--grid uniform"));
}

#[test]
fn grids_that_do_not_fit_are_wrong_usage() {
    let bench = Bench::new();
    let said = bench.fails(2, "train --preset moons --run new --set sample.grid=karas");
    assert!(said.contains("unknown grid `karas`: did you mean `karras`?"), "{said}");
    // Points of the grid lie beyond the end of sampling: said before the training.
    let said = bench.fails(2, "train --preset moons --run new --set sample.grid=karras --set sample.end=0.5");
    assert!(said.contains("`karras` does not fit") && said.contains("t = 0.5"), "{said}");
    assert!(!bench.path("new").exists());
    bench.ok(&format!("{MOONS} --quiet"));
    let said = bench.fails(2, "sample run --grid karas --out s.npy");
    assert!(said.contains("karras") && said.contains("advect grids"), "{said}");
    let said = bench.fails(2, "sample run --solver dopri5 --grid karras --out s.npy");
    assert!(said.contains("chooses its own"), "{said}");
    bench.ok("sample run --solver dopri5 --grid karras --steps 4 --count 2 --out s.npy");
}
