//! The commands, as processes, against an emulator in this one.
#![cfg(unix)]
#![allow(missing_docs)]

mod browser;
mod change;
mod chaos;
mod doctor;
mod exit_codes;
mod export;
mod find;
mod fleet;
mod fleet_adopt;
mod fleet_run;
mod fleet_terminal;
mod get;
mod help;
mod issue;
mod issue_many;
mod list;
mod local;
mod metrics;
mod readme;
mod renew;
mod report;
mod report_page;
mod service;
mod shells;
mod terminal;
mod verify;
