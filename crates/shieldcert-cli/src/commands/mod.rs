//! One file for each command.

mod change;
pub(crate) mod completions;
mod confirm;
pub(crate) mod doctor;
#[cfg(feature = "emulator")]
pub(crate) mod emulator;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod fleet;
pub(crate) mod get;
mod inventory;
pub(crate) mod issue;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod metrics;
mod plan;
pub(crate) mod reactivate;
pub(crate) mod renew;
pub(crate) mod report;
pub(crate) mod revoke;
pub(crate) mod systemd_unit;
pub(crate) mod verify;
pub(crate) mod wait;

use crate::context::Context;
use crate::failure::Result;

/// A command that uses the service.
pub(crate) trait Run {
    /// Whether it writes to a disk while requests are under way, so that it needs more than one thread.
    const IS_PARALLEL: bool = false;
    /// Whether it runs until it is told to stop, and logs what it does.
    const IS_SERVICE: bool = false;

    async fn run(self, context: &Context) -> Result;
}
