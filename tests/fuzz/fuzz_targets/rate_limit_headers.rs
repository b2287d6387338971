#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shieldcert_tests::fuzzing::rate_limit_headers(data));
