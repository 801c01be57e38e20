/// Work whose loops are to run in the widest vectors of the processor. See [`vectorized`].
pub trait Vectorized {
    /// Its result.
    type Output;

    /// The work. It and what it calls must be `#[inline(always)]`: only code that ends up inside is compiled anew.
    fn run(self) -> Self::Output;
}

/// Runs plain loops as they are compiled for AVX-512 or AVX2, where the processor has them.
///
/// Without a target flag the compiler may use the vectors of 2003 alone (SSE2 on x86-64), a half to an eighth as wide.
/// Sums keep their order and nothing is contracted, so the result is the same bits on every processor.
///
/// ```
/// use advect_kernels::{Vectorized, vectorized};
///
/// struct Least<'a>(&'a [f64]);
///
/// impl Vectorized for Least<'_> {
///     type Output = f64;
///
///     #[inline(always)]
///     fn run(self) -> f64 {
///         let mut lanes = [f64::INFINITY; 8];
///         for eight in self.0.chunks_exact(8) {
///             for k in 0..8 {
///                 lanes[k] = if eight[k] < lanes[k] { eight[k] } else { lanes[k] };
///             }
///         }
///         lanes.into_iter().chain(self.0.chunks_exact(8).remainder().iter().copied()).fold(f64::INFINITY, f64::min)
///     }
/// }
///
/// let values: Vec<f64> = (0..100).map(|k| f64::from((k - 37_i32).pow(2))).collect();
/// assert_eq!(vectorized(Least(&values)), 0.0);
/// ```
pub fn vectorized<W: Vectorized>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
        {
            // SAFETY: the processor has what the function asks for.
            return unsafe { avx512(work) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function asks for.
            return unsafe { avx2(work) };
        }
    }
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
fn avx512<W: Vectorized>(work: W) -> W::Output {
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2<W: Vectorized>(work: W) -> W::Output {
    work.run()
}
