//! Runs numbered work on all cores.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Runs `work` for each number, in no fixed order, until one of them breaks. `start` makes what a thread keeps.
pub fn for_each<T>(
    numbers: Range<u64>,
    start: impl Fn() -> T + Sync,
    work: impl Fn(&mut T, u64) -> ControlFlow<()> + Sync,
) {
    let next = AtomicU64::new(numbers.start);
    let is_over = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut kept = start();
                while !is_over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        break;
                    }
                    if work(&mut kept, number).is_break() {
                        is_over.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}
