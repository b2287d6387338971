//! Cuts the `client_certificates` fragment out of a full document of the API.
//!
//! The fragment states what the document states: names, types, bounds, responses. Upstream's texts are not taken
//! over; the fragment's own descriptions and examples stay where they were.

mod full;
mod pick;
mod references;
mod rename;
#[cfg(test)]
mod tests;
mod texts;
mod yaml;

use anyhow::Result;
use serde_json::Value;

use super::check::check;

pub(crate) use yaml::to_yaml;

/// Returns the fragment of a full document, with the texts of the current fragment.
///
/// # Errors
/// The document can't be read, lacks one of the paths or something that they refer to, or is invalid.
pub(crate) fn import(full: &str, current: Option<&Value>) -> Result<Value> {
    let picked = pick::pick(&full::read(full)?)?;
    check(&picked)?;
    references::refuse_cycles(&picked)?;
    let mut fragment = rename::without_prefix(&picked)?;
    texts::strip(&mut fragment);
    if let Some(current) = current {
        texts::restore(&mut fragment, current);
    }
    texts::fill_required(&mut fragment);
    Ok(fragment)
}
