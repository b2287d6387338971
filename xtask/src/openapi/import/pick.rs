//! Picks the fragment's paths and everything that they refer to.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::super::document::METHODS;
use super::super::pointer::{escape, unescape};
use super::super::wire::shape;
use super::full::{Full, PATHS};
use super::references::references;

/// What of a full document is taken.
pub(super) struct Picked {
    /// The paths and their components, under the document's names for them.
    pub(super) document: Value,
    /// The operations below our paths that are not taken.
    pub(super) left_out: Vec<String>,
}

/// Where upstream's document is to be had, for messages.
pub(crate) const UPSTREAM: &str =
    "https://github.com/cloudflare/api-schemas has it as openapi.json and openapi.yaml";

/// Takes the paths that the current fragment has, or the two known ones.
pub(super) fn pick(full: &Full, current: Option<&Value>) -> Result<Picked> {
    match full.openapi.as_str() {
        Some(version) if version.starts_with("3.0.") => {}
        Some(version) => bail!(
            "/openapi: version {version} can't be read; the generator reads 3.0.x. Give the 3.0 document \
             ({UPSTREAM}). If upstream has none any more, convert it (`nullable` for the type null, `example` for \
             `examples`, true and false for exclusive bounds), set `openapi: 3.0.3`, and import that"
        ),
        None => bail!(
            "/: `openapi: 3.0.x` is missing; is this an OpenAPI document? Upstream's: {UPSTREAM}"
        ),
    }
    let paths = full.paths.as_ref().context("/: `paths` is missing")?;
    let current = current.and_then(|current| current.get("paths")?.as_object());
    let wanted: BTreeSet<String> = match current.filter(|paths| !paths.is_empty()) {
        Some(paths) => paths.keys().map(|path| shape(path)).collect(),
        None => PATHS.iter().map(|path| shape(path)).collect(),
    };
    let (taken, left_out): (Vec<_>, Vec<_>) = paths
        .iter()
        .partition(|(path, _)| wanted.contains(&shape(path)));
    ensure!(
        !taken.is_empty(),
        "/paths: {} is missing; is this a document of the API? Upstream's: {UPSTREAM}",
        PATHS[0]
    );
    let taken: Map<String, Value> = taken
        .into_iter()
        .map(|(path, item)| (path.clone(), item.clone()))
        .collect();
    let mut kept = json!({
        "openapi": full.openapi,
        "info": full.info,
        "paths": taken,
        "components": {},
    });
    for (key, value) in [("servers", &full.servers), ("security", &full.security)] {
        if !value.is_null() {
            kept[key] = value.clone();
        }
    }
    pick_components(&mut kept, &full.components)?;
    pick_schemes(&mut kept, &full.components)?;
    Ok(Picked {
        document: kept,
        left_out: left_out
            .into_iter()
            .flat_map(|(path, item)| {
                let methods = METHODS.iter().filter(|method| item.get(**method).is_some());
                methods.map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect(),
    })
}

fn pick_components(kept: &mut Value, components: &Value) -> Result<()> {
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
        let component = components
            .get(section)
            .and_then(|section| section.get(&name));
        let component = component
            .with_context(|| format!("{at}: {target:?} has no target in this document"))?;
        wanted.extend(references(component, &format!("/components/{pointer}")));
        kept["components"][section][&name] = component.clone();
    }
    Ok(())
}

/// Takes the security schemes that the operations name, themselves or by inheriting the document's.
fn pick_schemes(kept: &mut Value, components: &Value) -> Result<()> {
    let mut schemes: Vec<(String, String)> = Vec::new();
    for (path, item) in kept["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            let Some(operation) = item.get(method) else {
                continue;
            };
            let (at, security) = match operation.get("security") {
                Some(security) => (
                    format!("/paths/{}/{method}/security", escape(path)),
                    security,
                ),
                None => ("/security".to_owned(), &kept["security"]),
            };
            let ways = security.as_array().into_iter().flatten();
            let names = ways.filter_map(Value::as_object).flat_map(Map::keys);
            schemes.extend(names.map(|name| (at.clone(), name.clone())));
        }
    }
    for (at, scheme) in schemes {
        let stated = components
            .get("securitySchemes")
            .and_then(|all| all.get(&scheme));
        let stated = stated.with_context(|| {
            format!("{at}: {scheme:?} is missing from /components/securitySchemes")
        })?;
        kept["components"]["securitySchemes"][&scheme] = stated.clone();
    }
    Ok(())
}
