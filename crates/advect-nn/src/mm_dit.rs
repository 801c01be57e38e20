//! MM-DiT: a transformer over the tokens of an image and of a text, the network of Stable Diffusion 3 and 3.5.

use advect_kernels::{attention, columns, gated_residual, modulated_layer_norm, silu};
use burn::module::{Module, Param, ParamId};
use burn::nn::conv::Conv2d;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Shape, Tensor};
use serde::{Deserialize, Serialize};

use crate::dit::Probe;
use crate::embedding::TimeEmbedding;
use crate::error::{NnError, counted, multiple, positive, sized};
use crate::layers::{linear, nothing, silu_linear};
use crate::patch::{embed_patches, new_patches, unpatchify};
use crate::position::sin_cos_at;
use crate::transformer::{Activation, FeedForward, QkNorm, QkNorms, TokenAttention, TokenNorm, merge_heads, project};

/// The number of sinusoidal features of the time.
const TIME_FEATURES: usize = 256;

/// The size of the feed-forward layers in units of the width.
const MLP_RATIO: usize = 4;

/// What the normalization of tokens adds to their variance.
const EPSILON: f64 = 1e-6;

/// The shape of an [`MmDiT`].
///
/// ```
/// use advect_nn::{MmDiTConfig, QkNorm};
///
/// let config = MmDiTConfig::new(16, 2, 4).with_text_features(64).with_pooled_features(32).with_qk_norm(QkNorm::Rms);
/// assert!(config.validate().is_ok());
/// assert_eq!(MmDiTConfig::sd3_medium().num_params(), 2_028_328_000);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MmDiTConfig {
    /// The channels of the input: 16 for the latents of Stable Diffusion 3.
    pub in_channels: usize,
    /// The channels of the output.
    pub out_channels: usize,
    /// The number of joint blocks. The last one ends the text's stream: what the text would become is not computed.
    pub layers: usize,
    /// The number of attention heads. The width of the network is `heads * head_channels`, a multiple of 4.
    pub heads: usize,
    /// The channels of each head. Default: 64.
    #[serde(default = "default_head_channels")]
    pub head_channels: usize,
    /// The features of a text token. Default: 4096.
    #[serde(default = "default_text_features")]
    pub text_features: usize,
    /// The features of the pooled text. Default: 2048.
    #[serde(default = "default_pooled_features")]
    pub pooled_features: usize,
    /// The height and width of a patch. Default: 2.
    #[serde(default = "default_patch")]
    pub patch: usize,
    /// The rows, and the columns, of patches in the table of positions: the largest input is `patch * positions` high
    /// and wide. Smaller ones get the middle of the table. Default: 192.
    #[serde(default = "default_positions")]
    pub positions: usize,
    /// What the coordinates of a new table run up to: row i is at `i * position_span / positions`, a column likewise. A
    /// checkpoint brings its own table. Default: 64.
    #[serde(default = "default_position_span")]
    pub position_span: usize,
    /// The normalization of queries and keys. Default: none.
    #[serde(default = "default_qk_norm")]
    pub qk_norm: QkNorm,
    /// The blocks, from 0, with a second attention among the image's own tokens. Default: none.
    #[serde(default)]
    pub dual_attention: Vec<usize>,
    /// What a time in `[0, 1]` is multiplied with before its sinusoidal features, which have angular frequencies from
    /// `time_scale` down to `time_scale` / 10,000. Default: 1000.
    #[serde(default = "default_time_scale")]
    pub time_scale: f64,
}

fn default_head_channels() -> usize {
    64
}

fn default_text_features() -> usize {
    4096
}

fn default_pooled_features() -> usize {
    2048
}

fn default_patch() -> usize {
    2
}

fn default_positions() -> usize {
    192
}

fn default_position_span() -> usize {
    64
}

fn default_qk_norm() -> QkNorm {
    QkNorm::Off
}

fn default_time_scale() -> f64 {
    1000.0
}

