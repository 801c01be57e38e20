//! The parts of a transformer: normalization, attention and feed-forward on tokens.

use advect_kernels::{attention, layer_norm, modulate, modulated_layer_norm, rms_norm, self_attention, silu};
use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::layers::{feed_forward, linear};
use crate::position::Rotation;

/// What every normalization adds to the mean square before the root: DiT's.
const EPSILON: f64 = 1e-6;

/// What a normalization divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// The standard deviation, after the mean is taken off (Ba et al. 2016).
    Layer,
    /// The root of the mean square (Zhang and Sennrich 2019).
    Rms,
}

/// Whether the queries and keys of each head are normalized, with a learned gain, before they meet.
///
/// Keeps the scores bounded in large networks and in half precision (Dehghani et al. 2023, section 2; Esser et al.
/// 2024, section 5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QkNorm {
    /// They are not.
    Off,
    /// By a layer normalization with gain and shift.
    Layer,
    /// By a root-mean-square normalization with gain.
    Rms,
}

impl QkNorm {
    /// The kind of normalization, if there is one.
    pub(crate) fn norm(self) -> Option<Norm> {
        match self {
            QkNorm::Off => None,
            QkNorm::Layer => Some(Norm::Layer),
            QkNorm::Rms => Some(Norm::Rms),
        }
    }
}

/// What the feed-forward layer of a block computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Linear, GELU in its tanh form, linear, with `mlp_ratio * width` numbers in between (DiT).
    Gelu,
    /// Two linear layers side by side, `silu(a) b`, linear (Shazeer 2020, equation 6), with
    /// `floor(2 / 3 * mlp_ratio * width)` numbers in between: as many parameters as [`Gelu`](Self::Gelu), about.
    SwiGlu,
}

impl Activation {
    /// The numbers between the two layers.
    pub(crate) fn hidden(self, width: usize, mlp_ratio: usize) -> usize {
        match self {
            Activation::Gelu => mlp_ratio * width,
            Activation::SwiGlu => 2 * mlp_ratio * width / 3,
        }
    }

    /// What the first layer gives, in units of [`hidden`](Self::hidden).
    pub(crate) fn branches(self) -> usize {
        match self {
            Activation::Gelu => 1,
            Activation::SwiGlu => 2,
        }
    }
}

/// A normalization over the features of a token.
#[derive(Module, Debug)]
pub struct TokenNorm {
    /// The gain, `[features]`; none where a modulation takes its place.
    pub gamma: Option<Param<Tensor<1>>>,
    /// The shift, `[features]`, of a layer normalization with gain.
    pub beta: Option<Param<Tensor<1>>>,
    /// What it divides by.
    #[module(skip)]
    pub kind: Norm,
}

impl TokenNorm {
    /// Without parameters.
    pub(crate) fn plain(kind: Norm) -> Self {
        Self { gamma: None, beta: None, kind }
    }

    /// With a gain of one, and a shift of zero for [`Norm::Layer`].
    pub(crate) fn learned(kind: Norm, features: usize, device: &Device) -> Self {
        let beta = match kind {
            Norm::Layer => Some(Initializer::Zeros.init([features], device)),
            Norm::Rms => None,
        };
        Self { gamma: Some(Initializer::Ones.init([features], device)), beta, kind }
    }

    /// The parameters of [`learned`](Self::learned).
    pub(crate) fn num_params(kind: Norm, features: usize) -> usize {
        match kind {
            Norm::Layer => 2 * features,
            Norm::Rms => features,
        }
    }

