//! The loops of diffusers' own tests: the model `m(x, i) = x i / (i + 1)` on x = 0/768, .., 767/768, ten steps, and
//! what they assert of the result (sum or mean of magnitudes). Here each row is a schedule, a grid and one of our
//! steppers.
//!
//! Asserted values and tolerances are those of diffusers' `tests/schedulers`; where they assert nothing, or on a loop
//! of more digits, the value was computed with diffusers 0.35.1 (marked "own"). A row marked "quirk" overwrites the
//! state before a step, as those tests do; that belongs to the row, not to the sampler.

use crate::problems::Exploding;
use advect_core::{Field, TimeGrid, Times};
use advect_diffusion::{
    Coordinates, Ddim, Deis, Denoiser, DiscreteSchedule, DpmSolverPp2S, DpmSolverPpMultistep, EdmHeun, Lms, Order,
    Pndm, Preconditioned, Preconditioning, UniPc, UniPcVariant, renoise,
};
use advect_paths::{Linear, Prediction, Predictor, Schedule, SourceLaw};
use advect_solvers::{Step, Stepper, solve};

type X = Vec<f64>;
type Model<'a> = dyn Denoiser<X> + 'a;

fn sample() -> X {
    (0..768).map(|i| f64::from(i) / 768.0).collect()
}

fn noise() -> X {
    sample().into_iter().rev().collect()
}

fn dummy(x: X, step: f64) -> X {
    x.into_iter().map(|x| x * step / (step + 1.0)).collect()
}

fn sum(x: &[f64]) -> f64 {
    x.iter().map(|x| x.abs()).sum()
}

fn assert_sum(name: &str, x: &[f64], wanted: f64, tolerance: f64) {
    let got = sum(x);
    assert!((got - wanted).abs() < tolerance, "{name}: {got} instead of {wanted}");
}

fn assert_mean(name: &str, x: &[f64], wanted: f64, tolerance: f64) {
    assert_sum(name, x, 768.0 * wanted, 768.0 * tolerance);
}

/// The model of the discrete steps: asked at the nearest.
#[derive(Clone)]
struct Dummy(DiscreteSchedule);

impl Field<X> for Dummy {
    fn eval(&self, x: X, t: &Times) -> X {
        dummy(x, self.0.step(t.at(0)).round())
    }
}

fn discrete(first: f64, prediction: Prediction) -> Predictor<Dummy, DiscreteSchedule> {
    let schedule = DiscreteSchedule::linear(1000, first, 0.02).unwrap();
    let field = Dummy(schedule.clone());
    Predictor { field, prediction, schedule, source: SourceLaw::GaussianIndependent }
}

/// The times of steps.
fn times(schedule: &DiscreteSchedule, steps: &[i32]) -> Vec<f64> {
    steps.iter().map(|&step| if step < 0 { 1.0 } else { schedule.time(f64::from(step)) }).collect()
}

/// "linspace" spacing, and the least noise as the end.
const LINSPACE: [i32; 11] = [999, 899, 799, 699, 599, 500, 400, 300, 200, 100, 0];

/// Ten levels from the most to the least noise, between which the rho-th root is linear (Karras); the log for rho = 0.
fn rooted(schedule: &DiscreteSchedule, rho: f64) -> Vec<f64> {
    let level = |step| Coordinates::at(schedule, schedule.time(step)).level();
    let (low, high) = (level(0.0), level(999.0));
    let root = |x: f64| if rho == 0.0 { x.ln() } else { x.powf(1.0 / rho) };
    let back = |x: f64| if rho == 0.0 { x.exp() } else { x.powf(rho) };
    let point = |i: usize| back(root(high) + (root(low) - root(high)) * i as f64 / 9.0);
    (0..10).map(|i| schedule.time_at_log_snr(-2.0 * point(i).ln())).collect()
}

/// Step by step, the last at order one.
fn with_lower_end<S: Stepper<Model<'static>, X>>(
    model: &Model<'static>,
    mut stepper: S,
    lower: impl Fn(&mut S),
    mut x: X,
    times: &[f64],
) -> X {
    stepper.restart();
    for (i, pair) in times.windows(2).enumerate() {
        if i + 2 == times.len() {
            lower(&mut stepper);
        }
        Step { x, .. } = stepper.step(model, x, &Times::Shared(pair[0]), &Times::Shared(pair[1])).unwrap();
    }
    x
}

