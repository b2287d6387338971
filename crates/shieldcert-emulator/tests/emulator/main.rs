//! The emulator from outside: by its router, over a socket, and with a database.
#![allow(missing_docs, unreachable_pub)]

mod certificates;
mod chaos;
mod common;
mod connections;
#[cfg(feature = "sqlite")]
mod database;
mod http;
mod limits;
mod lists;
mod quirks;
mod requests;
mod reset;
mod script;
mod time;
mod transitions;
