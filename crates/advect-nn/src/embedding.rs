//! What a network is told besides the state: the time and the class, as vectors.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::error::{NnError, even, positive, sized};
use crate::layers::{cast, linear, silu_linear, widen};

/// Sinusoidal features of a time.
///
/// Vaswani et al. 2017, section 3.5, in the order of diffusion models (guided-diffusion's `timestep_embedding`): with
/// h = `features` / 2 and the frequencies w_i = `max_period`^(-i/h), i = 0 .. h - 1, a row is
/// (cos(w_0 t), .., cos(w_{h-1} t), sin(w_0 t), .., sin(w_{h-1} t)).
///
/// `t` is an angle in radians at the highest frequency: multiply a time in `[0, 1]` with the network's time scale first.
/// An odd `features` is rounded down to even. Features of half-precision times are computed and returned in f32: cast
/// them.
///
/// # Shapes
///
/// - `t`: `[batch]`
/// - output: `[batch, features]`
pub fn sinusoidal(t: Tensor<1>, features: usize, max_period: f64) -> Tensor<2> {
    let t = widen(t); // [batch]
    let frequencies = frequencies(features, max_period);
    let frequencies = Tensor::<1>::from_data(TensorData::from(frequencies.as_slice()), (&t.device(), t.dtype()));
    let angles = t.unsqueeze_dim::<2>(1) * frequencies.unsqueeze::<2>(); // [batch, half]
    Tensor::cat(vec![angles.clone().cos(), angles.sin()], 1) // [batch, features]
}

/// Applies a layer to features, whose type may not be that of its weights: `[batch, features]` to `[batch, size]`.
pub(crate) fn apply(layer: &Linear, features: Tensor<2>) -> Tensor<2> {
    linear(layer, cast(features, layer.weight.val().dtype()))
}

/// One for each pair of features.
fn frequencies(features: usize, max_period: f64) -> Vec<f64> {
    let half = features / 2;
    (0..half).map(|i| max_period.powf(-(i as f64) / half as f64)).collect()
}

/// The longest period of the time features of image networks, in units of the scaled time (guided-diffusion's default).
pub(crate) const MAX_PERIOD: f64 = 10_000.0;

/// A time as a learned vector: sinusoidal features, linear, SiLU, linear.
///
/// Ho et al. 2020, appendix B; `Timesteps` and `TimestepEmbedding` of diffusers.
#[derive(Module, Debug)]
pub struct TimeEmbedding {
    /// `[features, size]`.
    pub linear_1: Linear,
    /// `[size, size]`.
    pub linear_2: Linear,
    /// The number of sinusoidal features.
    pub features: usize,
    /// What a time in `[0, 1]` is multiplied with to become an angle in radians.
    pub scale: f64,
}

impl TimeEmbedding {
    /// An embedding into `size` numbers.
    pub(crate) fn new(features: usize, size: usize, scale: f64, device: &Device) -> Self {
        Self {
            linear_1: LinearConfig::new(features, size).init(device),
            linear_2: LinearConfig::new(size, size).init(device),
            features,
            scale,
        }
    }

    /// The embedding that gives at `last - t * scale` what this one gives at `t * scale`: for networks whose time runs the
    /// other way, such as those of diffusers, where 999 is noise and 0 is data.
    ///
    /// Exact: cos(w (a - b)) and sin(w (a - b)) are linear in cos(w b) and sin(w b), so the first layer takes it up.
    pub fn backward(mut self, last: f64) -> Self {
        let (half, frequencies) = (self.features / 2, frequencies(self.features, MAX_PERIOD));
        self.linear_1.weight = self.linear_1.weight.map(|weight| {
            // As the features round them, or a large angle would be another one.
            let angles: Vec<f64> = frequencies.iter().map(|&w| f64::from(w as f32) * last).collect();
            let column = |values: Vec<f64>| {
                let data = TensorData::new(values, [half, 1]);
                Tensor::<2>::from_data(data, (&weight.device(), weight.dtype()))
            };
            let cos = column(angles.iter().map(|angle| angle.cos()).collect()); // [half, 1]
            let sin = column(angles.iter().map(|angle| angle.sin()).collect()); // [half, 1]
            let of_cos = weight.clone().narrow(0, 0, half); // [half, size]
            let of_sin = weight.clone().narrow(0, half, half); // [half, size]
            let first = of_cos.clone() * cos.clone() + of_sin.clone() * sin.clone(); // [half, size]
            Tensor::cat(vec![first, of_cos * sin - of_sin * cos], 0) // [features, size]
        });
        self
    }

    /// Embeds times in `[0, 1]`, of any type: the output has the type of the weights.
    ///
    /// # Shapes
    ///
    /// - `t`: `[batch]`
    /// - output: `[batch, size]`
    pub fn forward(&self, t: Tensor<1>) -> Tensor<2> {
        let x = sinusoidal(widen(t) * self.scale, self.features, MAX_PERIOD); // [batch, features]
        silu_linear(&self.linear_2, apply(&self.linear_1, x)) // [batch, size]
    }
}

