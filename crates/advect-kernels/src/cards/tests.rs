//! Rows with gaps between them, as CUDA lays matrices out; other backends never do, so that no other test sees any.
use super::*;
use burn::tensor::TensorData;
use cubecl::zspace::metadata::Metadata;

fn device() -> CubeDevice {
    CubeDevice::default()
}

fn tensor(data: Vec<f32>, shape: &[usize]) -> CubeTensor {
    <Bare as FloatTensorOps<Bare>>::float_from_data(TensorData::new(data, shape.to_vec()), &device())
}

/// Numbers without a pattern, the same for a seed.
fn numbers(seed: usize, count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729 + i * i * 31) % 1009) as f32 / 500.0 - 1.0).collect()
}

/// A tensor, and the same with so many numbers that are none behind each row.
fn both(seed: usize, shape: &[usize], gap: usize) -> [CubeTensor; 2] {
    let (rows, columns) = (shape[..shape.len() - 1].iter().product::<usize>(), shape[shape.len() - 1]);
    let data = numbers(seed, rows * columns);
    let mut wide = vec![f32::NAN; rows * (columns + gap)];
    for (wide, row) in wide.chunks_mut(columns + gap).zip(data.chunks(columns)) {
        wide[..columns].copy_from_slice(row);
    }
    let CubeTensor { client, handle, device, dtype, .. } = tensor(wide, &[rows * (columns + gap)]);
    let mut strides = vec![1; shape.len()];
    let mut stride = columns + gap;
    for axis in (0..shape.len() - 1).rev() {
        strides[axis] = stride;
        stride *= shape[axis];
    }
    let meta = Metadata::new(Shape::from(shape.to_vec()), strides);
    [tensor(data, shape), CubeTensor::new(client, handle, meta, device, dtype)]
}

fn read(x: &CubeTensor) -> Vec<f32> {
    let x = into_contiguous(x.clone());
    let count = x.meta.shape().num_elements();
    let bytes = x.client.read_one_unchecked(x.handle);
    bytes.chunks_exact(4).take(count).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// That a kernel gives the same bits for inputs with gaps.
fn same_with_gaps<const N: usize>(shapes: [(&[usize], usize); N], kernel: impl Fn([CubeTensor; N]) -> Vec<CubeTensor>) {
    let mut seed = 0;
    let inputs = shapes.map(|(shape, gap)| {
        seed += 1;
        both(seed, shape, gap)
    });
    let [dense, spaced] = [0, 1].map(|k| kernel(inputs.each_ref().map(|both| both[k].clone())));
    assert_eq!(dense.len(), spaced.len());
    for (i, (dense, spaced)) in dense.iter().zip(&spaced).enumerate() {
        let (dense, spaced) = (read(dense), read(spaced));
        assert!(dense.iter().all(|x| x.is_finite()), "output {i}: {dense:?}");
        assert_eq!(dense, spaced, "output {i}");
    }
}

#[test]
fn a_layout_with_gaps_is_seen_and_others_are_not() {
    let even = |shape: &[usize], strides: &[usize]| {
        let CubeTensor { client, handle, device, dtype, .. } = tensor(vec![0.0; 64], &[64]);
        let meta = Metadata::new(Shape::from(shape.to_vec()), strides.to_vec());
        evenly_spaced(&CubeTensor::new(client, handle, meta, device, dtype))
    };
    assert!(even(&[4, 3], &[3, 1]) && even(&[4, 3], &[8, 1]) && even(&[2, 4, 3], &[20, 5, 1]));
    assert!(even(&[1, 4, 3], &[7, 5, 1]) && even(&[4, 1], &[1, 7]) && even(&[5], &[1]));
    // Transposed, permuted, repeated, every other number.
    assert!(!even(&[4, 3], &[1, 4]) && !even(&[2, 4, 3], &[3, 6, 1]) && !even(&[4, 3], &[0, 1]));
    assert!(!even(&[2, 4, 3], &[21, 5, 1]) && !even(&[4, 3], &[6, 2]));
}

#[test]
fn kernels_read_rows_with_gaps() {
    let options = RowOptions { epsilon: 1e-5, plus_one: true };
    let x: &[usize] = &[2, 9, 37];
    same_with_gaps([(x, 3), (&[2, 37], 5), (&[2, 37], 1)], |[x, scale, shift]| {
        vec![row_norm::forward(x, scale, shift, options)]
    });
    same_with_gaps([(x, 3), (&[2, 37], 5), (x, 2)], |[x, scale, gradient]| {
        let (dx, d_scale, d_shift) = row_norm::backward(x, scale, gradient, options);
        vec![dx, d_scale, d_shift]
    });
    same_with_gaps([(&[2, 37], 5), (x, 3), (x, 2)], |[gate, y, gradient]| {
        let (d_gate, dy) = gate::backward(gate, y, gradient);
        vec![d_gate, dy]
    });
    same_with_gaps([(&[5000, 37], 3)], |[x]| vec![row_sum::forward(x)]);
    same_with_gaps([(&[2, 3, 5, 37], 3)], |[x]| vec![attention::softmax(x)]);
    same_with_gaps([(&[2, 3, 5, 37], 3), (&[2, 3, 5, 37], 4)], |[scores, slopes]| {
        let (weights, slopes) = attention::weights_and_slopes(scores, slopes);
        vec![weights, slopes]
    });
    same_with_gaps([(&[2, 5, 3 * 2 * 7], 3)], |[x]| heads::split::<3>(x, 2, 0.5).into());
    same_with_gaps([(&[2, 3, 5, 7], 1), (&[2, 3, 5, 7], 2), (&[2, 3, 5, 7], 3)], |parts| vec![heads::join(parts, 0.5)]);
    same_with_gaps([(&[9, 3], 5), (&[3, 10], 1), (&[10, 2], 6)], |[x, first, second]| {
        vec![chain::forward(x, vec![first, second], vec![None, None])]
    });
}
