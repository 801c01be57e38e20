//! Values that others have published or computed.

use advect_diffusion::{
    Beta, CosineSpacing, DdpmSpacing, DdpmSubset, DdpmTable, Exponential, Karras, PolyExponential, Quadratic, Shifted,
    SigmaRange, Spacing, Uniform, UniformLogSnr,
};
use advect_paths::{Cosine, Linear, Schedule, Vp};

fn close(got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (got_one, e) in got.iter().zip(expected) {
        assert!((got_one - e).abs() <= tolerance * e.abs().max(1e-3), "{got:?} vs {expected:?}");
    }
}

/// 1 - t, the sigma of the linear path.
fn flow_sigmas(spacing: &impl Spacing, steps: usize) -> Vec<f64> {
    spacing.grid(&Linear, steps).unwrap().points().iter().map(|t| 1.0 - t).collect()
}

/// sigma / alpha of every point.
fn levels(spacing: &impl Spacing, schedule: &dyn Schedule, steps: usize) -> Vec<f64> {
    let grid = spacing.grid(schedule, steps).unwrap();
    grid.points().iter().map(|&t| schedule.at(t)).map(|c| c.sigma / c.alpha).collect()
}

#[test]
fn karras_on_a_flow_model() {
    // diffusers' DPMSolverMultistepScheduler with flow sigmas and Karras sigmas 200 to 0.01, n = 5.
    let karras = Karras::new(SigmaRange::new(0.01, 200.0).unwrap(), 7.0).unwrap();
    let table = [0.995_024_86, 0.978_745_46, 0.877_488_43, 0.360_497_18, 0.009_900_99, 0.0];
    close(&flow_sigmas(&karras, 5), &table, 1e-6);
}

#[test]
fn karras_and_exponential_of_edm() {
    // EDMEulerScheduler of diffusers 0.35.1, 6 steps, in f32; on two paths.
    let edm = [80.0, 24.408_342_361, 5.838_947_773, 0.965_416_908, 0.085_087_202, 0.002, 0.0];
    let exponential = [80.0, 9.608_994_484, 1.154_159_665, 0.138_628_989, 0.016_651_064, 0.002, 0.0];
    close(&levels(&Karras::EDM, &Vp::default(), 6), &edm, 1e-6);
    close(&levels(&Karras::EDM, &Linear, 6), &edm, 1e-6);
    close(&levels(&Exponential::new(SigmaRange::EDM), &Cosine, 6), &exponential, 1e-6);
}

#[test]
fn poly_exponential_of_k_diffusion() {
    // exp(linspace(1, 0, 5)^0.7 * ln(80 / 0.02) + ln 0.02), by numpy.
    let table = [80.0, 17.623_323_679_048_823, 3.298_815_398_185_475_5, 0.463_399_431_082_444_25, 0.02, 0.0];
    let spacing = PolyExponential::new(SigmaRange::new(0.02, 80.0).unwrap(), 0.7).unwrap();
    close(&levels(&spacing, &Linear, 5), &table, 1e-10);
}

#[test]
fn the_cosine_pace_is_cosmap() {
    // SD3's CosMap: t = 1 - 1 / (tan(pi u / 2) + 1), which is sin / (sin + cos).
    let grid = CosineSpacing.grid(&Linear, 8).unwrap();
    let cos_map = |u: f64| 1.0 - 1.0 / ((std::f64::consts::FRAC_PI_2 * u).tan() + 1.0);
    let table: Vec<f64> = (0..=8).map(|i| cos_map(f64::from(i) / 8.0)).collect();
    close(grid.points(), &table, 1e-12);
    // On a cosine path it is uniform.
    let own = CosineSpacing.grid(&Cosine, 5).unwrap();
    close(own.points(), &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 1e-12);
}

#[test]
fn beta_quantiles_of_scipy() {
    // scipy.stats.beta.ppf.
    let grid = Beta::default().grid(&Linear, 6).unwrap();
    let table = [
        0.0,
        0.091_486_795_550_045_2,
        0.275_413_290_777_623_4,
        0.5,
        0.724_586_709_222_376_6,
        0.908_513_204_449_954_8,
        1.0,
    ];
    close(grid.points(), &table, 1e-12);
    let skewed = Beta::new(2.0, 5.0, 0.0, 1.0).unwrap().grid(&Linear, 10).unwrap();
    let at = |i: usize| skewed.points()[i];
    close(
        &[at(1), at(5), at(9)],
        &[0.092_595_258_913_128_73, 0.264_449_983_295_660_05, 0.510_316_306_551_491_7],
        1e-12,
    );
    let sharp = Beta::new(80.0, 30.0, 0.0, 1.0).unwrap().grid(&Linear, 5).unwrap();
    close(&[sharp.points()[1], sharp.points()[4]], &[0.691_967_284_421_000_1, 0.763_371_345_473_133_7], 1e-11);
    // In the tail, digits are kept.
    let tail = Beta::new(0.6, 0.9, 0.0, 1.0).unwrap().grid(&Linear, 1000).unwrap();
    assert!((tail.points()[1] / 1.132_329_647_107_194_5e-5 - 1.0).abs() < 1e-11);
}