/// A few numbers as one learned vector: the sinusoidal features of each side by side, linear, SiLU, linear.
///
/// - One number: the guidance scale that a distilled network is told (Meng et al. 2023, section 3.1), as FLUX.1 has it:
///   256 features, scale 1000.
/// - Two or six: the resolution of an image, or its original size, crop and target size in pixels ("micro-conditioning",
///   Podell et al. 2023, SDXL, section 2.2, which concatenates 256 features of each).
///
/// What comes out is added to the embedding of the time: give it to a [`DiT`](crate::DiT) as
/// [`DiTCondition::extra`](crate::DiTCondition::extra). The other backbones take no further condition.
///
/// ```
/// use advect_nn::NumberEmbedding;
/// use burn::tensor::{Device, Tensor};
///
/// # fn main() -> Result<(), advect_nn::NnError> {
/// let device = Device::flex();
/// let resolution = NumberEmbedding::new(2, 256, 384, 1.0, &device)?;
/// let sizes = Tensor::<2>::from_floats([[512.0, 768.0], [256.0, 256.0]], &device); // [batch, numbers]: height, width
/// assert_eq!(resolution.forward(sizes).dims(), [2, 384]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct NumberEmbedding {
    /// `[numbers * features, size]`.
    pub linear_1: Linear,
    /// `[size, size]`.
    pub linear_2: Linear,
    /// The sinusoidal features of each number.
    pub features: usize,
    /// What a number is multiplied with to become an angle in radians.
    pub scale: f64,
}

impl NumberEmbedding {
    /// An embedding of `numbers` numbers, with `features` features (even) of each, into `size` numbers.
    ///
    /// # Errors
    ///
    /// [`NnError`] for a size of zero or beyond 2^20, an odd number of features, or a scale that is not finite and
    /// positive.
    pub fn new(numbers: usize, features: usize, size: usize, scale: f64, device: &Device) -> Result<Self, NnError> {
        sized("numbers", numbers)?;
        sized("features", features)?;
        sized("size", size)?;
        even("features", features)?;
        positive("scale", scale)?;
        Ok(Self {
            linear_1: LinearConfig::new(numbers * features, size).init(device),
            linear_2: LinearConfig::new(size, size).init(device),
            features,
            scale,
        })
    }

    /// Embeds the numbers of each row, of any type: the output has the type of the weights.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, numbers]`
    /// - output: `[batch, size]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [batch, numbers] = x.dims();
        let angles = widen(x).reshape([batch * numbers]) * self.scale; // [batch * numbers]
        let y = sinusoidal(angles, self.features, MAX_PERIOD); // [batch * numbers, features]
        let y = y.reshape([batch, numbers * self.features]); // [batch, numbers * features]
        silu_linear(&self.linear_2, apply(&self.linear_1, y)) // [batch, size]
    }
}

/// A class as a learned vector, with one more row for "no class".
///
/// The last row is the null class of classifier-free guidance (Ho and Salimans 2022): a training loop that replaces some
/// labels by it gets a conditional and an unconditional network in one.
#[derive(Module, Debug)]
pub struct ClassEmbedding {
    /// `[classes + 1, size]`, row `classes` being the null class.
    pub table: Embedding,
}

impl ClassEmbedding {
    /// An embedding of `classes` classes and the null class into `size` numbers.
    pub(crate) fn new(classes: usize, size: usize, device: &Device) -> Self {
        Self { table: EmbeddingConfig::new(classes + 1, size).init(device) }
    }

    /// Embeds classes; `None` is the null class for every row.
    ///
    /// # Shapes
    ///
    /// - `class`: `[batch]`, each in `0 ..= classes`
    /// - output: `[batch, size]`, or `[1, size]` for `None`
    ///
    /// # Panics
    ///
    /// If a class is greater than `classes`, where the backend checks it.
    pub fn forward(&self, class: Option<Tensor<1, Int>>) -> Tensor<2> {
        let table = self.table.weight.val(); // [classes + 1, size]
        let [rows, size] = table.dims();
        match class {
            Some(class) => {
                let [batch] = class.dims();
                let x = self.table.forward(class.reshape([batch, 1])); // [batch, 1, size]
                x.reshape([batch, size]) // [batch, size]
            }
            None => table.narrow(0, rows - 1, 1), // [1, size]
        }
    }
}

/// Adds what the class says to what the time says.
///
/// # Panics
///
/// If there is a class, but no embedding of it.
pub(crate) fn add_class(x: Tensor<2>, embedding: Option<&ClassEmbedding>, class: Option<Tensor<1, Int>>) -> Tensor<2> {
    match embedding {
        Some(embedding) => x + embedding.forward(class), // [batch or 1, size]
        None => {
            refuse_class(class);
            x // [batch or 1, size]
        }
    }
}

/// For a network without an embedding of classes.
///
/// # Panics
///
/// If there is a class.
pub(crate) fn refuse_class(class: Option<Tensor<1, Int>>) {
    assert!(class.is_none(), "this network knows no classes: set `classes` in its configuration or pass `None`");
}
