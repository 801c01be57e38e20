//! Runs the program and reads its numbers: transport straightens the flow.

use std::process::Command;

#[test]
fn each_coupling_is_straighter_than_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("couplings.png");
    let output = Command::new(env!("CARGO_BIN_EXE_couplings")).arg(&path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let numbers = |line: &str| -> Vec<f64> {
        line.split(" = ").skip(1).map(|part| part.split(',').next().unwrap().parse().unwrap()).collect()
    };
    let bends: Vec<Vec<f64>> = text.lines().map(numbers).collect();
    assert_eq!(bends.len(), 3, "{text}");
    for pair in bends.windows(2) {
        assert!(pair[0].iter().zip(&pair[1]).all(|(before, after)| *after < 0.5 * before), "{text}");
    }
    let picture = image::open(&path).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (1440, 480));
    // Every panel has its ends in blue.
    for panel in 0..3 {
        let blue = |x: u32, y: u32| picture.get_pixel(480 * panel + x, y).0 == [30, 90, 200];
        let count = (0..480).flat_map(|x| (0..480).map(move |y| (x, y))).filter(|&(x, y)| blue(x, y)).count();
        assert!(count > 500, "panel {panel}: {count}");
    }
}
