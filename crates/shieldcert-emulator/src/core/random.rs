//! Random ids, serial numbers, rays and draws: unpredictable, or the same for the same seed.

use std::sync::atomic::{AtomicU64, Ordering};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

/// Blocks of HMAC-SHA256 over a counter. The key comes from the system or from a seed.
pub(crate) struct Random {
    key: hmac::Key,
    drawn: AtomicU64,
}

impl Random {
    /// Is unpredictable. Fails only if the operating system has no random bytes.
    pub(crate) fn from_system() -> Result<Self, ring::error::Unspecified> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key)?;
        Ok(Self::from_key(&key))
    }

    /// Draws the same values in the same order for the same seed.
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self::from_key(&seed.to_be_bytes())
    }

    /// Draws as [`from_seed`](Self::from_seed), with other values for each `part`.
    pub(crate) fn from_seed_part(seed: u64, part: u128) -> Self {
        Self::from_key(&[&seed.to_be_bytes()[..], &part.to_be_bytes()].concat())
    }

    fn from_key(key: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            drawn: AtomicU64::new(0),
        }
    }

    /// How many draws were made.
    pub(crate) fn position(&self) -> u64 {
        self.drawn.load(Ordering::Relaxed)
    }

    /// Goes back to a [`position`](Self::position): the draws after it are made again.
    pub(crate) fn rewind(&self, position: u64) {
        self.drawn.store(position, Ordering::Relaxed);
    }

    /// `N` random bytes, at most 32.
    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        const { assert!(N <= 32, "a block has 32 bytes") }
        let count = self.drawn.fetch_add(1, Ordering::Relaxed);
        let block = hmac::sign(&self.key, &count.to_be_bytes());
        std::array::from_fn(|i| block.as_ref()[i])
    }

    /// A random number from 0 up to, but not including, 1.
    pub(crate) fn fraction(&self) -> f64 {
        // As many bits as an f64 holds exactly.
        (u64::from_be_bytes(self.bytes()) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A random UUID, version 4.
    pub(crate) fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_draws_without_repeats() {
        let (one, same, other) = (
            Random::from_seed(7),
            Random::from_seed(7),
            Random::from_seed(8),
        );
        let drawn: Vec<_> = (0..100).map(|_| one.uuid()).collect();
        assert_eq!(drawn, (0..100).map(|_| same.uuid()).collect::<Vec<_>>());
        assert!(!drawn.contains(&other.uuid()));
        let distinct: std::collections::HashSet<_> = drawn.iter().collect();
        assert_eq!(distinct.len(), 100);
        assert!(drawn.iter().all(|id| id.get_version_num() == 4));
        one.rewind(1);
        assert_eq!(one.uuid(), drawn[1]);
        assert_eq!(one.position(), 2);
    }

    #[test]
    fn two_system_sources_differ() {
        let draw = || Random::from_system().expect("randomness").bytes::<20>();
        assert_ne!(draw(), draw());
    }
}
