//! Keyed noise.

use advect_analytic::statistics::{Estimate, correlation};
use advect_core::{Brownian, DeviceNoise, Gaussian, NoiseKey, Purpose, SpaceTimeLevyArea, Times, normal};
use burn::tensor::{DType, Device, Tensor};
use rand::Rng;

const SEED: u64 = 11;

/// ChaCha with 8 rounds, written from the specification (Bernstein, 2008): an independent opinion on `NoiseKey`.
fn chacha8(key: [u8; 32], stream: u64, counter: u64) -> [u32; 16] {
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let mut start = [0_u32; 16];
    for (i, constant) in b"expand 32-byte k".chunks(4).enumerate() {
        start[i] = word(constant);
    }
    for (i, part) in key.chunks(4).enumerate() {
        start[4 + i] = word(part);
    }
    (start[12], start[13]) = (counter as u32, (counter >> 32) as u32);
    (start[14], start[15]) = (stream as u32, (stream >> 32) as u32);
    let mut x = start;
    let mut quarter = |a: usize, b: usize, c: usize, d: usize| {
        for (turn_d, turn_b) in [(16, 12), (8, 7)] {
            x[a] = x[a].wrapping_add(x[b]);
            x[d] = (x[d] ^ x[a]).rotate_left(turn_d);
            x[c] = x[c].wrapping_add(x[d]);
            x[b] = (x[b] ^ x[c]).rotate_left(turn_b);
        }
    };
    for _ in 0..4 {
        for i in 0..4 {
            quarter(i, 4 + i, 8 + i, 12 + i);
        }
        for i in 0..4 {
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
        }
    }
    std::array::from_fn(|i| x[i].wrapping_add(start[i]))
}

#[test]
fn the_generator_is_chacha8_with_the_documented_key() {
    // The published keystream of ChaCha8 with a key and an IV of zeros (draft-strombergson-chacha-test-vectors, TC1).
    let published = "3e00ef2f895f40d67f5bb8e81f09a5a12c840ec3ce9a7f3b181be188ef711a1e";
    let ours: String =
        chacha8([0; 32], 0, 0)[..8].iter().flat_map(|w| w.to_le_bytes()).map(|b| format!("{b:02x}")).collect();
    assert_eq!(ours, published);
    // Seed, id, purpose in the key; the counter of the sample is the stream.
    for (seed, purpose, code, id, counter) in [
        (7, Purpose::Source, 1_u64, 3, 0),
        (u64::MAX, Purpose::Brownian, 7, 1 << 40, u64::MAX),
        (0, Purpose::Custom(5), (1 << 32) | 5, 0, 9),
    ] {
        let mut key = [0; 32];
        for (i, part) in [seed, id, code].iter().enumerate() {
            key[8 * i..8 * i + 8].copy_from_slice(&part.to_le_bytes());
        }
        let mut rng = NoiseKey::new(seed, purpose).rng(id, counter);
        for block in 0..2 {
            for word in chacha8(key, counter, block) {
                assert_eq!(rng.next_u32(), word, "seed {seed}, id {id}, counter {counter}, block {block}");
            }
        }
    }
}

#[test]
fn old_seeds_keep_their_samples() {
    // Recorded once: these are promises to users, not truths. A change here breaks every stored seed.
    let codes = [
        (Purpose::Source, 1),
        (Purpose::Time, 2),
        (Purpose::LabelDrop, 3),
        (Purpose::Order, 4),
        (Purpose::Split, 5),
        (Purpose::Data, 6),
        (Purpose::Brownian, 7),
        (Purpose::Event, 8),
        (Purpose::Resample, 9),
        (Purpose::Init, 10),
        (Purpose::Coupling, 11),
    ];
    for (purpose, code) in codes {
        let mut key = [0; 32];
        key[16] = code;
        assert_eq!(NoiseKey::new(0, purpose).rng(0, 0).next_u32(), chacha8(key, 0, 0)[0], "{purpose:?}");
    }
    let mut rng = NoiseKey::new(7, Purpose::Source).rng(3, 2);
    let first = [normal(&mut rng), normal(&mut rng), normal(&mut rng)];
    assert_eq!(first, RECORDED);
}

/// Normal numbers of seed 7, source, sample 3, counter 2.
const RECORDED: [f64; 3] = [0.07262986974578356, 0.09351978371270943, 1.2438379843617762];

