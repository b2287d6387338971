//! A set of ids that takes little more than 16 bytes for each.

use std::collections::HashSet;

/// How many recent ids there are at least when they are merged.
const MIN_RECENT: usize = 1024;
/// The recent ids are merged when they are this part of the sorted ones.
const RECENT_PART: usize = 16;

/// A set of ids. The recent ones are in a hash set, which is merged into a sorted vector from time to time.
///
/// A hash set alone has up to twice the room that it needs, and three times while it grows: 53 MB for a million ids. The
/// vector has no room to spare.
#[derive(Default)]
pub(super) struct IdSet {
    sorted: Vec<u128>,
    recent: HashSet<u128>,
}

impl IdSet {
    pub(super) fn len(&self) -> usize {
        self.sorted.len() + self.recent.len()
    }

    pub(super) fn contains(&self, id: u128) -> bool {
        self.recent.contains(&id) || self.sorted.binary_search(&id).is_ok()
    }

    /// Adds an id. Returns whether it is new.
    pub(super) fn insert(&mut self, id: u128) -> bool {
        let is_new = self.sorted.binary_search(&id).is_err() && self.recent.insert(id);
        if self.recent.len() >= MIN_RECENT.max(self.sorted.len() / RECENT_PART) {
            self.merge();
        }
        is_new
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u128> {
        self.sorted.iter().chain(&self.recent).copied()
    }

    fn merge(&mut self) {
        let mut recent: Vec<_> = self.recent.drain().collect();
        recent.sort_unstable();
        let mut unmoved = self.sorted.len();
        let mut end = unmoved + recent.len();
        self.sorted.reserve_exact(recent.len());
        self.sorted.resize(end, 0);
        // From the end, where there is room: `end` is behind `unmoved` by what is left of the recent ids.
        while let Some(largest) = recent.last().copied() {
            end -= 1;
            if unmoved > 0 && self.sorted[unmoved - 1] > largest {
                unmoved -= 1;
                self.sorted[end] = self.sorted[unmoved];
            } else {
                self.sorted[end] = largest;
                recent.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_a_hash_set_holds() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut set, mut expected) = (IdSet::default(), HashSet::new());
        for round in 0..100_000_u128 {
            // Ids in order, at random, and again and again.
            let id = match random.u32(..3) {
                0 => round << 64,
                1 => random.u128(..),
                _ => random.u128(..1000),
            };
            assert_eq!(set.contains(id), expected.contains(&id));
            assert_eq!(set.insert(id), expected.insert(id));
            assert!(set.contains(id));
        }
        assert!(set.sorted.len() > set.recent.len(), "it was merged");
        assert_eq!(set.len(), expected.len());
        assert_eq!(set.iter().collect::<HashSet<_>>(), expected);
        assert_eq!(set.sorted.capacity(), set.sorted.len());
    }
}
