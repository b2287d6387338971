//! The commands, as processes, against an emulator in this one.
#![cfg(unix)]
#![allow(missing_docs)]

mod change;
mod chaos;
mod doctor;
mod exit_codes;
mod find;
mod get;
mod help;
mod issue;
mod list;
mod local;
mod readme;
mod service;
mod shells;
mod terminal;