#[test]
fn numbers_are_standard_normal() {
    // n = 40,000: one number of each of 40,000 samples, and 40,000 numbers of one sample; seed SEED.
    let key = NoiseKey::new(SEED, Purpose::Source);
    let across: Vec<f64> = (0..40_000).map(|id| normal(&mut key.rng(id, 0))).collect();
    let mut rng = key.rng(0, 1);
    let along: Vec<f64> = (0..40_000).map(|_| normal(&mut rng)).collect();
    for values in [across, along] {
        for (power, exact) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)] {
            let moment = Estimate::mean(&values.iter().map(|v| v.powi(power)).collect::<Vec<_>>());
            assert!(moment.deviation(exact) < 4.0, "moment {power}: {moment:?}");
        }
        // Kolmogorov-Smirnov at the points -2, -1, 0, 1, 2.
        for (point, exact) in [(-2.0, 0.022_750_13), (-1.0, 0.158_655_25), (0.0, 0.5), (1.0, 0.841_344_75)] {
            let below = values.iter().map(|v| f64::from(u8::from(*v < point))).collect::<Vec<_>>();
            assert!(Estimate::mean(&below).deviation(exact) < 4.0, "P(z < {point})");
        }
    }
}

#[test]
fn a_sample_is_the_same_in_any_batch() {
    let key = NoiseKey::new(SEED, Purpose::Source);
    let device = Device::flex();
    let rows = |ids: &[u64]| -> Vec<Vec<f32>> {
        let x: Tensor<3> = key.normal(ids, 5, [ids.len(), 2, 3], &device);
        x.try_into_vec_as::<f32>().unwrap().chunks(6).map(<[f32]>::to_vec).collect()
    };
    let all: Vec<u64> = (0..20).collect();
    let whole = rows(&all);
    for size in [1, 3, 7] {
        let parts: Vec<Vec<f32>> = all.chunks(size).flat_map(&rows).collect();
        assert_eq!(parts, whole, "batches of {size}");
    }
    assert_eq!(rows(&[17, 4]), [whole[17].clone(), whole[4].clone()]);
}

#[test]
fn seeds_purposes_samples_and_counters_do_not_meet() {
    // n = 10,000 numbers of each stream: correlations are within 4 / sqrt(n).
    let draw = |seed, purpose, id, counter| -> Vec<f64> {
        let mut rng = NoiseKey::new(seed, purpose).rng(id, counter);
        (0..10_000).map(|_| normal(&mut rng)).collect()
    };
    let streams = [
        draw(1, Purpose::Source, 0, 0),
        draw(2, Purpose::Source, 0, 0),
        draw(1, Purpose::Time, 0, 0),
        draw(1, Purpose::Custom(1), 0, 0),
        draw(1, Purpose::Source, 1, 0),
        draw(1, Purpose::Source, 1 << 63, 0),
        draw(1, Purpose::Source, 0, 1),
        draw(1, Purpose::Source, 0, 1 << 63),
        // Swapped: the key is not a sum.
        draw(0, Purpose::Source, 1, 0),
    ];
    for (i, a) in streams.iter().enumerate() {
        for (j, b) in streams.iter().enumerate().skip(i + 1) {
            assert!(correlation(a, b).abs() < 0.04, "streams {i} and {j}");
            // Nor is one a shift of the other.
            assert!(correlation(&a[1..], &b[..9_999]).abs() < 0.04, "streams {i} and {j}, shifted");
        }
    }
}

#[test]
fn every_state_can_be_filled() {
    let key = NoiseKey::new(SEED, Purpose::Brownian);
    let mut stream = |row: usize| key.rng(row as u64, 0);
    let numbers = vec![[0.0; 3]; 2].standard_normal(&mut stream);
    assert_eq!(numbers[0], [0.0; 3].standard_normal(&mut stream));
    assert_eq!(numbers[1][0], 0.0.standard_normal(&mut |_| key.rng(1, 0)));
    let like = Tensor::<2>::zeros([2, 3], (&Device::flex(), DType::F64));
    let tensor = like.standard_normal(&mut stream);
    assert_eq!(tensor.dtype(), DType::F64);
    assert_eq!(tensor.try_into_vec_as::<f64>().unwrap(), numbers.concat());
}

#[test]
fn device_noise_is_standard_normal() {
    // n = 40,000, Burn's own generator, seeded by the process.
    let values: Tensor<2> = DeviceNoise.normal([200, 200], &Device::flex());
    let values: Vec<f64> = values.into_data().iter::<f64>().collect();
    assert!(Estimate::mean(&values).deviation(0.0) < 6.0 && Estimate::variance(&values).deviation(1.0) < 6.0);
}

