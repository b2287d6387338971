//! The commands, as processes, against an emulator in this one.
#![cfg(unix)]
#![allow(missing_docs)]

mod browser;
mod change;
mod doctor;
mod exit_codes;
mod export;
mod find;
mod get;
mod help;
mod issue;
mod list;
mod metrics;
mod report;
mod report_page;
mod screen;
mod service;
mod shells;
mod tools;
mod verify;
