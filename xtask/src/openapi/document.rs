//! An OpenAPI document as plain JSON.

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The keys of a path item that are operations.
pub(super) const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// Parses YAML (JSON is YAML) into a JSON value.
///
/// # Errors
/// The text is not YAML, or a key occurs twice in one mapping.
pub(crate) fn parse(text: &str) -> Result<Value> {
    parse_as(text)
}

/// Parses JSON or YAML of any size that upstream's full document will reach. Nesting stays bounded, and so does what
/// aliases can multiply.
pub(super) fn parse_as<T: DeserializeOwned>(text: &str) -> Result<T> {
    let text = text.trim_start_matches('\u{feff}');
    // Of a key that occurs twice, JSON's reader would take the last.
    if text.trim_start().starts_with('{') && text.len() > LARGE {
        return serde_json::from_str(text).context("not a JSON document");
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 100_000_000,
            max_nodes: 50_000_000,
            max_total_scalar_bytes: 1 << 30,
        },
    };
    serde_saphyr::from_str_with_options(text, options).context("not a YAML or JSON document")
}

/// From this size on, JSON is read by its own reader, which is much faster.
const LARGE: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_yaml_and_duplicate_keys_are_refused() {
        assert!(parse("a: [1,").is_err());
        let message = format!("{:#}", parse("a: 1\na: 2").expect_err("must be refused"));
        assert!(message.contains("duplicate"), "{message}");
    }

    #[test]
    fn nesting_without_end_is_refused_instead_of_overflowing_the_stack() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{a: ", "}")] {
            let text = open.repeat(100_000) + "1" + &close.repeat(100_000);
            assert!(parse(&text).is_err(), "{open}");
            let text = format!("{{\"large\": \"{}\", \"a\": {text}}}", "x".repeat(LARGE));
            assert!(parse(&text).is_err(), "{open}");
        }
        let block: String = (0..20_000)
            .map(|n| format!("{}a:\n", " ".repeat(n)))
            .collect();
        assert!(parse(&block).is_err());
    }

    #[test]
    fn a_document_has_as_many_nodes_as_it_needs() {
        let yaml: String = (0..300_000).map(|n| format!("k{n}: v\n")).collect();
        let value = parse(&yaml).expect("is read");
        assert_eq!(value.as_object().map(serde_json::Map::len), Some(300_000));
    }

    #[test]
    fn aliases_that_multiply_are_refused() {
        let mut yaml = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let list = vec![format!("*a{}", n - 1); 10].join(", ");
            yaml.push_str(&format!("a{n}: &a{n} [{list}]\n"));
        }
        assert!(parse(&yaml).is_err());
    }
}