impl MmDiTConfig {
    /// A network for `in_channels` channels, of `layers` joint blocks with `heads` heads; the rest as in Stable
    /// Diffusion 3.
    pub fn new(in_channels: usize, layers: usize, heads: usize) -> Self {
        Self {
            in_channels,
            out_channels: in_channels,
            layers,
            heads,
            head_channels: default_head_channels(),
            text_features: default_text_features(),
            pooled_features: default_pooled_features(),
            patch: default_patch(),
            positions: default_positions(),
            position_span: default_position_span(),
            qk_norm: default_qk_norm(),
            dual_attention: Vec::new(),
            time_scale: default_time_scale(),
        }
    }

    /// Stable Diffusion 3 medium (Esser et al. 2024): 24 layers, 1536 wide, 2.03 billion parameters.
    pub fn sd3_medium() -> Self {
        Self::new(16, 24, 24)
    }

    /// Stable Diffusion 3.5 medium: 24 layers, 1536 wide, a second attention in the first 13; 2.24 billion parameters.
    pub fn sd35_medium() -> Self {
        Self::new(16, 24, 24).with_qk_norm(QkNorm::Rms).with_dual_attention((0..13).collect()).with_positions(384)
    }

    /// Stable Diffusion 3.5 large: 38 layers, 2432 wide, 8.06 billion parameters.
    pub fn sd35_large() -> Self {
        Self::new(16, 38, 38).with_qk_norm(QkNorm::Rms)
    }

    /// Sets the channels of the output.
    pub fn with_out_channels(mut self, out_channels: usize) -> Self {
        self.out_channels = out_channels;
        self
    }

    /// Sets the channels of each head.
    pub fn with_head_channels(mut self, head_channels: usize) -> Self {
        self.head_channels = head_channels;
        self
    }

    /// Sets the features of a text token.
    pub fn with_text_features(mut self, text_features: usize) -> Self {
        self.text_features = text_features;
        self
    }

    /// Sets the features of the pooled text.
    pub fn with_pooled_features(mut self, pooled_features: usize) -> Self {
        self.pooled_features = pooled_features;
        self
    }

    /// Sets the height and width of a patch.
    pub fn with_patch(mut self, patch: usize) -> Self {
        self.patch = patch;
        self
    }

    /// Sets the rows, and the columns, of the table of positions.
    pub fn with_positions(mut self, positions: usize) -> Self {
        self.positions = positions;
        self
    }

    /// Sets what the coordinates of a new table of positions run up to.
    pub fn with_position_span(mut self, position_span: usize) -> Self {
        self.position_span = position_span;
        self
    }

    /// Sets the normalization of queries and keys.
    pub fn with_qk_norm(mut self, qk_norm: QkNorm) -> Self {
        self.qk_norm = qk_norm;
        self
    }

    /// Sets the blocks with a second attention among the image's own tokens.
    pub fn with_dual_attention(mut self, blocks: Vec<usize>) -> Self {
        self.dual_attention = blocks;
        self
    }

    /// Sets what a time is multiplied with.
    pub fn with_time_scale(mut self, time_scale: f64) -> Self {
        self.time_scale = time_scale;
        self
    }

    /// Checks that the configuration describes a network.
    pub fn validate(&self) -> Result<(), NnError> {
        sized("in_channels", self.in_channels)?;
        sized("out_channels", self.out_channels)?;
        counted("layers", self.layers)?;
        sized("heads", self.heads)?;
        sized("head_channels", self.head_channels)?;
        sized("text_features", self.text_features)?;
        sized("pooled_features", self.pooled_features)?;
        counted("patch", self.patch)?;
        sized("positions", self.positions)?;
        sized("position_span", self.position_span)?;
        positive("time_scale", self.time_scale)?;
        sized("heads * head_channels", self.width())?;
        multiple("heads * head_channels", self.width(), 4, "positions are sines and cosines of two coordinates")?;
        match self.dual_attention.iter().find(|&&block| block >= self.layers) {
            Some(&block) => Err(NnError::NoSuchBlock { field: "dual_attention", block, blocks: self.layers }),
            None => Ok(()),
        }
    }

