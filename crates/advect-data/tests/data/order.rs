//! The order of the data: a function of the seed and the position, nothing else.

use advect_data::{Order, split};
use std::collections::{BTreeSet, HashMap};

const MEMBERS: [usize; 7] = [3, 1, 4, 15, 9, 2, 6];

fn order(seed: u64) -> Order {
    Order::new(MEMBERS.to_vec(), seed)
}

#[test]
fn every_epoch_is_a_permutation() {
    let mut sorted = MEMBERS;
    sorted.sort_unstable();
    let mut order = order(1);
    let epochs: Vec<Vec<usize>> = (0..50).map(|epoch| order.batch(epoch * 7, 7)).collect();
    for epoch in &epochs {
        let mut members = epoch.clone();
        members.sort_unstable();
        assert_eq!(members, sorted);
    }
    // 50 of 5040 orders: that two agree has odds of about a fifth, that ten do of nothing.
    assert!(epochs.iter().collect::<BTreeSet<_>>().len() > 40);
}

/// 12,000 epochs of three members: each of the six orders has p = 1/6, its standard error is 0.0034, the bound 4.
#[test]
fn all_permutations_are_equally_likely() {
    let mut order = Order::new(vec![0, 1, 2], 5);
    let n = 12_000_u64;
    let mut counts: HashMap<Vec<usize>, u64> = HashMap::new();
    for epoch in 0..n {
        *counts.entry(order.batch(epoch * 3, 3)).or_default() += 1;
    }
    let error = (1.0 / 6.0 * 5.0 / 6.0 / n as f64).sqrt();
    assert_eq!(counts.len(), 6);
    for (order, count) in counts {
        let rate = count as f64 / n as f64;
        assert!((rate - 1.0 / 6.0).abs() < 4.0 * error, "{order:?}: {rate}");
    }
}

#[test]
fn it_resumes_at_any_position() {
    let whole = order(2).batch(0, 100);
    for start in 0..60 {
        for size in [0, 1, 5, 7, 16, 40] {
            assert_eq!(order(2).batch(start, size), whole[start as usize..start as usize + size]);
        }
    }
    // One order asked forth and back, across epochs.
    let mut one = order(2);
    for start in [50, 0, 13, 14, 6, 93] {
        assert_eq!(one.batch(start, 7), whole[start as usize..start as usize + 7]);
    }
    // Far out, where a counter of 32 bits would have come round.
    let far = 7 * (1_u64 << 33);
    assert_eq!(order(2).batch(far + 3, 4), order(2).batch(far, 7)[3..]);
    assert_ne!(order(2).batch(far, 49), whole[..49]);
    assert_ne!(order(3).batch(0, 100), whole);
    assert!(Order::new(vec![], 0).batch(5, 3).is_empty());
}

#[test]
fn a_split_is_disjoint_whole_and_seeded() {
    for (count, every, held) in [(1797, 10, 179), (10, 3, 3), (5, 10, 0), (6, 1, 6), (6, 0, 6), (0, 4, 0)] {
        let (training, held_out) = split(count, every, 3);
        assert_eq!(held_out.len(), held, "{count} {every}");
        assert!(training.is_sorted() && held_out.is_sorted());
        let mut all = [training.clone(), held_out.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..count).collect::<Vec<_>>());
        assert_eq!(split(count, every, 3), (training, held_out));
    }
    assert_ne!(split(1797, 10, 3), split(1797, 10, 4));
    // p = 0.2 over 4,000 seeds: the standard error is 0.0063, the bound 4 of them, for each of ten places.
    let n = 4000;
    let splits: Vec<Vec<usize>> = (0..n).map(|seed| split(10, 5, seed).1).collect();
    for place in 0..10 {
        let rate = splits.iter().filter(|held| held.contains(&place)).count() as f64 / n as f64;
        assert!((rate - 0.2).abs() < 4.0 * (0.16 / n as f64).sqrt(), "{place}: {rate}");
    }
}