fn grid(times: Vec<f64>) -> TimeGrid {
    TimeGrid::new(times).unwrap()
}

/// The sample noised to a time.
fn noised(schedule: &DiscreteSchedule, t: f64) -> X {
    renoise(schedule, sample(), &noise(), 1.0, t).unwrap()
}

#[test]
fn ddim_with_clipped_data() {
    // quirk: clipped data go with the noise of before, so the state is overwritten by alpha D + sigma E.
    let run = |model: Predictor<Dummy, DiscreteSchedule>, mut x: X, steps: &[i32]| {
        for pair in times(&model.schedule, steps).windows(2) {
            let at = Coordinates::at(&model.schedule, pair[0]);
            let read = |want| {
                let (on_x, on_output) = Denoiser::<X>::conversion(&model, want, at.t).unwrap();
                let output = model.field.eval(x.clone(), &Times::Shared(at.t));
                x.iter().zip(output).map(|(x, y)| on_x * x + on_output * y).collect::<X>()
            };
            let data: X = read(Prediction::Data).into_iter().map(|x| x.clamp(-1.0, 1.0)).collect();
            let noise = read(Prediction::Noise);
            x = data.iter().zip(&noise).map(|(data, noise)| at.alpha * data + at.sigma * noise).collect();
            let clipped = Predictor {
                field: move |_x: X, _t: &Times| data.clone(),
                prediction: Prediction::Data,
                schedule: model.schedule.clone(),
                source: SourceLaw::GaussianIndependent,
            };
            if pair[0] != pair[1] {
                x = solve(&clipped, Ddim, x, &grid(pair.to_vec())).unwrap();
            }
        }
        x
    };
    let leading = [900, 800, 700, 600, 500, 400, 300, 200, 100, 0, -1];
    assert_sum("ddim", &run(discrete(1e-4, Prediction::Noise), sample(), &leading), 172.0067, 1e-2);
    assert_sum("ddim, v", &run(discrete(1e-4, Prediction::V), sample(), &leading), 52.5302, 1e-2);
    assert_sum("ddim, alpha one", &run(discrete(0.01, Prediction::Noise), sample(), &leading), 149.8295, 1e-2);
    let mut stays = leading;
    stays[10] = 0;
    assert_sum("ddim, alpha not one", &run(discrete(0.01, Prediction::Noise), sample(), &stays), 149.0784, 1e-2);
    let model = discrete(1e-4, Prediction::Noise);
    let start = noised(&model.schedule, model.schedule.time(100.0));
    assert_sum("ddim with noise", &run(model, start, &leading[8..]), 354.5418, 1e-2);
}

#[test]
fn dpm_solver_pp_2m() {
    let run = |prediction, times: &dyn Fn(&DiscreteSchedule) -> Vec<f64>| {
        let model = discrete(1e-4, prediction);
        let grid = grid(times(&model.schedule));
        solve(&model, DpmSolverPpMultistep::new(Order::Two), sample(), &grid).unwrap()
    };
    let linspace = |schedule: &DiscreteSchedule| times(schedule, &LINSPACE);
    assert_mean("2m", &run(Prediction::Noise, &linspace), 0.3301, 1e-3);
    assert_sum("2m, own", &run(Prediction::Noise, &linspace), 253.551392, 3e-3);
    assert_mean("2m, v", &run(Prediction::V, &linspace), 0.2251, 1e-3);
    assert_sum("2m, v, own", &run(Prediction::V, &linspace), 172.873962, 3e-3);
    // The last of their steps has no length.
    assert_mean("2m, karras, v", &run(Prediction::V, &|schedule| rooted(schedule, 7.0)), 0.2096, 1e-3);
    assert_mean("2m, lu, v", &run(Prediction::V, &|schedule| rooted(schedule, 0.0)), 0.1554, 1e-3);
    let model = discrete(1e-4, Prediction::Noise);
    let times = times(&model.schedule, &LINSPACE[5..]);
    let start = noised(&model.schedule, times[0]);
    let end = solve(&model, DpmSolverPpMultistep::new(Order::Two), start, &grid(times)).unwrap();
    assert_sum("2m with noise", &end, 318.4111, 1e-2);
}

