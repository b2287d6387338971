//! The checks that come before anything is generated from a document.
//!
//! Every problem is reported, each with a JSON pointer to where it is, so that one run shows them all.

mod checker;
mod generator;
mod operation;
mod schema;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result};
use serde_json::Value;

/// Checks a document and converts it into the types that the generator reads.
///
/// # Errors
/// The document is not one that the generator can read. The error lists what is wrong and where.
pub(crate) fn check(document: &Value) -> Result<openapiv3::OpenAPI> {
    let mut checker = checker::Checker::new(document);
    checker.document();
    checker.finish()?;
    serde_json::from_value(document.clone()).context("not an OpenAPI 3.0 document")
}

/// Checks an overlaid document for what the generator can't express.
///
/// # Errors
/// There is something. The error names each operation or schema, and the overlay action that helps.
pub(crate) fn check_generator(document: &Value) -> Result<()> {
    let mut checker = checker::Checker::new(document);
    checker.generator();
    checker.finish()
}
