//! Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks):
//! 3x3 taps of stride 1 with a quarter of the multiplications.
//!
//! An output is cut into *tiles* of 4x4 pixels, which see 6x6 pixels of the input. Input d and weight g of a tile are
//! evaluated at six points along each axis, V = B^T d B and U = G g G^T; the 36 products of V and U, summed over
//! channels, are the values of the output's polynomial, and Y = A^T M A its coefficients. Summed over channels, the
//! products are 36 matrix products `[tile, channel in] x [channel in, channel out]`. The gradient of the input is the
//! same with the weight turned round and transposed; that of the weight is the adjoint, 36 products `[channel in, tile]
//! x [tile, channel out]` ([`gradient`]).
//!
//! All transforms run over vectors of channels, so what they read and write lies with the channels innermost; a block
//! of tiles ([`blocks`]) stays in the second-level cache from the image to the output.
//!
//! The points are 0, +-3/4, +-3/2 and infinity instead of the paper's 0, +-1, +-2: exact in binary, and a third of the
//! rounding error, about 2e-6 of the largest output with 256 channels. A NaN or an infinity of the input makes NaN of
//! all pixels of the tiles that see it.
mod blocks;
mod correlate;
mod gradient;
mod transforms;
mod window;

pub(super) use correlate::{WeightView, correlate};
pub(super) use gradient::weight_gradient;

use super::rows::Correlation;

/// Channels, in and out, from which a quarter of the multiplications is worth the transforms.
const CHANNELS: usize = 32;
/// Pixels of an image from which transforming the weight is worth it even for one image. The batch must not decide: an
/// image's output would depend on its neighbors.
const PIXELS: usize = 48;

/// Whether this is the fastest way.
pub(super) fn suits(of: &Correlation, channels_out: usize) -> bool {
    of.taps == [3, 3] && of.stride == [1, 1] && of.channels.min(channels_out) >= CHANNELS && of.pixels() >= PIXELS
}