#[test]
fn dpm_solver_pp_2s() {
    // Their grid has the stages in it: a step goes over two intervals.
    let run = |model: &Predictor<Dummy, DiscreteSchedule>, mut x: X, times: &[f64]| {
        for three in times.windows(3).step_by(2) {
            let [start, middle, end] = [0, 1, 2].map(|i| Coordinates::at(&model.schedule, three[i]).lambda);
            let stepper = DpmSolverPp2S::new((middle - start) / (end - start)).unwrap();
            x = solve(model, stepper, x, &grid(vec![three[0], three[2]])).unwrap();
        }
        x
    };
    for (name, prediction, wanted) in [("2s", Prediction::Noise, 0.2791), ("2s, v", Prediction::V, 0.1453)] {
        let model = discrete(1e-4, prediction);
        assert_mean(name, &run(&model, sample(), &times(&model.schedule, &LINSPACE)), wanted, 1e-3);
    }
    for (name, prediction, wanted) in
        [("2s, karras", Prediction::Noise, 0.2248), ("2s, karras, v", Prediction::V, 0.0649)]
    {
        let model = discrete(1e-4, prediction);
        let mut times = rooted(&model.schedule, 7.0);
        times.push(times[9]);
        assert_mean(name, &run(&model, sample(), &times), wanted, 1e-3);
    }
    // From the middle their first step has order one.
    let model = discrete(1e-4, Prediction::Noise);
    let times = times(&model.schedule, &LINSPACE[5..]);
    let first = solve(&model, Ddim, noised(&model.schedule, times[0]), &grid(times[..2].to_vec())).unwrap();
    assert_sum("2s with noise", &run(&model, first, &times[1..]), 269.2187, 1e-2);
}

#[test]
fn uni_pc() {
    let run = |order, variant, prediction, times: &dyn Fn(&DiscreteSchedule) -> Vec<f64>| {
        let model = discrete(1e-4, prediction);
        let times = times(&model.schedule);
        with_lower_end(&model, UniPc::new(order, variant), |stepper| stepper.set_order(Order::One), sample(), &times)
    };
    let linspace = |schedule: &DiscreteSchedule| times(schedule, &LINSPACE);
    let (two, bh2) = (Order::Two, UniPcVariant::Bh2);
    assert_mean("unipc", &run(two, bh2, Prediction::Noise, &linspace), 0.2464, 1e-3);
    assert_sum("unipc, own", &run(two, bh2, Prediction::Noise, &linspace), 189.231842, 3e-3);
    assert_mean("unipc, v", &run(two, bh2, Prediction::V, &linspace), 0.1014, 1e-3);
    // The last of their steps has no length, but corrects.
    let karras = |schedule: &DiscreteSchedule| {
        let mut times = rooted(schedule, 7.0);
        times.push(times[9]);
        times
    };
    assert_mean("unipc, karras", &run(two, bh2, Prediction::Noise, &karras), 0.2925, 1e-3);
    assert_mean("unipc, karras, v", &run(two, bh2, Prediction::V, &karras), 0.1966, 1e-3);
    let one = run(Order::One, UniPcVariant::Bh1, Prediction::Noise, &linspace);
    assert_sum("unipc-1, bh1, own", &one, 180.334885, 3e-3);
    let one = run(Order::One, UniPcVariant::Bh2, Prediction::Noise, &linspace);
    assert_sum("unipc-1, bh2, own", &one, 178.462509, 3e-3);
}

#[test]
fn deis() {
    let run = |prediction, order, times: &[i32], start: Option<X>| {
        let model = discrete(1e-4, prediction);
        let times = self::times(&model.schedule, times);
        let start = start.unwrap_or_else(|| noised(&model.schedule, times[0]));
        with_lower_end(&model, Deis::new(order), |stepper| stepper.set_order(Order::One), start, &times)
    };
    assert_mean("deis", &run(Prediction::Noise, Order::Two, &LINSPACE, Some(sample())), 0.23916, 1e-3);
    assert_sum("deis, own", &run(Prediction::Noise, Order::Two, &LINSPACE, Some(sample())), 183.676453, 3e-3);
    assert_mean("deis, v", &run(Prediction::V, Order::Two, &LINSPACE, Some(sample())), 0.091, 1e-3);
    assert_sum("deis with noise", &run(Prediction::Noise, Order::Two, &LINSPACE[8..], None), 315.3016, 1e-2);
}

