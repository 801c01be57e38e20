//! Runs the program, reads its number and looks at its picture.

use std::{f64::consts::PI, process::Command};

/// Distances from a point to the two half circles of radius 2, and how far along (0 to 1) the nearest place is.
fn nearest([x, y]: [f64; 2]) -> (usize, f64, f64) {
    let half = |moon: usize, center: [f64; 2], sign: f64| {
        let (dx, dy) = (x - center[0], sign * (y - center[1]));
        // Beyond an end, the end is nearest.
        let angle = dy.atan2(dx).clamp(0.0, PI);
        let angle = if dy < 0.0 { if dx < 0.0 { PI } else { 0.0 } } else { angle };
        (moon, (dx - 2.0 * angle.cos()).hypot(dy - 2.0 * angle.sin()), angle / PI)
    };
    let (upper, lower) = (half(0, [-1.0, -0.5], 1.0), half(1, [1.0, 0.5], -1.0));
    if upper.1 < lower.1 { upper } else { lower }
}

#[test]
fn it_learns_the_moons_and_draws_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flow.png");
    let output = Command::new(env!("CARGO_BIN_EXE_flow-2d")).arg(&path).env("BURN_DEVICE", "flex").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let distance: f64 = text.trim().rsplit(' ').next().unwrap().parse().unwrap();
    // Two fresh sets of 2,000 points differ by 0 +- 0.0016. For scale, by a simulation in NumPy: moons blurred by 0.5 are
    // 0.012 away, a Gaussian of their mean and covariance 0.040, the noise that the flow starts from 0.167.
    assert!(distance < 0.012, "{text}");

    // 75 screen pixels a unit; samples are blue, data gray, paper white.
    let picture = image::open(&path).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (600, 600));
    let blue: Vec<_> = picture
        .enumerate_pixels()
        .filter(|(_, _, p)| p.0 == [30, 90, 200])
        .map(|(x, y, _)| nearest([(f64::from(x) + 0.5) / 75.0 - 4.0, 4.0 - (f64::from(y) + 0.5) / 75.0]))
        .collect();
    // Samples are not the data: where they leave it uncovered it shows.
    let gray = picture.pixels().filter(|p| p.0 == [190, 190, 190]).count();
    assert!(gray > 1000, "{gray}");
    assert!(blue.len() > 5000, "{}", blue.len());
    let near = blue.iter().filter(|(_, distance, _)| *distance < 0.4).count() as f64 / blue.len() as f64;
    assert!(near > 0.95, "{near}");
    // Every tenth of both moons has its share of them: 0.05 if all were alike.
    for moon in 0..2 {
        for part in 0..10 {
            let here = |(m, _, along): &&(usize, f64, f64)| *m == moon && ((along * 10.0) as usize).min(9) == part;
            let share = blue.iter().filter(here).count() as f64 / blue.len() as f64;
            assert!(share > 0.02, "moon {moon}, part {part}: {share}");
        }
    }
}
