//! One file for each command.

#[cfg(feature = "emulator")]
pub(crate) mod emulator;
pub(crate) mod get;
pub(crate) mod inventory;
pub(crate) mod list;
pub(crate) mod report;

use crate::context::Context;
use crate::failure::Result;

/// A command that uses the service.
pub(crate) trait Run {
    async fn run(self, context: &Context) -> Result;
}
