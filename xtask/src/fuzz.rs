//! What fuzzing feeds to the readers of documents. Each takes anything, and may not panic.

use serde_json::json;

use crate::overlay::Overlay;
use crate::{diff, document, import};

/// An overlay: any text, applied to a small document.
pub fn overlay(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(overlay) = Overlay::parse(text) {
        let mut value = json!({ "openapi": "3.0.3", "paths": { "/a": [1, { "b": null }] } });
        let _ = overlay.apply(&mut value);
    }
}

/// A full document: any text, imported, and compared with nothing and itself.
pub fn spec(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(value) = document::parse(text) {
        let _ = document::check(&value);
        let _ = diff::compare(&json!({}), &value);
        let _ = diff::compare(&value, &json!({}));
    }
    if let Ok(fragment) = import::fragment(text, None) {
        assert!(diff::compare(&fragment, &fragment).is_empty());
    }
}
