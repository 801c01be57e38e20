use advect_core::{NoiseKey, Purpose};
use rand::seq::SliceRandom;

/// The order in which a finite set is read: a fresh permutation for every epoch, batches running over the borders.
///
/// The order is a function of the seed and of the position alone, so a run that resumes at a step reads on where it
/// stopped without any state to save.
///
/// ```
/// use advect_data::Order;
/// let mut order = Order::new(vec![10, 11, 12], 7);
/// let mut epoch = order.batch(0, 3);
/// epoch.sort();
/// assert_eq!(epoch, [10, 11, 12]);
/// ```
#[derive(Debug, Clone)]
pub struct Order {
    members: Vec<usize>,
    key: NoiseKey,
    epoch: Option<(u64, Vec<usize>)>,
}

impl Order {
    /// An order over `members` (indices into a set; an empty set yields empty batches).
    #[must_use]
    pub fn new(members: Vec<usize>, seed: u64) -> Self {
        Self { members, key: NoiseKey::new(seed, Purpose::Order), epoch: None }
    }

    /// The members at positions `start .. start + size` of the endless sequence of epochs.
    pub fn batch(&mut self, start: u64, size: usize) -> Vec<usize> {
        let count = self.members.len() as u64;
        if count == 0 {
            return Vec::new();
        }
        (start..start + size as u64).map(|position| self.epoch(position / count)[(position % count) as usize]).collect()
    }

    fn epoch(&mut self, number: u64) -> &[usize] {
        let stale = self.epoch.as_ref().is_none_or(|(known, _)| *known != number);
        if stale {
            let mut order = self.members.clone();
            order.shuffle(&mut self.key.rng(0, number));
            self.epoch = Some((number, order));
        }
        self.epoch.as_ref().map_or(&[], |(_, order)| order)
    }
}

/// Splits `0..count` into a training and a held-out part, one in `every` held out, by seed; both sorted.
#[must_use]
pub fn split(count: usize, every: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut all: Vec<usize> = (0..count).collect();
    all.shuffle(&mut NoiseKey::new(seed, Purpose::Split).rng(0, 0));
    let mut held_out = all.split_off(count - count / every.max(1));
    all.sort_unstable();
    held_out.sort_unstable();
    (all, held_out)
}
