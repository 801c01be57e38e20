//! Blocks that the operators ask the allocator for, in a process of its own.
#![cfg(all(feature = "flex", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, unsafe_code)]

use advect_kernels::{attention, conv2d, group_norm_silu, layer_norm, linear, silu_chain};
use burn::tensor::{Device, Distribution, Tensor};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, which counts.
struct Counting;

/// Large blocks, and those of them that begin where the allocator would not put them by itself.
static LARGE: AtomicUsize = AtomicUsize::new(0);
static CUT: AtomicUsize = AtomicUsize::new(0);

fn count(layout: Layout) {
    if layout.size() >= 1 << 15 {
        LARGE.fetch_add(1, Ordering::Relaxed);
        CUT.fetch_add(usize::from(layout.align() > 16), Ordering::Relaxed);
    }
}

// SAFETY: everything is the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout);
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

/// A block with an alignment of its own is cut out of a larger one; once free it is too short for the next of its size, and in an evaluation that asks for a
/// hundred of them the heap grows without end: a forward pass of DiT-S/2 took 2.6 GiB and up to three times as long.
#[test]
fn no_operator_asks_for_large_blocks_with_an_alignment() {
    if !std::arch::is_x86_feature_detected!("avx512f") {
        // The products are those of the `gemm` crate, which cuts its own.
        return;
    }
    let device = Device::flex().autodiff();
    let image = |channels| random([8, channels, 16, 16], &device);
    let bias = |size| random([size], &device);
    let (x, narrow) = (random([1024, 384], &device), random([4096, 64], &device));
    let image = [image(3), image(64), image(64), image(128)];
    let kernels = [[64, 3, 3, 3], [64, 64, 3, 3], [128, 64, 1, 1], [64, 128, 3, 3]].map(|shape| random(shape, &device));
    let (layer, q) = (random([384, 512], &device), [(); 3].map(|()| random([4, 6, 96, 64], &device)));
    let small = [(); 2].map(|()| (random([64, 64], &device), Some(bias(64))));
    let before = CUT.load(Ordering::Relaxed);
    let work: [(&str, &dyn Fn() -> Tensor<1>); 6] = [
        ("linear", &|| linear(x.clone(), layer.clone(), Some(bias(512))).square().mean()),
        ("chain", &|| silu_chain(narrow.clone(), small.to_vec()).square().mean()),
        ("layer norm", &|| layer_norm(x.clone(), bias(384), bias(384), 1e-5).square().mean()),
        ("attention", &|| attention(q[0].clone(), q[1].clone(), q[2].clone()).square().mean()),
        ("convolutions", &|| {
            let layers = image.iter().zip(&kernels).map(|(x, kernel)| {
                let side = kernel.dims()[2];
                conv2d(x.clone(), kernel.clone(), None, [1, 1], [side / 2; 2]).square().mean()
            });
            layers.reduce(|a, b| a + b).unwrap()
        }),
        ("group norm", &|| group_norm_silu(image[1].clone(), 8, bias(64), bias(64), 1e-5).square().mean()),
    ];
    for (name, loss) in work {
        let large = LARGE.load(Ordering::Relaxed);
        drop(loss().backward());
        assert!(LARGE.load(Ordering::Relaxed) > large, "{name} is too small a case");
        assert_eq!(CUT.load(Ordering::Relaxed), before, "{name}");
    }
}
