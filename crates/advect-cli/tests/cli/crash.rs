//! Kills, interrupts and full disks: nothing is lost, and a resumed run ends where an uninterrupted one does.
#![cfg(unix)]

use crate::Bench;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Checkpoints so often that most kills fall into a save.
const RUN: &str = "--preset moons --steps 60 --set train.batch=64 --set model.hidden=64 --set train.checkpoint_every=2 \
     --set sample.steps=2 --quiet";
const FILES: [&str; 5] = ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json", "config.toml"];

#[test]
fn kill_minus_nine_and_resume_ends_bit_for_bit_where_an_uninterrupted_run_does() {
    let bench = Bench::new();
    bench.ok(&format!("train --run whole {RUN}"));
    let mut kills = 0;
    let mut command = format!("train --run cut {RUN}");
    // Moments that differ from run to run would make a failure hard to repeat: a fixed list, spread over the start, the steps and the saves.
    for moment in [30, 55, 80, 120, 160, 210, 45, 95] {
        let mut child = bench.command(&command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(moment));
        if child.try_wait().unwrap().is_none() {
            kills += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if bench.path("cut/state.json").exists() {
            command = "train --run cut --resume --quiet".to_owned();
            assert!(bench.ok("info cut").contains("preset moons"));
        } else {
            // Killed before the first checkpoint: there is nothing to resume.
            drop(std::fs::remove_dir_all(bench.path("cut")));
        }
    }
    bench.ok(&command);
    assert!(kills >= 1, "no kill found the program running");
    for file in FILES {
        assert_eq!(bench.bytes(&format!("whole/{file}")), bench.bytes(&format!("cut/{file}")), "{file} differs");
    }
}

#[test]
fn control_c_saves_a_checkpoint_first() {
    let bench = Bench::new();
    bench.ok(&format!("train --run whole {RUN}").replace("every=2", "every=1000"));
    let mut child = bench
        .command(&format!("train --run cut {RUN}").replace("every=2", "every=1000").replace("--quiet", "--json"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first reported step proves that training is under way.
    let mut reader = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"step\":6") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut reader, &mut line).unwrap() > 0, "ended early");
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    // A very fast machine may be done before the signal arrives; then there was nothing to interrupt.
    if out.status.code() == Some(1) {
        assert!(said.contains("interrupted at step") && said.contains("--resume"), "{said}");
        assert!(!bench.text("cut/state.json").contains("\"step\": 0,"), "no checkpoint");
        bench.ok("train --run cut --resume --quiet");
    }
    assert_eq!(bench.bytes("whole/model.safetensors"), bench.bytes("cut/model.safetensors"));
    assert_eq!(bench.bytes("whole/ema.safetensors"), bench.bytes("cut/ema.safetensors"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing() {
    let bench = Bench::new();
    bench.ok(&format!("train --run run {RUN}"));
    let before: Vec<Vec<u8>> = FILES.iter().map(|f| bench.bytes(&format!("run/{f}"))).collect();
    std::os::unix::fs::symlink("/dev/full", bench.path("run/ema.safetensors.next")).unwrap();
    let said = bench.fails(1, "train --run run --resume --steps 70");
    assert!(said.contains("ema.safetensors.next") && said.contains("No space left"), "{said}");
    for (file, old) in FILES.iter().zip(&before).filter(|(f, _)| **f != "config.toml") {
        assert_eq!(&bench.bytes(&format!("run/{file}")), old, "{file} was touched");
    }
    std::fs::remove_file(bench.path("run/ema.safetensors.next")).unwrap();
    bench.ok("train --run run --resume --quiet");
}