#[test]
fn uni_pc_from_the_middle() {
    let model = discrete(1e-4, Prediction::Noise);
    let times = times(&model.schedule, &LINSPACE[8..]);
    let start = noised(&model.schedule, times[0]);
    let stepper = UniPc::new(Order::Two, UniPcVariant::Bh2);
    let end = with_lower_end(&model, stepper, |stepper| stepper.set_order(Order::One), start, &times);
    assert_sum("unipc with noise", &end, 315.5757, 1e-2);
}

#[test]
fn pndm() {
    let leading = [900, 800, 700, 600, 500, 400, 300, 200, 100, 0, -1];
    let run = |first, steps: &[i32]| {
        let model = discrete(first, Prediction::Noise);
        let grid = grid(times(&model.schedule, steps));
        solve(&model, Pndm::new(), sample(), &grid).unwrap()
    };
    // Unless alpha is set to one, their last step has no length.
    assert_sum("pndm", &run(1e-4, &leading[..10]), 198.1318, 1e-2);
    // Their row of v predictions (67.3986) takes the mean of v at different times; the paper's is of the noise.
    assert_sum("pndm, alpha not one", &run(0.01, &leading[..10]), 186.9482, 1e-2);
    // With it data alone stand at step -100, so that the grid is uniform.
    let inner = DiscreteSchedule::linear(1000, 0.01, 0.02).unwrap();
    let schedule = Padded(inner);
    let field = |x: X, t: &Times| dummy(x, (1000.0 - 1100.0 * t.at(0)).round());
    let model = Predictor { field, prediction: Prediction::Noise, schedule, source: SourceLaw::GaussianIndependent };
    let uniform = TimeGrid::new((0..=10).map(|i| f64::from(i + 1) / 11.0).collect()).unwrap();
    assert_sum("pndm, alpha one", &solve(&model, Pndm::new(), sample(), &uniform).unwrap(), 230.0399, 1e-2);
}

/// A table of steps over which time is linear down to step -100, where data are alone.
struct Padded(DiscreteSchedule);

impl Schedule for Padded {
    fn at(&self, t: f64) -> advect_paths::Coefficients {
        self.0.at(if t == 1.0 { 1.0 } else { self.0.time(1000.0 - 1100.0 * t) })
    }

    fn log_snr(&self, t: f64) -> f64 {
        self.0.log_snr(if t == 1.0 { 1.0 } else { self.0.time(1000.0 - 1100.0 * t) })
    }

    fn time_at_log_snr(&self, _log_snr: f64) -> f64 {
        f64::NAN
    }
}

/// Karras' ten levels of EDM, with zero if asked.
fn edm_times(zero: bool) -> Vec<f64> {
    let root = |x: f64| x.powf(1.0 / 7.0);
    let level = |i: usize| (root(80.0) + (root(0.002) - root(80.0)) * i as f64 / 9.0).powf(7.0);
    let mut times: Vec<f64> = (0..10).map(|i| if i == 0 { 0.0 } else { 1.0 - level(i) / 80.0 }).collect();
    times.extend(zero.then_some(1.0));
    times
}

#[test]
fn edm() {
    let schedule = Exploding { max: 80.0 };
    let run = |sign: f64, times: Vec<f64>, two: bool| {
        let network = move |x: X, t: &Times| dummy(x, t.at(0)).into_iter().map(|x| sign * x).collect();
        let preconditioning = Preconditioning::Edm { data_std: 0.5 };
        let model = Preconditioned::new(network, preconditioning, schedule).unwrap().into_predictor();
        let start: X = sample().into_iter().map(|x| x * 6401.0_f64.sqrt()).collect();
        if two {
            solve(&model, DpmSolverPpMultistep::new(Order::Two), start, &grid(times)).unwrap()
        } else {
            solve(&model, Ddim, start, &grid(times)).unwrap()
        }
    };
    assert_sum("edm euler", &run(1.0, edm_times(true), false), 34.1855, 1e-3);
    assert_sum("edm 2m, own", &run(1.0, edm_times(false), true), 135.641266, 3e-3);
    // Their v prediction turns the sign of c_out.
    assert_sum("edm 2m, v, own", &run(-1.0, edm_times(false), true), 1007.443970, 2e-2);
}

