//! The diffusion transformer (DiT): the backbone of most image and latent models of today.
//!
//! Long, because configuration, count, initialization and network are read side by side; the network is its second half.

use advect_kernels::{columns, gated_residual, silu};
use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::embedding::{ClassEmbedding, TimeEmbedding, add_class, refuse_class};
use crate::error::{NnError, at_least_one, counted, divides, even, multiple, positive, sized};
use crate::layers::{linear, nothing};
use crate::patch::{embed_patches, new_patches, unpatchify};
use crate::position::{Positions, Rotation, sin_cos_2d, stored_sin_cos_2d};
use crate::transformer::{Activation, CrossAttention, FeedForward, Norm, QkNorm, TokenAttention, TokenNorm};

/// How time, class and context enter a [`DiT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiTConditioning {
    /// The sum of the embeddings of time and class gives each block its shifts, scales and gates, which are zero at
    /// first: adaLN-zero (Peebles and Xie 2023, section 3.2).
    AdaLnZero,
    /// The embeddings of time and class are two more tokens of the sequence, and the blocks are those of a vision
    /// transformer (Peebles and Xie 2023, "in-context conditioning").
    InContext,
    /// adaLN-zero for time and class, and after each self-attention a cross-attention to given tokens, a text for
    /// instance (Chen et al. 2023, PixArt-alpha, section 2.3).
    CrossAttention {
        /// The features of each context token.
        context: usize,
    },
}

/// The shape of a [`DiT`].
///
/// ```
/// use advect_nn::{DiTConfig, Positions, QkNorm};
///
/// let config = DiTConfig::new(3, [32, 48], 4, 384, 12, 6)
///     .with_classes(Some(10))
///     .with_positions(Positions::Rotary)
///     .with_qk_norm(QkNorm::Rms);
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiTConfig {
    /// The channels of the input: 1 for gray, 3 for color, 4 for the latents of an autoencoder.
    pub in_channels: usize,
    /// The channels of the output: as many as the input has, or twice as many for a network that also predicts a
    /// variance ("learned sigma" of DiT and SiT), the second half.
    pub out_channels: usize,
    /// Height and width of the input, multiples of `patch`.
    pub size: [usize; 2],
    /// Height and width of a patch, which becomes one token.
    pub patch: usize,
    /// The features of a token.
    pub width: usize,
    /// The number of blocks.
    pub depth: usize,
    /// The heads of each attention; they divide `width`.
    pub heads: usize,
    /// The size of the feed-forward layers in units of `width`. Default: 4.
    #[serde(default = "default_mlp_ratio")]
    pub mlp_ratio: usize,
    /// The number of classes, for a class-conditional network. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// How time, class and context enter. Default: adaLN-zero.
    #[serde(default = "default_conditioning")]
    pub conditioning: DiTConditioning,
    /// How tokens know their place. Default: sines and cosines.
    #[serde(default = "default_positions")]
    pub positions: Positions,
    /// The normalization before each part. Default: layer normalization.
    #[serde(default = "default_norm")]
    pub norm: Norm,
    /// The normalization of queries and keys. Default: none.
    #[serde(default = "default_qk_norm")]
    pub qk_norm: QkNorm,
    /// What the feed-forward layers compute. Default: GELU.
    #[serde(default = "default_activation")]
    pub activation: Activation,
    /// The number of sinusoidal time features, even. Default: 256.
    #[serde(default = "default_time_features")]
    pub time_features: usize,
    /// What a time in `[0, 1]` is multiplied with before its sinusoidal features, which have angular frequencies from
    /// `time_scale` down to about `time_scale` / 10,000. Default: 1000, the number of steps of DiT. SiT takes 1.
    #[serde(default = "default_time_scale")]
    pub time_scale: f64,
}

fn default_mlp_ratio() -> usize {
    4
}

fn default_conditioning() -> DiTConditioning {
    DiTConditioning::AdaLnZero
}

fn default_positions() -> Positions {
    Positions::SinCos
}

fn default_norm() -> Norm {
    Norm::Layer
}

fn default_qk_norm() -> QkNorm {
    QkNorm::Off
}

