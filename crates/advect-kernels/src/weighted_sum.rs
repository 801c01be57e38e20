//! The linear combination of a solver's states.
use crate::composed;
use crate::kernels::Kernels;
use crate::route;
use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Tensor, TensorData};

/// `scale x + sum of c d` over the terms `(c, d)`: what a step of a solver is made of.
///
/// On Flex in `f32`, without gradients, all are read once, and the sum is written over `x` where nobody else holds it; elsewhere it is a chain of Burn's operators,
/// which other backends fuse. Terms whose factor is 0 are left out, whatever they hold.
///
/// # Shapes
///
/// Any shape, the same for all tensors; the output has it too.
pub fn weighted_sum<const D: usize>(x: Tensor<D>, scale: f64, terms: &[(f64, &Tensor<D>)]) -> Tensor<D> {
    #[cfg(feature = "flex")]
    let x = match crate::flex::weighted_sum(x, scale, terms) {
        std::ops::ControlFlow::Break(sum) => return sum,
        std::ops::ControlFlow::Continue(x) => x,
    };
    let start = if scale == 1.0 { x } else { x * scale };
    terms.iter().fold(start, |sum, (c, d)| match *c {
        0.0 => sum,
        1.0 => sum + (*d).clone(),
        c => sum + (*d).clone() * c,
    })
}

/// [`weighted_sum`] with one factor a row: `scale[r]` and `c[r]` belong to row r.
///
/// On Flex in `f32` the state and a term are read once, and all that is tracked has its gradients; elsewhere it is a chain of Burn's operators. A factor of 0
/// does not hide what is no number.
///
/// # Shapes
///
/// - `x` and the terms: `[rows, ...]`, all the same, and so is the output
/// - `scale` and each `c`: as many as rows
///
/// # Panics
///
/// If the shapes disagree.
pub fn weighted_sum_rows<const D: usize>(x: Tensor<D>, scale: &[f64], terms: &[(&[f64], &Tensor<D>)]) -> Tensor<D> {
    let shape = x.dims();
    let [rows, width] = [shape[0], shape[1..].iter().product()];
    let fits = |factors: &[f64]| assert!(factors.len() == rows, "{} factors for {rows} rows", factors.len());
    fits(scale);
    for (factors, term) in terms {
        fits(factors);
        assert!(term.dims() == shape, "a term of {:?} cannot be added to {shape:?}", term.dims());
    }
    let (device, dtype) = (x.device(), x.dtype());
    if !route::on_processor(&x) {
        // In the shape it has: in another a card might have to copy it.
        let mut each = [1; D];
        each[0] = rows;
        let column = |factors: &[f64]| column(factors, dtype, &device).reshape(each);
        let start = if all_ones(scale) { x } else { x * column(scale) };
        return terms.iter().fold(start, |sum, (factors, term)| sum + (*term).clone() * column(factors));
    }
    let column = |factors: &[f64]| column(factors, dtype, &device);
    let flat = |x: Tensor<D>| x.reshape([rows, width]);
    let Some(((factors, term), others)) = terms.split_first() else {
        return if all_ones(scale) { x } else { (flat(x) * column(scale)).reshape(shape) };
    };
    let sum = mixed(flat(x), flat((*term).clone()), column(scale), column(factors));
    let sum = others.iter().fold(sum, |sum, (factors, term)| {
        mixed(sum, flat((*term).clone()), Tensor::ones([rows, 1], (&device, dtype)), column(factors))
    });
    sum.reshape(shape)
}

fn all_ones(factors: &[f64]) -> bool {
    factors.iter().all(|&f| f == 1.0)
}

/// `a x + b y`.
fn mixed(x: Tensor<2>, y: Tensor<2>, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let [x, y, a, b] = [x, y, a, b].map(Tensor::into_dispatch);
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::mix_rows(x, y, a, b)
    } else {
        composed::mix_rows::<Dispatch>(x, y, a, b)
    })
}

/// `[rows, 1]`.
fn column(factors: &[f64], dtype: DType, device: &Device) -> Tensor<2> {
    let shape = [factors.len(), 1];
    // Burn's own conversion takes an element at a time.
    let data = match dtype {
        DType::F32 => TensorData::new(factors.iter().map(|f| *f as f32).collect(), shape),
        _ => TensorData::new(factors.to_vec(), shape),
    };
    Tensor::from_data(data, (device, dtype))
}
