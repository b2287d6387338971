//! What the cross-crate tests share: the test kit, the simulation and the bodies of the fuzz targets.

pub mod fuzzing;
pub mod kit;
pub mod simulation;
