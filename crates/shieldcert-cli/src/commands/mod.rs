//! One file for each command.

mod change;
#[cfg(feature = "emulator")]
pub(crate) mod emulator;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod get;
mod inventory;
pub(crate) mod issue;
pub(crate) mod list;
mod plan;
pub(crate) mod reactivate;
pub(crate) mod report;
pub(crate) mod revoke;
pub(crate) mod wait;

use crate::context::Context;
use crate::failure::Result;

/// A command that uses the service.
pub(crate) trait Run {
    async fn run(self, context: &Context) -> Result;
}
