//! MM-DiT: a transformer over the tokens of an image and of a text, the network of Stable Diffusion 3 and 3.5.

use advect_kernels::{attention, conv2d, gated_residual, gelu_tanh, modulated_layer_norm, rms_norm, silu};
use burn::module::{Module, Param, ParamId};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, Linear, RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::embedding::{MAX_PERIOD, TimeEmbedding};
use crate::error::{NnError, at_least_one, multiple, positive};

/// The number of sinusoidal features of the time.
const TIME_FEATURES: usize = 256;

/// The width of a feed-forward part, in units of the network's.
const EXPANSION: usize = 4;

/// Added to the variance or mean square of each normalization.
const EPSILON: f64 = 1e-6;

/// The shape of an [`MmDiT`].
///
/// ```
/// use advect_nn::MmDiTConfig;
///
/// let config = MmDiTConfig::new(16, 2, 4).with_text_features(64).with_pooled_features(32).with_qk_norm();
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
    /// Root-mean-square normalization of the queries and keys of each head. Default: none.
    #[serde(default)]
    pub qk_norm: bool,
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
            qk_norm: false,
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
        Self::new(16, 24, 24).with_qk_norm().with_dual_attention((0..13).collect()).with_positions(384)
    }

    /// Stable Diffusion 3.5 large: 38 layers, 2432 wide, 8.06 billion parameters.
    pub fn sd35_large() -> Self {
        Self::new(16, 38, 38).with_qk_norm()
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

    /// Normalizes queries and keys.
    pub fn with_qk_norm(mut self) -> Self {
        self.qk_norm = true;
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
        at_least_one("in_channels", self.in_channels)?;
        at_least_one("out_channels", self.out_channels)?;
        at_least_one("layers", self.layers)?;
        at_least_one("heads", self.heads)?;
        at_least_one("head_channels", self.head_channels)?;
        at_least_one("text_features", self.text_features)?;
        at_least_one("pooled_features", self.pooled_features)?;
        at_least_one("patch", self.patch)?;
        at_least_one("positions", self.positions)?;
        at_least_one("position_span", self.position_span)?;
        positive("time_scale", self.time_scale)?;
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
        let norms = if self.qk_norm { 2 * self.head_channels } else { 0 };
        let project = linear(width, 3 * width) + norms;
        let out = linear(width, width);
        let mlp = linear(width, EXPANSION * width) + linear(EXPANSION * width, width);
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
        let (width, area) = (self.width(), self.patch * self.patch);
        let norm = || RmsNormConfig::new(self.head_channels).with_epsilon(EPSILON).init(device);
        let project = || JointProjection {
            qkv: linear(width, 3 * width, Start::Xavier, device),
            norm_q: self.qk_norm.then(norm),
            norm_k: self.qk_norm.then(norm),
            heads: self.heads,
        };
        let second = || SecondAttention { project: project(), out: linear(width, width, Start::Xavier, device) };
        let stream = |dual: bool| JointStream {
            modulation: linear(width, if dual { 9 * width } else { 6 * width }, Start::Zero, device),
            project: project(),
            out: linear(width, width, Start::Xavier, device),
            second: dual.then(second),
            mlp_in: linear(width, EXPANSION * width, Start::Xavier, device),
            mlp_out: linear(EXPANSION * width, width, Start::Xavier, device),
        };
        let last = || LastText { modulation: linear(width, 2 * width, Start::Zero, device), project: project() };
        let block = |index: usize| JointBlock {
            image: stream(self.dual_attention.contains(&index)),
            text: if index + 1 == self.layers { TextStream::Last(last()) } else { TextStream::Full(stream(false)) },
        };
        Ok(MmDiT {
            patches: patches(self.in_channels, width, self.patch, device),
            positions: positions(self.positions, self.position_span, width, device),
            time: TimeEmbedding {
                linear_1: linear(TIME_FEATURES, width, Start::Normal, device),
                linear_2: linear(width, width, Start::Normal, device),
                features: TIME_FEATURES,
                scale: self.time_scale,
            },
            pooled: PooledEmbedding {
                linear_1: linear(self.pooled_features, width, Start::Normal, device),
                linear_2: linear(width, width, Start::Normal, device),
            },
            text: linear(self.text_features, width, Start::Xavier, device),
            blocks: (0..self.layers).map(block).collect(),
            modulation: linear(width, 2 * width, Start::Zero, device),
            out: linear(width, area * self.out_channels, Start::Zero, device),
            patch: self.patch,
        })
    }
}