    /// Normalizes.
    ///
    /// # Shapes
    ///
    /// - `x`: `[.., features]`, and so is the output
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (features, options) = (x.dims()[D - 1], (&x.device(), x.dtype()));
        let gamma = self.gamma.as_ref().map_or_else(|| Tensor::ones([features], options), |gamma| gamma.val());
        let beta = || self.beta.as_ref().map_or_else(|| Tensor::zeros([features], options), |beta| beta.val());
        match self.kind {
            Norm::Layer => layer_norm(x, gamma, beta(), EPSILON), // [.., features]
            Norm::Rms => rms_norm(x, gamma, EPSILON),             // [.., features]
        }
    }

    /// Normalizes, then scales and shifts: `norm(x) (1 + scale) + shift`.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, features]`, and so is the output
    /// - `shift`, `scale`: `[batch, features]`
    pub fn modulated(&self, x: Tensor<3>, shift: Tensor<2>, scale: Tensor<2>) -> Tensor<3> {
        match (self.kind, &self.gamma) {
            (Norm::Layer, None) => modulated_layer_norm(x, shift, scale, EPSILON), // [batch, tokens, features]
            _ => modulate(self.forward(x), shift, scale),                          // [batch, tokens, features]
        }
    }
}

/// The normalizations of queries and keys.
#[derive(Module, Debug)]
pub struct QkNorms {
    /// Over the features of a query.
    pub q: TokenNorm,
    /// Over the features of a key.
    pub k: TokenNorm,
}

impl QkNorms {
    /// For heads of `size` features.
    pub(crate) fn new(kind: QkNorm, size: usize, device: &Device) -> Option<Self> {
        let norm = |kind| TokenNorm::learned(kind, size, device);
        kind.norm().map(|kind| Self { q: norm(kind), k: norm(kind) })
    }
}

/// Multi-head attention between the tokens of a sequence.
#[derive(Module, Debug)]
pub struct TokenAttention {
    /// `[width, 3 * width]`: queries, keys, values, each ordered by head.
    pub qkv: Linear,
    /// Of queries and keys.
    pub norm: Option<QkNorms>,
    /// `[width, width]`.
    pub out: Linear,
    /// The number of heads.
    pub heads: usize,
}

impl TokenAttention {
    /// Attention with `heads` heads, which divide `width`.
    pub(crate) fn new(width: usize, heads: usize, norm: QkNorm, device: &Device) -> Self {
        Self {
            qkv: LinearConfig::new(width, 3 * width).init(device),
            norm: QkNorms::new(norm, width / heads, device),
            out: LinearConfig::new(width, width).init(device),
            heads,
        }
    }

    /// What each token finds in the sequence.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, width]`, and so is the output
    ///
    /// # Panics
    ///
    /// If the rotation is for another number of tokens.
    pub fn forward(&self, x: Tensor<3>, rotation: Option<&Rotation>) -> Tensor<3> {
        if let (None, None) = (&self.norm, rotation) {
            // Nothing happens to queries and keys on the way: nothing is cut apart.
            return linear(&self.out, self_attention(linear(&self.qkv, x), self.heads)); // [batch, tokens, width]
        }
        let [q, k, v] = project(&self.qkv, self.norm.as_ref(), self.heads, x); // [batch, heads, tokens, size]
        let (q, k) = match rotation {
            Some(rotation) => (rotation.apply(q), rotation.apply(k)), // [batch, heads, tokens, size]
            None => (q, k),                                           // [batch, heads, tokens, size]
        };
        linear(&self.out, merge_heads(attention(q, k, v))) // [batch, tokens, width]
    }
}

/// Multi-head attention of the tokens of a sequence to those of another one, its context.
///
/// As in latent diffusion (Rombach et al. 2022, section 3.3): keys and values come from the context's own features.
#[derive(Module, Debug)]
pub struct CrossAttention {
    /// `[width, width]`.
    pub q: Linear,
    /// `[context, 2 * width]`: keys, values, each ordered by head.
    pub kv: Linear,
    /// Of queries and keys.
    pub norm: Option<QkNorms>,
    /// `[width, width]`.
    pub out: Linear,
    /// The number of heads.
    pub heads: usize,
}

