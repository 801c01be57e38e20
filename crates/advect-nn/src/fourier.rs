//! Random Fourier features: a number as cosines and sines at many frequencies.

use std::f64::consts::{SQRT_2, TAU};

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

use crate::layers::{cast, widen};

/// What becomes of the frequencies of [`FourierFeatures`] in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frequencies {
    /// They stay as they were drawn (Tancik et al. 2020; Song et al. 2021, `GaussianFourierProjection`; EDM).
    Fixed,
    /// They are trained along with the network.
    Learned,
}

/// A number t as sqrt(2) cos(2 pi w t) and sqrt(2) sin(2 pi w t) at random frequencies w.
///
/// Tancik et al. 2020 (section 3, "Gaussian mapping"). The factor sqrt(2) gives each feature a mean square of one over
/// well-spread t (Karras et al. 2024, `MPFourier` of EDM2). Against sinusoids with fixed frequencies
/// ([`sinusoidal`](crate::sinusoidal)) a spread of random ones tells close numbers apart as well as far ones.
///
/// ```
/// use advect_nn::{FourierFeatures, Frequencies};
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex();
/// let features = FourierFeatures::new(64, 1.0, Frequencies::Fixed, &device);
/// let t = Tensor::<1>::from_floats([0.0, 0.5], &device);
/// assert_eq!(features.forward(t).dims(), [2, 64]);
/// ```
#[derive(Module, Debug)]
pub struct FourierFeatures {
    /// The frequencies, in turns for each unit of the number: `[features / 2]`.
    pub frequencies: Param<Tensor<1>>,
}

impl FourierFeatures {
    /// `features` features (an odd number is rounded down) whose frequencies are drawn from a normal distribution of mean
    /// 0 and this standard deviation: 16 for the logarithms of noise levels of Song et al., 1 for those of EDM2, about
    /// 10 for a time in `[0, 1]`.
    pub fn new(features: usize, deviation: f64, frequencies: Frequencies, device: &Device) -> Self {
        let drawn = Initializer::Normal { mean: 0.0, std: deviation }.init([features / 2], device);
        Self {
            frequencies: match frequencies {
                Frequencies::Fixed => drawn.set_require_grad(false),
                Frequencies::Learned => drawn,
            },
        }
    }

    /// The cosines, then the sines, of any numbers: the output has the type of the frequencies.
    ///
    /// # Shapes
    ///
    /// - `t`: `[batch]`
    /// - output: `[batch, features]`
    pub fn forward(&self, t: Tensor<1>) -> Tensor<2> {
        let (t, frequencies) = (widen(t), self.frequencies.val());
        let dtype = frequencies.dtype();
        let frequencies = cast(frequencies, t.dtype()); // [features / 2]
        let turns = t.unsqueeze_dim::<2>(1) * frequencies.unsqueeze::<2>(); // [batch, features / 2]
        let angles = turns * TAU; // [batch, features / 2]
        cast(Tensor::cat(vec![angles.clone().cos(), angles.sin()], 1) * SQRT_2, dtype) // [batch, features]
    }
}
