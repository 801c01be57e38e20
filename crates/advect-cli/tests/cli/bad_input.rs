//! Each mistake: one clear sentence, the right exit code, nothing lost.

use crate::{Bench, MOONS};
use std::fs;

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
}

#[test]
fn wrong_usage_is_two_and_names_what_was_meant() {
    let bench = Bench::new();
    says(&bench.fails(2, "train --preset digit"), &["unknown preset `digit`", "did you mean `digits`?"]);
    says(&bench.fails(2, "train --preset moons --set train.stepz=3"), &["train.stepz", "did you mean `train.steps`?"]);
    says(&bench.fails(2, "train --preset moons --set steps=3"), &["did you mean", "`train.steps`", "`sample.steps`"]);
    says(&bench.fails(2, "train --preset moons --set train.steps"), &["key=value"]);
    says(&bench.fails(2, "train --preset moons --set train.batch=0"), &["train.batch = 0", "at least 1"]);
    says(&bench.fails(2, "train --preset moons --set train.ema=1.5"), &["train.ema = 1.5", "0 <= ema < 1"]);
    says(&bench.fails(2, "train --preset moons --set train.learning_rate=nan"), &["train.learning_rate", "> 0"]);
    says(&bench.fails(2, "train --preset moons --set path.schedule=lineer"), &["lineer", "linear"]);
    says(&bench.fails(2, "train --preset moons --set model.input=3"), &["2 coordinates", "model.input = 2"]);
    says(&bench.fails(2, "train --preset digits --set model.groups=7"), &["groups"]);
    says(&bench.fails(2, "train --preset moons --steps 0"), &["--steps", "1..=1000000000000"]);
    says(&bench.fails(2, "train --resume --preset moons --set train.batch=3"), &["--resume"]);
    says(&bench.fails(2, "train --frobnicate"), &["--frobnicate"]);
    assert!(!bench.path("runs").exists(), "wrong usage leaves nothing behind");
}

#[test]
fn a_config_that_is_not_toml_is_named_with_line_and_column() {
    let bench = Bench::new();
    fs::write(bench.path("bad.toml"), "preset = \"moons\"\n[train\nsteps = 3\n").unwrap();
    says(&bench.fails(2, "train --config bad.toml"), &["bad.toml is not TOML", "line 2, column"]);
    fs::write(bench.path("key.toml"), "preset = \"moons\"\n[train]\nbatchs = 3\n").unwrap();
    says(&bench.fails(2, "train --config key.toml"), &["unknown key `train.batchs` in key.toml", "`train.batch`"]);
    fs::write(bench.path("type.toml"), "preset = \"moons\"\n[train]\nbatch = \"many\"\n").unwrap();
    says(&bench.fails(2, "train --config type.toml"), &["batch"]);
    fs::write(bench.path("new.toml"), "format = 99\npreset = \"moons\"\n").unwrap();
    says(&bench.fails(1, "train --config new.toml"), &["format 99", "update advect"]);
    says(&bench.fails(2, "train --config none.toml"), &["cannot read", "none.toml"]);
}

#[test]
fn a_run_is_never_overwritten() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet"));
    let before = bench.bytes("run/model.safetensors");
    says(&bench.fails(1, MOONS), &["already holds a run", "--resume", "--run"]);
    assert_eq!(bench.bytes("run/model.safetensors"), before);
    says(&bench.fails(1, "train --run nowhere --resume"), &["nowhere is not a run folder"]);
    says(&bench.fails(2, "train --run run --resume --steps 5"), &["step 20"]);
}

