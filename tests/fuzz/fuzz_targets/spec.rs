#![no_main]
// Of xtask, a binary, the target needs these two modules alone.
#![allow(dead_code, unused_imports)]

#[path = "../../../xtask/src/fuzz.rs"]
mod fuzz;
#[path = "../../../xtask/src/openapi/mod.rs"]
mod openapi;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::spec(data));
