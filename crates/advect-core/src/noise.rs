use crate::{SampleRng, State};
use advect_kernels::{chacha8_heads, parallel_map};
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
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

/// Samples whose first words are computed by one task.
const TOGETHER: usize = 256;

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
    /// computed side by side, by all threads, which also call `draw`, in no particular order.
    pub fn each<T: Send>(self, ids: &[u64], counter: u64, draw: impl Fn(usize, &mut SampleRng) -> T + Sync) -> Vec<T> {
        let parts = parallel_map(ids.len().div_ceil(TOGETHER), |part| {
            let rows = (part * TOGETHER..).zip(&ids[part * TOGETHER..]).zip(self.heads(part, ids, counter));
            rows.map(|((row, &id), head)| draw(row, &mut SampleRng::new(self, id, counter, head))).collect::<Vec<T>>()
        });
        let mut results = Vec::with_capacity(ids.len());
        results.extend(parts.into_iter().flatten());
        results
    }

    /// The first words of the samples of a part.
    fn heads(self, part: usize, ids: &[u64], counter: u64) -> Vec<[u32; 16]> {
        let ids = ids.chunks(TOGETHER).nth(part).unwrap_or_default();
        let keys: Vec<_> = ids.iter().map(|&id| self.words(id, 0)).collect();
        chacha8_heads(&keys, counter)
    }

    /// Standard normal noise, one row for each sample id.
    ///
    /// # Shapes
    /// - `shape`: `[ids.len(), ...]`
    /// - output: `shape`, in the device's float type; drawn in f32
    ///
    /// # Panics
    /// Panics if the first dimension of `shape` is not `ids.len()`.
    #[must_use]
    pub fn normal<const D: usize>(self, ids: &[u64], counter: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
        assert_eq!(shape[0], ids.len(), "noise: {} rows asked for, {} ids given", shape[0], ids.len());
        let width: usize = shape[1..].iter().product();
        let values = self.normal_rows(ids, counter, width);
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// `width` numbers for each sample, one behind the other.
    fn normal_rows(self, ids: &[u64], counter: u64, width: usize) -> Vec<f32> {
        if width > SampleRng::HEAD {
            return rows_of_normals(ids.len(), width, |row| self.rng(ids[row], counter), |z| z as f32);
        }
        let parts = parallel_map(ids.len().div_ceil(TOGETHER), |part| {
            let heads = self.heads(part, ids, counter);
            let mut values = Vec::with_capacity(heads.len() * width);
            for (head, &id) in heads.into_iter().zip(&ids[part * TOGETHER..]) {
                let mut rng = SampleRng::new(self, id, counter, head);
                values.extend((0..width).map(|_| normal(&mut rng) as f32));
            }
            values
        });
        parts.concat()
    }
}

/// `width` numbers from the generator of each row, by all threads.
fn rows_of_normals<T: Clone + Send>(
    rows: usize,
    width: usize,
    generator: impl Fn(usize) -> ChaCha8Rng + Sync,
    round: impl Fn(f64) -> T + Sync,
) -> Vec<T> {
    /// Numbers that are worth a thread's attention: some 10 microseconds.
    const MANY: usize = 2048;
    let many = MANY.div_ceil(width.max(1));
    let parts = parallel_map(rows.div_ceil(many), |part| {
        let rows = many * part..(many * (part + 1)).min(rows);
        let mut values = Vec::with_capacity(rows.len() * width);
        for row in rows {
            let mut rng = generator(row);
            values.extend((0..width).map(|_| round(normal(&mut rng))));
        }
        values
    });
    parts.concat()
}

/// One standard normal number.
pub fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// Burn's own generator: fast on a device, but not portable.
///
/// The numbers depend on the backend, on the shape and on what else draws from the process-wide generator.
/// Seed it in `main` with `Device::seed`. Use [`NoiseKey`] where a result must be reproduced. It is a
/// [`Brownian`](crate::Brownian) motion for fixed steps too, as [`WhiteNoise`](crate::WhiteNoise) is.
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

    /// Standard normal noise of the shape, type and device of a tensor.
    pub(crate) fn like<const D: usize>(self, like: &Tensor<D>) -> Tensor<D> {
        Tensor::random(like.dims(), Distribution::Normal(0.0, 1.0), (&like.device(), like.dtype()))
    }
}

/// A state that can be filled with standard normal numbers.
pub trait Gaussian: State {
    /// A state shaped like `self`; row `r` is drawn from the generator that `stream(r)` hands out.
    #[must_use]
    fn standard_normal(&self, stream: &mut dyn FnMut(usize) -> ChaCha8Rng) -> Self;

    /// The same from the generators of a key: row `r` is drawn from `key.rng(ids[r], counter)`.
    #[must_use]
    fn keyed_normal(&self, key: NoiseKey, ids: &[u64], counter: u64) -> Self {
        self.standard_normal(&mut |row| key.rng(ids[row], counter))
    }
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
        let streams: Vec<ChaCha8Rng> = (0..shape[0]).map(stream).collect();
        let stream = |row: usize| streams[row].clone();
        let data = if self.dtype() == DType::F32 {
            TensorData::new(rows_of_normals(shape[0], width, stream, |z| z as f32), shape)
        } else {
            TensorData::new(rows_of_normals(shape[0], width, stream, |z| z), shape)
        };
        Tensor::from_data(data, (&self.device(), self.dtype()))
    }

    fn keyed_normal(&self, key: NoiseKey, ids: &[u64], counter: u64) -> Self {
        let shape = self.dims();
        if self.dtype() != DType::F32 {
            return self.standard_normal(&mut |row| key.rng(ids[row], counter));
        }
        let values = key.normal_rows(&ids[..shape[0]], counter, shape[1..].iter().product());
        Tensor::from_data(TensorData::new(values, shape), (&self.device(), self.dtype()))
    }
}
