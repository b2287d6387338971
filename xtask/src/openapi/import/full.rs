//! Reads a full document: tens of MB, of which two paths are kept.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The paths of the fragment.
pub(super) const PATHS: [&str; 2] = [
    "/zones/{zone_id}/client_certificates",
    "/zones/{zone_id}/client_certificates/{client_certificate_id}",
];

/// The parts of a full document that are read. Its thousands of other paths are skipped, never held.
#[derive(Deserialize)]
pub(super) struct Full {
    #[serde(default)]
    pub(super) openapi: Value,
    #[serde(default)]
    pub(super) info: Value,
    #[serde(default)]
    pub(super) servers: Value,
    #[serde(default)]
    pub(super) security: Value,
    #[serde(default, deserialize_with = "deserialize_paths")]
    pub(super) paths: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    pub(super) components: Value,
}

fn deserialize_paths<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, Value>>, D::Error> {
    struct Picker;
    impl<'de> Visitor<'de> for Picker {
        type Value = BTreeMap<String, Value>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of paths")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut picked = BTreeMap::new();
            while let Some(path) = map.next_key::<String>()? {
                if is_in_fragment(&path) {
                    picked.insert(path, map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(picked)
        }
    }
    deserializer.deserialize_map(Picker).map(Some)
}

/// Says whether a path is one of the fragment, whatever its parameters are called.
fn is_in_fragment(path: &str) -> bool {
    PATHS.iter().any(|known| shape(known) == shape(path))
}

/// Returns the segments of a path, with its parameters unnamed.
pub(super) fn shape(path: &str) -> Vec<&str> {
    let placeholder = |part: &&str| part.starts_with('{') && part.ends_with('}');
    path.split('/')
        .map(|part| if placeholder(&part) { "{}" } else { part })
        .collect()
}

/// Reads a full document, JSON or YAML.
pub(super) fn read(text: &str) -> Result<Full> {
    let parsed = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).context("not a JSON document")
    } else {
        let options = serde_saphyr::options! { budget: None };
        serde_saphyr::from_str_with_options(text, options).context("not a YAML document")
    };
    parsed.context("can't be read as an OpenAPI document")
}
