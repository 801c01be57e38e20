//! Runs the program and reads its table.

use std::process::Command;

#[test]
fn more_work_buys_precision_at_the_order_of_the_method() {
    let output = Command::new(env!("CARGO_BIN_EXE_one-solver")).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers = |line: &str| line.split_whitespace().map(|word| word.parse::<f64>().ok()).collect::<Option<Vec<_>>>();
    let rows: Vec<Vec<f64>> = text.lines().filter_map(numbers).filter(|row| row.len() == 6).collect();
    assert_eq!(rows.len(), 10, "{text}");
    for (i, row) in rows.iter().enumerate() {
        let [tolerance, accepted, rejected, evaluations, error, micros] = row[..] else { panic!() };
        assert!((tolerance / 10_f64.powi(-3 - i as i32) - 1.0).abs() < 1e-9, "{text}");
        // Six stages an attempt (the last serves the next step), one slope at the start and one for the first step.
        assert_eq!(evaluations, 2.0 + 6.0 * (accepted + rejected), "{text}");
        // The error after a period: a few hundred steps of at most the tolerance each, amplified near the sun.
        assert!(error > 0.0 && error < 1e4 * tolerance, "{text}");
        assert!(micros > 0.0, "{text}");
    }
    for pair in rows.windows(2) {
        assert!(pair[1][3] > pair[0][3] && pair[1][4] < pair[0][4], "{text}");
    }
    // Order 5: the error falls with the fifth power of the work, once steps are short; round-off is still far.
    let (few, many) = (&rows[6], &rows[9]);
    let slope = (many[4] / few[4]).ln() / (many[3] / few[3]).ln();
    assert!((slope + 5.0).abs() < 0.4, "{slope}\n{text}");
}

#[test]
fn one_dependency() {
    let manifest = include_str!("../Cargo.toml");
    let dependencies = manifest.split_once("[dependencies]").unwrap().1;
    let lines: Vec<&str> = dependencies.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    assert_eq!(lines, ["advect-solvers.workspace = true"]);
}
