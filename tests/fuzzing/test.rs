//! The bodies of the fuzz targets as property tests, for machines without a fuzzer: the corpus, random bytes, and the
//! corpus with a few bytes changed. The bodies that read documents are in xtask.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use shieldcert_tests::fuzzing;

/// Reads the corpus of a target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(folder).expect("a corpus");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let read = |path| std::fs::read(path).expect("is readable");
    paths.into_iter().map(read).collect()
}

/// Runs a body with the corpus, random bytes and with mutations of valid input.
fn feed(cases: u32, corpus: &[Vec<u8>], body: impl Fn(&[u8])) {
    for input in corpus {
        body(input);
    }
    let edits = vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    let cut = any::<prop::sample::Index>();
    let mutated = (
        proptest::sample::select(corpus.to_vec()),
        edits,
        cut,
        any::<bool>(),
    );
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

macro_rules! feed {
    ($($test:ident: $body:ident, $cases:literal;)*) => {
        $(#[test]
        fn $test() {
            feed($cases, &corpus(stringify!($body)), fuzzing::$body);
        })*
    };
}

feed! {
    no_response_makes_the_client_panic: response, 1000;
    no_list_makes_the_client_panic: list, 1000;
    no_rate_limit_header_makes_the_client_panic: rate_limit_headers, 1000;
    no_csr_makes_client_or_emulator_panic: csr, 500;
    no_key_makes_the_client_panic: key, 500;
    no_certificate_makes_the_client_panic: certificate, 2000;
    no_identity_makes_the_client_panic: identity, 500;
    no_pkcs12_file_makes_the_client_panic: pkcs12, 2000;
    no_option_makes_the_emulator_panic: chaos, 2000;
    no_manifest_makes_the_fleet_panic: manifest, 2000;
}

/// Changed bytes of PEM are mostly no base64, so the DER is changed.
#[test]
fn no_encrypted_key_makes_the_client_panic() {
    let aes = include_str!("../../crates/shieldcert/tests/data/openssl-p256.encrypted.key.pem");
    let triple_des = include_str!("../../crates/shieldcert/tests/data/openssl-p256.3des.key.pem");
    let keys = [aes, triple_des].map(|pem| pem::parse(pem).expect("PEM").into_contents());
    feed(2000, &keys, |der| {
        let pem = pem::encode(&pem::Pem::new("ENCRYPTED PRIVATE KEY", der));
        fuzzing::key(pem.as_bytes());
    });
}
