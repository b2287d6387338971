//! Reads a full document: tens of MB, of which two paths are kept.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::document;
use super::super::wire::shape;

/// The paths of the fragment. All of upstream's that are below the first are read.
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
                if is_ours(&path) {
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

/// Says whether a path is the list of client certificates or below it, whatever its parameters are called.
fn is_ours(path: &str) -> bool {
    let (path, list) = (shape(path), shape(PATHS[0]));
    path.strip_prefix(&list)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads a full document, JSON or YAML.
pub(super) fn read(text: &str) -> Result<Full> {
    document::parse_as(text)
}
