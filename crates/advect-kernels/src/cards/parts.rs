//! Matrices taken apart by columns, and put side by side.
use super::*;
use burn_cubecl::kernel::slice;
use cubecl::zspace::Strides;
use cubecl::zspace::metadata::Metadata;

/// Places in memory at which a kernel of CUDA may begin to read, in bytes, however wide its reads are.
const CUDA_BEGINS: u64 = 64;

/// A view where it begins at a place at which kernels may; Burn's slices end at one too, and CubeCL's places lie 512 bytes apart on CUDA.
pub(super) fn columns_of(x: CubeTensor, part: Columns) -> CubeTensor {
    let (rows, from) = (x.shape()[0], part.index * part.wide);
    let begins = (from * x.elem_size()) as u64;
    let step = if x.client.name() == "cuda" { CUDA_BEGINS } else { x.client.properties().memory.alignment };
    if !evenly_spaced(&x) || !begins.is_multiple_of(step) {
        return slice(x, &[0..rows, from..from + part.wide]);
    }
    let CubeTensor { client, handle, device, dtype, meta, .. } = x;
    let meta = Metadata::new(Shape::new([rows, part.wide]), meta.strides().clone());
    CubeTensor::new(client, handle.offset_start(begins), meta, device, dtype)
}

/// Matrices of one size side by side: heads of one token each are joined so.
pub(super) fn beside_of<const N: usize>(parts: [CubeTensor; N]) -> CubeTensor {
    let [rows, columns] = parts[0].meta.shape().dims();
    let y = heads::join(
        parts.map(|part| {
            let (part, pitch) = lines(part);
            let CubeTensor { client, handle, device, dtype, .. } = part;
            let pitch = pitch as usize;
            let meta = Metadata::new(Shape::new([rows, 1, 1, columns]), Strides::new(&[pitch, pitch, pitch, 1]));
            CubeTensor::new(client, handle, meta, device, dtype)
        }),
        1.0,
    );
    let CubeTensor { client, handle, device, dtype, .. } = y;
    CubeTensor::new_contiguous(client, device, Shape::new([rows, N * columns]), handle, dtype)
}

pub(crate) fn columns(x: FloatTensor<Cube>, part: Columns) -> FloatTensor<Cube> {
    if takes([&x]) {
        Cube::card_columns(x, part)
    } else {
        composed::part_of::<Cube>(&x, 1, part.index * part.wide, part.wide)
    }
}

pub(crate) fn beside(x: FloatTensor<Cube>, y: FloatTensor<Cube>) -> FloatTensor<Cube> {
    let alike = x.dtype() == y.dtype() && x.shape() == y.shape() && 2 * x.shape().num_elements() < MOST;
    if alike && takes([&x, &y]) { Cube::card_beside(x, y) } else { composed::beside::<Cube>(x, y) }
}

pub(crate) fn three_beside(x: FloatTensor<Cube>, y: FloatTensor<Cube>, z: FloatTensor<Cube>) -> FloatTensor<Cube> {
    let alike = [&y, &z].iter().all(|t| t.dtype() == x.dtype() && t.shape() == x.shape());
    if alike && takes([&x, &y, &z]) && 3 * x.shape().num_elements() < MOST {
        Cube::card_three_beside(x, y, z)
    } else {
        Cube::float_cat(vec![x, y, z], 1)
    }
}
