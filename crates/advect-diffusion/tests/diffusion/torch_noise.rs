//! The normal numbers of PyTorch on a processor, so that loops with noise can be compared number for number.

use advect_core::{Brownian, State, Times};

/// `torch.manual_seed`: the Mersenne Twister of Matsumoto & Nishimura, 1998.
#[derive(Debug, Clone)]
struct Twister {
    words: Vec<u32>,
    next: usize,
}

impl Twister {
    fn new(seed: u32) -> Self {
        let mut words = vec![seed];
        for i in 1..624 {
            let last = words[words.len() - 1];
            words.push((last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i));
        }
        Self { words, next: 624 }
    }

    fn word(&mut self) -> u32 {
        if self.next == 624 {
            for k in 0..624 {
                let y = (self.words[k] & 0x8000_0000) | (self.words[(k + 1) % 624] & 0x7fff_ffff);
                self.words[k] = self.words[(k + 397) % 624] ^ (y >> 1) ^ if y & 1 == 1 { 0x9908_b0df } else { 0 };
            }
            self.next = 0;
        }
        let mut y = self.words[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }
}

/// `torch.randn(4, 3, 8, 8, generator=torch.manual_seed(seed))` again and again, in the order of the data: element
/// `((c * 8 + h) * 8 + w) * 4 + sample`.
#[derive(Debug, Clone)]
pub(crate) struct TorchNoise(Twister);

impl TorchNoise {
    pub(crate) fn new(seed: u32) -> Self {
        Self(Twister::new(seed))
    }

    fn draw(&mut self) -> Vec<f64> {
        // Uniform numbers of 24 bits; of each sixteen the first eight are lengths, the others angles (Box & Muller).
        let mut drawn: Vec<f64> = (0..768).map(|_| f64::from(self.0.word() & 0xff_ffff) / 16_777_216.0).collect();
        for sixteen in drawn.chunks_exact_mut(16) {
            for i in 0..8 {
                let (length, angle) = ((-2.0 * (1.0 - sixteen[i]).ln()).sqrt(), std::f64::consts::TAU * sixteen[i + 8]);
                (sixteen[i], sixteen[i + 8]) = (length * angle.cos(), length * angle.sin());
            }
        }
        (0..768).map(|i| drawn[(i % 4) * 192 + i / 4]).collect()
    }
}

impl Brownian<Vec<f64>> for TorchNoise {
    fn increment(&mut self, _like: &Vec<f64>, from: &Times, to: &Times) -> Vec<f64> {
        self.draw().combine((to.at(0) - from.at(0)).abs().sqrt(), &[])
    }
}

#[test]
fn the_first_numbers_are_pytorchs() {
    // torch.randn(4, 3, 8, 8, generator=torch.manual_seed(0)): its first three are the first pixels of sample 0.
    let mut noise = TorchNoise::new(0);
    let first = noise.draw();
    for (i, wanted) in [(0, -1.125_839_8), (4, -1.152_360_2), (8, -0.250_578_58)] {
        assert!((first[i] - wanted).abs() < 1e-6, "{} {wanted}", first[i]);
    }
}
