//! What is known of OpenAPI documents: reading, checking, overlaying, importing and comparing them.
//!
//! Nothing here depends on the rest of the package: the fuzz targets in tests/fuzz include this module by its
//! path.

pub(crate) mod check;
pub(crate) mod diff;
pub(crate) mod document;
pub(crate) mod import;
pub(crate) mod overlay;
mod pointer;
pub(crate) mod report;
mod wire;
