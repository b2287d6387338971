//! An OpenAPI document as plain JSON.

use anyhow::{Context, Result};
use serde_json::Value;

/// The keys of a path item that are operations.
pub(super) const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// Parses YAML (JSON is YAML) into a JSON value.
///
/// # Errors
/// The text is not YAML, or a key occurs twice in one mapping.
pub(crate) fn parse(yaml: &str) -> Result<Value> {
    serde_saphyr::from_str(yaml).context("not a YAML or JSON document")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_yaml_and_duplicate_keys_are_refused() {
        assert!(parse("a: [1,").is_err());
        let message = format!("{:#}", parse("a: 1\na: 2").expect_err("must be refused"));
        assert!(message.contains("duplicate"), "{message}");
    }
}