fn default_activation() -> Activation {
    Activation::Gelu
}

fn default_time_features() -> usize {
    256
}

fn default_time_scale() -> f64 {
    1000.0
}

impl DiTConfig {
    /// An unconditional network as in the paper, for images of `in_channels` channels and `size` (height, width), cut
    /// into patches of `patch` x `patch`, with `depth` blocks of `heads` heads on tokens of `width` features.
    pub fn new(in_channels: usize, size: [usize; 2], patch: usize, width: usize, depth: usize, heads: usize) -> Self {
        Self {
            in_channels,
            out_channels: in_channels,
            size,
            patch,
            width,
            depth,
            heads,
            mlp_ratio: default_mlp_ratio(),
            classes: None,
            conditioning: default_conditioning(),
            positions: default_positions(),
            norm: default_norm(),
            qk_norm: default_qk_norm(),
            activation: default_activation(),
            time_features: default_time_features(),
            time_scale: default_time_scale(),
        }
    }

    /// For 28x28 gray digits (10 classes): 0.78 million parameters, 49 tokens.
    pub fn mnist() -> Self {
        Self::new(1, [28, 28], 4, 128, 3, 4).with_mlp_ratio(2).with_classes(Some(10))
    }

    /// DiT-S of Peebles and Xie 2023 (table 1) with patches of 2, 4 or 8: as published, for the 32x32 latents of
    /// ImageNet at 256x256, 1000 classes, learned sigma. 33 million parameters.
    pub fn s(patch: usize) -> Self {
        Self::published(patch, 384, 12, 6)
    }

    /// DiT-B, otherwise like [`s`](Self::s). 130 million parameters.
    pub fn b(patch: usize) -> Self {
        Self::published(patch, 768, 12, 12)
    }

    /// DiT-L, otherwise like [`s`](Self::s). 458 million parameters.
    pub fn l(patch: usize) -> Self {
        Self::published(patch, 1024, 24, 16)
    }

    /// DiT-XL, otherwise like [`s`](Self::s). 675 million parameters.
    pub fn xl(patch: usize) -> Self {
        Self::published(patch, 1152, 28, 16)
    }

    fn published(patch: usize, width: usize, depth: usize, heads: usize) -> Self {
        Self::new(4, [32, 32], patch, width, depth, heads).with_classes(Some(1000)).with_out_channels(8)
    }

    /// Sets the channels of the output.
    pub fn with_out_channels(mut self, out_channels: usize) -> Self {
        self.out_channels = out_channels;
        self
    }

    /// Sets height and width of the input.
    pub fn with_size(mut self, size: [usize; 2]) -> Self {
        self.size = size;
        self
    }

    /// Sets the size of the feed-forward layers.
    pub fn with_mlp_ratio(mut self, mlp_ratio: usize) -> Self {
        self.mlp_ratio = mlp_ratio;
        self
    }

    /// Sets the number of classes.
    pub fn with_classes(mut self, classes: Option<usize>) -> Self {
        self.classes = classes;
        self
    }

    /// Sets how time, class and context enter.
    pub fn with_conditioning(mut self, conditioning: DiTConditioning) -> Self {
        self.conditioning = conditioning;
        self
    }

    /// Sets how tokens know their place.
    pub fn with_positions(mut self, positions: Positions) -> Self {
        self.positions = positions;
        self
    }

    /// Sets the normalization before each part.
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// Sets the normalization of queries and keys.
    pub fn with_qk_norm(mut self, qk_norm: QkNorm) -> Self {
        self.qk_norm = qk_norm;
        self
    }

