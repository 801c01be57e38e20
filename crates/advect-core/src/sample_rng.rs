use crate::NoiseKey;
use rand::TryRng;
use rand_chacha::ChaCha8Rng;
use std::convert::Infallible;

/// The generator of one sample at one count, as [`NoiseKey::each`] hands it out: the numbers of [`NoiseKey::rng`], the first of them computed already.
#[derive(Debug, Clone)]
pub struct SampleRng {
    key: NoiseKey,
    id: u64,
    counter: u64,
    head: [u32; 16],
    used: usize,
    /// From the word on that the head could not serve.
    rest: Option<ChaCha8Rng>,
}

impl SampleRng {
    /// 64-bit numbers in the head.
    pub(crate) const HEAD: usize = 8;

    pub(crate) fn new(key: NoiseKey, id: u64, counter: u64, head: [u32; 16]) -> Self {
        Self { key, id, counter, head, used: 0, rest: None }
    }

    /// So many words of the head, if they are there.
    fn next<const N: usize>(&mut self) -> Option<[u32; N]> {
        let words = self.head.get(self.used..)?.first_chunk::<N>().copied().filter(|_| self.rest.is_none())?;
        self.used += N;
        Some(words)
    }

    fn rest(&mut self) -> &mut ChaCha8Rng {
        let Self { key, id, counter, used, .. } = *self;
        self.rest.get_or_insert_with(|| {
            let mut rng = key.rng(id, counter);
            rng.set_word_pos(used as u128);
            rng
        })
    }
}

impl TryRng for SampleRng {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        match self.next::<1>() {
            Some([word]) => Ok(word),
            None => self.rest().try_next_u32(),
        }
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        match self.next::<2>() {
            Some([low, high]) => Ok(u64::from(high) << 32 | u64::from(low)),
            None => self.rest().try_next_u64(),
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.rest().try_fill_bytes(bytes)
    }
}
