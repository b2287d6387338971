//! Picks the fragment's paths and everything that they refer to.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::super::pointer::{escape, unescape};
use super::full::{Full, PATHS, shape};
use super::references::references;

/// Returns the paths and their components, under the document's names for them.
pub(super) fn pick(full: &Full) -> Result<Value> {
    match full.openapi.as_str() {
        Some(version) if version.starts_with("3.0.") => {}
        Some(version) => {
            bail!("/openapi: version {version} can't be read; the generator reads 3.0.x")
        }
        None => bail!("/: `openapi: 3.0.x` is missing; is this an OpenAPI document?"),
    }
    let paths = full.paths.as_ref().context("/: `paths` is missing")?;
    for known in PATHS {
        let found = paths.keys().find(|path| shape(path) == shape(known));
        let found = found.with_context(|| format!("/paths: {known} is missing"))?;
        ensure!(
            found == known,
            "/paths/{}: the parameters have other names than in {known}, and the overlay and the client depend on \
             them; rename them in the document before importing it",
            escape(found)
        );
    }
    let mut kept = json!({
        "openapi": full.openapi,
        "info": full.info,
        "paths": paths,
        "components": {},
    });
    for (key, value) in [("servers", &full.servers), ("security", &full.security)] {
        if !value.is_null() {
            kept[key] = value.clone();
        }
    }
    let mut wanted: Vec<(String, String)> = references(&kept["paths"], "/paths");
    let mut seen = BTreeSet::new();
    while let Some((at, target)) = wanted.pop() {
        let pointer = target.strip_prefix("#/components/").with_context(|| {
            format!(
                "{at}: {target:?} does not point into this document's components (`#/components/…`)"
            )
        })?;
        let (section, name) = pointer
            .split_once('/')
            .with_context(|| format!("{at}: {target:?} names no component"))?;
        if !seen.insert(pointer.to_owned()) {
            continue;
        }
        let name = unescape(name);
        let component = full
            .components
            .get(section)
            .and_then(|section| section.get(&name));
        let component = component
            .with_context(|| format!("{at}: {target:?} has no target in this document"))?;
        wanted.extend(references(component, &format!("/components/{pointer}")));
        kept["components"][section][&name] = component.clone();
    }
    let schemes: BTreeSet<String> = kept["paths"]
        .as_object()
        .into_iter()
        .flat_map(Map::values)
        .filter_map(Value::as_object)
        .flat_map(Map::values)
        .filter_map(|operation| operation.get("security")?.as_array())
        .flatten()
        .filter_map(Value::as_object)
        .flat_map(Map::keys)
        .cloned()
        .collect();
    for scheme in schemes {
        let stated = full
            .components
            .get("securitySchemes")
            .and_then(|all| all.get(&scheme));
        let stated = stated
            .with_context(|| format!("/components/securitySchemes: {scheme:?} is missing"))?;
        kept["components"]["securitySchemes"][&scheme] = stated.clone();
    }
    Ok(kept)
}
