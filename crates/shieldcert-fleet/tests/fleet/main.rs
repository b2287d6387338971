//! A fleet against the emulator in this process.

mod kit;
mod lifecycle;
mod operate;
mod run;