#[test]
fn beta_of_diffusers() {
    // FlowMatchEulerDiscreteScheduler(use_beta_sigmas), 5 steps: levels from 1 to 0.001, then zero.
    let spacing = Beta::new(0.6, 0.6, 0.0, 0.999).unwrap();
    let table = [1.0, 0.824_495_316, 0.500_500_023, 0.176_504_701, 0.001];
    close(&flow_sigmas(&spacing, 4), &table, 1e-6);
}

#[test]
fn the_shift_of_sd3_and_flux() {
    // FlowMatchEulerDiscreteScheduler(shift = 3) and with mu = 1.15, on sigmas 1, 0.8, ..., 0.2, 0.
    let three = [1.0, 0.923_076_987, 0.818_181_813, 0.666_666_687, 0.428_571_463, 0.0];
    close(&flow_sigmas(&Shifted::new(3.0).unwrap(), 5), &three, 1e-6);
    let flux = [1.0, 0.926_647_365, 0.825_701_654, 0.677_986_741, 0.441_199_740, 0.0];
    close(&flow_sigmas(&Shifted::flux(4096).unwrap(), 5), &flux, 1e-6);
    assert!((Shifted::flux(256).unwrap().factor().ln() - 0.5).abs() < 1e-12);
    // SD3: from 256 x 256 to 1024 x 1024 the factor is 4.
    assert_eq!(Shifted::for_pixels(1024 * 1024, 256 * 256).unwrap().factor(), 4.0);
    // Any path: every noise level is three times that of equal steps.
    let shifted = levels(&Shifted::new(3.0).unwrap(), &Cosine, 4);
    let plain = levels(&Uniform::FULL, &Cosine, 4);
    close(&shifted[1..4], &plain[1..4].iter().map(|level| 3.0 * level).collect::<Vec<_>>(), 1e-12);
}

#[test]
fn subsets_of_a_discrete_table() {
    // DDIMScheduler of diffusers 0.35.1.
    let times = |subset: DdpmSubset, steps| subset.times(1000, steps).unwrap();
    let leading = DdpmSubset::Leading { offset: 0 };
    assert_eq!(times(leading, 7), [852, 710, 568, 426, 284, 142, 0]);
    assert_eq!(times(DdpmSubset::Trailing, 7), [999, 856, 713, 570, 428, 285, 142]);
    assert_eq!(times(DdpmSubset::Linspace, 7), [999, 832, 666, 500, 333, 166, 0]);
    assert_eq!(times(DdpmSubset::Trailing, 10), [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]);
    assert_eq!(times(DdpmSubset::Linspace, 10), [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]);
    assert_eq!(times(DdpmSubset::Leading { offset: 1 }, 20)[..4], [951, 901, 851, 801]);
}

#[test]
fn tables_of_alpha_bar() {
    // alphas_cumprod of diffusers (in f32) at 0, 499, 998 and 999.
    let tables = [
        (DdpmTable::linear(1e-4, 0.02, 1000), [0.999_9, 0.078_587_23, 4.118_194e-5, 4.035_83e-5]),
        (DdpmTable::scaled_linear(0.000_85, 0.012, 1000), [0.999_15, 0.277_669_4, 0.004_716_696, 0.004_660_095]),
        (DdpmTable::cosine(1000), [0.999_958_69, 0.493_843_47, 2.428_77e-6, 2.428_73e-9]),
    ];
    for (table, expected) in tables {
        let table = table.unwrap();
        for (i, e) in [0, 499, 998, 999].into_iter().zip(expected) {
            let got = table.alpha_bars()[i];
            assert!((got / e - 1.0).abs() < 2e-4, "{got} vs {e}");
        }
    }
}

#[test]
fn noise_levels_of_stable_diffusion() {
    // EulerDiscreteScheduler, scaled-linear betas, leading with offset 1, 10 steps.
    let spacing = DdpmSpacing {
        table: DdpmTable::scaled_linear(0.000_85, 0.012, 1000).unwrap(),
        subset: DdpmSubset::Leading { offset: 1 },
    };
    let table = [
        8.390_686_988,
        5.134_433_27,
        3.347_764_969,
        2.292_854_786,
        1.623_692_989,
        1.168_216_467,
        0.835_653_245,
        0.574_050_725,
        0.346_187_294,
        0.041_314_479,
        0.0,
    ];
    close(&levels(&spacing, &Linear, 10), &table, 1e-5);
}

#[test]
fn quadratic_and_log_snr_by_hand() {
    close(Quadratic::FULL.grid(&Linear, 4).unwrap().points(), &[0.0, 0.437_5, 0.75, 0.937_5, 1.0], 1e-15);
    // On the linear path logit t is half the log signal-to-noise ratio: from t = 0.1 to 0.9 the middle is at 1/2, and
    // the quarter where t / (1 - t) = 1/3.
    let grid = UniformLogSnr::new(0.1, 0.9).unwrap().grid(&Linear, 4).unwrap();
    close(grid.points(), &[0.1, 0.25, 0.5, 0.75, 0.9], 1e-12);
}
