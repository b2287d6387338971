//! Cuts the `client_certificates` fragment out of a full document of the API.
//!
//! The fragment says what the document says, in the fragment's own layout: upstream nests, shares and names its
//! components otherwise in each version, and none of that is content. Upstream's texts are not taken over either; the
//! fragment's own descriptions and examples stay where they were.

mod fit;
mod full;
mod layout;
mod names;
mod pick;
mod references;
#[cfg(test)]
mod tests;
mod yaml;

use anyhow::Result;
use serde_json::{Value, json};

use super::check::check;

pub(crate) use pick::UPSTREAM;
pub(crate) use yaml::to_yaml;

/// What was imported.
pub(crate) struct Import {
    /// The fragment: equal to the current one if nothing changed on the wire.
    pub(crate) fragment: Value,
    /// The document's version, as it states it.
    pub(crate) version: String,
    /// Operations of the document below our paths that are not taken.
    pub(crate) left_out: Vec<String>,
}

/// Returns the fragment of a full document, in the layout of the current fragment.
///
/// # Errors
/// The document can't be read, lacks the paths or something that they refer to, or is invalid.
pub(crate) fn import(full: &str, current: Option<&Value>) -> Result<Import> {
    let picked = pick::pick(&full::read(full)?, current)?;
    check(&picked.document)?;
    references::refuse_cycles(&picked.document)?;
    let empty = json!({});
    let fragment = fit::fit(&picked.document, current.unwrap_or(&empty))?;
    Ok(Import {
        version: picked.document["info"]["version"]
            .as_str()
            .unwrap_or("without a version")
            .to_owned(),
        left_out: picked.left_out,
        fragment,
    })
}
