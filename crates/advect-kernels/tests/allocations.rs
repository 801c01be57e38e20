//! Blocks that the operators ask the allocator for, in a process of its own.
#![cfg(all(feature = "flex", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, unsafe_code)]

use advect_kernels::{attention, conv2d, linear, silu_chain};
use burn::tensor::{Device, Distribution, Tensor};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, which counts.
struct Counting;

/// Blocks of 4 KiB and more that begin where the allocator would not put them by itself.
static CUT: AtomicUsize = AtomicUsize::new(0);

fn count(size: usize, alignment: usize) {
    if size >= 1 << 12 && alignment > 16 {
        CUT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), layout.align());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), layout.align());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.align());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 0.1), device).require_grad()
}

#[repr(align(64))]
struct Aligned(#[allow(dead_code)] [u8; 64]);

/// A block with an alignment of its own is cut out of a larger one; once free it is too short for the next of its size, and with a hundred of them in an
/// evaluation the heap grows and grows: a forward pass of DiT-S/2 came to 2.6 GiB and took up to three times as long.
#[test]
fn no_operator_asks_for_large_blocks_with_an_alignment() {
    let device = Device::flex().autodiff();
    let bias = |size| Some(random([size], &device));
    let layer = |rows: usize, [from, to]: [usize; 2]| {
        let (x, weight, bias) = (random([rows, from], &device), random([from, to], &device), bias(to));
        move || linear(x.clone(), weight.clone(), bias.clone()).square().mean()
    };
    let convolution = |[from, to, side]: [usize; 3], pixels| {
        let (x, weight) = (random([8, from, pixels, pixels], &device), random([to, from, side, side], &device));
        let bias = bias(to);
        move || conv2d(x.clone(), weight.clone(), bias.clone(), [1, 1], [side / 2; 2]).square().mean()
    };
    let (narrow, layers) = (random([4096, 64], &device), [(); 2].map(|()| (random([64, 64], &device), bias(64))));
    let heads = [(); 3].map(|()| random([4, 6, 256, 64], &device));
    let chain = || silu_chain(narrow.clone(), layers.to_vec()).square().mean();
    let attention = || attention(heads[0].clone(), heads[1].clone(), heads[2].clone()).square().mean();
    let mut work: Vec<(&str, Box<dyn Fn() -> Tensor<1>>)> = vec![
        ("chain", Box::new(chain)),
        ("attention", Box::new(attention)),
        ("3x3 of 3 channels", Box::new(convolution([3, 64, 3], 32))),
        ("3x3", Box::new(convolution([64, 64, 3], 16))),
        ("3x3 with few pixels", Box::new(convolution([256, 256, 3], 4))),
        ("1x1", Box::new(convolution([256, 256, 1], 16))),
    ];
    // Without AVX-512 large products are those of the `gemm` crate, which cuts its own.
    let detected = std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512vl");
    if detected && std::arch::is_x86_feature_detected!("avx512bw") && std::arch::is_x86_feature_detected!("avx512dq") {
        for rows in [1, 4, 16, 40, 64, 1024] {
            let name: &'static str = format!("linear, {rows} rows").leak();
            work.push((name, Box::new(layer(rows, [384, 1152]))));
        }
    }
    // One of the pool's own, with many threads.
    rayon::current_num_threads();
    let before = CUT.load(Ordering::Relaxed);
    drop(Vec::<Aligned>::with_capacity(100));
    assert_eq!(CUT.load(Ordering::Relaxed), before + 1, "the count counts");
    for (name, loss) in work {
        let before = CUT.load(Ordering::Relaxed);
        drop(loss().backward());
        assert_eq!(CUT.load(Ordering::Relaxed), before, "{name}");
    }
}