    /// Sets what the feed-forward layers compute.
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Sets the number of sinusoidal time features.
    pub fn with_time_features(mut self, time_features: usize) -> Self {
        self.time_features = time_features;
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
        counted("patch", self.patch)?;
        for side in self.size {
            sized("size", side)?;
            multiple("size", side, self.patch, "the image has to be a whole number of patches")?;
        }
        sized("width", self.width)?;
        counted("depth", self.depth)?;
        sized("heads", self.heads)?;
        divides("heads", self.heads, self.width, "a token")?;
        counted("mlp_ratio", self.mlp_ratio)?;
        at_least_one("mlp_ratio", self.activation.hidden(self.width, self.mlp_ratio))?;
        sized("classes", self.classes.unwrap_or(1))?;
        if let DiTConditioning::CrossAttention { context } = self.conditioning {
            sized("context", context)?;
        }
        match self.positions {
            Positions::SinCos => multiple("width", self.width, 4, "two axes have a sine and a cosine each")?,
            Positions::Rotary => {
                multiple("width / heads", self.width / self.heads, 4, "two axes turn pairs of a head's features")?;
            }
            Positions::Learned => {}
        }
        sized("time_features", self.time_features)?;
        even("time_features", self.time_features)?;
        positive("time_scale", self.time_scale)
    }

    /// The number of tokens of an image.
    fn tokens(&self) -> usize {
        self.size[0] / self.patch * (self.size[1] / self.patch)
    }

    /// The number of parameters, without making them.
    ///
    /// Fixed positions are no parameters. The original has them as a frozen one, `width` numbers for each token, and
    /// counts it.
    ///
    /// Meaningful for a configuration that [`validate`](Self::validate) accepts.
    pub fn num_params(&self) -> usize {
        let linear = |from: usize, to: usize| from * to + to;
        let (width, hidden) = (self.width, self.activation.hidden(self.width, self.mlp_ratio));
        let qk_norm = self.qk_norm.norm().map_or(0, |kind| 2 * TokenNorm::num_params(kind, width / self.heads));
        let modulated = |parts: usize| linear(width, parts * width);
        let norms = |count: usize| count * TokenNorm::num_params(self.norm, width);
        let (norms_of_block, norms_of_end) = match self.conditioning {
            DiTConditioning::AdaLnZero => (modulated(6), modulated(2)),
            DiTConditioning::InContext => (norms(2), norms(1)),
            DiTConditioning::CrossAttention { context } => {
                let cross = linear(width, width) + linear(context, 2 * width) + qk_norm + linear(width, width);
                (modulated(6) + cross, modulated(2))
            }
        };
        let attention = linear(width, 3 * width) + qk_norm + linear(width, width);
        let feed_forward = linear(width, self.activation.branches() * hidden) + linear(hidden, width);
        let positions = match self.positions {
            Positions::Learned => self.tokens() * width,
            Positions::SinCos | Positions::Rotary => 0,
        };

        let area = self.patch * self.patch;
        let embedding = linear(area * self.in_channels, width)
            + positions
            + linear(self.time_features, width)
            + linear(width, width)
            + self.classes.map_or(0, |classes| (classes + 1) * width);
        let blocks = self.depth * (norms_of_block + attention + feed_forward);
        embedding + blocks + norms_of_end + linear(width, area * self.out_channels)
    }

    /// A network with random weights. Each block starts as the identity, and the output at zero.
    pub fn init(&self, device: &Device) -> Result<DiT, NnError> {
        self.validate()?;
        let width = self.width;
        let modulation = |parts: usize| match self.conditioning {
            DiTConditioning::InContext => None,
            _ => Some(LinearConfig::new(width, parts * width).init(device)),
        };
        let norm = || match self.conditioning {
            DiTConditioning::InContext => TokenNorm::learned(self.norm, width, device),
            _ => TokenNorm::plain(self.norm),
        };
        let block = || DiTBlock {
            modulation: modulation(6),
            norm_1: norm(),
            attention: TokenAttention::new(width, self.heads, self.qk_norm, device),
            cross: match self.conditioning {
                DiTConditioning::CrossAttention { context } => {
                    Some(CrossAttention::new(width, context, self.heads, self.qk_norm, device))
                }
                _ => None,
            },
            norm_2: norm(),
            feed_forward: FeedForward::new(width, self.mlp_ratio, self.activation, device),
        };
        let dit = DiT {
            patches: new_patches(self.in_channels, width, self.patch, device),
            position: match self.positions {
                Positions::Learned => Some(Initializer::Zeros.init([1, self.tokens(), width], device)),
                Positions::SinCos | Positions::Rotary => None,
            },
            time: TimeEmbedding::new(self.time_features, width, self.time_scale, device),
            class: self.classes.map(|classes| ClassEmbedding::new(classes, width, device)),
            blocks: (0..self.depth).map(|_| block()).collect(),
            modulation: modulation(2),
            norm: norm(),
            out: LinearConfig::new(width, self.patch * self.patch * self.out_channels).init(device),
            size: self.size,
            positions: self.positions,
        };
        Ok(initialize(dit, device))
    }
}