/// How the weights of a linear layer start.
#[derive(Debug, Clone, Copy)]
enum Start {
    /// Uniform, with variance 2 / (inputs + outputs): signals and gradients keep their size (Glorot and Bengio 2010).
    Xavier,
    /// Normal with standard deviation 0.02, for what embeds time and pooled text: all blocks see their sum, which
    /// should be small beside what a modulation learns first.
    Normal,
    /// Zero, for modulations and the last layer: each gate is closed, so each block is the identity at first and the
    /// depth does not amplify anything ("adaLN-Zero", Peebles and Xie 2023, section 3.2), and the first loss is that of
    /// the prediction "zero".
    Zero,
}

/// All about how new weights start. Esser et al. do not say, so it is as in the released code of DiT; biases are zero.
fn weights<const D: usize>(shape: [usize; D], fan: [usize; 2], start: Start, device: &Device) -> Param<Tensor<D>> {
    let initializer = match start {
        Start::Xavier => Initializer::XavierUniform { gain: 1.0 },
        Start::Normal => Initializer::Normal { mean: 0.0, std: 0.02 },
        Start::Zero => Initializer::Zeros,
    };
    initializer.init_with(shape, Some(fan[0]), Some(fan[1]), device)
}

/// A linear layer with a bias.
fn linear(from: usize, to: usize, start: Start, device: &Device) -> Linear {
    Linear {
        weight: weights([from, to], [from, to], start, device),
        bias: Some(weights([to], [from, to], Start::Zero, device)),
    }
}

/// A linear layer on the pixels of each patch, as a convolution.
fn patches(from: usize, to: usize, patch: usize, device: &Device) -> Conv2d {
    let mut layer = Conv2dConfig::new([from, to], [patch, patch]).with_stride([patch, patch]).init(device);
    let fan = [from * patch * patch, to];
    layer.weight = weights([to, from, patch, patch], fan, Start::Xavier, device);
    layer.bias = Some(weights([to], fan, Start::Zero, device));
    layer
}

/// The table of positions, `[1, side * side, width]`: row-major, and not learned.
///
/// Sines and cosines of the column's coordinate, then of the row's, as in diffusers' `get_2d_sincos_pos_embed`.
fn positions(side: usize, span: usize, width: usize, device: &Device) -> Param<Tensor<3>> {
    let shape = [1, side * side, width];
    let table = move |device: &Device, _: bool| {
        let quarter = width / 4;
        // In f32, as the original does it: in a wide table the last digits of an angle matter.
        let step = side as f32 / span as f32;
        let axis = |i: usize| -> Vec<f32> {
            let x = f64::from(i as f32 / step);
            let angles = (0..quarter).map(|k| x * MAX_PERIOD.powf(-(k as f64) / quarter as f64));
            let (sines, cosines): (Vec<f32>, Vec<f32>) =
                angles.map(|angle| (angle.sin() as f32, angle.cos() as f32)).unzip();
            [sines, cosines].concat()
        };
        let axes: Vec<Vec<f32>> = (0..side).map(axis).collect();
        let pairs = axes.iter().flat_map(|row| axes.iter().map(move |column| (row, column)));
        let values: Vec<f32> = pairs.flat_map(|(row, column)| column.iter().chain(row).copied()).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    };
    Param::uninitialized(ParamId::new(), table, device.clone(), false, Shape::new(shape))
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
        let x = silu(self.linear_1.forward(x)); // [batch, width]
        self.linear_2.forward(x) // [batch, width]
    }
}

/// What tokens bring to an attention: queries, keys and values.
#[derive(Module, Debug)]
pub struct JointProjection {
    /// `[width, 3 * width]`: queries, keys, values, each ordered by head.
    pub qkv: Linear,
    /// Of the queries of each head.
    pub norm_q: Option<RmsNorm>,
    /// Of the keys of each head.
    pub norm_k: Option<RmsNorm>,
    /// The number of heads.
    pub heads: usize,
}