impl CrossAttention {
    /// Attention with `heads` heads, which divide `width`, to tokens of `context` features.
    pub(crate) fn new(width: usize, context: usize, heads: usize, norm: QkNorm, device: &Device) -> Self {
        Self {
            q: LinearConfig::new(width, width).init(device),
            kv: LinearConfig::new(context, 2 * width).init(device),
            norm: QkNorms::new(norm, width / heads, device),
            out: LinearConfig::new(width, width).init(device),
            heads,
        }
    }

    /// What each token finds in the context.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, width]`, and so is the output
    /// - `context`: `[batch, sequence, context]`
    pub fn forward(&self, x: Tensor<3>, context: Tensor<3>) -> Tensor<3> {
        let heads = self.heads;
        let q = split_heads(linear(&self.q, x), heads); // [batch, heads, tokens, size]
        let kv = split_heads(linear(&self.kv, context), 2 * heads); // [batch, 2 * heads, sequence, size]
        let k = kv.clone().narrow(1, 0, heads); // [batch, heads, sequence, size]
        let v = kv.narrow(1, heads, heads); // [batch, heads, sequence, size]
        let (q, k) = match &self.norm {
            Some(norm) => (norm.q.forward(q), norm.k.forward(k)), // as above
            None => (q, k),                                       // as above
        };
        linear(&self.out, merge_heads(attention(q, k, v))) // [batch, tokens, width]
    }
}

/// Queries, keys and values of tokens.
///
/// # Shapes
///
/// - `x`: `[batch, tokens, width]`
/// - output: `[batch, heads, tokens, size]` each
pub(crate) fn project(qkv: &Linear, norm: Option<&QkNorms>, heads: usize, x: Tensor<3>) -> [Tensor<4>; 3] {
    let qkv = split_heads(linear(qkv, x), 3 * heads); // [batch, 3 * heads, tokens, size]
    let q = qkv.clone().narrow(1, 0, heads); // [batch, heads, tokens, size]
    let k = qkv.clone().narrow(1, heads, heads); // [batch, heads, tokens, size]
    let v = qkv.narrow(1, 2 * heads, heads); // [batch, heads, tokens, size]
    match norm {
        Some(norm) => [norm.q.forward(q), norm.k.forward(k), v], // [batch, heads, tokens, size]
        None => [q, k, v],                                       // [batch, heads, tokens, size]
    }
}

/// `[batch, tokens, heads * size]` to `[batch, heads, tokens, size]`.
fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, tokens, width] = x.dims();
    x.reshape([batch, tokens, heads, width / heads]).swap_dims(1, 2)
}

/// `[batch, heads, tokens, size]` to `[batch, tokens, heads * size]`.
pub(crate) fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, tokens, size] = x.dims();
    x.swap_dims(1, 2).reshape([batch, tokens, heads * size])
}

/// The same small network on each token.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// `[width, hidden]`; `[width, 2 * hidden]` for [`Activation::SwiGlu`], what SiLU sees first.
    pub up: Linear,
    /// `[hidden, width]`.
    pub down: Linear,
    /// What happens in between.
    #[module(skip)]
    pub activation: Activation,
}

impl FeedForward {
    /// A network with `mlp_ratio * width` numbers in the middle, or two thirds of it.
    pub(crate) fn new(width: usize, mlp_ratio: usize, activation: Activation, device: &Device) -> Self {
        let hidden = activation.hidden(width, mlp_ratio);
        Self {
            up: LinearConfig::new(width, activation.branches() * hidden).init(device),
            down: LinearConfig::new(hidden, width).init(device),
            activation,
        }
    }

    /// The network's output.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, tokens, width]`, and so is the output
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self.activation {
            Activation::Gelu => feed_forward(&self.up, &self.down, x), // [batch, tokens, width]
            Activation::SwiGlu => {
                let y = linear(&self.up, x); // [batch, tokens, 2 * hidden]
                let hidden = y.dims()[2] / 2;
                let gate = y.clone().narrow(2, 0, hidden); // [batch, tokens, hidden]
                linear(&self.down, silu(gate) * y.narrow(2, hidden, hidden)) // [batch, tokens, width]
            }
        }
    }
}