/// Everything about a new network's weights, as in DiT (`initialize_weights`).
///
/// - Linear layers are uniform with the variance 2 / (from + to) (Glorot and Bengio 2010), which keeps the size of
///   signals and of gradients about the same, with zero biases; so is the patch embedding, as a layer on flattened
///   patches.
/// - Embeddings (classes, learned positions, both layers of the time's) are normal with a standard deviation of 0.02,
///   so that no condition drowns the image at first.
/// - The modulations are zero, so each gate is, and each block is the identity. Where there are no gates, the last
///   layer of each branch is zero instead; that of a cross-attention always is (as in PixArt-alpha). So depth does not
///   amplify signal or gradient at first.
/// - The last layer is zero: the first loss is that of the prediction "zero".
fn initialize(mut dit: DiT, device: &Device) -> DiT {
    let fill = |layer: &mut Linear, kind: Initializer| {
        let [from, to] = layer.weight.lazy_shape().dims();
        layer.weight = kind.init_with([from, to], Some(from), Some(to), device);
        layer.bias = Some(Initializer::Zeros.init([to], device));
    };
    let uniform = Initializer::XavierUniform { gain: 1.0 };
    let normal = Initializer::Normal { mean: 0.0, std: 0.02 };

    let [width, channels, patch, _] = dit.patches.weight.lazy_shape().dims();
    let window = channels * patch * patch;
    dit.patches.weight = uniform.init_with([width, channels, patch, patch], Some(window), Some(width), device);
    dit.patches.bias = Some(Initializer::Zeros.init([width], device));
    dit.position = dit.position.map(|position| normal.init(position.lazy_shape(), device));
    fill(&mut dit.time.linear_1, normal.clone());
    fill(&mut dit.time.linear_2, normal.clone());
    if let Some(class) = &mut dit.class {
        class.table.weight = normal.init(class.table.weight.lazy_shape(), device);
    }
    for block in &mut dit.blocks {
        let last = match &mut block.modulation {
            Some(modulation) => {
                fill(modulation, Initializer::Zeros);
                uniform.clone()
            }
            None => Initializer::Zeros,
        };
        fill(&mut block.attention.qkv, uniform.clone());
        fill(&mut block.attention.out, last.clone());
        if let Some(cross) = &mut block.cross {
            fill(&mut cross.q, uniform.clone());
            fill(&mut cross.kv, uniform.clone());
            fill(&mut cross.out, Initializer::Zeros);
        }
        fill(&mut block.feed_forward.up, uniform.clone());
        fill(&mut block.feed_forward.down, last);
    }
    if let Some(modulation) = &mut dit.modulation {
        fill(modulation, Initializer::Zeros);
    }
    fill(&mut dit.out, Initializer::Zeros);
    dit
}

/// A block of a [`DiT`]: attention between the tokens, then a small network on each.
#[derive(Module, Debug)]
pub struct DiTBlock {
    /// From the condition to shift, scale and gate of the attention, then of the feed-forward layer:
    /// `[width, 6 * width]`, zero at first. None with conditions in context.
    pub modulation: Option<Linear>,
    /// Before the attention.
    pub norm_1: TokenNorm,
    /// Between the tokens.
    pub attention: TokenAttention,
    /// To the context.
    pub cross: Option<CrossAttention>,
    /// Before the feed-forward layer.
    pub norm_2: TokenNorm,
    /// On each token.
    pub feed_forward: FeedForward,
}

