use crate::{Objective, TrainError};
use advect_kernels::{casts, stand_in};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

/// The numbers that a network computes with, in training and sampling.
///
/// Half precision is for the large products. Weights, moments and averages stay in f32 (Micikevicius et al., 2018,
/// *Mixed precision training*, section 3.1), and so do the loss and, inside the operators of `advect-kernels`, the sums
/// and exponentials of norms and softmax.
///
/// ```
/// use advect_train::Precision;
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::default().autodiff();
/// let layer = LinearConfig::new(3, 2).init(&device);
/// let half = Precision::Bf16.network(&layer);
/// let y = Precision::Bf16.through(Tensor::<2>::ones([1, 3], &device), |x| half.forward(x));
/// // The output is in f32 again, and so are the gradients of the layer's own weights.
/// let gradients = y.sum().backward();
/// let slope = layer.weight.val().grad(&gradients).ok_or("the weight takes part")?;
/// assert_eq!(slope.into_data(), Tensor::<2>::ones([3, 2], &device.inner()).into_data());
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits everywhere.
    #[default]
    F32,
    /// 16 bits of IEEE: three decimal digits from 6e-8 to 65,504. Losses are scaled, as small gradients would vanish.
    F16,
    /// Brain floating point: two decimal digits, with the range of f32.
    Bf16,
}

impl Precision {
    /// The type of the network's weights and states.
    #[must_use]
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// Refuses a device that cannot compute in it: some would give wrong numbers.
    ///
    /// # Errors
    /// [`TrainError::Precision`].
    pub fn check(self, device: &Device) -> Result<(), TrainError> {
        let dtype = match self {
            Self::F32 => FloatDType::F32,
            Self::F16 => FloatDType::F16,
            Self::Bf16 => FloatDType::BF16,
        };
        if device.supports_dtype(dtype) { Ok(()) } else { Err(TrainError::Precision { precision: self }) }
    }

    /// What a loss is multiplied with before the backward pass; gradients are divided by it again.
    ///
    /// For f16 fixed, 1024, so that a run has no state more: the gradient of a mean of squares over a hundred thousand
    /// numbers is above the smallest f16, and that of a single number far from the largest.
    #[must_use]
    pub fn loss_scale(self) -> f64 {
        match self {
            Self::F16 => 1024.0,
            Self::F32 | Self::Bf16 => 1.0,
        }
    }

    /// The network with its weights in this type. Gradients flow on into the weights of `network`.
    #[must_use]
    pub fn network<M: Module>(self, network: &M) -> M {
        struct Cast(DType);
        impl ModuleMapper for Cast {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let (id, weights, mapper) = param.consume();
                Param::from_mapped_value(id, weights.cast(self.0), mapper)
            }
        }
        let network = network.clone();
        if self == Self::F32 { network } else { network.map(&mut Cast(self.dtype())) }
    }

    /// As [`Precision::network`], but the gradients come back in this type: all weights are rounded together, and no gradient is cast by itself.
    fn network_of_trainer<M: Module>(self, network: &M) -> M {
        struct Collect(Vec<Tensor<1>>);
        impl ModuleVisitor for Collect {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.push(param.val().inner().flatten(0, D - 1));
            }
        }
        struct Replace(std::vec::IntoIter<Tensor<1>>);
        impl ModuleMapper for Replace {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let Some(rounded) = self.0.next() else { return param };
                let (id, weights, mapper) = param.consume();
                let rounded = rounded.reshape(weights.shape());
                Param::from_mapped_value(id, stand_in(weights, rounded), mapper)
            }
        }
        if self == Self::F32 {
            return network.clone();
        }
        let mut weights = Collect(Vec::new());
        network.visit(&mut weights);
        network.clone().map(&mut Replace(casts(weights.0, self.dtype()).into_iter()))
    }

    /// Applies a network of this type to a state in f32, and brings the output back to f32.
    ///
    /// # Shapes
    /// - `x`: any; the output as `network` makes it
    pub fn through<const D: usize, const E: usize>(
        self,
        x: Tensor<D>,
        network: impl FnOnce(Tensor<D>) -> Tensor<E>,
    ) -> Tensor<E> {
        if self == Self::F32 { network(x) } else { network(x.cast(self.dtype())).cast(DType::F32) }
    }
}

/// `f32`, `f16` or `bf16`.
impl std::str::FromStr for Precision {
    type Err = TrainError;

    fn from_str(name: &str) -> Result<Self, TrainError> {
        let all = [Self::F32, Self::F16, Self::Bf16];
        let found = all.into_iter().find(|precision| precision.to_string() == name);
        found.ok_or_else(|| TrainError::PrecisionName { name: name.to_owned() })
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

/// An objective whose network computes in another precision than the weights are kept in.
///
/// The objective gets the network with cast weights; where it applies it, it has to pass states through
/// [`Precision::through`].
#[derive(Debug, Clone)]
pub struct Mixed<O> {
    /// The objective.
    pub objective: O,
    /// The network's precision.
    pub precision: Precision,
}

impl<M: Module, B, O: Objective<M, B>> Objective<M, B> for Mixed<O> {
    fn loss(&self, model: &M, batch: &B) -> Result<Tensor<1>, TrainError> {
        self.objective.loss(&self.precision.network(model), batch)
    }

    fn loss_of_step(&self, model: &M, batch: &B) -> Result<Tensor<1>, TrainError> {
        self.objective.loss_of_step(&self.precision.network_of_trainer(model), batch)
    }

    fn loss_scale(&self) -> f64 {
        self.precision.loss_scale() * self.objective.loss_scale()
    }
}
