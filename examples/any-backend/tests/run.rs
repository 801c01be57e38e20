//! Runs the program and reads its numbers.

use std::process::Command;

fn run(device: Option<&str>) -> std::process::Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_any-backend"));
    match device {
        Some(name) => program.env("BURN_DEVICE", name),
        None => program.env_remove("BURN_DEVICE"),
    };
    program.output().unwrap()
}

/// n = 10,000: standard errors 0.5 / 100 of the mean and 0.5 / sqrt(2 n) of the deviation; the bounds are 4 of them.
/// The solver's own error is below 1e-4.
#[test]
fn the_flow_arrives_on_the_device_of_the_build() {
    let output = run(None);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let number = |before: &str| -> f64 {
        let rest = text.split_once(before).unwrap().1.trim_start();
        rest.split([',', ' ']).next().unwrap().parse().unwrap()
    };
    assert!((number("mean") - 3.0).abs() < 4.0 * 0.005, "{text}");
    assert!((number("deviation") - 0.5).abs() < 4.0 * 0.5 / 20_000_f64.sqrt(), "{text}");
    if !cfg!(any(feature = "cuda", feature = "vulkan", feature = "wgpu")) {
        assert!(text.starts_with("device flex:"), "{text}");
    }
}

#[test]
fn a_backend_that_is_not_compiled_in_is_named() {
    if cfg!(feature = "cuda") {
        return;
    }
    let output = run(Some("cuda"));
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("NotCompiled { name: \"cuda\" }"));
}

/// Only a Cargo feature changes the backend: the source has no word about it.
#[test]
fn the_source_names_no_backend() {
    let code = include_str!("../src/main.rs").lines().filter(|line| !line.starts_with("//!"));
    for word in ["cfg", "flex", "cuda", "wgpu", "vulkan"] {
        assert!(code.clone().all(|line| !line.contains(word)), "{word}");
    }
}