impl JointProjection {
    /// Queries, keys and values.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, width]`
    /// - outputs: `[batch, heads, tokens, head_channels]`
    pub fn forward(&self, x: Tensor<3>) -> [Tensor<4>; 3] {
        let [batch, tokens, width] = x.dims();
        let x = self.qkv.forward(x); // [batch, tokens, 3 * width]
        let (heads, size) = (self.heads, width / self.heads);
        let x = x.reshape([batch, tokens, 3 * heads, size]).swap_dims(1, 2); // [batch, 3 * heads, tokens, head_channels]
        let part = |i: usize| x.clone().narrow(1, i * heads, heads); // [batch, heads, tokens, head_channels]
        let norm = |norm: &Option<RmsNorm>, x: Tensor<4>| match norm {
            Some(norm) => rms_norm(x, norm.gamma.val(), norm.epsilon),
            None => x,
        };
        [norm(&self.norm_q, part(0)), norm(&self.norm_k, part(1)), part(2)]
    }
}

/// Attention, its heads side by side again.
fn attend([q, k, v]: [Tensor<4>; 3]) -> Tensor<3> {
    let [batch, heads, tokens, size] = q.dims();
    let y = attention(q, k, v); // [batch, heads, tokens, head_channels]
    y.swap_dims(1, 2).reshape([batch, tokens, heads * size]) // [batch, tokens, width]
}

/// The `index`-th part of what modulates a block.
fn part(modulation: &Tensor<2>, index: usize, width: usize) -> Tensor<2> {
    modulation.clone().narrow(1, index * width, width) // [batch, width]
}

/// Layer normalization, shifted by part `index` and scaled by the next: `[batch, tokens, width]` to the same.
fn modulated(x: &Tensor<3>, modulation: &Tensor<2>, index: usize) -> Tensor<3> {
    let [_, _, width] = x.dims();
    modulated_layer_norm(x.clone(), part(modulation, index, width), part(modulation, index + 1, width), EPSILON)
}

/// Attention among the image's own tokens, beside the joint one.
#[derive(Module, Debug)]
pub struct SecondAttention {
    /// Queries, keys and values.
    pub project: JointProjection,
    /// `[width, width]`.
    pub out: Linear,
}

/// The tokens of one kind, image or text, in a joint block: its weights are its own, only the attention is shared.
#[derive(Module, Debug)]
pub struct JointStream {
    /// `[width, 6 * width]`: shift, scale and gate of the attention, then of the feed-forward part. With a second
    /// attention `[width, 9 * width]`: its shift, scale and gate come last. Zero at first.
    pub modulation: Linear,
    /// Into the joint attention.
    pub project: JointProjection,
    /// `[width, width]`, out of it.
    pub out: Linear,
    /// Dual attention (Stable Diffusion 3.5 medium).
    pub second: Option<SecondAttention>,
    /// `[width, 4 * width]`, then an approximate GELU.
    pub mlp_in: Linear,
    /// `[4 * width, width]`.
    pub mlp_out: Linear,
}

impl JointStream {
    /// What becomes of the tokens `x` after the joint attention gave `y`.
    fn finish(&self, x: Tensor<3>, y: Tensor<3>, modulation: &Tensor<2>) -> Tensor<3> {
        let [_, _, width] = x.dims();
        let gate = |index| part(modulation, index, width); // [batch, width]
        // Both attentions see the tokens as they came.
        let second = self.second.as_ref().map(|second| {
            let y = attend(second.project.forward(modulated(&x, modulation, 6))); // [batch, tokens, width]
            second.out.forward(y) // [batch, tokens, width]
        });
        let mut x = gated_residual(x, gate(2), self.out.forward(y)); // [batch, tokens, width]
        if let Some(y) = second {
            x = gated_residual(x, gate(8), y); // [batch, tokens, width]
        }
        let y = gelu_tanh(self.mlp_in.forward(modulated(&x, modulation, 3))); // [batch, tokens, 4 * width]
        gated_residual(x, gate(5), self.mlp_out.forward(y)) // [batch, tokens, width]
    }
}

