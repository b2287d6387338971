//! The bodies of the fuzz targets in tests/fuzz that read documents. Each accepts any bytes, and must not panic.
//!
//! The targets include this file and `openapi` by their paths.

use serde_json::json;

use super::openapi::{check, diff, document, import, overlay::Overlay};

/// Parses any text as an overlay and applies it to a small document.
pub(crate) fn overlay(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(overlay) = Overlay::parse(text) {
        let mut value = json!({ "openapi": "3.0.3", "paths": { "/a": [1, { "b": null }] } });
        let _ = overlay.apply(&mut value);
    }
}

/// Imports any text as a full document, and compares it with nothing and with itself.
pub(crate) fn spec(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(value) = document::parse(text) {
        let _ = check::check(&value);
        let _ = diff::compare(&json!({}), &value);
        let _ = diff::compare(&value, &json!({}));
    }
    if let Ok(import) = import::import(text, None) {
        let changes =
            diff::compare(&import.fragment, &import.fragment).expect("was compared before");
        assert!(changes.is_empty());
    }
}

/// The bodies as property tests, where there is no fuzzer: random bytes, and valid input with a few bytes changed.
#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    fn feed(cases: u32, valid: &[&[u8]], body: impl Fn(&[u8])) {
        let seeds: Vec<Vec<u8>> = valid.iter().map(|seed| seed.to_vec()).collect();
        let edits = vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
        let cut = proptest::option::of(any::<prop::sample::Index>());
        let mutated = (proptest::sample::select(seeds), edits, cut);
        let mutated = mutated.prop_map(|(mut bytes, edits, cut)| {
            for (place, byte) in edits {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if let Some(cut) = cut {
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
    fn no_overlay_makes_it_panic() {
        let overlay: &[u8] = include_bytes!("../../spec/overlay.yaml");
        let small: &[u8] = b"overlay: 1.0.0\ninfo: {title: t, version: '1'}\nactions:\n- {target: \"$.paths['/a'][?@.b==null]\", description: d, remove: true}\n- {target: $..a, description: d, update: {x: 1}}";
        feed(300, &[overlay, small], super::overlay);
    }

    #[test]
    fn no_document_makes_it_panic() {
        let fragment: &[u8] = include_bytes!("../../spec/client_certificates.yaml");
        let json: &[u8] = include_bytes!("../../crates/shieldcert-api/openapi.json");
        feed(150, &[fragment, json], super::spec);
    }
}
