//! The commands, as processes, against an emulator in this one.
#![cfg(unix)]
#![allow(missing_docs)]

mod browser;
mod change;
mod export;
mod find;
mod get;
mod help;
mod issue;
mod list;
mod report;
mod report_page;
mod service;
mod terminal;
mod tools;