#[test]
fn damaged_and_foreign_files_are_named() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet"));
    let ema = bench.path("run/ema.safetensors");
    let whole = fs::read(&ema).unwrap();
    fs::write(&ema, &whole[..whole.len() / 2]).unwrap();
    for command in ["sample run --count 2 --out s.npy", "info run", "train --run run --resume --steps 30"] {
        says(&bench.fails(1, command), &["ema.safetensors", "truncated or of another kind"]);
    }
    says(&bench.fails(1, "info run/ema.safetensors"), &["ema.safetensors", "truncated or of another kind"]);
    fs::write(&ema, "hello").unwrap();
    says(&bench.fails(1, "info run/ema.safetensors"), &["ema.safetensors"]);
    // Weights of another model, at the right step.
    bench.ok(&format!("{MOONS} --quiet --set model.hidden=32").replace("--run run", "--run other"));
    fs::copy(bench.path("other/ema.safetensors"), &ema).unwrap();
    says(&bench.fails(1, "sample run --count 2 --out s.npy"), &["does not fit this model", "Of another shape", "[128"]);
    fs::write(&ema, &whole).unwrap();
    let state = bench.text("run/state.json");
    fs::write(bench.path("run/state.json"), state.replace("\"format\": 1", "\"format\": 7")).unwrap();
    says(&bench.fails(1, "sample run --count 2 --out s.npy"), &["format 7", "update advect"]);
    fs::write(bench.path("run/state.json"), "{").unwrap();
    says(&bench.fails(1, "info run"), &["state.json is not a run state"]);
    fs::write(bench.path("run/state.json"), state).unwrap();
    bench.ok("sample run --count 2 --out s.npy");
}

#[test]
fn sampling_mistakes_are_named_before_any_work() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet"));
    says(&bench.fails(1, "sample nowhere --out s.npy"), &["nowhere is not a run folder"]);
    says(&bench.fails(2, "sample run --out s.jpeg"), &[".png, .gif, .npy, .npz or .safetensors"]);
    says(&bench.fails(2, "sample run --class 1 --out s.npy"), &["no classes"]);
    says(&bench.fails(2, "sample run --guidance 2 --out s.npy"), &["nothing to guide"]);
    says(&bench.fails(2, "sample run --steps 0 --out s.npy"), &["--steps", "at least 1"]);
    says(&bench.fails(2, "sample run --count 0 --out s.npy"), &["--count", "at least 1"]);
    says(&bench.fails(2, "sample run --solver heun --rtol 1e-3 --out s.npy"), &["dopri5", "--steps"]);
    says(&bench.fails(2, "sample run --solver dopri5 --rtol -1 --out s.npy"), &["rtol = -1"]);
    says(&bench.fails(2, "sample run --solver rk5 --out s.npy"), &["rk5", "rk4"]);
    says(&bench.fails(1, "sample run --out nowhere/s.npy"), &["cannot write nowhere/s.npy"]);
    fs::write(bench.path("kept.npy"), "kept").unwrap();
    fs::write(bench.path("file"), "").unwrap();
    says(&bench.fails(1, "sample run --out file/s.npy"), &["cannot write file/s.npy"]);
    says(&bench.fails(1, &MOONS.replace("--run run", "--run file/run")), &["file/run"]);
    says(&bench.fails(1, "info none"), &["none does not exist"]);
}

#[test]
fn a_class_beyond_the_model_is_named() {
    let bench = Bench::new();
    bench.ok(&format!("{} --quiet", crate::DIGITS));
    says(&bench.fails(2, "sample run --class 10 --out s.npy"), &["class 10", "0 to 9"]);
    says(&bench.fails(2, "sample run --class 1 --classes all --out s.npy"), &["cannot be used with"]);
}

#[test]
fn a_loss_that_becomes_nan_stops_the_run_and_keeps_the_last_checkpoint() {
    let bench = Bench::new();
    let said = bench.fails(
        1,
        &format!("{MOONS} --set train.learning_rate=1e30 --set train.warmup=0 --set train.checkpoint_every=1"),
    );
    says(&said, &["became", "at step", "last good checkpoint is in run"]);
    let state: serde_json::Value = serde_json::from_str(&bench.text("run/state.json")).unwrap();
    let step = state["step"].as_u64().unwrap();
    says(&said, &[&format!("at step {step}")]);
    bench.ok("info run");
}