    /// The features of a token inside the network.
    fn width(&self) -> usize {
        self.heads * self.head_channels
    }

    /// The number of parameters that are learned, without making them: all but the table of positions.
    ///
    /// Meaningful for a configuration that [`validate`](Self::validate) accepts.
    pub fn num_params(&self) -> usize {
        let width = self.width();
        let linear = |from: usize, to: usize| from * to + to;
        let qk_norm = self.qk_norm.norm().map_or(0, |kind| 2 * TokenNorm::num_params(kind, self.head_channels));
        let project = linear(width, 3 * width) + qk_norm;
        let out = linear(width, width);
        let mlp = linear(width, MLP_RATIO * width) + linear(MLP_RATIO * width, width);
        let block = |index: usize| {
            let second = self.dual_attention.contains(&index);
            let image = if second { linear(width, 9 * width) + project + out } else { linear(width, 6 * width) };
            let last = index + 1 == self.layers;
            let text = if last { linear(width, 2 * width) } else { linear(width, 6 * width) + out + mlp };
            image + project + out + mlp + text + project
        };
        let area = self.patch * self.patch;
        linear(area * self.in_channels, width)
            + linear(TIME_FEATURES, width)
            + linear(self.pooled_features, width)
            + 2 * linear(width, width)
            + linear(self.text_features, width)
            + (0..self.layers).map(block).sum::<usize>()
            + linear(width, 2 * width)
            + linear(width, area * self.out_channels)
    }

    /// A network with random weights, made when they are first used. Each block starts as the identity, and the output
    /// at zero.
    pub fn init(&self, device: &Device) -> Result<MmDiT, NnError> {
        self.validate()?;
        let width = self.width();
        let linear = |from: usize, to: usize| LinearConfig::new(from, to).init(device);
        let attention = || TokenAttention::new(width, self.heads, self.qk_norm, device);
        let stream = |dual: bool| JointStream {
            modulation: linear(width, if dual { 9 * width } else { 6 * width }),
            attention: attention(),
            second: dual.then(attention),
            feed_forward: FeedForward::new(width, MLP_RATIO, Activation::Gelu, device),
        };
        let last = || LastText {
            modulation: linear(width, 2 * width),
            qkv: linear(width, 3 * width),
            norm: QkNorms::new(self.qk_norm, self.head_channels, device),
            heads: self.heads,
        };
        let block = |index: usize| JointBlock {
            image: stream(self.dual_attention.contains(&index)),
            text: if index + 1 == self.layers { TextStream::Last(last()) } else { TextStream::Full(stream(false)) },
        };
        Ok(initialize(MmDiT {
            patches: new_patches(self.in_channels, width, self.patch, device),
            positions: table(self.positions, self.position_span, width, device),
            time: TimeEmbedding::new(TIME_FEATURES, width, self.time_scale, device),
            pooled: PooledEmbedding { linear_1: linear(self.pooled_features, width), linear_2: linear(width, width) },
            text: linear(self.text_features, width),
            blocks: (0..self.layers).map(block).collect(),
            modulation: linear(width, 2 * width),
            out: linear(width, self.patch * self.patch * self.out_channels),
        }))
    }
}

