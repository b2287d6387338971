#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shieldcert_tests::fuzzing::manifest(data));
