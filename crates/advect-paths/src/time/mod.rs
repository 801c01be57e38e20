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

use advect_core::{NoiseKey, SampleRng};
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
/// loss under times of density w, with another variance. To draw from a law and keep the mean of the uniform one,
/// divide each row's loss by [`TimeLaw::density`].
pub trait TimeLaw: Sync {
    /// The time below which a share `u` in [0, 1] of the law lies.
    fn quantile(&self, u: f64) -> f64;

    /// The density at t, with integral 1 over [0, 1].
    fn density(&self, t: f64) -> f64;

    /// The time of one example: the quantile of a uniform number, unless the law has a better way.
    fn draw(&self, rng: &mut SampleRng) -> f64 {
        self.quantile(rng.random())
    }
}

impl<L: TimeLaw + ?Sized> TimeLaw for &L {
    fn quantile(&self, u: f64) -> f64 {
        (**self).quantile(u)
    }

    fn density(&self, t: f64) -> f64 {
        (**self).density(t)
    }

    fn draw(&self, rng: &mut SampleRng) -> f64 {
        (**self).draw(rng)
    }
}

/// A law chosen at run time: `Box<dyn TimeLaw>`.
impl<L: TimeLaw + ?Sized> TimeLaw for Box<L> {
    fn quantile(&self, u: f64) -> f64 {
        (**self).quantile(u)
    }

    fn density(&self, t: f64) -> f64 {
        (**self).density(t)
    }

    fn draw(&self, rng: &mut SampleRng) -> f64 {
        (**self).draw(rng)
    }
}

impl<L: TimeLaw> TimeSampler for L {
    fn sample(&self, key: NoiseKey, ids: &[u64], counter: u64) -> Vec<f64> {
        key.each(ids, counter, |_, rng| self.draw(rng))
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
        3.387_132_872_796_366_5,
        133.141_667_891_784_38,
        1_971.590_950_306_551_3,
        13_731.693_765_509_46,
        45_921.953_931_549_87,
        67_265.770_927_008_7,
        33_430.575_583_588_13,
        2_509.080_928_730_122_7,
    ],
    [
        1.0,
        42.313_330_701_600_91,
        687.187_007_492_057_9,
        5_394.196_021_424_751,
        21_213.794_301_586_597,
        39_307.895_800_092_71,
        28_729.085_735_721_943,
        5_226.495_278_852_854,
    ],
];
const NEAR: Ratio = [
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        0.241_780_725_177_450_6,
        0.022_723_844_989_269_184,
        0.000_774_545_014_278_341_4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        0.689_767_334_985_1,
        0.148_103_976_427_480_08,
        0.015_198_666_563_616_457,
        0.000_547_593_808_499_534_5,
        1.050_750_071_644_416_9e-9,
    ],
];
const FAR: Ratio = [
    [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        0.296_560_571_828_504_87,
        0.026_532_189_526_576_124,
        0.001_242_660_947_388_078_4,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    [
        1.0,
        0.599_832_206_555_888,
        0.136_929_880_922_735_8,
        0.014_875_361_290_850_615,
        0.000_786_869_131_145_613_3,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_7e-15,
    ],
];
