//! Axes in another order.
use burn::tensor::Tensor;

/// [`Tensor::permute`] that works on devices of another machine too.
///
/// There Burn 0.22.1's fusion announces the operator as one on integers, at which the server stops; two axes at a time it understands.
///
/// # Shapes
///
/// - output: `[x.dims()[axes[0]], x.dims()[axes[1]], ..]`
///
/// # Panics
///
/// If `axes` is not each axis once.
pub fn permute<const D: usize>(x: Tensor<D>, axes: [usize; D]) -> Tensor<D> {
    if crate::route::elsewhere(&x) { by_swaps(x, axes) } else { x.permute(axes) }
}

fn by_swaps<const D: usize>(mut x: Tensor<D>, axes: [usize; D]) -> Tensor<D> {
    assert!((0..D).all(|axis| axes.contains(&axis)), "permute: {axes:?} is not each axis once");
    let mut order: [usize; D] = std::array::from_fn(|axis| axis);
    for (at, axis) in axes.into_iter().enumerate() {
        let from = at + order[at..].iter().take_while(|other| **other != axis).count();
        if from != at {
            order.swap(at, from);
            x = x.swap_dims(at, from);
        }
    }
    x
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn swaps_make_every_order() {
        let values: Vec<f32> = (0..120_u8).map(f32::from).collect();
        let x = Tensor::<4>::from_data(TensorData::new(values, [2, 3, 4, 5]), &Device::flex());
        let orders = (0..256).map(|n| [n / 64, n / 16 % 4, n / 4 % 4, n % 4]);
        let orders: Vec<_> = orders.filter(|o| (0..4).all(|axis| o.contains(&axis))).collect();
        assert_eq!(orders.len(), 24);
        for axes in orders {
            assert_eq!(by_swaps(x.clone(), axes).into_data(), x.clone().permute(axes).into_data(), "{axes:?}");
        }
    }

    #[test]
    #[should_panic(expected = "not each axis once")]
    fn an_axis_that_comes_twice_is_refused() {
        by_swaps(Tensor::<3>::zeros([1, 2, 3], &Device::flex()), [0, 1, 1]);
    }
}
