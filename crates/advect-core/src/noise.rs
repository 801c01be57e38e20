use crate::{SampleRng, State};
use advect_kernels::chacha8_heads;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

/// What a stream of random numbers is for. Streams of different purposes never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// The source x_0 of a sample.
    Source,
    /// The time of a training example.
    Time,
    /// Whether a training example loses its label.
    LabelDrop,
    /// The order of the data.
    Order,
    /// The split into training and validation data.
    Split,
    /// Synthetic data.
    Data,
    /// The increments of a Brownian path.
    Brownian,
    /// Events and jumps.
    Event,
    /// Resampling of weighted sets.
    Resample,
    /// The initial weights of a network.
    Init,
    /// Which noise goes with which data.
    Coupling,
    /// The space-time Levy areas of white noise.
    LevyArea,
    /// Anything else; choose your own number.
    Custom(u32),
}

impl Purpose {
    /// Part of the key: these numbers must never change, or samples of old seeds change.
    fn code(self) -> u64 {
        match self {
            Self::Source => 1,
            Self::Time => 2,
            Self::LabelDrop => 3,
            Self::Order => 4,
            Self::Split => 5,
            Self::Data => 6,
            Self::Brownian => 7,
            Self::Event => 8,
            Self::Resample => 9,
            Self::Init => 10,
            Self::Coupling => 11,
            Self::LevyArea => 12,
            Self::Custom(n) => (1 << 32) | u64::from(n),
        }
    }
}

/// Keyed noise: every number is a function of (seed, purpose, sample id, counter of that sample) and of nothing else.
///
/// So a sample is the same whatever the batch size, the device, the number of threads or the shard it is drawn in,
/// and one sample may draw more often than its neighbours (adaptive steps, thinning, events). The generator is
/// ChaCha8, keyed by seed, id and purpose; the counter is its stream. Numbers are made on the host, in f64.
///
/// ```
/// use advect_core::{NoiseKey, Purpose};
/// use burn::tensor::{Device, Tensor};
///
/// let key = NoiseKey::new(7, Purpose::Source);
/// let device = Device::default();
/// let all: Tensor<2> = key.normal(&[0, 1, 2], 0, [3, 4], &device);
/// let last: Tensor<2> = key.normal(&[2], 0, [1, 4], &device);
/// assert_eq!(all.narrow(0, 2, 1).into_data(), last.into_data());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoiseKey {
    seed: u64,
    purpose: Purpose,
}

impl NoiseKey {
    /// The noise of one seed and one purpose.
    #[must_use]
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self { seed, purpose }
    }

    /// The seed it was made of.
    #[must_use]
    pub(crate) fn seed(self) -> u64 {
        self.seed
    }

    /// The generator of one sample at one count.
    #[must_use]
    pub fn rng(self, id: u64, counter: u64) -> ChaCha8Rng {
        self.rng_of(id, 0, counter)
    }

    /// The generator of one part of a sample (a cell of a Brownian path) at one count; [`NoiseKey::rng`] is part 0.
    #[must_use]
    pub fn rng_of(self, id: u64, part: u64, counter: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(4).zip(self.words(id, part)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(counter);
        rng
    }

    /// The key of a generator.
    fn words(self, id: u64, part: u64) -> [u32; 8] {
        let numbers = [self.seed, id, self.purpose.code(), part];
        std::array::from_fn(|i| (numbers[i / 2] >> (32 * (i % 2))) as u32)
    }

    /// What `draw` makes of the row and the generator of each sample at one count.
    ///
    /// The numbers are those of [`NoiseKey::rng`], and where a sample takes a few only, they come several times faster: the first eight of many samples are
    /// computed side by side.
    pub fn each<T>(self, ids: &[u64], counter: u64, mut draw: impl FnMut(usize, &mut SampleRng) -> T) -> Vec<T> {
        /// Samples whose numbers stay in the cache.
        const MANY: usize = 256;
        let mut results = Vec::with_capacity(ids.len());
        for ids in ids.chunks(MANY) {
            let keys: Vec<_> = ids.iter().map(|&id| self.words(id, 0)).collect();
            for (head, &id) in chacha8_heads(&keys, counter).into_iter().zip(ids) {
                results.push(draw(results.len(), &mut SampleRng::new(self, id, counter, head)));
            }
        }
        results
    }

    /// Standard normal noise, one row for each sample id.
    ///
    /// # Shapes
    /// - `shape`: `[ids.len(), ...]`
    /// - output: `shape`, in the device's float type
    ///
    /// # Panics
    /// Panics if the first dimension of `shape` is not `ids.len()`.
    #[must_use]
    pub fn normal<const D: usize>(self, ids: &[u64], counter: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
        assert_eq!(shape[0], ids.len(), "noise: {} rows asked for, {} ids given", shape[0], ids.len());
        let width: usize = shape[1..].iter().product();
        let mut values = Vec::with_capacity(ids.len() * width);
        if width <= SampleRng::HEAD {
            self.each(ids, counter, |_, rng| values.extend((0..width).map(|_| normal(rng) as f32)));
        } else {
            for &id in ids {
                let mut rng = self.rng(id, counter);
                values.extend((0..width).map(|_| normal(&mut rng) as f32));
            }
        }
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

/// One standard normal number.
pub fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// Burn's own generator: fast on a device, but not portable.
///
/// The numbers depend on the backend, on the shape and on what else draws from the process-wide generator.
/// Seed it in `main` with `Device::seed`. Use [`NoiseKey`] where a result must be reproduced.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeviceNoise;

impl DeviceNoise {
    /// Standard normal noise of a shape.
    ///
    /// # Shapes
    /// - output: `shape`
    #[must_use]
    pub fn normal<const D: usize>(self, shape: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
    }
}

/// A state that can be filled with standard normal numbers.
pub trait Gaussian: State {
    /// A state shaped like `self`; row `r` is drawn from the generator that `stream(r)` hands out.
    #[must_use]
    fn standard_normal(&self, stream: &mut dyn FnMut(usize) -> ChaCha8Rng) -> Self;
}

impl Gaussian for f64 {
    fn standard_normal(&self, stream: &mut dyn FnMut(usize) -> ChaCha8Rng) -> Self {
        normal(&mut stream(0))
    }
}

impl<const N: usize> Gaussian for [f64; N] {
    fn standard_normal(&self, stream: &mut dyn FnMut(usize) -> ChaCha8Rng) -> Self {
        let mut rng = stream(0);
        std::array::from_fn(|_| normal(&mut rng))
    }
}

impl<X: Gaussian> Gaussian for Vec<X> {
    fn standard_normal(&self, stream: &mut dyn FnMut(usize) -> ChaCha8Rng) -> Self {
        self.iter().enumerate().map(|(row, x)| x.standard_normal(&mut |_| stream(row))).collect()
    }
}

impl<const D: usize> Gaussian for Tensor<D> {
    fn standard_normal(&self, stream: &mut dyn FnMut(usize) -> ChaCha8Rng) -> Self {
        let shape = self.dims();
        let width: usize = shape[1..].iter().product();
        let mut values = Vec::with_capacity(shape[0] * width);
        for row in 0..shape[0] {
            let mut rng = stream(row);
            values.extend((0..width).map(|_| normal(&mut rng)));
        }
        Tensor::from_data(TensorData::new(values, shape), (&self.device(), self.dtype()))
    }
}
