//! The path by config keys: what trains, what samples, and what is refused before training.

use crate::{Bench, DIGITS, MOONS, npy};

/// Trains the moons a little with these settings and draws some samples.
fn trains(bench: &Bench, run: &str, settings: &str) -> Vec<f32> {
    let command = MOONS.replace("--run run", &format!("--run {run}"));
    let settings: String = settings.split_whitespace().flat_map(|key| [" --set path.", key]).collect();
    bench.ok(&format!("{command} --quiet --set model.hidden=16{settings}"));
    bench.ok(&format!("sample {run} --count 20 --out {run}.npy --quiet"));
    let (values, _) = npy(&bench.path(&format!("{run}.npy")));
    assert!(values.iter().all(|value| value.is_finite()), "{settings}: {values:?}");
    values
}

#[test]
fn every_key_of_the_path_trains_and_samples() {
    let bench = Bench::new();
    for (index, settings) in [
        "coupling=exact-ot times=mode",
        "coupling=sinkhorn weighting=none",
        "coupling=sinkhorn coupling_epsilon=0.5 times=stratified",
        "coupling=immiscible weighting=v times=cosine",
        "weighting=cos-map times=log-normal-sigma times_mean=-1.2 times_std=1.2",
        "weighting=likelihood times_clip=0.01",
        "weighting=sigma-sqrt times_clip=0.01 schedule=sigma-min",
        "prediction=v schedule=cosine weighting=none",
        "prediction=v weighting=min-snr times_clip=0.01",
        "prediction=data weighting=soft-min-snr schedule=sigma-min",
        "schedule=ve prediction=noise weighting=noise sigma_max=10",
        "schedule=edm prediction=data weighting=edm",
        "schedule=edm prediction=data weighting=edm preconditioning=edm data_std=1.3",
        "schedule=ve prediction=data preconditioning=edm weighting=edm times=log-normal-sigma times_mean=-1.2 times_std=1.2",
    ]
    .iter()
    .enumerate()
    {
        trains(&bench, &format!("r{index}"), settings);
    }
}

#[test]
fn a_coupling_changes_what_is_learned_and_the_defaults_do_not() {
    let bench = Bench::new();
    trains(&bench, "plain", "");
    trains(&bench, "named", "coupling=independent weighting=velocity");
    trains(&bench, "ot", "coupling=exact-ot");
    let weights = |run: &str| bench.bytes(&format!("{run}/model.safetensors"));
    assert_eq!(weights("plain"), weights("named"));
    assert_ne!(weights("plain"), weights("ot"));
    // Optimal pairs are nearer to each other, so that the velocities that are left to explain are smaller.
    let loss = |coupling: &str| {
        let run = format!("--run {coupling}");
        let said = bench.ok(&format!("{MOONS} --json --set path.coupling={coupling}").replace("--run run", &run));
        let done: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        done["validation_loss"].as_f64().unwrap()
    };
    let (optimal, independent) = (loss("exact-ot"), loss("independent"));
    assert!(optimal < 0.7 * independent, "{optimal} with optimal transport, {independent} without");
}

#[test]
fn noise_levels_above_one_are_where_sampling_starts() {
    let bench = Bench::new();
    // An untrained velocity of nearly zero leaves the samples where they start.
    let size = |run: &str, settings: &str| {
        let values = trains(&bench, run, settings);
        values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32
    };
    let large = size("large", "schedule=ve prediction=noise weighting=noise sigma_min=9.9 sigma_max=10");
    let small = size("small", "schedule=sigma-min");
    // Normal numbers times 10, 40 of them: the standard error of the mean square is 22.
    assert!((12.0..=188.0).contains(&large), "{large}");
    assert!(small < 9.0, "{small}");
}

#[test]
fn runs_of_older_versions_still_load() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet"));
    let config = bench.text("run/config.toml");
    let new = ["weighting", "coupling", "preconditioning"];
    let old: Vec<&str> = config.lines().filter(|line| !new.iter().any(|key| line.starts_with(key))).collect();
    assert_eq!(old.len() + new.len(), config.lines().count(), "{config}");
    bench.ok("sample run --count 5 --out new.npy");
    std::fs::write(bench.path("run/config.toml"), old.join("\n") + "\n").unwrap();
    bench.ok("sample run --count 5 --out old.npy");
    assert_eq!(bench.bytes("new.npy"), bench.bytes("old.npy"));
    bench.ok("train --run run --resume --steps 25 --quiet");
}