/// Everything about a new network's weights. Esser et al. do not say, so it is as in the released code of DiT.
///
/// - Linear layers are uniform with the variance 2 / (from + to) (Glorot and Bengio 2010), which keeps the size of
///   signals and of gradients about the same, with zero biases; the patch embedding likewise, as a layer on flattened
///   patches.
/// - What embeds time and pooled text is normal with a standard deviation of 0.02, so that no condition drowns the
///   image at first.
/// - The modulations are zero, so each gate is, and each block is the identity: depth does not amplify signal or
///   gradient at first.
/// - The last layer is zero: the first loss is that of the prediction "zero".
fn initialize(mut network: MmDiT) -> MmDiT {
    let fill = |layer: &mut Linear, kind: &Initializer| {
        let ([from, to], device) = (layer.weight.lazy_shape().dims(), layer.weight.lazy_device());
        layer.weight = kind.init_with([from, to], Some(from), Some(to), &device);
        layer.bias = Some(Initializer::Zeros.init([to], &device));
    };
    let uniform = Initializer::XavierUniform { gain: 1.0 };
    let normal = Initializer::Normal { mean: 0.0, std: 0.02 };
    let fill_stream = |stream: &mut JointStream| {
        fill(&mut stream.modulation, &Initializer::Zeros);
        for attention in [Some(&mut stream.attention), stream.second.as_mut()].into_iter().flatten() {
            fill(&mut attention.qkv, &uniform);
            fill(&mut attention.out, &uniform);
        }
        fill(&mut stream.feed_forward.up, &uniform);
        fill(&mut stream.feed_forward.down, &uniform);
    };

    let ([width, channels, patch, _], device) =
        (network.patches.weight.lazy_shape().dims(), network.patches.weight.lazy_device());
    let window = channels * patch * patch;
    network.patches.weight = uniform.init_with([width, channels, patch, patch], Some(window), Some(width), &device);
    network.patches.bias = Some(Initializer::Zeros.init([width], &device));
    fill(&mut network.time.linear_1, &normal);
    fill(&mut network.time.linear_2, &normal);
    fill(&mut network.pooled.linear_1, &normal);
    fill(&mut network.pooled.linear_2, &normal);
    fill(&mut network.text, &uniform);
    for block in &mut network.blocks {
        fill_stream(&mut block.image);
        match &mut block.text {
            TextStream::Full(stream) => fill_stream(stream),
            TextStream::Last(last) => {
                fill(&mut last.modulation, &Initializer::Zeros);
                fill(&mut last.qkv, &uniform);
            }
        }
    }
    fill(&mut network.modulation, &Initializer::Zeros);
    fill(&mut network.out, &Initializer::Zeros);
    network
}

/// A new table of positions, `[1, side * side, width]`, not learned: [`sin_cos_2d`](crate::sin_cos_2d) of coordinates
/// that run up to `span`.
fn table(side: usize, span: usize, width: usize, device: &Device) -> Param<Tensor<3>> {
    let shape = [1, side * side, width];
    let make = move |device: &Device, _: bool| {
        // In f32, as diffusers does it: so its tables and ours are the same.
        let step = side as f32 / span as f32;
        let places: Vec<f64> = (0..side).map(|place| f64::from(place as f32 / step)).collect();
        let options = (device, device.settings().float_dtype.into());
        sin_cos_at([&places, &places], width, options).reshape(shape) // [1, side * side, width]
    };
    Param::uninitialized(ParamId::new(), make, device.clone(), false, Shape::new(shape))
}

/// The pooled text as a vector: linear, SiLU, linear.
#[derive(Module, Debug)]
pub struct PooledEmbedding {
    /// `[pooled_features, width]`.
    pub linear_1: Linear,
    /// `[width, width]`.
    pub linear_2: Linear,
}

impl PooledEmbedding {
    /// Embeds the pooled text.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, pooled_features]`
    /// - output: `[batch, width]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        silu_linear(&self.linear_2, linear(&self.linear_1, x)) // [batch, width]
    }
}

/// Layer normalization, shifted by part `index` of a modulation and scaled by the next: `[batch, tokens, width]` to the same.
fn modulated(x: &Tensor<3>, modulation: &[Tensor<2>], index: usize) -> Tensor<3> {
    modulated_layer_norm(x.clone(), modulation[index].clone(), modulation[index + 1].clone(), EPSILON)
}

/// What a layer says, in parts of `[batch, width]`.
fn parts(layer: &Linear, condition: Tensor<2>, width: usize) -> Vec<Tensor<2>> {
    let said = linear(layer, condition); // [batch, parts * width]
    let [_, size] = said.dims();
    columns(said, size / width) // each [batch, width]
}

