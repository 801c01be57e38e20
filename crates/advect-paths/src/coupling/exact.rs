use super::{Cost, Coupling, Pairing, SquaredEuclidean, Uncoupled, assign};
use crate::{PathError, SourceLaw};

/// Minibatch optimal transport: the permutation of the noise with the least total cost.
///
/// Pooladian et al. (2023), "Multisample flow matching"; Tong et al. (2024), "Improving and generalizing flow-based
/// generative models with minibatch optimal transport" (OT-CFM), algorithm 3. Data keep their order. No noise row and
/// no data row is lost or doubled, so both marginals are as they were, but within a class the noise is not normal any
/// more: where a model has conditions, wrap it in [`ClassWise`](super::ClassWise).
///
/// ```
/// use advect_core::{NoiseKey, Purpose};
/// use advect_paths::{Coupling, ExactOt, Uncoupled};
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::default();
/// let noise: Tensor<2> = Tensor::from_floats([[2.0], [-1.0], [0.5]], &device);
/// let data: Tensor<2> = Tensor::from_floats([[10.0], [30.0], [20.0]], &device);
/// let pairing = ExactOt::new().pair(&Uncoupled::new(&noise, &data, NoiseKey::new(0, Purpose::Coupling), 0))?;
/// assert_eq!(pairing.noise, [1, 0, 2]);
/// // Labels follow the data; another cost is a closure.
/// assert_eq!(pairing.follow(&["ten", "thirty", "twenty"]), ["ten", "thirty", "twenty"]);
/// let _fourth_power = ExactOt { cost: |a: &[f64], b: &[f64]| (a[0] - b[0]).powi(4) };
/// # Ok::<(), advect_paths::PathError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExactOt<C = SquaredEuclidean> {
    /// The cost of a pair.
    pub cost: C,
}

impl ExactOt {
    /// With the squared Euclidean cost.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<const D: usize, C: Cost> Coupling<D> for ExactOt<C> {
    fn pair(&self, batch: &Uncoupled<'_, D>) -> Result<Pairing, PathError> {
        let (noise, data) = batch.rows()?;
        Ok(Pairing::of_noise(assign(&self.cost.matrix(&noise, &data)?)?.rows()))
    }

    fn source_law(&self, _before: SourceLaw) -> SourceLaw {
        SourceLaw::Other
    }
}
