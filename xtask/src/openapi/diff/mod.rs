//! What a change of the spec means for the client's users.
//!
//! The same change is harmless in one direction and breaking in the other: a property that becomes required
//! breaks those who send it, and promises more to those who read it. So every schema is compared as what it is:
//! part of a request, or part of a response. A change is never called additive if it changes a generated Rust
//! type, even if it is harmless on the wire (a response property that becomes required turns `Option<T>` into
//! `T`): the next version that is advised depends on it.
//!
//! Why not oxidecomputer's `drift`: it compares documents in general, for services that evolve, and classifies by
//! the compatibility of the wire format (backward, forward, both, trivial). It tells requests from responses, too,
//! but (as of 0.2) leaves the changes that this API makes as "unhandled": an added or removed property, an enum
//! value, a bound or format, a changed `required` list, and any difference within an `allOf` of several parts, which
//! is what every response here is. The classes here are for the users of the generated
//! Rust client: what happens to their code, and which version follows. Each rule has a row in the tests' table.

mod change;
mod differ;
mod operation;
mod schema;
#[cfg(test)]
mod tests;

use anyhow::Result;
use serde_json::Value;

use super::wire::Api;

pub(crate) use change::{Change, Class, next_version, sort, worst};

/// Compares what two documents say on the wire. The most severe changes come first.
///
/// # Errors
/// A document's references lead further than any document of the API needs.
pub(crate) fn compare(old: &Value, new: &Value) -> Result<Vec<Change>> {
    let mut differ = differ::Differ::default();
    differ.apis(&Api::read(old)?, &Api::read(new)?);
    Ok(differ.finish())
}
