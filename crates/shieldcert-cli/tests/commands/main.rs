//! The commands, as processes, against an emulator in this one.
#![cfg(unix)]
#![allow(missing_docs)]

mod change;
mod find;
mod get;
mod help;
mod issue;
mod list;
mod service;
