//! Underdamped Langevin dynamics and exponential steps: laws that have closed forms, without sampling.

use advect_solvers::{
    Baoab, Brownian, ExponentialEulerMaruyama, SemilinearSde, SpaceTimeLevyArea, Stepper, Times, Ubu,
    UnderdampedLangevin,
};
use std::cell::Cell;
use std::rc::Rc;

/// Noise of which one standard normal number is one and all others are zero: a step is affine in them, so the columns
/// give its covariance exactly.
#[derive(Clone)]
struct Unit {
    next: Rc<Cell<usize>>,
    which: usize,
}

impl Unit {
    fn new(which: usize) -> Self {
        Self { next: Rc::new(Cell::new(0)), which }
    }

    fn draw(&self) -> f64 {
        let n = self.next.replace(self.next.get() + 1);
        if n == self.which { 1.0 } else { 0.0 }
    }
}

impl Brownian<f64> for Unit {
    fn increment(&mut self, _like: &f64, from: &Times, to: &Times) -> f64 {
        (to.at(0) - from.at(0)).abs().sqrt() * self.draw()
    }
}

impl SpaceTimeLevyArea<f64> for Unit {
    fn increment_and_area(&mut self, like: &f64, from: &Times, to: &Times) -> (f64, f64) {
        (self.increment(like, from, to), ((to.at(0) - from.at(0)).abs() / 12.0).sqrt() * self.draw())
    }
}

type Make = fn(Unit) -> Box<dyn Stepper<UnderdampedLangevin<fn(f64, &Times) -> f64>, (f64, f64)>>;

const NONE: usize = usize::MAX;

/// The matrix of a step of h and the columns of its noise.
fn affine(
    make: Make,
    langevin: &UnderdampedLangevin<fn(f64, &Times) -> f64>,
    h: f64,
) -> ([[f64; 2]; 2], Vec<[f64; 2]>) {
    let step =
        |which: usize, x: (f64, f64)| make(Unit::new(which)).step(langevin, x, &0.0.into(), &h.into()).unwrap().x;
    let (a, b) = (step(NONE, (1.0, 0.0)), step(NONE, (0.0, 1.0)));
    let noise = (0..4).map(|k| step(k, (0.0, 0.0))).map(|(q, p)| [q, p]).collect();
    ([[a.0, b.0], [a.1, b.1]], noise)
}

/// The covariance after many steps, (qq, qp, pp).
fn covariance(make: Make, langevin: &UnderdampedLangevin<fn(f64, &Times) -> f64>, h: f64, steps: usize) -> [f64; 3] {
    let (m, noise) = affine(make, langevin, h);
    let mut s = [0.0; 3];
    for _ in 0..steps {
        let at = |i: usize, j: usize| {
            m[i][0] * (m[j][0] * s[0] + m[j][1] * s[1])
                + m[i][1] * (m[j][0] * s[1] + m[j][1] * s[2])
                + noise.iter().map(|b| b[i] * b[j]).sum::<f64>()
        };
        s = [at(0, 0), at(0, 1), at(1, 1)];
    }
    s
}

const BAOAB: Make = |noise| Box::new(Baoab::new(noise));
const UBU: Make = |noise| Box::new(Ubu::new(noise));

#[test]
fn baoab_keeps_the_positions_of_a_quadratic_potential_exactly() {
    let spring = |friction| UnderdampedLangevin::<fn(f64, &Times) -> f64> {
        force: |q, _t| -2.25 * q,
        friction,
        temperature: 0.8,
    };
    for friction in [0.2, 1.0, 5.0] {
        // h times the frequency 1.5 stays below 2.
        for h in [0.1, 0.5, 1.0, 1.3] {
            let s = covariance(BAOAB, &spring(friction), h, 4000);
            assert!((s[0] - 0.8 / 2.25).abs() < 1e-12, "friction {friction}, h {h}: {s:?}");
            assert!(s[1].abs() < 1e-12);
            // The momenta are not exact, so that the test could fail: their variance is T (1 - (h frequency)^2 / 4).
            assert!((s[2] - 0.8 * (1.0 - 2.25 * h * h / 4.0)).abs() < 1e-12, "{s:?}");
        }
    }
}

#[test]
fn the_laws_tend_to_the_gibbs_law() {
    let spring =
        UnderdampedLangevin::<fn(f64, &Times) -> f64> { force: |q, _t| -2.25 * q, friction: 1.0, temperature: 0.8 };
    // Order 2 in h: the defect at 0.1 is four times that at 0.05.
    let defect = |h: f64| covariance(UBU, &spring, h, (40.0 / h) as usize)[0] - 0.8 / 2.25;
    let ratio = defect(0.1) / defect(0.05);
    assert!((ratio - 4.0).abs() < 0.2 && defect(0.05).abs() < 2e-3, "{ratio}, {}", defect(0.05));
}

