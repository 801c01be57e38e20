//! A multilayer perceptron for points in a few dimensions.

use advect_kernels::{beside, linear, silu_chain};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::embedding::{ClassEmbedding, add_class, apply, refuse_class, sinusoidal};
use crate::error::{NnError, counted, even, positive, sized};
use crate::layers::{cast, nothing, silu_linear, widen};

/// The longest period of the time features in units of the scaled time: toy flows are smooth in t.
const MAX_PERIOD: f64 = 100.0;

/// The shape of an [`Mlp`].
///
/// ```
/// use advect_nn::MlpConfig;
///
/// let config = MlpConfig::new(2, 64, 4).with_classes(Some(3));
/// assert_eq!(config.num_params(), 14_082);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// The dimension of the data, and of the output.
    pub input: usize,
    /// The width of each hidden layer.
    pub hidden: usize,
    /// The number of hidden layers.
    pub layers: usize,
    /// The number of classes, for a class-conditional network. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// The number of sinusoidal features of the time, even; or 1, the time itself, as if it were a coordinate of x (the
    /// perceptrons of MIT 6.S184 and of torchcfm). Default: 16.
    #[serde(default = "default_time_features")]
    pub time_features: usize,
    /// What a time in `[0, 1]` is multiplied with before its sinusoidal features, which have angular frequencies
    /// from `time_scale` down to about `time_scale` / 100; a single feature is the time in these units. Default: 10.
    #[serde(default = "default_time_scale")]
    pub time_scale: f64,
}

fn default_time_features() -> usize {
    16
}

fn default_time_scale() -> f64 {
    10.0
}

impl MlpConfig {
    /// An unconditional perceptron with `layers` hidden layers of width `hidden` for data of dimension `input`.
    pub fn new(input: usize, hidden: usize, layers: usize) -> Self {
        Self {
            input,
            hidden,
            layers,
            classes: None,
            time_features: default_time_features(),
            time_scale: default_time_scale(),
        }
    }

    /// Sets the number of classes.
    pub fn with_classes(mut self, classes: Option<usize>) -> Self {
        self.classes = classes;
        self
    }

    /// Sets the number of sinusoidal features of the time; 1 is the time itself.
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
        sized("input", self.input)?;
        sized("hidden", self.hidden)?;
        counted("layers", self.layers)?;
        sized("classes", self.classes.unwrap_or(1))?;
        sized("time_features", self.time_features)?;
        if self.time_features != 1 {
            even("time_features", self.time_features)?;
        }
        positive("time_scale", self.time_scale)
    }

    /// The number of parameters, without making them.
    pub fn num_params(&self) -> usize {
        let linear = |from: usize, to: usize| from * to + to;
        linear(self.input, self.hidden)
            + self.time_features * self.hidden
            + self.classes.map_or(0, |classes| (classes + 1) * self.hidden)
            + self.layers.saturating_sub(1) * linear(self.hidden, self.hidden)
            + linear(self.hidden, self.input)
    }

    /// A network with random weights: Burn's default for linear layers, which is PyTorch's.
    pub fn init(&self, device: &Device) -> Result<Mlp, NnError> {
        self.validate()?;
        Ok(Mlp {
            input: LinearConfig::new(self.input, self.hidden).init(device),
            time: LinearConfig::new(self.time_features, self.hidden).with_bias(false).init(device),
            class: self.classes.map(|classes| ClassEmbedding::new(classes, self.hidden, device)),
            layers: (1..self.layers).map(|_| LinearConfig::new(self.hidden, self.hidden).init(device)).collect(),
            output: LinearConfig::new(self.hidden, self.input).init(device),
            time_features: self.time_features,
            time_scale: self.time_scale,
        })
    }
}

/// A multilayer perceptron with SiLU activations that sees the time and, if it has classes, the class.
///
/// The first layer is linear in (x, features of t, one-hot class), as if these were concatenated: each part has its
/// own matrix, so that a time shared by the batch is embedded once.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[input, hidden]`.
    pub input: Linear,
    /// `[time_features, hidden]`, without a bias: the input layer has one.
    pub time: Linear,
    /// `[classes + 1, hidden]`.
    pub class: Option<ClassEmbedding>,
    /// The hidden layers after the first, each `[hidden, hidden]`.
    pub layers: Vec<Linear>,
    /// `[hidden, input]`.
    pub output: Linear,
    /// The number of sinusoidal features of the time.
    pub time_features: usize,
    /// What a time in `[0, 1]` is multiplied with before its features.
    pub time_scale: f64,
}

impl Mlp {
    /// The network's output for states `x` at times `t`.
    ///
    /// What the output means (a velocity, noise, a score) is the training objective's choice.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, input]`
    /// - `t`: `[batch]`, in `[0, 1]`; or `[1]`, one time for the whole batch, which is cheaper
    /// - `class`: `[batch]`, each in `0 ..= classes`, `classes` being the null class; `None` is the null class for every row
    /// - output: `[batch, input]`
    ///
    /// # Panics
    ///
    /// If the shapes disagree, or if `class` is given to a network without classes.
    pub fn forward(&self, x: Tensor<2>, t: Tensor<1>, class: Option<Tensor<1, Int>>) -> Tensor<2> {
        if x.dims()[0] == 0 {
            return nothing(&x, x.dims()); // [0, input]
        }
        let (weight, bias) = parts(&self.input); // [input, hidden], [hidden]
        let t = widen(t) * self.time_scale; // [batch or 1]
        if let ([1], 1, None, Some(bias)) = (t.dims(), self.time_features, &self.class, &bias) {
            refuse_class(class);
            // One number for all rows, and no product: of the same rank throughout, so that a card makes one kernel of it.
            let of_time = cast(t, x.dtype()) * self.time.weight.val().reshape(bias.dims()); // [hidden]
            return self.chain(x, weight, Some(bias.clone() + of_time)); // [batch, input]
        }
        let t = match self.time_features {
            1 => t.unsqueeze_dim(1),                         // [batch or 1, 1]
            features => sinusoidal(t, features, MAX_PERIOD), // [batch or 1, time_features]
        };
        if t.dims()[0] > 1 && self.class.is_none() {
            refuse_class(class);
            // As if they were coordinates: one product, and one for the gradient of both matrices.
            let t = cast(t, x.dtype()); // [batch, time_features]
            let weight = Tensor::cat(vec![weight, self.time.weight.val()], 0); // [input + time_features, hidden]
            return self.chain(beside(x, t), weight, bias); // [batch, input]
        }
        let condition = add_class(apply(&self.time, t), self.class.as_ref(), class); // [batch or 1, hidden]
        match (condition.dims(), bias) {
            // A condition that all rows share is a bias.
            ([1, hidden], Some(bias)) => self.chain(x, weight, Some(bias + condition.reshape([hidden]))), // [batch, input]
            (_, bias) => {
                let x = linear(x, weight, bias) + condition; // [batch, hidden]
                self.behind().fold(x, |x, layer| silu_linear(layer, x)) // [batch, input]
            }
        }
    }

    /// All layers, the first with this weight and bias: `[batch, features]` to `[batch, input]`.
    fn chain(&self, x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
        silu_chain(x, std::iter::once((weight, bias)).chain(self.behind().map(parts)).collect())
    }

    /// The layers that begin with SiLU.
    fn behind(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter().chain([&self.output])
    }
}

fn parts(layer: &Linear) -> (Tensor<2>, Option<Tensor<1>>) {
    (layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()))
}