/// The tokens of one kind, image or text, in a joint block: its weights are its own, only the attention is shared.
#[derive(Module, Debug)]
pub struct JointStream {
    /// `[width, 6 * width]`: shift, scale and gate of the attention, then of the feed-forward part. With a second
    /// attention `[width, 9 * width]`: its shift, scale and gate come last. Zero at first.
    pub modulation: Linear,
    /// The stream's part of the joint attention.
    pub attention: TokenAttention,
    /// Dual attention (Stable Diffusion 3.5 medium): among the image's own tokens.
    pub second: Option<TokenAttention>,
    /// On each token.
    pub feed_forward: FeedForward,
}

impl JointStream {
    /// What becomes of the tokens `x` after the joint attention gave `y`.
    fn finish(&self, x: Tensor<3>, y: Tensor<3>, modulation: &[Tensor<2>]) -> Tensor<3> {
        let gate = |index: usize| modulation[index].clone(); // [batch, width]
        // Both attentions see the tokens as they came.
        let second = self.second.as_ref().map(|attention| attention.forward(modulated(&x, modulation, 6), None));
        let mut x = gated_residual(x, gate(2), linear(&self.attention.out, y)); // [batch, tokens, width]
        if let Some(y) = second {
            x = gated_residual(x, gate(8), y); // [batch, tokens, width]
        }
        let y = self.feed_forward.forward(modulated(&x, modulation, 3)); // [batch, tokens, width]
        gated_residual(x, gate(5), y) // [batch, tokens, width]
    }
}

/// The text's part of the last block: the image attends to it, and there it ends.
#[derive(Module, Debug)]
pub struct LastText {
    /// `[width, 2 * width]`: shift and scale, zero at first.
    pub modulation: Linear,
    /// `[width, 3 * width]`: queries, keys, values, each ordered by head. The queries are in the checkpoints, unused.
    pub qkv: Linear,
    /// Of queries and keys.
    pub norm: Option<QkNorms>,
    /// The number of heads.
    pub heads: usize,
}

/// The text's part of a block.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network has one for each block")]
pub enum TextStream {
    /// In all blocks but the last.
    Full(JointStream),
    /// In the last block.
    Last(LastText),
}

/// A block of an [`MmDiT`]: the tokens of image and text attend to each other, all with their own weights.
///
/// Esser et al. 2024, figure 2b; `JointTransformerBlock` of diffusers.
#[derive(Module, Debug)]
pub struct JointBlock {
    /// The image's weights.
    pub image: JointStream,
    /// The text's weights.
    pub text: TextStream,
}

impl JointBlock {
    /// The tokens of image and text after this block; after the last one the text's are those that came.
    ///
    /// # Shapes
    ///
    /// - `image`: `[batch, image_tokens, width]`
    /// - `text`: `[batch, text_tokens, width]`
    /// - `condition`: `[batch, width]`, SiLU already applied
    /// - outputs: those of `image` and `text`
    pub fn forward(&self, image: Tensor<3>, text: Tensor<3>, condition: Tensor<2>) -> (Tensor<3>, Tensor<3>) {
        let ([_, image_tokens, width], [_, text_tokens, _]) = (image.dims(), text.dims());
        let (text_modulation, text_qkv, text_norm) = match &self.text {
            TextStream::Full(text) => (&text.modulation, &text.attention.qkv, &text.attention.norm),
            TextStream::Last(text) => (&text.modulation, &text.qkv, &text.norm),
        };
        let image_modulation = parts(&self.image.modulation, condition.clone(), width); // 6 or 9
        let text_modulation = parts(text_modulation, condition, width); // 6 or 2

        // Each [batch, heads, tokens, size]: of the image's tokens, of the text's, of both.
        let TokenAttention { qkv, norm, heads, .. } = &self.image.attention;
        let [q, k, v] = project(qkv, norm.as_ref(), *heads, modulated(&image, &image_modulation, 0));
        let [text_q, text_k, text_v] =
            project(text_qkv, text_norm.as_ref(), *heads, modulated(&text, &text_modulation, 0));
        let [q, k, v] = [[q, text_q], [k, text_k], [v, text_v]].map(|pair| Tensor::cat(pair.into(), 2));

        let y = merge_heads(attention(q, k, v)); // [batch, image_tokens + text_tokens, width]
        let image_y = y.clone().narrow(1, 0, image_tokens); // [batch, image_tokens, width]
        let text_y = y.narrow(1, image_tokens, text_tokens); // [batch, text_tokens, width]
        let image = self.image.finish(image, image_y, &image_modulation); // [batch, image_tokens, width]
        let text = match &self.text {
            TextStream::Full(stream) => stream.finish(text, text_y, &text_modulation), // [batch, text_tokens, width]
            TextStream::Last(_) => text,                                               // [batch, text_tokens, width]
        };
        (image, text)
    }
}

