//! The bodies of the fuzz targets as property tests, for machines without a fuzzer: random bytes, and valid input with
//! a few bytes changed. The bodies that read documents are in xtask.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use shieldcert_tests::fuzzing;

/// Runs a body with random bytes and with mutations of valid input.
fn feed(cases: u32, valid: &[&[u8]], body: impl Fn(&[u8])) {
    let seeds: Vec<Vec<u8>> = valid.iter().map(|seed| seed.to_vec()).collect();
    let edits = vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    let cut = any::<prop::sample::Index>();
    let mutated = (proptest::sample::select(seeds), edits, cut, any::<bool>());
    let mutated = mutated.prop_map(|(mut bytes, edits, cut, is_cut)| {
        for (place, byte) in edits {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes
    });
    let input = prop_oneof![3 => mutated, 1 => vec(any::<u8>(), 0..300)];
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, random)
        .run(&input, |bytes| {
            body(&bytes);
            Ok(())
        })
        .expect("nothing panics");
}

#[test]
fn no_response_makes_the_client_panic() {
    let list: &[u8] = b"\x00{\"success\":true,\"result\":[{\"id\":\"7bf7f70c-7600-42e1-81c4-e4c0da9aa515\",\"status\":\"active\",\"serial_number\":133270673305904147240315902291726509220894288063}],\"result_info\":{\"total_count\":1}}";
    let failure: &[u8] = b"\xf0{\"success\":false,\"errors\":[{\"code\":1445,\"message\":\"quota\",\"error_chain\":[{\"code\":1}]}],\"result\":null}";
    feed(1000, &[list, failure], fuzzing::response);
}

#[test]
fn no_rate_limit_header_makes_the_client_panic() {
    let headers: &[u8] = b"\"default\";r=50;t=30\n\"default\";q=1200;w=300, \"burst\";q=5;w=1\n17";
    let blocked: &[u8] = b"\x20\n\"default\";q=1;w=1\n0";
    feed(1000, &[headers, blocked], fuzzing::rate_limit_headers);
}

#[test]
fn no_csr_and_no_key_makes_the_client_panic() {
    let csr: &[u8] = include_bytes!("../../crates/shieldcert/tests/data/openssl-p256.csr.pem");
    let rsa: &[u8] = include_bytes!("../../crates/shieldcert/tests/data/openssl-rsa2048.csr.pem");
    let key: &[u8] = include_bytes!("../../crates/shieldcert/tests/data/openssl-p256.key.pem");
    let der = shieldcert::Csr::from_pem(csr)
        .expect("a CSR")
        .der()
        .to_vec();
    feed(2000, &[csr, rsa, key, &der], fuzzing::pem);
}
