//! What holds for every grid: both ends exact, strictly monotone, bad input refused by name.

use advect_core::CoreError;
use advect_diffusion::{
    Beta, CosineSpacing, DdpmSpacing, DdpmSubset, DdpmTable, DiffusionError, Exponential, Karras, PolyExponential,
    Quadratic, Shifted, SigmaRange, Spacing, Uniform, UniformLogSnr, WithoutLast, cheapest_path,
};
use advect_paths::{Coefficients, Cosine, Linear, LinearVp, Polynomial, Schedule, Vp};

/// Noise from 50 down to 0.02 that never vanishes, as on a VE path.
struct Noisy;

impl Schedule for Noisy {
    fn at(&self, t: f64) -> Coefficients {
        let sigma = 50.0_f64.powf(1.0 - t) * 0.02_f64.powf(t);
        Coefficients { alpha: 1.0, sigma, d_alpha: 0.0, d_sigma: -(50.0_f64 / 0.02).ln() * sigma }
    }

    fn log_snr(&self, t: f64) -> f64 {
        -2.0 * self.at(t).sigma.ln()
    }

    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        ((50.0_f64.ln() + log_snr / 2.0) / (50.0_f64 / 0.02).ln()).clamp(0.0, 1.0)
    }
}

fn range() -> SigmaRange {
    SigmaRange::new(0.02, 50.0).unwrap()
}

fn all() -> Vec<(&'static str, Box<dyn Spacing>)> {
    let table = DdpmTable::cosine(1000).unwrap();
    vec![
        ("uniform", Box::new(Uniform::FULL)),
        ("karras", Box::new(Karras::new(range(), 7.0).unwrap())),
        ("exponential", Box::new(Exponential::new(range()))),
        ("poly-exponential", Box::new(PolyExponential::new(range(), 1.3).unwrap())),
        ("cosine", Box::new(CosineSpacing)),
        ("beta", Box::new(Beta::default())),
        ("quadratic", Box::new(Quadratic::FULL)),
        ("shifted", Box::new(Shifted::new(1.0).unwrap())),
        ("ddpm", Box::new(DdpmSpacing { table, subset: DdpmSubset::Leading { offset: 0 } })),
    ]
}

#[test]
fn every_grid_meets_its_ends_on_every_schedule() {
    let polynomial = Polynomial::new(2.0).unwrap();
    let vp = Vp::default();
    let schedules: [(&str, &dyn Schedule); 6] = [
        ("linear", &Linear),
        ("cosine", &Cosine),
        ("vp", &vp),
        ("linear-vp", &LinearVp),
        ("polynomial", &polynomial),
        ("noisy", &Noisy),
    ];
    for (name, spacing) in all() {
        for (path, schedule) in schedules {
            for steps in [1, 2, 3, 10, 50] {
                // The smallest level of the discrete table is below what this path reaches.
                if (name, path) == ("ddpm", "noisy") {
                    continue;
                }
                let grid = spacing.grid(schedule, steps).unwrap_or_else(|e| panic!("{name} on {path}, {steps}: {e}"));
                assert_eq!((grid.steps(), grid.end()), (steps, 1.0), "{name} on {path}");
                let start = schedule.at(grid.start());
                let exact = match name {
                    "karras" | "exponential" | "poly-exponential" => {
                        (start.sigma / start.alpha / 50.0 - 1.0).abs() < 1e-9
                    }
                    "ddpm" => true,
                    _ => grid.start() == 0.0,
                };
                assert!(exact, "{name} on {path} starts at {}", grid.start());
            }
        }
    }
    // The range is the schedule's own: both ends bit for bit.
    let grid = Karras::new(range(), 7.0).unwrap().grid(&Noisy, 8).unwrap();
    assert_eq!((grid.start(), grid.end(), grid.steps()), (0.0, 1.0, 8));
}

#[test]
fn without_the_last_step_a_grid_ends_at_the_smallest_level() {
    let grid = WithoutLast(Exponential::new(range())).grid(&Linear, 10).unwrap();
    assert_eq!(grid.steps(), 10);
    assert!((grid.end() - 1.0 / 1.02).abs() < 1e-12);
}