/// A multimodal diffusion transformer: patches of an image and tokens of a text, two streams that attend to each other.
///
/// Esser et al. 2024, "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis"; equal to diffusers'
/// `SD3Transformer2DModel`, with which the tests compare it. The embeddings of the text are the caller's.
///
/// # Time
///
/// The network embeds `time_scale * t` and knows nothing else about time: which end is noise, like what the output
/// means, is what it was trained with. One trained here saw our t (0 is noise), and nothing is to be done. The weights
/// of Stable Diffusion 3 and 3.5 saw `1000 sigma` with x = (1 - sigma) data + sigma noise and learned the velocity
/// noise - data. So their sigma is our 1 - t, and their velocity is minus ours:
///
/// ```
/// # use advect_nn::{MmDiTConfig, NnError};
/// # use burn::tensor::{Device, Tensor};
/// # fn main() -> Result<(), NnError> {
/// # let device = Device::flex();
/// # let config = MmDiTConfig::new(4, 1, 2).with_head_channels(8).with_text_features(6).with_pooled_features(5);
/// # let network = config.with_positions(4).init(&device)?;
/// # let (text, pooled) = (Tensor::<3>::zeros([1, 7, 6], &device), Tensor::<2>::zeros([1, 5], &device));
/// let velocity = |x: Tensor<4>, t: Tensor<1>| -network.forward(x, -t + 1.0, text.clone(), pooled.clone());
/// # assert_eq!(velocity(Tensor::zeros([1, 4, 8, 4], &device), Tensor::zeros([1], &device)).dims(), [1, 4, 8, 4]);
/// # Ok(())
/// # }
/// ```
///
/// A flag in the configuration that did this inside would give one network two meanings of `t`, and a sign that depends
/// on where its weights came from.
#[derive(Module, Debug)]
pub struct MmDiT {
    /// From a patch to a token: a convolution with window and stride of a patch.
    pub patches: Conv2d,
    /// `[1, positions * positions, width]`: the position of each patch in the largest image, row by row. Not learned,
    /// but kept with the weights: a published checkpoint brings its own, and says nowhere from which formula.
    pub positions: Param<Tensor<3>>,
    /// The time as a vector.
    pub time: TimeEmbedding,
    /// The pooled text as a vector.
    pub pooled: PooledEmbedding,
    /// `[text_features, width]`.
    pub text: Linear,
    /// One after the other.
    pub blocks: Vec<JointBlock>,
    /// `[width, 2 * width]`: shift and scale before the last layer, zero at first.
    pub modulation: Linear,
    /// From a token to a patch of output, `[width, patch^2 * out_channels]`, zero at first.
    pub out: Linear,
}

