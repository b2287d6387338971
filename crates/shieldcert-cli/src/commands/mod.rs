//! One file for each command.

mod change;
pub(crate) mod completions;
pub(crate) mod doctor;
#[cfg(feature = "emulator")]
pub(crate) mod emulator;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod get;
mod inventory;
pub(crate) mod issue;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod metrics;
mod plan;
pub(crate) mod reactivate;
pub(crate) mod report;
pub(crate) mod revoke;
pub(crate) mod verify;
pub(crate) mod wait;

use crate::context::Context;
use crate::failure::Result;

/// A command that uses the service.
pub(crate) trait Run {
    async fn run(self, context: &Context) -> Result;
}
