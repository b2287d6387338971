//! The commands, as processes, against an emulator in this one.
#![allow(missing_docs)]

mod get;
mod help;
mod list;
mod service;
