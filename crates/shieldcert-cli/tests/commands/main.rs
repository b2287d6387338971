//! The commands, as processes, against an emulator in this one.
#![allow(missing_docs)]

#[cfg(unix)]
mod browser;
mod get;
mod help;
mod list;
mod report;
#[cfg(unix)]
mod report_page;
mod service;
mod tools;
