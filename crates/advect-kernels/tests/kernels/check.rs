//! Numbers, tensors and comparisons for the tests.
use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};

/// Numbers in [-1, 1) from a small generator, so that the tests depend on no other.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // 24 bits: exact in f32 as well.
        (state >> 40) as f64 / (1u64 << 23) as f64 - 1.0
    };
    (0..len).map(step).collect()
}

/// How a tensor lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Layout {
    Dense,
    /// A view whose last axis is not the fastest one.
    Permuted,
    /// A view into a larger tensor.
    Sliced,
}

pub(crate) const LAYOUTS: [Layout; 3] = [Layout::Dense, Layout::Permuted, Layout::Sliced];

pub(crate) fn tensor<const D: usize>(values: &[f64], shape: [usize; D], dtype: DType, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, dtype))
}

/// A tensor with the given elements, however it lies in memory.
pub(crate) fn laid_out(values: &[f64], shape: [usize; 4], dtype: DType, layout: Layout, device: &Device) -> Tensor<4> {
    let dense = tensor(values, shape, dtype, device);
    match layout {
        Layout::Dense => dense,
        Layout::Permuted => {
            // Copied into another order, then seen in the first one.
            let other = dense.permute([2, 3, 1, 0]).into_data();
            Tensor::<4>::from_data(other, (device, dtype)).permute([3, 2, 0, 1])
        }
        Layout::Sliced => {
            let [a, b, c, d] = shape;
            let room = Tensor::<4>::full([a + 2, b + 1, c + 3, d + 2], 7.0, (device, dtype));
            room.slice_assign([1..a + 1, 1..b + 1, 2..c + 2, 1..d + 1], dense).slice([
                1..a + 1,
                1..b + 1,
                2..c + 2,
                1..d + 1,
            ])
        }
    }
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().convert::<f64>().try_to_vec().unwrap()
}

pub(crate) fn gradient<const D: usize>(tensor: &Tensor<D>, gradients: &Gradients) -> Vec<f64> {
    values(tensor.grad(gradients).expect("a gradient"))
}

/// Asserts that two lists agree to `tolerance`, relative to the larger of 1 and the expected number.
pub(crate) fn assert_close(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}: number of elements");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let error = (a - e).abs() / e.abs().max(1.0);
        assert!(error <= tolerance, "{what}: element {i} is {a}, expected {e}, off by {error:.2e}");
    }
}

/// Central differences of a scalar function, for every `stride`-th argument; the others are None.
pub(crate) fn differences(at: &[f64], stride: usize, f: impl Fn(&[f64]) -> f64) -> Vec<Option<f64>> {
    let h = 1e-4;
    let mut x = at.to_vec();
    let mut slope = |i: usize| {
        x[i] = at[i] + h;
        let above = f(&x);
        x[i] = at[i] - h;
        let below = f(&x);
        x[i] = at[i];
        (above - below) / (2.0 * h)
    };
    (0..at.len()).map(|i| (i % stride == 0).then(|| slope(i))).collect()
}

pub(crate) fn assert_slopes(what: &str, actual: &[f64], expected: &[Option<f64>], tolerance: f64) {
    let known: Vec<_> = actual.iter().zip(expected).filter_map(|(a, e)| e.map(|e| (*a, e))).collect();
    let (actual, expected): (Vec<_>, Vec<_>) = known.into_iter().unzip();
    assert_close(what, &actual, &expected, tolerance);
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What a function gives on one thread, and on three.
pub(crate) fn on_one_and_three_threads<T: Send>(f: impl Fn() -> T + Sync) -> [T; 2] {
    [1, 3].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(&f))
}
