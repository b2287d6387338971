//! What was done: a SQLite file with the present state of every generation, and an append-only history.
//!
//! One process writes: it holds `fleet.lock`. Others read at the same time, and ask for something
//! ([`Journal::ask`]). A commit is on the disk before it returns, so that what is recorded before a request leaves
//! survives the machine. No private key is in it.
//!
//! Its functions block for as long as the disk takes. On a runtime with several threads, others go on meanwhile.

mod ask;
mod backup;
mod database;
mod device;
mod generation;
mod history;
mod inventory;
mod look;
mod manifest;
mod meta;
mod schema;
mod status;
mod surplus;
#[cfg(test)]
mod tests;

pub use self::ask::Ask;
pub use self::database::Journal;
pub(crate) use self::database::block;
pub use self::device::Snapshot;
pub(crate) use self::generation::{Change, Owed};
pub use self::generation::{Generation, Hold, Reason, Spec, State};
pub use self::history::{Act, Entry};
pub(crate) use self::inventory::{FoundGeneration, Identifiers, Match, Owner};
pub(crate) use self::manifest::Duplicate;
pub use self::status::Counts;
