//! The formats of manifests.

use std::path::Path;

/// The format of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManifestFormat {
    /// CSV with a header, `.csv`.
    Csv,
    /// A JSON object a line, `.jsonl`.
    Jsonl,
}

impl ManifestFormat {
    /// Returns the format by the extension of a file: `.csv` or `.jsonl`, whatever the case. `None` for any other.
    pub fn from_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?;
        if extension.eq_ignore_ascii_case("csv") {
            Some(Self::Csv)
        } else if extension.eq_ignore_ascii_case("jsonl") {
            Some(Self::Jsonl)
        } else {
            None
        }
    }
}