#[test]
fn devices_are_listed_with_what_is_missing() {
    let bench = Bench::new();
    let said = bench.ok("devices");
    says(&said, &["flex", "processor", "f32 f16 bf16 f64"]);
    let lines = bench.ok("devices --json");
    let rows: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.iter().any(|row| row["name"] == "flex" && row["dtypes"][0] == "f32"), "{lines}");
    if !cfg!(feature = "rocm") {
        says(&said, &["not compiled in", "rocm", "--features"]);
        assert!(
            rows.iter().any(|row| row["missing"].as_array().is_some_and(|m| m.contains(&"rocm".into()))),
            "{lines}"
        );
    }
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let bench = Bench::new();
    says(&bench.fails(2, "train --preset moons --device tpu"), &["no device `tpu`", "flex"]);
    if !cfg!(feature = "cuda") {
        says(&bench.fails(2, "train --preset moons --device cuda"), &["not compiled in", "--features cuda"]);
        let out = bench.command("train --preset moons").env("BURN_DEVICE", "cuda").output().unwrap();
        assert_eq!(out.status.code(), Some(2));
    }
    says(&bench.fails(2, "train --preset moons --device flex:1"), &["no device `flex:1`", "has 1"]);
    says(&bench.fails(2, "train --preset moons --device flex:one"), &["no device `flex:one`"]);
    let out = bench.command(&format!("{MOONS} --quiet")).env("BURN_DEVICE", "flex:0").output().unwrap();
    assert!(out.status.success());
}

#[test]
fn slips_of_the_pen_do_not_overflow() {
    let bench = Bench::new();
    let huge = u64::MAX;
    says(&bench.fails(2, &format!("train --preset moons --steps {huge}")), &["--steps"]);
    says(&bench.fails(2, &format!("train --preset moons --set train.batch={}", i64::MAX)), &["train.batch", "at most"]);
    says(&bench.fails(2, "train --preset digits --set data.held_out=1798"), &["data.held_out", "2 to 100"]);
    says(&bench.fails(2, "train --preset moons --set format=99"), &["`format` is not a setting"]);
    says(&bench.fails(2, "train --preset moons --set preset=digits"), &["`preset` is not a setting", "--preset"]);
    bench.ok(&format!("{MOONS} --quiet"));
    for count in ["--count", "--steps", "--batch"] {
        says(&bench.fails(2, &format!("sample run {count} {huge} --out s.npy")), &[count]);
    }
    fs::create_dir(bench.path("d.png")).unwrap();
    says(&bench.fails(2, "sample run --out d.png"), &["is a folder"]);
    says(&bench.fails(2, "train --preset digits --run run --resume"), &["run of preset moons, not digits"]);
}

#[test]
fn a_run_that_lost_its_state_is_not_started_over() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet"));
    fs::remove_file(bench.path("run/state.json")).unwrap();
    let before = bench.bytes("run/model.safetensors");
    says(&bench.fails(1, MOONS), &["already holds a run"]);
    assert_eq!(bench.bytes("run/model.safetensors"), before);
}

#[test]
fn a_resume_that_fails_changes_nothing() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet"));
    let (config, ema) = (bench.bytes("run/config.toml"), bench.bytes("run/ema.safetensors"));
    fs::write(bench.path("run/ema.safetensors"), &ema[..100]).unwrap();
    let said = bench.fails(1, "train --run run --resume --steps 40");
    assert_eq!(bench.bytes("run/config.toml"), config);
    assert_eq!(said.matches("ema.safetensors").count(), 1, "said once: {said}");
}

#[cfg(target_os = "linux")]
#[test]
fn samples_for_a_full_disk_are_an_error_and_spare_the_old_file() {
    let bench = Bench::new();
    bench.ok(&format!("{MOONS} --quiet"));
    for name in ["s.npz", "s.npy", "s.png", "s.gif", "s.safetensors"] {
        fs::write(bench.path(name), "old").unwrap();
        // A limit on the size of files stands for the disk; 1 block is 1024 bytes.
        let program = env!("CARGO_BIN_EXE_advect");
        let script = format!("trap '' XFSZ; ulimit -f 1; exec {program} sample run --count 3000 --out {name}");
        let out =
            std::process::Command::new("bash").args(["-c", &script]).current_dir(bench.path("")).output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(name), "{said}");
        assert_eq!(bench.bytes(name), b"old");
    }
}
