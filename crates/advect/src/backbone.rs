//! Networks as fields: what training and sampling need to know of a backbone, conditions included.

use advect_core::{Field, RowField, Times};
use burn::module::Module;
use burn::tensor::{DType, Int, Tensor, TensorData};

/// A network `(x, t, class) -> output` with an output shaped like `x`. Implement it for your own.
pub trait Backbone<const D: usize>: Module {
    /// Whether `forward` takes a time that all rows share as `[1]`: what depends on the time alone is then computed once.
    const SHARED_TIME: bool = false;

    /// The raw output; what it means is said by a `Prediction` beside it.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, ...]`
    /// - `t`: `[batch]`, in [0, 1]; or `[1]`, where `SHARED_TIME` says so
    /// - `class`: `[batch]`; `None` on a conditional network is the null class for every row
    fn forward(&self, x: Tensor<D>, t: Tensor<1>, class: Option<Tensor<1, Int>>) -> Tensor<D>;
}

impl Backbone<2> for advect_nn::Mlp {
    const SHARED_TIME: bool = true;

    fn forward(&self, x: Tensor<2>, t: Tensor<1>, class: Option<Tensor<1, Int>>) -> Tensor<2> {
        self.forward(x, t, class)
    }
}

impl Backbone<4> for advect_nn::UNet {
    const SHARED_TIME: bool = true;

    fn forward(&self, x: Tensor<4>, t: Tensor<1>, class: Option<Tensor<1, Int>>) -> Tensor<4> {
        self.forward(x, t, class)
    }
}

/// A network with a learned sigma gives twice the channels; as in SiT, the first half is the output here.
impl Backbone<4> for advect_nn::DiT {
    const SHARED_TIME: bool = true;

    fn forward(&self, x: Tensor<4>, t: Tensor<1>, class: Option<Tensor<1, Int>>) -> Tensor<4> {
        let [_, channels, _, _] = x.dims();
        self.forward(x, t, class).narrow(1, 0, channels)
    }
}

/// A backbone with the class of each row: a field whose conditions follow their rows.
#[derive(Debug)]
pub struct Conditioned<'a, N> {
    network: &'a N,
    classes: Option<Vec<usize>>,
    dtype: Option<DType>,
}

// A derived one would ask for a network that can be copied, and copy nothing of it.
impl<N> Clone for Conditioned<'_, N> {
    fn clone(&self) -> Self {
        Self { network: self.network, classes: self.classes.clone(), dtype: self.dtype }
    }
}

impl<'a, N> Conditioned<'a, N> {
    /// The network at the given classes, one a row; `None` leaves the condition out.
    #[must_use]
    pub fn new(network: &'a N, classes: Option<Vec<usize>>) -> Self {
        Self { network, classes, dtype: None }
    }

    /// For a network whose weights are of another type than the states: states go in as `dtype`, outputs come back in
    /// the states' own.
    #[must_use]
    pub fn computing_in(self, dtype: DType) -> Self {
        Self { dtype: Some(dtype), ..self }
    }
}

impl<N: Backbone<D>, const D: usize> Field<Tensor<D>> for Conditioned<'_, N> {
    fn eval(&self, x: Tensor<D>, t: &Times) -> Tensor<D> {
        let (rows, device) = (x.dims()[0], x.device());
        let class = self.classes.as_ref().map(|classes| {
            let values: Vec<i64> = classes.iter().map(|&c| c as i64).collect();
            Tensor::from_data(TensorData::new(values, [rows]), &device)
        });
        let shared = N::SHARED_TIME && matches!(t, Times::Shared(_));
        let t = t.tensor(if shared { 1 } else { rows }, &device);
        match self.dtype.filter(|&dtype| dtype != x.dtype()) {
            None => self.network.forward(x, t, class),
            Some(dtype) => {
                let own = x.dtype();
                self.network.forward(x.cast(dtype), t, class).cast(own)
            }
        }
    }
}

impl<N: Backbone<D>, const D: usize> RowField<Tensor<D>> for Conditioned<'_, N> {
    fn select(&self, rows: &[usize]) -> Self {
        let classes = self.classes.as_ref().map(|classes| rows.iter().map(|&r| classes[r]).collect());
        Self { network: self.network, classes, dtype: self.dtype }
    }
}
