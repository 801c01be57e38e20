use crate::problems::{Exploding, both_ends, flow, gaussian, inside, mixture_flow, mixture_model, to_data};
use advect_analytic::order::observed;
use advect_core::{Brownian, State, Times};
use advect_diffusion::{
    Ddim, Deis, Denoiser, DpmSolver2, DpmSolver3, DpmSolverPp2S, DpmSolverPp3S, DpmSolverPpMultistep, EdmHeun, Ipndm,
    Lms, Order, Pndm, SaSolver, UniPc, UniPcVariant, diffusion_methods,
};
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
    let terminal = observed(4 * first, 2, |n| {
        let model = gaussian(edm, Prediction::Data);
        let end = solve(&model, method.make(), 10.0 * x, &to_data(&edm, n)).unwrap();
        let e = end - flow(&edm, 0.0, 1.0, 10.0 * x);
        println!("T{n} {e:e}");
        e.abs()
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

macro_rules! method {
    ($name:ident, $stepper:expr) => {
        struct $name;

        impl Make for $name {
            fn make<X: State + 'static, G: Denoiser<X>>(&self) -> Box<dyn Stepper<G, X>> {
                Box::new($stepper)
            }
        }
    };
}

macro_rules! order {
    ($test:ident, $order:expr, $stepper:expr) => {
        #[test]
        fn $test() {
            method!(Method, $stepper);
            let slopes = orders(&Method, 128);
            assert!(slopes.iter().zip($order).all(|(s, order)| (s - order).abs() < 0.15), "{slopes:?}");
        }
    };
}

/// The noise of a sampler that is told to take none.
#[derive(Debug, Clone)]
struct Silent;

impl<X: State> Brownian<X> for Silent {
    fn increment(&mut self, like: &X, _from: &Times, _to: &Times) -> X {
        like.clone().combine(0.0, &[])
    }
}

order!(ddim, [1.0; 4], Ddim);
order!(dpm_solver_2, [2.0; 4], DpmSolver2::default());
order!(dpm_solver_2_off_the_middle, [2.0; 4], DpmSolver2::new(0.3).unwrap());
order!(dpm_solver_3, [3.0; 4], DpmSolver3);
order!(dpm_solver_pp_2s, [2.0; 4], DpmSolverPp2S::default());
order!(dpm_solver_pp_2s_off_the_middle, [2.0; 4], DpmSolverPp2S::new(0.7).unwrap());
order!(dpm_solver_pp_3s, [3.0; 4], DpmSolverPp3S);
order!(dpm_solver_pp_1, [1.0; 4], DpmSolverPpMultistep::new(Order::One));
order!(dpm_solver_pp_2m, [2.0; 4], DpmSolverPpMultistep::new(Order::Two));
order!(dpm_solver_pp_3m, [3.0; 4], DpmSolverPpMultistep::new(Order::Three));
order!(deis_1, [1.0; 4], Deis::new(Order::One));
order!(deis_2, [2.0; 4], Deis::new(Order::Two));
order!(deis_3, [3.0; 4], Deis::new(Order::Three));
order!(lms_1, [1.0; 4], Lms::new(Order::One));
order!(lms_2, [2.0; 4], Lms::new(Order::Two));
order!(lms_3, [3.0; 4], Lms::new(Order::Three));
order!(lms_4, [4.0; 4], Lms::new(Order::Four));
// Where sigma is linear in t, as on the second problem, PNDM is LMS of order four, and iPNDM too: its first steps, of
// lower order, are short there.
order!(pndm, [2.0, 4.0, 2.0, 2.0], Pndm::new());
order!(ipndm, [2.0, 4.0, 2.0, 2.0], Ipndm::new());
order!(edm_heun, [2.0; 4], EdmHeun);
order!(uni_pc_1_bh1, [2.0; 4], UniPc::new(Order::One, UniPcVariant::Bh1));
order!(uni_pc_2_bh1, [3.0; 4], UniPc::new(Order::Two, UniPcVariant::Bh1));
order!(uni_pc_2_bh2, [3.0; 4], UniPc::new(Order::Two, UniPcVariant::Bh2));
order!(uni_pc_3_bh1, [4.0; 4], UniPc::new(Order::Three, UniPcVariant::Bh1));
order!(uni_pc_3_bh2, [4.0; 4], UniPc::new(Order::Three, UniPcVariant::Bh2));
order!(sa_solver_1, [2.0; 4], SaSolver::new(Order::One, 0.0, Silent).unwrap());
order!(sa_solver_2, [3.0; 4], SaSolver::new(Order::Two, 0.0, Silent).unwrap());
order!(sa_solver_3, [4.0; 4], SaSolver::new(Order::Three, 0.0, Silent).unwrap());

#[test]
fn every_listed_sampler_has_the_order_of_its_line() {
    let model = gaussian(Linear, Prediction::Velocity);
    let model: &dyn Denoiser<f64> = &model;
    for entry in diffusion_methods::<dyn Denoiser<f64>, f64>() {
        let fit = observed(128, 3, |n| {
            (solve(model, entry.stepper(), -1.3, &both_ends(n)).unwrap() - flow(&Linear, 0.0, 1.0, -1.3)).abs()
        });
        assert!((fit.slope - entry.method.order).abs() < 0.15, "{}: {}", entry.method.name, fit.slope);
    }
}