/// The text's part of the last block: the image attends to it, and there it ends.
#[derive(Module, Debug)]
pub struct LastText {
    /// `[width, 2 * width]`: shift and scale, zero at first.
    pub modulation: Linear,
    /// Into the joint attention.
    pub project: JointProjection,
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
        let ([_, image_tokens, _], [_, text_tokens, _]) = (image.dims(), text.dims());
        let (text_modulation, text_project) = match &self.text {
            TextStream::Full(stream) => (&stream.modulation, &stream.project),
            TextStream::Last(stream) => (&stream.modulation, &stream.project),
        };
        let image_modulation = self.image.modulation.forward(condition.clone()); // [batch, 6 or 9 * width]
        let text_modulation = text_modulation.forward(condition); // [batch, 6 or 2 * width]

        // Each [batch, heads, tokens, head_channels]: of the image's tokens, of the text's, of both.
        let [q, k, v] = self.image.project.forward(modulated(&image, &image_modulation, 0));
        let [text_q, text_k, text_v] = text_project.forward(modulated(&text, &text_modulation, 0));
        let both = [[q, text_q], [k, text_k], [v, text_v]].map(|pair| Tensor::cat(pair.into(), 2));

        let y = attend(both); // [batch, image_tokens + text_tokens, width]
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
/// means, is what it was trained with. One trained here saw our t (0 is noise), and nothing is to be done. The weights of
/// Stable Diffusion 3 and 3.5 saw `1000 sigma` with x = (1 - sigma) data + sigma noise and learned the velocity
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
    /// Each patch as a token.
    pub patches: Conv2d,
    /// `[1, positions * positions, width]`: the position of each patch in the largest image, row by row. Not learned, but
    /// kept with the weights: a published checkpoint brings its own, and says nowhere from which formula.
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
    /// `[width, patch * patch * out_channels]`, zero at first: a patch's pixels row by row, each with its channels.
    pub out: Linear,
    /// The height and width of a patch.
    pub patch: usize,
}

impl MmDiT {
    /// The network's output for latents `x` at times `t`, given a text.
    ///
    /// What the output means (a velocity, noise) is the training objective's choice.
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
    /// If the shapes disagree, or if the height or width is no multiple of `patch` or too large.
    pub fn forward(&self, x: Tensor<4>, t: Tensor<1>, text: Tensor<3>, pooled: Tensor<2>) -> Tensor<4> {
        let [batch, _, height, width] = x.dims();
        let (p, rows, columns) = (self.patch, height / self.patch, width / self.patch);
        assert!(
            height == p * rows && width == p * columns,
            "{height} x {width} does not split into patches of {p} x {p}: use multiples of {p}"
        );

        let bias = self.patches.bias.as_ref().map(|bias| bias.val());
        let x = conv2d(x, self.patches.weight.val(), bias, [p, p], [0, 0]); // [batch, width, rows, columns]
        let x = x.flatten::<3>(2, 3).swap_dims(1, 2); // [batch, rows * columns, width]
        let mut x = x + self.crop(rows, columns); // [batch, rows * columns, width]
        let mut text = self.text.forward(text); // [batch, text_tokens, width]
        let condition = silu(self.time.forward(t) + self.pooled.forward(pooled)); // [batch, width]
        for block in &self.blocks {
            (x, text) = block.forward(x, text, condition.clone()); // [batch, rows * columns or text_tokens, width]
        }
        let modulation = self.modulation.forward(condition); // [batch, 2 * width]
        let x = modulated(&x, &modulation, 0); // [batch, rows * columns, width]
        let x = self.out.forward(x); // [batch, rows * columns, patch * patch * out_channels]

        let channels = x.dims()[2] / (p * p);
        let x = x.reshape([batch, rows, columns, p, p, channels]); // [batch, rows, columns, patch, patch, out_channels]
        let x = x.permute([0, 5, 1, 3, 2, 4]); // [batch, out_channels, rows, patch, columns, patch]
        x.reshape([batch, channels, height, width]) // [batch, out_channels, height, width]
    }

    /// The middle of the table of positions: `[1, rows * columns, width]`.
    fn crop(&self, rows: usize, columns: usize) -> Tensor<3> {
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
