//! The one source of ids, serial numbers and rays: unpredictable, or replayed from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

/// Blocks of HMAC-SHA256 over a counter: one code path, whether the key comes from the system or from a seed.
pub(crate) struct Random {
    key: hmac::Key,
    drawn: AtomicU64,
}

impl Random {
    /// Unpredictable. Fails only where the operating system has no randomness to give.
    pub(crate) fn system() -> Result<Self, ring::error::Unspecified> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key)?;
        Ok(Self::keyed(&key))
    }

    /// The same draws in the same order for the same seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::keyed(&seed.to_be_bytes())
    }

    /// As [`seeded`](Self::seeded), and other draws for each `part`.
    pub(crate) fn seeded_part(seed: u64, part: u128) -> Self {
        Self::keyed(&[&seed.to_be_bytes()[..], &part.to_be_bytes()].concat())
    }

    fn keyed(key: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            drawn: AtomicU64::new(0),
        }
    }

    /// Begins anew with what was drawn first.
    pub(crate) fn restart(&self) {
        self.drawn.store(0, Ordering::Relaxed);
    }

    /// `N` random bytes, at most 32.
    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        const { assert!(N <= 32, "a block has 32 bytes") }
        let count = self.drawn.fetch_add(1, Ordering::Relaxed);
        let block = hmac::sign(&self.key, &count.to_be_bytes());
        std::array::from_fn(|i| block.as_ref()[i])
    }

    /// A random number from 0 to 1, without 1.
    pub(crate) fn fraction(&self) -> f64 {
        // As many bits as a float has.
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
    fn a_seed_replays_and_never_repeats_itself() {
        let (one, same, other) = (Random::seeded(7), Random::seeded(7), Random::seeded(8));
        let drawn: Vec<_> = (0..100).map(|_| one.uuid()).collect();
        assert_eq!(drawn, (0..100).map(|_| same.uuid()).collect::<Vec<_>>());
        assert!(!drawn.contains(&other.uuid()));
        let distinct: std::collections::HashSet<_> = drawn.iter().collect();
        assert_eq!(distinct.len(), 100);
        assert!(drawn.iter().all(|id| id.get_version_num() == 4));
    }

    #[test]
    fn the_system_does_not_repeat_itself() {
        let draw = || Random::system().expect("randomness").bytes::<20>();
        assert_ne!(draw(), draw());
    }
}
