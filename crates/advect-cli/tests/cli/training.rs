use crate::{Bench, DIGITS, MOONS};

#[test]
fn a_run_holds_what_it_promises_and_says_so() {
    let bench = Bench::new();
    let said = bench.ok(DIGITS);
    let files = [
        "samples.png",
        "flow.gif",
        "loss.svg",
        "model.safetensors",
        "ema.safetensors",
        "optimizer.safetensors",
        "config.toml",
        "state.json",
    ];
    for file in files {
        assert!(bench.path("run").join(file).exists(), "{file} is missing");
        assert!(said.contains(file), "{file} is not announced: {said}");
    }
    assert!(said.contains("device: flex") && said.contains("--device"), "{said}");
    assert!(said.contains("advect sample run --class 7"), "the next command to try: {said}");
    assert!(!said.contains('\u{1b}'), "control codes in a pipe: {said:?}");
    let plot = bench.text("run/loss.svg");
    assert!(plot.contains("training step") && plot.contains("model units"), "the plot has axes with units");
    // Ten rows of ten digits, eight pixels each, enlarged.
    let picture = image::open(bench.path("run/samples.png")).unwrap().to_luma8();
    assert_eq!((picture.width(), picture.height()), (10 * (8 * 8 + 4) + 4, 10 * (8 * 8 + 4) + 4));
    let nothing_left = std::fs::read_dir(bench.path("run"))
        .unwrap()
        .all(|f| !f.unwrap().file_name().to_string_lossy().ends_with(".next"));
    assert!(nothing_left);
}

#[test]
fn toys_draw_a_scatter_and_trajectories() {
    let bench = Bench::new();
    for (preset, run) in [("moons", "a"), ("checkerboard", "b"), ("eight-gaussians", "c")] {
        bench.ok(&format!(
            "train --preset {preset} --run {run} --steps 3 --set train.batch=32 --set model.hidden=16 --quiet"
        ));
        for file in ["samples.png", "trajectories.png", "flow.gif", "loss.svg"] {
            assert!(bench.path(run).join(file).exists(), "{preset}: {file} is missing");
        }
    }
}

#[test]
fn a_config_file_changes_some_keys_and_set_has_the_last_word() {
    let bench = Bench::new();
    std::fs::write(
        bench.path("my.toml"),
        "preset = \"moons\"\n[train]\nsteps = 5\nbatch = 48\n[path]\nschedule = \"cosine\"\ntimes = \"logit-normal\"\n",
    )
    .unwrap();
    bench.ok("train --config my.toml --run run --set train.batch=32 --set seed=9 --quiet");
    let config = bench.text("run/config.toml");
    for line in
        ["steps = 5", "batch = 32", "schedule = \"cosine\"", "times = \"logit-normal\"", "seed = 9", "hidden = 128"]
    {
        assert!(config.contains(line), "{line} is missing in {config}");
    }
}

#[test]
fn every_prediction_trains_and_samples() {
    let bench = Bench::new();
    for (prediction, more) in [
        ("velocity", ""),
        ("data", "--set sample.end=0.999"),
        ("noise", "--set sample.start=0.001"),
        ("score", "--set sample.start=0.001 --set sample.end=0.999 --set path.times_clip=0.01"),
    ] {
        let run = format!("{MOONS} --quiet --set path.prediction={prediction} {more}")
            .replace("--run run", &format!("--run {prediction}"));
        bench.ok(&run);
        bench.ok(&format!("sample {prediction} --count 4 --out {prediction}.npy"));
        let (values, _) = crate::npy(&bench.path(&format!("{prediction}.npy")));
        assert!(values.iter().all(|v| v.is_finite()), "{prediction}: {values:?}");
    }
    // A singular end is an error that names t and says what to do.
    let said = bench.fails(1, &format!("{MOONS} --set path.prediction=noise").replace("--run run", "--run singular"));
    assert!(said.contains("t = 0"), "{said}");
}

#[test]
fn json_and_quiet_serve_scripts() {
    let bench = Bench::new();
    let said = bench.ok(&format!("{MOONS} --json"));
    let events: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.first().unwrap()["event"], "device");
    let done = events.last().unwrap();
    assert_eq!((&done["event"], &done["steps"]), (&"done".into(), &20.into()));
    assert!(done["validation_loss"].as_f64().unwrap() > 0.0);
    assert_eq!(bench.ok("info run --quiet"), "");
    let info: serde_json::Value = serde_json::from_str(bench.ok("info run --json").trim()).unwrap();
    assert_eq!(info["state"]["step"], 20);
    let weights: serde_json::Value = serde_json::from_str(bench.ok("info run/ema.safetensors --json").trim()).unwrap();
    assert_eq!(weights["numbers"], info["state"]["parameters"]);
    assert_eq!(bench.ok("presets --json").lines().count(), 8);
}

#[test]
fn help_has_examples() {
    let bench = Bench::new();
    for command in ["train", "sample", "import", "info", "presets", "solvers"] {
        let help = bench.ok(&format!("{command} --help"));
        assert!(help.contains("Example") && help.contains(&format!("advect {command}")), "{help}");
    }
}

#[test]
fn one_seed_gives_one_run() {
    let bench = Bench::new();
    for run in ["a", "b"] {
        bench.ok(&format!("{MOONS} --quiet").replace("--run run", &format!("--run {run}")));
    }
    bench.ok(&format!("{MOONS} --seed 1 --quiet").replace("--run run", "--run c"));
    for file in [
        "model.safetensors",
        "ema.safetensors",
        "optimizer.safetensors",
        "loss.svg",
        "samples.png",
        "flow.gif",
        "state.json",
    ] {
        assert_eq!(bench.bytes(&format!("a/{file}")), bench.bytes(&format!("b/{file}")), "{file} differs");
    }
    assert_ne!(bench.bytes("a/model.safetensors"), bench.bytes("c/model.safetensors"));
}

#[test]
fn half_precision_trains_samples_and_is_kept() {
    let bench = Bench::new();
    let losses = |run: &str| {
        let said = bench.ok(&format!("{} --run {run} --json", crate::MOONS.replace("--run run", "")));
        let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        last["validation_loss"].as_f64().unwrap()
    };
    let (full, half) = (losses("full"), losses("half --precision bf16"));
    assert!(full != half && (full - half).abs() < 0.05 * full, "{full} {half}");
    assert!(bench.text("half/config.toml").contains("precision = \"bf16\""));
    assert!(!bench.text("full/config.toml").contains("precision"));
    // Another precision is another run.
    let refused = bench.fails(2, "train --run half --resume --precision f32");
    assert!(refused.contains("--precision"), "{refused}");
    let draw = |more: &str| {
        bench.ok(&format!("sample full --count 50 --out s.npy --quiet {more}"));
        crate::npy(&bench.path("s.npy")).0
    };
    let (full, half) = (draw(""), draw("--precision f16"));
    let worst = full.iter().zip(&half).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst > 0.0 && worst < 0.05, "{worst}");
    assert!(bench.fails(2, "sample full --out s.npy --precision f8").contains("no precision `f8`"));
    let autoencoder = "train --preset mnist-autoencoder --data . --set train.precision=\"bf16\"";
    assert!(bench.fails(2, autoencoder).contains("an autoencoder trains in f32"));
}