impl DiTBlock {
    /// The block's output.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, width]`, and so is the output
    /// - `signal`: `[batch or 1, width]`, the embedding of time and class with SiLU applied; unused without modulation
    /// - `context`: `[batch, sequence, context]`; `None` leaves the cross-attention out
    pub fn forward(
        &self,
        x: Tensor<3>,
        signal: &Tensor<2>,
        context: Option<&Tensor<3>>,
        rotation: Option<&Rotation>,
    ) -> Tensor<3> {
        let (first, second) = match &self.modulation {
            Some(modulation) => {
                let [shift_1, scale_1, gate_1, shift_2, scale_2, gate_2] = modulate(modulation, signal);
                (Some([shift_1, scale_1, gate_1]), Some([shift_2, scale_2, gate_2])) // each [batch or 1, width]
            }
            None => (None, None),
        };
        let x = branch(x, &self.norm_1, first, |x| self.attention.forward(x, rotation)); // [batch, tokens, width]
        let x = match (&self.cross, context) {
            (Some(cross), Some(context)) => x.clone() + cross.forward(x, context.clone()), // [batch, tokens, width]
            _ => x,                                                                        // [batch, tokens, width]
        };
        branch(x, &self.norm_2, second, |x| self.feed_forward.forward(x)) // [batch, tokens, width]
    }
}

/// `x + gate f(norm(x) (1 + scale) + shift)`, or `x + f(norm(x))` without modulation (shift, scale, gate).
///
/// # Shapes
///
/// - `x`: `[batch, tokens, width]`, and so is the output
/// - `modulation`: each `[batch or 1, width]`
fn branch(
    x: Tensor<3>,
    norm: &TokenNorm,
    modulation: Option<[Tensor<2>; 3]>,
    f: impl FnOnce(Tensor<3>) -> Tensor<3>,
) -> Tensor<3> {
    match modulation {
        Some([shift, scale, gate]) => gated_residual(x.clone(), gate, f(norm.modulated(x, shift, scale))),
        None => x.clone() + f(norm.forward(x)),
    }
}

/// The `N` parts of what a modulation layer says, each `[batch or 1, width]`, from a signal `[batch or 1, width]`.
fn modulate<const N: usize>(layer: &Linear, signal: &Tensor<2>) -> [Tensor<2>; N] {
    let parts = columns(linear(layer, signal.clone()), N); // each [batch or 1, width]
    std::array::from_fn(|i| parts[i].clone())
}

/// What a [`DiT`] is told besides state and time. The default is nothing: the null class, no context.
#[derive(Debug, Clone, Default)]
pub struct DiTCondition {
    /// `[batch]`, each in `0 ..= classes`, `classes` being the null class; `None` is the null class for every row.
    pub class: Option<Tensor<1, Int>>,
    /// `[batch, sequence, context]`, for [`DiTConditioning::CrossAttention`]; `None` leaves the cross-attention out.
    pub context: Option<Tensor<3>>,
    /// `[batch or 1, width]`, added to the embedding of the time (before SiLU, where there is one): an image's
    /// resolution or a guidance scale by a [`NumberEmbedding`](crate::NumberEmbedding), for instance.
    pub extra: Option<Tensor<2>>,
}

/// What to look at, and what to leave out, in a pass through a [`DiT`] or an [`MmDiT`](crate::MmDiT).
///
/// Features of a middle block are what representation alignment compares (Yu et al. 2024, REPA); a pass without some of
/// the blocks is the weak model of skip-layer guidance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// The blocks after which to return the tokens.
    pub features: Vec<usize>,
    /// The blocks to leave out: what enters them is what comes out.
    pub skip: Vec<usize>,
}

impl Probe {
    /// # Panics
    ///
    /// If it names a block that a network of so many does not have.
    pub(crate) fn check(&self, depth: usize) {
        for &block in self.features.iter().chain(&self.skip) {
            assert!(block < depth, "the probe names block {block}, but the network has {depth} blocks, counted from 0");
        }
    }
}