/// The levels of `sigma / alpha` and the steps of the schedulers in sigma, 1100 steps of which are known.
fn sigma_rows(karras: bool) -> Vec<(f64, f64)> {
    let schedule = DiscreteSchedule::linear(1100, 1e-4, 0.02).unwrap();
    let level = |step: f64| Coordinates::at(&schedule, schedule.time(step)).level();
    if karras {
        let (low, high) = (level(0.0).powf(1.0 / 7.0), level(1099.0).powf(1.0 / 7.0));
        let point = |i: usize| (high + (low - high) * i as f64 / 9.0).powf(7.0);
        let row = |i| (point(i), schedule.step(schedule.time_at_log_snr(-2.0 * point(i).ln())));
        return (0..10).map(row).collect();
    }
    let row = |i: usize| {
        let step = 1099.0 * (9 - i) as f64 / 9.0;
        // Between steps they take sigma itself to be linear.
        let (low, rest) = (step.floor(), step - step.floor());
        let next = if rest > 0.0 { level(low + 1.0) } else { 0.0 };
        (level(low) * (1.0 - rest) + next * rest, step)
    };
    (0..10).map(row).collect()
}

/// The schedulers in sigma: the model sees `x / sqrt(sigma^2 + 1)`; with the quirk, so does the step.
fn in_sigma<S: Stepper<Model<'static>, X>>(mut stepper: S, karras: bool, quirk: bool, prediction: Prediction) -> X {
    let rows = sigma_rows(karras);
    let max = rows[0].0;
    let schedule = Exploding { max };
    let field = {
        let rows = rows.clone();
        move |x: X, t: &Times| {
            let sigma = schedule.at(t.at(0)).sigma;
            let nearest = rows.iter().min_by(|a, b| (a.0 - sigma).abs().total_cmp(&(b.0 - sigma).abs())).unwrap();
            let scale = if quirk { 1.0 } else { (sigma * sigma + 1.0).sqrt() };
            dummy(x.into_iter().map(|x| x / scale).collect(), nearest.1)
        }
    };
    let model = Predictor { field, prediction, schedule, source: SourceLaw::GaussianIndependent };
    let mut x: X = sample().into_iter().map(|x| x * max).collect();
    let times: Vec<f64> = rows.iter().map(|(sigma, _)| 1.0 - sigma / max).chain([1.0]).collect();
    stepper.restart();
    for pair in times.windows(2) {
        let sigma = schedule.at(pair[0]).sigma;
        if quirk {
            x.iter_mut().for_each(|x| *x /= (sigma * sigma + 1.0).sqrt());
        }
        Step { x, .. } = stepper.step(&model, x, &Times::Shared(pair[0]), &Times::Shared(pair[1])).unwrap();
    }
    x
}

#[test]
fn samplers_in_sigma() {
    let noise = Prediction::Noise;
    assert_sum("euler, quirk", &in_sigma(Ddim, false, true, noise), 10.0807, 1e-2);
    assert_sum("euler, karras, quirk", &in_sigma(Ddim, true, true, noise), 124.5230, 1e-2);
    assert_sum("lms, quirk", &in_sigma(Lms::new(Order::Four), false, true, noise), 1006.388, 1e-2);
    // Their weights are found by quadrature in f32; in f64 the loop is 0.03 off what they assert.
    assert_sum("lms, karras, quirk", &in_sigma(Lms::new(Order::Four), true, true, noise), 3813.0240, 1e-3);
    assert_sum("euler, own", &in_sigma(Ddim, false, false, noise), 168.051361, 1e-3);
    assert_sum("heun, own", &in_sigma(EdmHeun, false, false, noise), 244.602368, 1e-3);
}

#[test]
fn euler_on_the_linear_path() {
    // The velocity toward the noise is m(x, 1000 sigma); the levels 1, .., 1/n, 0 are shifted once.
    for (steps, shift, wanted) in [(10, 1.0, 134.151646), (10, 3.0, 130.322167), (50, 3.0, 139.516985)] {
        let model = Predictor {
            field: |x: X, t: &Times| dummy(x, 1000.0 * (1.0 - t.at(0))).into_iter().map(|x| -x).collect(),
            prediction: Prediction::Velocity,
            schedule: Linear,
            source: SourceLaw::Other,
        };
        let level = |i: usize| {
            let level = (steps - i) as f64 / f64::from(u32::try_from(steps).unwrap());
            shift * level / (1.0 + (shift - 1.0) * level)
        };
        let times = (0..=steps).map(|i| 1.0 - level(i)).collect();
        let end = solve(&model, Ddim, sample(), &grid(times)).unwrap();
        assert_sum(&format!("flow euler, {steps} steps, shift {shift}"), &end, wanted, 1e-5);
    }
}