impl MmDiT {
    /// The network's output for latents `x` at times `t`, given a text.
    ///
    /// What the output means (a velocity, noise) is the training objective's choice. There are no conditions but time and
    /// text; of the backbones, only a [`DiT`](crate::DiT) takes a vector of yours beside them.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, in_channels, height, width]`, both multiples of `patch` up to `patch * positions`
    /// - `t`: `[batch]`, or `[1]` for the whole batch; see [Time](Self#time)
    /// - `text`: `[batch, text_tokens, text_features]`: the tokens of a text
    /// - `pooled`: `[batch, pooled_features]`: the text as a whole
    /// - output: `[batch, out_channels, height, width]`
    ///
    /// # Panics
    ///
    /// If the shapes disagree, or if the height or the width is no multiple of `patch` or too large.
    pub fn forward(&self, x: Tensor<4>, t: Tensor<1>, text: Tensor<3>, pooled: Tensor<2>) -> Tensor<4> {
        self.forward_probed(x, t, text, pooled, &Probe::default()).0
    }

    /// [`forward`](Self::forward), but for the blocks left out, and the image's tokens after some blocks.
    ///
    /// Without blocks 7, 8 and 9 it is the weak model of skip-layer guidance as published with Stable Diffusion 3.5 medium.
    ///
    /// # Shapes
    ///
    /// As there; the features, in the order of the blocks: `[batch, tokens, width]` each, row by row of the image.
    ///
    /// # Panics
    ///
    /// As there, and if the probe names a block that the network does not have.
    pub fn forward_probed(
        &self,
        x: Tensor<4>,
        t: Tensor<1>,
        text: Tensor<3>,
        pooled: Tensor<2>,
        probe: &Probe,
    ) -> (Tensor<4>, Vec<Tensor<3>>) {
        probe.check(self.blocks.len());
        let [batch, _, height, width] = x.dims();
        let [.., patch, _] = self.patches.weight.dims();
        let grid = [height / patch, width / patch];
        if batch == 0 {
            let [features, channels] = self.out.weight.dims();
            let probed = (0..self.blocks.len()).filter(|block| probe.features.contains(block));
            let tokens = || nothing(&x, [0, grid[0] * grid[1], features]); // [0, tokens, width]
            let output = nothing(&x, [0, channels / (patch * patch), height, width]); // [0, out_channels, height, width]
            return (output, probed.map(|_| tokens()).collect());
        }
        let x = embed_patches(&self.patches, x); // [batch, tokens, width]
        let mut x = x + self.crop(grid); // [batch, tokens, width]
        let mut text = linear(&self.text, text); // [batch, text_tokens, width]
        let condition = silu(self.time.forward(t) + self.pooled.forward(pooled)); // [batch, width]
        let mut features = Vec::with_capacity(probe.features.len());
        for (index, block) in self.blocks.iter().enumerate() {
            if !probe.skip.contains(&index) {
                (x, text) = block.forward(x, text, condition.clone()); // [batch, tokens or text_tokens, width]
            }
            if probe.features.contains(&index) {
                features.push(x.clone()); // [batch, tokens, width]
            }
        }
        let modulation = columns(linear(&self.modulation, condition), 2); // each [batch, width]
        let x = linear(&self.out, modulated(&x, &modulation, 0)); // [batch, tokens, patch^2 * out_channels]
        (unpatchify(x, grid, patch), features) // [batch, out_channels, height, width]
    }

    /// The middle of the table of positions: `[1, rows * columns, width]`.
    fn crop(&self, [rows, columns]: [usize; 2]) -> Tensor<3> {
        let table = self.positions.val(); // [1, positions * positions, width]
        let [_, cells, width] = table.dims();
        let side = cells.isqrt();
        assert!(
            rows <= side && columns <= side,
            "{rows} x {columns} patches are more than the {side} x {side} of the position table: raise `positions`"
        );
        let table = table.reshape([side, side, width]); // [positions, positions, width]
        let table = table.narrow(0, (side - rows) / 2, rows); // [rows, positions, width]
        let table = table.narrow(1, (side - columns) / 2, columns); // [rows, columns, width]
        table.reshape([1, rows * columns, width]) // [1, rows * columns, width]
    }
}