#[test]
fn without_force_the_law_is_exact_at_any_step() {
    for friction in [0.01, 0.3, 1.0, 4.0, 20.0] {
        let free = UnderdampedLangevin::<fn(f64, &Times) -> f64> { force: |_q, _t| 0.0, friction, temperature: 0.7 };
        for h in [0.3, 1.0, 2.0] {
            let x: f64 = friction * h;
            let (m, noise) = affine(UBU, &free, h);
            assert!((m[0][1] + (-x).exp_m1() / friction).abs() < 1e-12 && (m[1][1] - (-x).exp()).abs() < 1e-12);
            let product = |i: usize, j: usize| noise.iter().map(|b| b[i] * b[j]).sum::<f64>();
            // Uhlenbeck & Ornstein (1930), integrated to the position.
            let decay = -(-x).exp_m1();
            let pp = -0.7 * (-2.0 * x).exp_m1();
            let qp = 0.7 / friction * decay * decay;
            let qq = 0.7 / friction.powi(2) * (2.0 * x - 2.0 * decay - decay * decay);
            assert!((product(1, 1) / pp - 1.0).abs() < 1e-11, "friction {friction}, h {h}");
            assert!((product(0, 1) / qp - 1.0).abs() < 1e-10, "friction {friction}, h {h}");
            assert!((product(0, 0) / qq - 1.0).abs() < 1e-7, "friction {friction}, h {h}");
            // BAOAB: friction and noise of the momentum are exact.
            let (m, noise) = affine(BAOAB, &free, h);
            let product = noise.iter().map(|b| b[1] * b[1]).sum::<f64>();
            assert!((m[1][1] - (-x).exp()).abs() < 1e-14 && (product / pp - 1.0).abs() < 1e-12);
        }
    }
}

#[test]
fn without_friction_it_is_verlet() {
    // Position Verlet and velocity Verlet conserve a modified energy; here, one step by hand.
    let pendulum =
        UnderdampedLangevin::<fn(f64, &Times) -> f64> { force: |q, _t| -q.sin(), friction: 0.0, temperature: 1.0 };
    let (q, p) = (0.7_f64, 0.4);
    let step = |make: Make| make(Unit::new(0)).step(&pendulum, (q, p), &0.0.into(), &0.5.into()).unwrap().x;
    let half = p - 0.25 * q.sin();
    let end = q + 0.5 * half;
    let x = step(BAOAB);
    assert!((x.0 - end).abs() < 1e-15 && (x.1 - (half - 0.25 * end.sin())).abs() < 1e-15);
    let middle = q + 0.25 * p;
    let late = p - 0.5 * middle.sin();
    let x = step(UBU);
    assert!((x.0 - (middle + 0.25 * late)).abs() < 1e-15 && (x.1 - late).abs() < 1e-15);
}

#[test]
fn the_force_at_the_end_serves_the_next_step() {
    let calls = Cell::new(0);
    let langevin = UnderdampedLangevin {
        force: |q: f64, _t: &Times| {
            calls.set(calls.get() + 1);
            -q
        },
        friction: 1.0,
        temperature: 1.0,
    };
    let mut stepper = Baoab::new(Unit::new(NONE));
    let mut x = (1.0, 0.0);
    for n in 0..10 {
        x = stepper.step(&langevin, x, &f64::from(n).into(), &f64::from(n + 1).into()).unwrap().x;
    }
    assert_eq!(calls.get(), 11);
    Stepper::<UnderdampedLangevin<fn(f64, &Times) -> f64>, (f64, f64)>::restart(&mut stepper);
    stepper.step(&langevin, x, &0.0.into(), &0.1.into()).unwrap();
    assert_eq!(calls.get(), 13);
}

#[test]
fn exponential_steps_are_exact_for_linear_equations() {
    // dX = (-8 X + 3) dt + 0.5 dW over one step of 1, up and down in time.
    let theta = 8.0;
    for (from, to) in [(0.0, 1.0), (1.0, 0.0)] {
        let rate = if to > from { theta } else { -theta };
        let ou = SemilinearSde {
            growth: move |t: f64| -rate * t,
            drift: move |_x: f64, _t: &Times| if rate > 0.0 { 3.0 } else { -3.0 },
            diffusion: |_t: f64| 0.5,
        };
        let step = |which, x| {
            let mut stepper = ExponentialEulerMaruyama::new(Unit::new(which));
            stepper.step(&ou, x, &Times::Shared(from), &Times::Shared(to)).unwrap().x
        };
        let mean = step(NONE, 2.0);
        let decay = f64::exp(-theta);
        assert!((mean - (2.0 * decay + 3.0 * (1.0 - decay) / theta)).abs() < 1e-12, "{mean}");
        let variance = (step(0, 2.0) - mean).powi(2);
        assert!((variance - 0.25 * (1.0 - decay * decay) / (2.0 * theta)).abs() < 1e-12, "{variance}");
    }
    // Rates and diffusions that change: A = -t^2, g = sqrt(2 t): variance int exp(-2 (1 - s^2)) 2 s ds = (1 - e^-2) / 2.
    let changing = SemilinearSde {
        growth: |t: f64| -t * t,
        drift: |_x: f64, _t: &Times| 0.0,
        diffusion: |t: f64| (2.0 * t).sqrt(),
    };
    let end = ExponentialEulerMaruyama::new(Unit::new(0)).step(&changing, 0.0, &0.0.into(), &1.0.into()).unwrap().x;
    assert!((end * end - 0.5 * (1.0 - (-2.0_f64).exp())).abs() < 1e-11, "{end}");
}