#[test]
fn device_noise_is_a_brownian_motion() {
    // n = 40,000 each. Over a length of 1/4 the increment has variance 1/4, its area 1/48; they are independent.
    let like = Tensor::<2>::empty([200, 200], (&Device::flex(), DType::F64));
    let (from, to) = (Times::Shared(0.75), Times::Shared(0.5));
    let (increment, area) = DeviceNoise.increment_and_area(&like, &from, &to);
    let plain = DeviceNoise.increment(&like, &from, &to);
    let [increment, area, plain] =
        [increment, area, plain].map(|x| x.into_data().try_to_vec::<f64>().expect("the type of `like`"));
    for (values, variance) in [(&increment, 0.25), (&area, 0.25 / 12.0), (&plain, 0.25)] {
        assert!(Estimate::mean(values).deviation(0.0) < 6.0);
        assert!(Estimate::variance(values).deviation(variance) < 6.0);
    }
    // The standard error of a correlation of independent numbers is 1/200.
    for (a, b) in [(&increment, &area), (&increment, &plain)] {
        assert!(correlation(a, b).abs() < 6.0 / 200.0);
    }
    // Rows with their own times.
    let each = Times::Each((0..200).map(|row| if row < 100 { 0.0 } else { 0.5 }).collect());
    let rows = DeviceNoise.increment(&like, &Times::Shared(0.0), &each).into_data().try_to_vec::<f64>().unwrap();
    assert!(rows[..100 * 200].iter().all(|&x| x == 0.0));
    assert!(Estimate::variance(&rows[100 * 200..]).deviation(0.5) < 6.0);
}

#[test]
#[should_panic(expected = "2 rows asked for, 1 ids given")]
fn ids_and_rows_must_agree() {
    let _: Tensor<2> = NoiseKey::new(0, Purpose::Source).normal(&[1], 0, [2, 2], &Device::flex());
}

/// Many samples at once give what each gives alone, whatever is asked of it and in which order: before, across and behind the numbers that are computed together.
#[test]
fn each_sample_draws_what_its_own_generator_draws() {
    let key = NoiseKey::new(SEED, Purpose::Custom(3));
    for count in [0, 1, 15, 16, 17, 256, 600] {
        let ids: Vec<u64> = (0..count).map(|i| i * i * 0x1_0000_0001 + 5).collect();
        for counter in [0, 1 << 33] {
            for asks in [&[8][..], &[4; 40], &[8; 12], &[4, 8, 8, 8, 8, 8, 8, 8, 8, 4, 8], &[8, 100, 4, 8], &[64, 4]] {
                let draw = |rng: &mut dyn Rng| -> Vec<u8> {
                    let one = |rng: &mut dyn Rng, len: usize| match len {
                        4 => rng.next_u32().to_le_bytes().to_vec(),
                        8 => rng.next_u64().to_le_bytes().to_vec(),
                        len => {
                            let mut bytes = vec![0; len];
                            rng.fill_bytes(&mut bytes);
                            bytes
                        }
                    };
                    asks.iter().flat_map(|&len| one(rng, len)).collect()
                };
                let together = key.each(&ids, counter, |row, rng| (row, draw(rng)));
                assert_eq!(together.len(), ids.len());
                for (i, (&id, (row, found))) in ids.iter().zip(together).enumerate() {
                    assert_eq!((row, found), (i, draw(&mut key.rng(id, counter))), "sample {id} of {count}, {asks:?}");
                }
            }
        }
    }
}

/// The narrow rows of a batch are drawn together, the wide ones one by one, many by all threads.
#[test]
fn rows_of_every_width_are_those_of_their_generators() {
    let key = NoiseKey::new(SEED, Purpose::Source);
    for (count, width) in
        [(3, 1), (3, 2), (3, 7), (3, 8), (3, 9), (3, 40), (700, 2), (700, 9), (3, 5000), (0, 4), (4, 0)]
    {
        let ids: Vec<u64> = (0..count).map(|i| (i * 77) ^ 9).collect();
        let alone = |&id: &u64| {
            let mut rng = key.rng(id, 4);
            (0..width).map(|_| normal(&mut rng)).collect::<Vec<f64>>()
        };
        let expected: Vec<f64> = ids.iter().flat_map(alone).collect();
        let rounded: Vec<f32> = expected.iter().map(|&z| z as f32).collect();
        let shape = [ids.len(), width];
        let found = |rows: Tensor<2>| rows.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(found(key.normal(&ids, 4, shape, &Device::flex())), rounded, "{count} of {width}");
        let like = Tensor::<2>::empty(shape, (&Device::flex(), DType::F32));
        assert_eq!(found(like.keyed_normal(key, &ids, 4)), rounded, "{count} of {width}");
        assert_eq!(found(like.standard_normal(&mut |row| key.rng(ids[row], 4))), rounded, "{count} of {width}");
        let exact = Tensor::<2>::empty(shape, (&Device::flex(), DType::F64)).keyed_normal(key, &ids, 4);
        assert_eq!(exact.into_data().try_to_vec::<f64>().unwrap(), expected, "{count} of {width}");
    }
}