/// A diffusion transformer: an image cut into patches, each a token; blocks told the time and the class; a patch of
/// output from each token.
///
/// Peebles and Xie 2023, with the weights and the arithmetic of their code; SiT (Ma et al. 2024) is the same network,
/// and what is not a default of [`DiTConfig`] came later.
#[derive(Module, Debug)]
pub struct DiT {
    /// From a patch to a token: a convolution with window and stride of a patch.
    pub patches: Conv2d,
    /// Learned positions, `[1, tokens, width]`.
    pub position: Option<Param<Tensor<3>>>,
    /// The time as a vector.
    pub time: TimeEmbedding,
    /// The class as a vector.
    pub class: Option<ClassEmbedding>,
    /// The blocks.
    pub blocks: Vec<DiTBlock>,
    /// From the condition to shift and scale before the last layer, `[width, 2 * width]`, zero at first. None with
    /// conditions in context.
    pub modulation: Option<Linear>,
    /// Before the last layer.
    pub norm: TokenNorm,
    /// From a token to a patch of output, `[width, patch^2 * out_channels]`, zero at first.
    pub out: Linear,
    /// Height and width that the network was made for.
    #[module(skip)]
    pub size: [usize; 2],
    /// How tokens know their place.
    #[module(skip)]
    pub positions: Positions,
}

impl DiT {
    /// The network's output for images `x` at times `t`.
    ///
    /// What the output means (a velocity, noise, a score) is the training objective's choice. So is class dropout: a
    /// training loop that replaces some classes by the null class gets the unconditional network along with the
    /// conditional one.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, in_channels, height, width]`, multiples of the patch: the configured size, or another one unless
    ///   positions are learned
    /// - `t`: `[batch]`, in `[0, 1]`; or `[1]`, one time for the whole batch, which is cheaper
    /// - `class`: `[batch]`, each in `0 ..= classes`, `classes` being the null class; `None` is the null class for every
    ///   row
    /// - output: `[batch, out_channels, height, width]`
    ///
    /// # Panics
    ///
    /// If the shapes disagree, or if `class` is given to a network without classes.
    pub fn forward(&self, x: Tensor<4>, t: Tensor<1>, class: Option<Tensor<1, Int>>) -> Tensor<4> {
        self.forward_with(x, t, DiTCondition { class, ..DiTCondition::default() })
    }

    /// [`forward`](Self::forward), told more than the class.
    ///
    /// # Shapes
    ///
    /// As there, and as in [`DiTCondition`].
    ///
    /// # Panics
    ///
    /// As there, if a context is given to a network without cross-attention, and if the extra condition has not `width`
    /// features.
    pub fn forward_with(&self, x: Tensor<4>, t: Tensor<1>, condition: DiTCondition) -> Tensor<4> {
        self.forward_probed(x, t, condition, &Probe::default()).0
    }

