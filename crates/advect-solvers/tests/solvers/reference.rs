//! Against published and independent numbers.

use advect_solvers::{Adaptive, Counted, DOPRI5, PiController, TimeGrid, Tolerance, shared, solve};

/// Van der Pol, mu = 2, driven by sin t.
fn van_der_pol([x, v]: [f64; 2], t: f64) -> [f64; 2] {
    [v, 2.0 * (1.0 - x * x) * v - x + t.sin()]
}

/// From tests/fixtures/scipy_rk45.py: the value at t = 10 to 20 digits (mpmath, Taylor series).
const EXACT: [f64; 2] = [1.939_859_056_760_718_4, -0.400_903_307_960_205_8];

#[test]
fn dopri5_with_the_elementary_controller_is_scipys_rk45() {
    // rtol, atol, accepted steps, evaluations, and y(10), all from tests/fixtures/scipy_rk45.py (SciPy 1.17.1).
    let table = [
        (1e-4, 1e-6, 57, 428, [1.939972330294114, -0.40087009910379645]),
        (1e-7, 1e-9, 204, 1346, [1.9398590188931653, -0.4009033328260496]),
        (1e-10, 1e-12, 793, 4868, [1.939859056729229, -0.4009033079821815]),
    ];
    for (rtol, atol, steps, evaluations, y) in table {
        let field = Counted::new(shared(van_der_pol));
        let tolerance = Tolerance::new(rtol, atol).unwrap();
        let mut stepper = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::elementary());
        let grid = TimeGrid::uniform(0.0, 10.0, 1).unwrap();
        let end = solve(&field, &mut stepper, [2.0, 0.0], &grid).unwrap();
        assert_eq!(stepper.rejected(), (evaluations - 2) / 6 - steps);
        // Ours stretches its last step by up to a hundredth, and so may save one.
        assert!(stepper.accepted() == steps || stepper.accepted() == steps - 1);
        assert_eq!(field.calls(), evaluations - 6 * (steps - stepper.accepted()));
        for (ours, theirs) in end.iter().zip(y) {
            assert!((ours - theirs).abs() < 1e-10, "{ours} {theirs}");
        }
        assert!((end[0] - EXACT[0]).abs() < 2.0 * rtol && (end[1] - EXACT[1]).abs() < 2.0 * rtol);
    }
}

#[test]
fn the_arenstorf_orbit_closes() {
    // Hairer, Norsett & Wanner I, II.0, eq. 0.1 and 0.2: the restricted three-body problem, its start and its period.
    const MU: f64 = 0.012277471;
    const PERIOD: f64 = 17.065_216_560_157_964;
    let start = [0.994, 0.0, 0.0, -2.001_585_106_379_082_4];
    let field = shared(|[x, y, u, v]: [f64; 4], _t: f64| {
        let earth = ((x + MU).powi(2) + y * y).powf(1.5);
        let moon = ((x - (1.0 - MU)).powi(2) + y * y).powf(1.5);
        [
            u,
            v,
            x + 2.0 * v - (1.0 - MU) * (x + MU) / earth - MU * (x - (1.0 - MU)) / moon,
            y - 2.0 * u - (1.0 - MU) * y / earth - MU * y / moon,
        ]
    });
    let field = Counted::new(field);
    let tolerance = Tolerance::new(1e-12, 1e-12).unwrap();
    let mut stepper = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard());
    let end = solve(&field, &mut stepper, start, &TimeGrid::uniform(0.0, PERIOD, 1).unwrap()).unwrap();
    // The orbit is unstable: errors grow by about 1e5 over a period.
    let miss = (end[0] - start[0]).hypot(end[1] - start[1]);
    println!("{} steps, {} rejected, {miss:e}", stepper.accepted(), stepper.rejected());
    assert!(miss < 1e-5, "the orbit misses its start by {miss:e}");
    assert!(stepper.accepted() < 3000, "{} steps", stepper.accepted());
}
