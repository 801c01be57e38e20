//! The networks that the program knows by name.

use crate::error::CliError;
use advect::nn::{AutoencoderKlConfig, DiTConditioning, DiTConfig, MlpConfig, Resampling, UNetConfig};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum ModelConfig {
    Mlp(MlpConfig),
    Unet(UNetConfig),
    Dit(DiTConfig),
    Autoencoder(AutoencoderKlConfig),
}

impl ModelConfig {
    pub(crate) fn classes(&self) -> Option<usize> {
        match self {
            Self::Mlp(config) => config.classes,
            Self::Unet(config) => config.classes,
            Self::Dit(config) => config.classes,
            Self::Autoencoder(_) => None,
        }
    }

    /// Whether the network exists and takes samples of this shape.
    pub(crate) fn fits(&self, shape: &[usize]) -> Result<(), CliError> {
        let refused = |reason: String| Err(CliError::usage(format!("model: {reason}")));
        match (self, shape) {
            (Self::Mlp(mlp), &[numbers]) => {
                if mlp.input != numbers {
                    return refused(format!("points have {numbers} coordinates: set model.input = {numbers}"));
                }
                mlp.validate()
            }
            (Self::Unet(unet), &[channels, height, width]) => {
                if unet.in_channels != channels || unet.out_channels != channels {
                    return refused(format!(
                        "the images have {channels} channels: set model.in_channels and model.out_channels to it"
                    ));
                }
                // Checked first: a number of levels beyond reason would overflow below.
                unet.validate().map_err(|e| CliError::usage(format!("model: {e}")))?;
                let factor = 1_usize << (unet.multipliers.len() - 1);
                let halved = height.is_multiple_of(factor) && width.is_multiple_of(factor);
                if unet.resample == Resampling::ResidualBlock && !halved {
                    return refused(format!(
                        "its residual blocks shrink images {factor} times, which {height}x{width} pixels do not allow"
                    ));
                }
                Ok(())
            }
            (Self::Dit(dit), &[channels, height, width]) => {
                // Twice the channels: a learned variance besides, which is left aside.
                let out = dit.out_channels == channels || channels.checked_mul(2) == Some(dit.out_channels);
                if dit.in_channels != channels || !out || dit.size != [height, width] {
                    return refused(format!(
                        "the images have {channels} channels and {height}x{width} pixels: set model.in_channels, \
                         model.out_channels and model.size to it"
                    ));
                }
                if matches!(dit.conditioning, DiTConditioning::CrossAttention { .. }) {
                    return refused(
                        "these data have no tokens to attend to: choose another model.conditioning".to_owned(),
                    );
                }
                dit.validate()
            }
            (Self::Autoencoder(autoencoder), &[channels, height, width]) => {
                let factor = autoencoder.factor();
                if autoencoder.in_channels != channels {
                    return refused(format!("the images have {channels} channels: set model.in_channels to it"));
                }
                if factor == 0 || !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
                    return refused(format!(
                        "it shrinks images {factor} times, which {height}x{width} pixels do not allow"
                    ));
                }
                autoencoder.validate()
            }
            (Self::Mlp(_), _) => return refused("an MLP needs points, such as data.name = \"moons\"".to_owned()),
            (Self::Unet(_) | Self::Dit(_) | Self::Autoencoder(_), _) => {
                return refused("this network needs images, such as data.name = \"digits\"".to_owned());
            }
        }
        .map_err(|e| CliError::usage(format!("model: {e}")))
    }
}