    /// [`forward_with`](Self::forward_with), but for the blocks left out, and the tokens after some blocks.
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
        condition: DiTCondition,
        probe: &Probe,
    ) -> (Tensor<4>, Vec<Tensor<3>>) {
        let DiTCondition { class, context, extra } = condition;
        let depth = self.blocks.len();
        probe.check(depth);
        assert!(
            context.is_none() || self.blocks.iter().all(|block| block.cross.is_some()),
            "this network has no cross-attention: set `conditioning` in its configuration or pass no context"
        );

        let [batch, _, height, width] = x.dims();
        let [.., patch, _] = self.patches.weight.dims();
        let grid = [height / patch, width / patch];
        if batch == 0 {
            let [features, channels] = self.out.weight.dims();
            let tokens = || nothing(&x, [0, grid[0] * grid[1], features]); // [0, tokens, width]
            let probed = (0..depth).filter(|block| probe.features.contains(block));
            let channels = channels / (patch * patch);
            let output = nothing(&x, [0, channels, height, width]); // [0, out_channels, height, width]
            return (output, probed.map(|_| tokens()).collect());
        }
        let x = embed_patches(&self.patches, x); // [batch, tokens, width]
        let x = self.add_position(x, grid); // [batch, tokens, width]
        let [_, tokens, _] = x.dims();

        let time = self.time.forward(t); // [batch or 1, width]
        let time = match extra {
            Some(extra) => {
                let ([_, found], [_, width]) = (extra.dims(), time.dims());
                assert_eq!(found, width, "the extra condition has {found} features, the embedding of the time {width}");
                time + extra // [batch or 1, width]
            }
            None => time, // [batch or 1, width]
        };
        let (mut x, signal) = match &self.modulation {
            // Every modulation starts with SiLU.
            Some(_) => (x, silu(add_class(time, self.class.as_ref(), class))), // [batch or 1, width]
            None => (self.append(x, &time, class), time),                      // [batch, tokens + 1 or 2, width]
        };
        let rotation = self.rotation(&x, grid);
        let mut features = Vec::with_capacity(probe.features.len());
        for (index, block) in self.blocks.iter().enumerate() {
            if !probe.skip.contains(&index) {
                x = block.forward(x, &signal, context.as_ref(), rotation.as_ref()); // [batch, tokens (+ 2), width]
            }
            if probe.features.contains(&index) {
                features.push(x.clone().narrow(1, 0, tokens)); // [batch, tokens, width]
            }
        }

        let x = match &self.modulation {
            Some(modulation) => {
                let [shift, scale] = modulate(modulation, &signal); // each [batch or 1, width]
                self.norm.modulated(x, shift, scale) // [batch, tokens, width]
            }
            None => self.norm.forward(x.narrow(1, 0, tokens)), // [batch, tokens, width]
        };
        let x = linear(&self.out, x); // [batch, tokens, patch^2 * out_channels]
        (unpatchify(x, grid, patch), features) // [batch, out_channels, height, width]
    }

    /// The positions that the original stores as `pos_embed` and this network computes, `[1, tokens, width]` in f32,
    /// for the configured size; `None` if they are learned or rotary.
    pub fn fixed_positions(&self) -> Option<TensorData> {
        let [width, _, patch, _] = self.patches.weight.lazy_shape().dims();
        let grid = self.size.map(|size| size / patch);
        (self.positions == Positions::SinCos).then(|| stored_sin_cos_2d(grid, width))
    }

    /// Adds positions, unless they are rotary: `[batch, tokens, width]` to the same.
    fn add_position(&self, x: Tensor<3>, grid: [usize; 2]) -> Tensor<3> {
        let [_, tokens, width] = x.dims();
        let position = match (self.positions, &self.position) {
            (Positions::SinCos, _) => {
                let position = sin_cos_2d(grid, width, (&x.device(), x.dtype())); // [tokens, width]
                position.unsqueeze::<3>() // [1, tokens, width]
            }
            (Positions::Learned, Some(position)) => {
                let [_, places, _] = position.dims();
                assert_eq!(tokens, places, "learned positions are for images of the size {:?} only", self.size);
                position.val() // [1, tokens, width]
            }
            _ => return x, // [batch, tokens, width]
        };
        x + position // [batch, tokens, width]
    }

    /// Puts the conditions behind the tokens: `[batch, tokens, width]` to `[batch, tokens + 1 or 2, width]`.
    fn append(&self, x: Tensor<3>, time: &Tensor<2>, class: Option<Tensor<1, Int>>) -> Tensor<3> {
        let [batch, _, width] = x.dims();
        let token = |x: Tensor<2>| x.unsqueeze_dim::<3>(1).expand([batch, 1, width]); // [batch, 1, width]
        let mut parts = vec![x, token(time.clone())];
        match &self.class {
            Some(embedding) => parts.push(token(embedding.forward(class))),
            None => refuse_class(class),
        }
        Tensor::cat(parts, 1) // [batch, tokens + 1 or 2, width]
    }

    /// The rotation of queries and keys for the sequence `x`, which may end with tokens that have no place.
    fn rotation(&self, x: &Tensor<3>, [rows, columns]: [usize; 2]) -> Option<Rotation> {
        let [_, tokens, width] = x.dims();
        let heads = self.blocks.first()?.attention.heads;
        let options = (&x.device(), x.dtype());
        let extra = tokens - rows * columns;
        (self.positions == Positions::Rotary).then(|| Rotation::axial([rows, columns], extra, width / heads, options))
    }
}
