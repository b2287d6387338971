//! One file for each command.

mod change;
pub(crate) mod completions;
pub(crate) mod doctor;
#[cfg(feature = "emulator")]
pub(crate) mod emulator;
pub(crate) mod find;
pub(crate) mod get;
pub(crate) mod issue;
pub(crate) mod list;
pub(crate) mod man;
mod plan;
pub(crate) mod reactivate;
pub(crate) mod revoke;
pub(crate) mod wait;

use crate::context::Context;
use crate::failure::Result;

/// A command that uses the service.
pub(crate) trait Run {
    async fn run(self, context: &Context) -> Result;
}
