//! What the cross-crate tests share: the test kit, the simulation and the bodies of the fuzz targets.

// Test helpers panic by design, and no user reads their docs.
#![allow(clippy::missing_errors_doc, clippy::missing_panics_doc)]

pub mod fuzzing;
pub mod kit;
pub mod simulation;

/// The README's example compiles as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
