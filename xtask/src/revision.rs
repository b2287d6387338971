//! A fragment with what users get from it: the overlaid document, and the generated public API.
//!
//! `spec import`, `spec diff` and `regen` all report what [`compare`] finds between two revisions, so they agree.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::generate::{Sources, generate_sources};
use crate::openapi::check::{check, check_generator};
use crate::openapi::diff::{self, Change};
use crate::openapi::overlay::{Applied, Overlay};
use crate::public_api::{self, PublicApi};
use crate::workspace::{OVERLAY, SPEC};

/// What follows from a fragment.
pub(crate) struct Revision {
    /// The fragment with the overlay applied, as far as it applies.
    pub(crate) document: Value,
    pub(crate) overlay: Applied,
    pub(crate) sources: Result<Sources>,
}

impl Revision {
    /// Derives everything from a checked fragment.
    pub(crate) fn derive(fragment: &Value, overlay: &Overlay) -> Self {
        let mut document = fragment.clone();
        let overlay = overlay.apply(&mut document);
        let sources = sources(&document);
        Self {
            document,
            overlay,
            sources,
        }
    }

    /// Returns what users meet of this revision.
    ///
    /// # Errors
    /// The generated sources are no Rust.
    pub(crate) fn surface(&self) -> Result<Surface> {
        let sources = self.sources.as_ref().ok();
        Ok(Surface {
            document: self.document.clone(),
            api: sources.map(PublicApi::read).transpose()?,
        })
    }
}

fn sources(document: &Value) -> Result<Sources> {
    let openapi = check(document)
        .and_then(|openapi| check_generator(document).map(|()| openapi))
        .with_context(|| format!("{SPEC} with {OVERLAY} applied"))?;
    generate_sources(&openapi)
}

/// What users meet: the service as the document describes it, and the generated code, if any can be generated.
pub(crate) struct Surface {
    pub(crate) document: Value,
    pub(crate) api: Option<PublicApi>,
}

/// Returns what the change from one to the other means for users. The most severe changes come first.
///
/// # Errors
/// A document can't be resolved.
pub(crate) fn compare(old: &Surface, new: &Surface) -> Result<Vec<Change>> {
    let mut changes = diff::compare(&old.document, &new.document)?;
    if let (Some(old), Some(new)) = (&old.api, &new.api) {
        changes.extend(public_api::compare(old, new));
    }
    diff::sort(&mut changes);
    Ok(changes)
}
