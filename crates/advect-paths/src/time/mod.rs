mod cosine;
mod importance;
mod log_normal_sigma;
mod logit_normal;
mod mode;
mod stratified;
mod uniform;

pub use cosine::CosineTime;
pub use importance::ImportanceTime;
pub use log_normal_sigma::LogNormalSigmaTime;
pub use logit_normal::LogitNormalTime;
pub use mode::ModeTime;
pub use stratified::StratifiedTime;
pub use uniform::UniformTime;

use advect_core::NoiseKey;
use rand::RngExt;

/// Draws the times of training examples.
///
/// With every [`TimeLaw`] the time of an example is a function of the key, its id and its counter (such as the epoch or
/// step), whatever batch it comes in. [`StratifiedTime`] also looks at the batch.
pub trait TimeSampler {
    /// One time in [0, 1] for each id.
    fn sample(&self, key: NoiseKey, ids: &[u64], counter: u64) -> Vec<f64>;
}

/// A law of the time on [0, 1]: each time drawn on its own.
///
/// Drawing more often where the loss is hard is a weight: a loss weighted by `w` under uniform times equals the plain
/// loss under times of density w, with another variance. To draw from a law and keep the mean of the uniform one, divide each
/// row's loss by [`TimeLaw::density`].
pub trait TimeLaw {
    /// The time below which a share `u` in [0, 1] of the law lies.
    fn quantile(&self, u: f64) -> f64;

    /// The density at t, with integral 1 over [0, 1].
    fn density(&self, t: f64) -> f64;

    /// The time of one example: the quantile of a uniform number, unless the law has a better way.
    fn draw(&self, key: NoiseKey, id: u64, counter: u64) -> f64 {
        self.quantile(key.rng(id, counter).random())
    }
}

impl<L: TimeLaw> TimeSampler for L {
    fn sample(&self, key: NoiseKey, ids: &[u64], counter: u64) -> Vec<f64> {
        ids.iter().map(|&id| self.draw(key, id, counter)).collect()
    }
}

/// The density of the standard normal law.
fn normal_density(z: f64) -> f64 {
    (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

/// The quantile of the standard normal law, to round-off.
///
/// Wichura, 1988, "Algorithm AS 241: The percentage points of the normal distribution" (PPND16).
fn normal_quantile(u: f64) -> f64 {
    let middle = u - 0.5;
    if middle.abs() <= 0.425 {
        return middle * ratio(&CENTER, 0.180_625 - middle * middle);
    }
    let tail = if middle < 0.0 { u } else { 1.0 - u };
    if tail <= 0.0 {
        return if middle < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let r = (-tail.ln()).sqrt();
    let size = if r <= 5.0 { ratio(&NEAR, r - 1.6) } else { ratio(&FAR, r - 5.0) };
    if middle < 0.0 { -size } else { size }
}

/// Numerator and denominator of a rational function, lowest power first.
type Ratio = [[f64; 8]; 2];

fn ratio([above, below]: &Ratio, x: f64) -> f64 {
    let polynomial = |terms: &[f64; 8]| terms.iter().rev().fold(0.0, |sum, term| sum * x + term);
    polynomial(above) / polynomial(below)
}

const CENTER: Ratio = [
    [
        3.387_132_872_796_366_608,
        133.141_667_891_784_377_45,
        1_971.590_950_306_551_442_7,
        13_731.693_765_509_461_125,
        45_921.953_931_549_871_457,
        67_265.770_927_008_700_853,
        33_430.575_583_588_128_105,
        2_509.080_928_730_122_672_7,
    ],
    [
        1.0,
        42.313_330_701_600_911_252,
        687.187_007_492_057_908_3,
        5_394.196_021_424_751_107_7,
        21_213.794_301_586_595_867,
        39_307.895_800_092_710_61,
        28_729.085_735_721_942_674,
        5_226.495_278_852_854_561,
    ],
];
const NEAR: Ratio = [
    [
        1.423_437_110_749_683_577_34,
        4.630_337_846_156_545_295_9,
        5.769_497_221_460_691_405_5,
        3.647_848_324_763_204_605_04,
        1.270_458_252_452_368_382_58,
        2.417_807_251_774_506_117_7e-1,
        2.272_384_498_926_918_458_33e-2,
        7.745_450_142_783_414_076_4e-4,
    ],
    [
        1.0,
        2.053_191_626_637_758_821_87,
        1.676_384_830_183_803_849_4,
        6.897_673_349_851_000_045_5e-1,
        1.481_039_764_274_800_745_9e-1,
        1.519_866_656_361_645_719_66e-2,
        5.475_938_084_995_344_946e-4,
        1.050_750_071_644_416_843_24e-9,
    ],
];
const FAR: Ratio = [
    [
        6.657_904_643_501_103_777_2,
        5.463_784_911_164_114_369_9,
        1.784_826_539_917_291_335_8,
        2.965_605_718_285_048_912_3e-1,
        2.653_218_952_657_612_309_3e-2,
        1.242_660_947_388_078_438_6e-3,
        2.711_555_568_743_487_578_15e-5,
        2.010_334_399_292_288_132_65e-7,
    ],
    [
        1.0,
        5.998_322_065_558_879_376_9e-1,
        1.369_298_809_227_358_053_1e-1,
        1.487_536_129_085_061_485_25e-2,
        7.868_691_311_456_132_591e-4,
        1.846_318_317_510_054_681_8e-5,
        1.421_511_758_316_445_888_7e-7,
        2.044_263_103_389_939_785_64e-15,
    ],
];