#[test]
fn wrong_combinations_are_refused_before_training() {
    let bench = Bench::new();
    for (settings, parts) in [
        ("--set path.prediction=score --set path.coupling=exact-ot", ["no score to learn", "Gaussian and independent"]),
        ("--set path.prediction=score --set path.coupling=immiscible", ["Gaussian and independent", "score"]),
        ("--set path.prediction=score --set path.coupling=sinkhorn", ["Gaussian and independent", "score"]),
        ("--set sample.solver=ancestral --set path.coupling=exact-ot", ["ancestral adds noise", "independent"]),
        ("--set sample.solver=shark --set path.coupling=immiscible", ["shark adds noise", "independent"]),
        ("--set path.preconditioning=edm", ["path.preconditioning", "path.prediction = \"data\""]),
        ("--set path.preconditioning=edm --set path.prediction=data", ["every time", "path.schedule"]),
        (
            "--set path.preconditioning=edm --set path.prediction=data --set path.schedule=edm --set path.data_std=0",
            ["data_std", "> 0"],
        ),
        ("--set path.coupling=class-wise-ot", ["class-wise-ot", "model.classes"]),
        ("--set path.schedule=edm --set path.sigma_min=0", ["infinite", "t = 1"]),
        ("--set path.schedule=ve --set path.sigma_min=0", ["sigma_min", "above 0"]),
        ("--set path.weighting=likelihood", ["infinite", "t = 1"]),
        ("--set path.prediction=data --set path.weighting=noise", ["infinite", "t = 1"]),
        ("--set path.prediction=v --set path.schedule=vp", ["infinite", "t = 1"]),
        ("--set path.sigma_max=3", ["path.sigma_max", "ve and edm"]),
        ("--set path.coupling_epsilon=3", ["path.coupling_epsilon", "sinkhorn"]),
        ("--set path.coupling=sinkhorn --set path.coupling_epsilon=-1", ["epsilon", "positive"]),
        ("--set path.coupling=exact-to", ["exact-to", "exact-ot"]),
        ("--set path.weighting=min-snrr", ["min-snrr", "min-snr"]),
    ] {
        let said = bench.fails(2, &format!("{MOONS} {settings}"));
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in parts {
            assert!(said.contains(part), "{settings}: `{part}` is missing in {said}");
        }
        assert!(!bench.path("run").exists(), "{settings} left something behind");
    }
}

#[test]
fn stochastic_samplers_of_a_coupled_run_are_refused_with_the_reason() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet --set path.coupling=exact-ot"));
    for solver in ["euler-maruyama", "sra1", "ancestral", "seeds-2", "edm-churn"] {
        let said = bench.fails(2, &format!("sample run --solver {solver} --out s.npy"));
        assert!(said.contains(&format!("{solver} adds noise and needs the score")) && said.contains("OT"), "{said}");
    }
    // What reads the velocity or the data prediction alone is true under every coupling.
    for solver in ["heun", "dopri5", "ddim", "dpm-solver-pp-2m"] {
        bench.ok(&format!("sample run --solver {solver} --count 4 --out s.npy --quiet"));
    }
}

#[test]
fn classes_follow_their_data_through_a_coupling() {
    let bench = Bench::new();
    for coupling in ["class-wise-ot", "exact-ot", "sinkhorn"] {
        let command = DIGITS.replace("--run run", &format!("--run {coupling}"));
        bench.ok(&format!("{command} --quiet --set path.coupling={coupling}"));
        let solver = "--solver dpm-solver-pp-2m --steps 3 --guidance 2";
        bench.ok(&format!("sample {coupling} --class 3 --count 2 {solver} --out s.npy --quiet"));
    }
}

#[test]
fn preconditioning_is_what_makes_large_noise_learnable() {
    let bench = Bench::new();
    let path =
        "schedule=edm prediction=data weighting=edm times=log-normal-sigma times_mean=-0.4 times_std=1.4 data_std=1.4";
    let settings: String = path.split_whitespace().flat_map(|key| [" --set path.", key]).collect();
    // The held-out loss of both is that of their data prediction, weighted alike: 1 for one that says nothing.
    let loss = |run: &str, more: &str| {
        let command = MOONS.replace("--run run", &format!("--run {run}")).replace("--steps 20", "--steps 300");
        let said = bench.ok(&format!("{command} --json --set model.hidden=32{settings}{more}"));
        let done: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        (done["validation_loss"].as_f64().unwrap(), said)
    };
    let (scaled, quiet) = loss("scaled", " --set path.preconditioning=edm");
    let (raw, warned) = loss("raw", "");
    assert!(scaled < 1.0 && raw > 1.25 * scaled, "{scaled} scaled, {raw} as it is");
    assert!(warned.contains("as large as the noise") && !quiet.contains("warning"), "{warned}");
    // Samples come from noise of size 80 to that of the data, whose mean square is 2.0: by the geometry of the
    // moons.
    let size = |run: &str| {
        bench.ok(&format!("sample {run} --count 200 --steps 60 --out {run}.npy --quiet"));
        let (values, _) = npy(&bench.path(&format!("{run}.npy")));
        values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32
    };
    let found = size("scaled");
    assert!((1.5..2.6).contains(&found), "{found}; losses {scaled} and {raw}");
}

#[test]
fn classes_under_plain_transport_are_warned_of() {
    let bench = Bench::new();
    for (coupling, warned) in [("exact-ot", true), ("class-wise-ot", false), ("independent", false)] {
        let command = DIGITS.replace("--run run", &format!("--run {coupling}"));
        let said = bench.ok(&format!("{command} --set path.coupling={coupling}"));
        assert_eq!(said.contains("path.coupling = \"class-wise-ot\" has no such bias"), warned, "{said}");
    }
}
