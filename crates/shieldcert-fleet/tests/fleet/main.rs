//! A fleet against the emulator in this process.

mod adopt;
mod asks;
mod deploy;
mod faults;
mod kit;
mod lifecycle;
mod manifests;
mod operate;
mod order;
mod quota;
mod refresh;
mod restore;
mod run;
mod secrets;
mod tokens;
