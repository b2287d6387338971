#![no_main]
// xtask is a binary: the target includes the two modules that it needs.
#![allow(dead_code, unused_imports)]

#[path = "../../../xtask/src/fuzz.rs"]
mod fuzz;
#[path = "../../../xtask/src/openapi/mod.rs"]
mod openapi;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::overlay(data));