fn refused<T: std::fmt::Debug>(result: Result<T, DiffusionError>, setting: &str) {
    match result {
        Err(DiffusionError::Setting { name, .. }) => assert_eq!(name, setting),
        other => panic!("{setting}: {other:?}"),
    }
}

#[test]
fn bad_settings_are_refused_by_name() {
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        refused(SigmaRange::new(bad, 80.0), "sigma_min");
        refused(Karras::new(SigmaRange::EDM, bad), "rho");
        refused(PolyExponential::new(SigmaRange::EDM, bad), "rho");
        refused(Shifted::new(bad), "shift");
        refused(Beta::new(bad, 1.0, 0.0, 1.0), "a");
        refused(Beta::new(1.0, bad, 0.0, 1.0), "b");
    }
    refused(SigmaRange::new(1.0, 1.0), "sigma_max");
    refused(SigmaRange::new(1.0, f64::INFINITY), "sigma_max");
    for bad in [-0.1, 1.0, f64::NAN] {
        refused(Uniform::new(bad, 1.0), "start");
        refused(Quadratic::new(bad, 1.0), "start");
        refused(UniformLogSnr::new(bad, 1.0), "start");
    }
    refused(Uniform::new(0.5, 0.5), "end");
    refused(Uniform::new(0.5, f64::NAN), "end");
    refused(UniformLogSnr::new(0.0, 0.5).unwrap().grid(&Linear, 3), "start");
    refused(UniformLogSnr::new(0.1, 1.0).unwrap().grid(&Linear, 3), "end");
    refused(Shifted::for_pixels(64, 0), "trained");
    refused(Shifted::flux(usize::MAX), "shift");
    refused(DdpmTable::linear(0.0, 0.02, 10), "beta");
    refused(DdpmTable::from_betas([]), "betas");
    refused(DdpmSubset::Trailing.times(10, 11), "steps");
    refused(DdpmSubset::Leading { offset: 1 }.times(10, 10), "offset");
    for (_, spacing) in all() {
        refused(spacing.grid(&Linear, 0), "steps");
    }
    refused(WithoutLast(Uniform::FULL).grid(&Linear, 0), "steps");
    // VP of Song et al. ends at sigma / alpha = 152; a level above is not reached, nor one below VE's smallest.
    refused(Karras::new(SigmaRange::new(0.1, 200.0).unwrap(), 7.0).unwrap().grid(&Vp::default(), 5), "sigma");
    refused(Karras::new(SigmaRange::new(0.01, 20.0).unwrap(), 7.0).unwrap().grid(&Noisy, 5), "sigma");
    // A factor that pushes two points to the same end.
    let shifted = Shifted::new(1e-30).unwrap().grid(&Cosine, 5);
    assert!(matches!(shifted, Err(DiffusionError::Grid(CoreError::GridNotMonotone { .. }))), "{shifted:?}");
}

#[test]
fn the_cheapest_path_is_the_best_of_all() {
    // Every subset of seven candidates, counted out. Costs by a hash, unequal and not convex.
    let cost = |i: usize, j: usize| ((i * 31 + j * 17) % 23) as f64 + ((j - i) * (j - i)) as f64 / 3.0;
    for steps in 1..=6 {
        let mut asked = std::collections::HashSet::new();
        let path = cheapest_path(6, steps, |i, j| {
            assert!(asked.insert((i, j)), "asked twice for {i} {j}");
            Ok::<_, DiffusionError>(cost(i, j))
        });
        let path = path.unwrap();
        let total = |indices: &[usize]| indices.windows(2).map(|p| cost(p[0], p[1])).sum::<f64>();
        let best = (0..32_u32)
            .filter(|mask| mask.count_ones() as usize == steps - 1)
            .map(|mask| {
                let inner = (1..6).filter(|i| mask & (1 << (i - 1)) != 0);
                total(&std::iter::once(0).chain(inner).chain([6]).collect::<Vec<_>>())
            })
            .fold(f64::INFINITY, f64::min);
        assert_eq!((path.indices.len(), path.indices[0], path.indices[steps]), (steps + 1, 0, 6));
        assert!((path.cost - best).abs() < 1e-12 && (total(&path.indices) - best).abs() < 1e-12, "{path:?} vs {best}");
    }
    for bad in [0, 7] {
        refused(cheapest_path(6, bad, |_, _| Ok::<_, DiffusionError>(0.0)), "steps");
    }
}
