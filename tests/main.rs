//! The cross-crate tests: what is promised, what client, emulator and spec agree on, and what the emulator does.

mod contract;
mod emulator;
mod promises;
