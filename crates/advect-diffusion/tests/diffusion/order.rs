use crate::problems::{Exploding, both_ends, flow, gaussian, inside, mixture_flow, mixture_model, to_data};
use advect_analytic::order::observed;
use advect_core::State;
use advect_diffusion::{Ddim, Denoiser, DpmSolverPpMultistep, Order};
use advect_paths::{Linear, Prediction, Vp};
use advect_solvers::{Stepper, solve};

/// A stepper of a method, for any state and model.
trait Make {
    fn make<X: State + 'static, G: Denoiser<X>>(&self) -> Box<dyn Stepper<G, X>>;
}

/// Four problems: the Gaussian inside a schedule, to its data end, between both ends; the mixture between both ends.
fn orders(method: &impl Make, first: usize) -> [f64; 4] {
    let x = -1.3;
    let vp = Vp::default();
    let middle = observed(first, 3, |n| {
        let grid = inside(&vp, -1.5, 2.5, n);
        let model = gaussian(vp, Prediction::Noise);
        let end = solve(&model, method.make(), x, &grid).unwrap();
        let e = end - flow(&vp, grid.start(), grid.end(), x);
        println!("{n} {e:e}");
        e.abs()
    });
    let edm = Exploding { max: 10.0 };
    let terminal = observed(first, 3, |n| {
        let model = gaussian(edm, Prediction::Data);
        let end = solve(&model, method.make(), 10.0 * x, &to_data(&edm, n)).unwrap();
        (end - flow(&edm, 0.0, 1.0, 10.0 * x)).abs()
    });
    let ends = observed(first, 3, |n| {
        let model = gaussian(Linear, Prediction::Velocity);
        let end = solve(&model, method.make(), x, &both_ends(n)).unwrap();
        (end - flow(&Linear, 0.0, 1.0, x)).abs()
    });
    let start = [0.3, -0.8];
    let exact = mixture_flow(start);
    let mixture = observed(first, 3, |n| {
        let model = mixture_model(Linear, Prediction::Velocity);
        let end = solve(&model, method.make(), start, &both_ends(n)).unwrap();
        (end[0] - exact[0]).hypot(end[1] - exact[1])
    });
    [middle.slope, terminal.slope, ends.slope, mixture.slope]
}

struct First;

impl Make for First {
    fn make<X: State + 'static, G: Denoiser<X>>(&self) -> Box<dyn Stepper<G, X>> {
        Box::new(Ddim)
    }
}

#[test]
fn ddim_has_order_one() {
    let slopes = orders(&First, 128);
    assert!(slopes.iter().all(|s| (s - 1.0).abs() < 0.1), "{slopes:?}");
}

struct Pp(Order);

impl Make for Pp {
    fn make<X: State + 'static, G: Denoiser<X>>(&self) -> Box<dyn Stepper<G, X>> {
        Box::new(DpmSolverPpMultistep::new(self.0))
    }
}

#[test]
fn dpm_solver_pp_multistep_has_its_order() {
    for order in [Order::One, Order::Two, Order::Three] {
        let slopes = orders(&Pp(order), 128);
        assert!(slopes.iter().all(|s| (s - order.get() as f64).abs() < 0.1), "{order:?}: {slopes:?}");
    }
}
