//! One file for each command.

#[cfg(feature = "emulator")]
pub(crate) mod emulator;
pub(crate) mod find;
pub(crate) mod get;
pub(crate) mod issue;
pub(crate) mod list;

use crate::context::Context;
use crate::failure::Result;

/// A command that uses the service.
pub(crate) trait Run {
    async fn run(self, context: &Context) -> Result;
}
