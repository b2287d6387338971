use serde_json::{Value, json};

use super::Class::{self, Additive, Breaking, Risky};
use super::{Change, worst};

fn compare(old: &Value, new: &Value) -> Vec<Change> {
    super::compare(old, new).expect("resolves")
}

/// One operation with a parameter, a body and a response.
fn document() -> Value {
    json!({
        "openapi": "3.0.3",
        "servers": [{ "url": "https://example.com" }],
        "paths": { "/a": { "post": {
            "operationId": "make",
            "security": [{ "token": [] }, { "email": [], "key": [] }],
            "parameters": [
                { "name": "p", "in": "query", "schema": { "type": "integer", "minimum": 5, "maximum": 50, "enum": [5, 6] } },
                { "name": "r", "in": "query", "required": true, "schema": { "type": "number" } },
            ],
            "requestBody": { "required": true, "content": { "application/json": { "schema": {
                "type": "object", "required": ["csr"],
                "properties": {
                    "csr": { "type": "string", "maxLength": 10, "enum": ["a", "b"] },
                    "days": { "type": "integer", "nullable": true, "minimum": 1 },
                },
            } } } },
            "responses": {
                "200": { "description": "d", "content": { "application/json": { "schema": { "allOf": [
                    { "$ref": "#/components/schemas/common" },
                    { "type": "object", "required": ["id"], "properties": {
                        "id": { "type": "string", "maxLength": 32 },
                        "status": { "type": "string", "enum": ["active", "revoked"] },
                        "count": { "type": "integer", "minimum": 1 },
                        "list": { "type": "array", "items": { "type": "string" } },
                        "inner": { "$ref": "#/components/schemas/inner" },
                        "inners": { "type": "array", "items": { "$ref": "#/components/schemas/inner" } },
                        "either": { "oneOf": [{ "type": "string" }, { "$ref": "#/components/schemas/inner" }] },
                    } },
                ] } } } },
                "4XX": { "description": "d", "content": { "application/json": { "schema": { "type": "object" } } } },
            },
        }, "get": { "operationId": "read", "responses": { "200": { "description": "d" } } } } },
        "components": { "schemas": { "inner": { "type": "object", "properties": { "x": { "type": "string" } } }, "common": { "type": "object", "properties": { "success": { "type": "boolean" } } } } },
    })
}

const OPERATION: &str = "/paths/~1a/post";
const QUERY: &str = "/paths/~1a/post/parameters/0";
const BODY: &str = "/paths/~1a/post/requestBody/content/application~1json/schema";
const RESPONSE: &str = "/paths/~1a/post/responses/200/content/application~1json/schema/allOf/1";

/// Where (a JSON pointer), what (a merge patch), and the expected class.
fn table() -> Vec<(String, Value, Class)> {
    let at = |base: &str, rest: &str| format!("{base}{rest}");
    vec![
        // Operations.
        (
            "/paths".into(),
            json!({ "/b": { "get": { "operationId": "b", "responses": {} } } }),
            Additive,
        ),
        ("/paths/~1a".into(), json!({ "post": null }), Breaking),
        (
            OPERATION.into(),
            json!({ "operationId": "create" }),
            Breaking,
        ),
        (OPERATION.into(), json!({ "deprecated": true }), Risky),
        (
            "/servers/0".into(),
            json!({ "url": "https://example.org" }),
            Risky,
        ),
        // Security: an alternative more or less.
        (
            OPERATION.into(),
            json!({ "security": [{ "token": [] }] }),
            Breaking,
        ),
        (
            OPERATION.into(),
            json!({ "security": [{ "token": [] }, { "email": [], "key": [] }, { "jwt": [] }] }),
            Additive,
        ),
        // Parameters.
        (QUERY.into(), json!({ "required": true }), Breaking),
        (
            "/paths/~1a/post/parameters/1".into(),
            json!({ "required": false }),
            Additive,
        ),
        (QUERY.into(), json!({ "name": "q" }), Breaking),
        (QUERY.into(), json!({ "in": "header" }), Breaking),
        (
            "/paths/~1a".into(),
            json!({ "parameters": [{ "name": "n", "in": "query", "schema": {} }] }),
            Additive,
        ),
        (
            "/paths/~1a".into(),
            json!({ "parameters": [{ "name": "n", "in": "query", "required": true, "schema": {} }] }),
            Breaking,
        ),
        (at(QUERY, "/schema"), json!({ "type": "string" }), Breaking),
        (at(QUERY, "/schema"), json!({ "type": "number" }), Risky),
        (
            "/paths/~1a/post/parameters/1/schema".into(),
            json!({ "type": "integer" }),
            Breaking,
        ),
        (at(QUERY, "/schema"), json!({ "maximum": 40 }), Breaking),
        (at(QUERY, "/schema"), json!({ "maximum": 60 }), Additive),
        (at(QUERY, "/schema"), json!({ "maximum": null }), Additive),
        (at(QUERY, "/schema"), json!({ "minimum": 6 }), Breaking),
        (at(QUERY, "/schema"), json!({ "minimum": 3 }), Additive),
        (at(QUERY, "/schema"), json!({ "minimum": 1 }), Risky),
        (at(QUERY, "/schema"), json!({ "enum": [5, 6, 7] }), Additive),
        (at(QUERY, "/schema"), json!({ "enum": [5] }), Breaking),
        (at(QUERY, "/schema"), json!({ "enum": null }), Risky),
        (at(QUERY, "/schema"), json!({ "default": 6 }), Risky),
        (QUERY.into(), json!({ "explode": false }), Breaking),
        (QUERY.into(), json!({ "style": "spaceDelimited" }), Breaking),
        (QUERY.into(), json!({ "allowReserved": true }), Additive),
        (QUERY.into(), json!({ "deprecated": true }), Risky),
        (
            at(QUERY, "/schema"),
            json!({ "exclusiveMinimum": true }),
            Breaking,
        ),
        // Security that is inherited, and schemes behind their names.
        (
            "".into(),
            json!({ "security": [{ "token": [] }] }),
            Breaking,
        ),
        (
            "/components".into(),
            json!({ "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } }),
            Breaking,
        ),
        (
            "/paths/~1a".into(),
            json!({ "servers": [{ "url": "https://example.org" }] }),
            Risky,
        ),
        // Bodies.
        (
            "/paths/~1a/post/requestBody".into(),
            json!({ "required": false }),
            Additive,
        ),
        (OPERATION.into(), json!({ "requestBody": null }), Breaking),
        (
            "/paths/~1a/post/requestBody/content".into(),
            json!({ "text/plain": { "schema": {} } }),
            Additive,
        ),
        (
            "/paths/~1a/get".into(),
            json!({ "requestBody": { "content": {} } }),
            Additive,
        ),
        (
            "/paths/~1a/get".into(),
            json!({ "requestBody": { "required": true, "content": {} } }),
            Breaking,
        ),
        (
            at(BODY, "/properties"),
            json!({ "new": { "type": "string" } }),
            Additive,
        ),
        (
            BODY.into(),
            json!({ "required": ["csr", "new"], "properties": { "new": { "type": "string" } } }),
            Breaking,
        ),
        (
            BODY.into(),
            json!({ "required": ["csr", "days"] }),
            Breaking,
        ),
        (BODY.into(), json!({ "required": null }), Risky),
        (at(BODY, "/properties"), json!({ "days": null }), Breaking),
        (
            at(BODY, "/properties/days"),
            json!({ "nullable": null }),
            Breaking,
        ),
        (
            at(BODY, "/properties/csr"),
            json!({ "nullable": true }),
            Risky,
        ),
        (
            at(BODY, "/properties/csr"),
            json!({ "maxLength": 9 }),
            Breaking,
        ),
        (
            at(BODY, "/properties/csr"),
            json!({ "minLength": 1 }),
            Breaking,
        ),
        (
            at(BODY, "/properties/csr"),
            json!({ "pattern": "^a" }),
            Risky,
        ),
        (
            at(BODY, "/properties/csr"),
            json!({ "enum": ["a"] }),
            Breaking,
        ),
        (
            BODY.into(),
            json!({ "additionalProperties": false }),
            Breaking,
        ),
        (
            at(BODY, "/properties/days"),
            json!({ "readOnly": true }),
            Breaking,
        ),
        (
            BODY.into(),
            json!({ "additionalProperties": { "type": "string" } }),
            Breaking,
        ),
        // Responses.
        (
            "/paths/~1a/post/responses/200".into(),
            json!({ "headers": { "ETag": { "schema": { "type": "string" } } } }),
            Additive,
        ),
        (
            at(RESPONSE, "/properties/id"),
            json!({ "writeOnly": true }),
            Breaking,
        ),
        (
            at(RESPONSE, "/properties/id"),
            json!({ "deprecated": true }),
            Risky,
        ),
        (
            at(RESPONSE, "/properties/inner"),
            json!({ "$ref": null, "type": "object", "properties": { "x": { "type": "string" } },
                "additionalProperties": { "type": "string" } }),
            Risky,
        ),
        (
            "/paths/~1a/post/responses".into(),
            json!({ "200": null }),
            Breaking,
        ),
        (
            "/paths/~1a/post/responses".into(),
            json!({ "4XX": null }),
            Risky,
        ),
        (
            "/paths/~1a/post/responses".into(),
            json!({ "202": { "description": "d" } }),
            Risky,
        ),
        (
            "/paths/~1a/post/responses".into(),
            json!({ "5XX": { "description": "d" } }),
            Additive,
        ),
        (
            "/paths/~1a/post/responses/200/content".into(),
            json!({ "application/json": null }),
            Breaking,
        ),
        (
            at(RESPONSE, "/properties"),
            json!({ "new": { "type": "string" } }),
            Additive,
        ),
        (
            RESPONSE.into(),
            json!({ "required": ["id", "new"], "properties": { "new": { "type": "string" } } }),
            Additive,
        ),
        (
            at(RESPONSE, "/properties"),
            json!({ "status": null }),
            Breaking,
        ),
        (
            RESPONSE.into(),
            json!({ "required": ["id", "status"] }),
            Risky,
        ),
        (RESPONSE.into(), json!({ "required": null }), Risky),
        (
            at(RESPONSE, "/properties/status"),
            json!({ "enum": ["active", "revoked", "archived"] }),
            Risky,
        ),
        (
            at(RESPONSE, "/properties/status"),
            json!({ "enum": ["active"] }),
            Risky,
        ),
        (
            at(RESPONSE, "/properties/status"),
            json!({ "enum": null }),
            Risky,
        ),
        (
            at(RESPONSE, "/properties/id"),
            json!({ "maxLength": 36 }),
            Risky,
        ),
        (
            at(RESPONSE, "/properties/id"),
            json!({ "maxLength": 30 }),
            Additive,
        ),
        (
            at(RESPONSE, "/properties/id"),
            json!({ "maxLength": null }),
            Risky,
        ),
        (
            at(RESPONSE, "/properties/id"),
            json!({ "nullable": true }),
            Risky,
        ),
        (
            at(RESPONSE, "/properties/id"),
            json!({ "type": "integer" }),
            Breaking,
        ),
        (
            at(RESPONSE, "/properties/count"),
            json!({ "type": "number" }),
            Breaking,
        ),
        (
            at(RESPONSE, "/properties/count"),
            json!({ "minimum": 0 }),
            Risky,
        ),
        (
            at(RESPONSE, "/properties/count"),
            json!({ "format": "int32" }),
            Risky,
        ),
        (
            at(RESPONSE, "/properties/list/items"),
            json!({ "type": "integer" }),
            Breaking,
        ),
        (
            "/components/schemas/inner/properties".into(),
            json!({ "y": {} }),
            Additive,
        ),
        (
            "/components/schemas/inner/properties".into(),
            json!({ "x": null }),
            Breaking,
        ),
        (
            at(RESPONSE, "/properties/either"),
            json!({ "oneOf": [{ "type": "string" }] }),
            Risky,
        ),
        (
            "/components/schemas/common/properties".into(),
            json!({ "success": null }),
            Breaking,
        ),
        (
            "/components/schemas/common/properties".into(),
            json!({ "messages": {} }),
            Additive,
        ),
    ]
}

#[test]
fn every_change_has_its_class() {
    let table = table();
    assert!(table.len() >= 40);
    for (pointer, patch, class) in table {
        let (old, mut new) = (document(), document());
        let node = new
            .pointer_mut(&pointer)
            .unwrap_or_else(|| panic!("{pointer} exists"));
        json_patch::merge(node, &patch);
        let changes = compare(&old, &new);
        assert_eq!(
            worst(&changes),
            Some(class),
            "{pointer} {patch}: {changes:#?}"
        );
    }
}

#[test]
fn changed_texts_are_no_change() {
    let mut new = document();
    new["paths"]["/a"]["post"]["description"] = "other words".into();
    new["paths"]["/a"]["post"]["parameters"][0]["schema"]["example"] = 6.into();
    new["components"]["schemas"]["common"]["title"] = "other words".into();
    assert_eq!(compare(&document(), &new), []);
}

#[test]
fn moving_a_schema_is_no_change() {
    let mut new = document();
    let schemas = new["components"]["schemas"]
        .as_object_mut()
        .expect("an object");
    let common = schemas.remove("common").expect("is there");
    schemas.insert("other".into(), common);
    new["paths"]["/a"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]["allOf"]
        [0] = json!({ "$ref": "#/components/schemas/other" });
    assert_eq!(compare(&document(), &new), []);
}

#[test]
fn a_schema_that_contains_itself_ends() {
    let mut old = document();
    old["components"]["schemas"]["common"]["properties"]["self"] =
        json!({ "$ref": "#/components/schemas/common" });
    let mut new = old.clone();
    new["components"]["schemas"]["common"]["properties"]["success"]["nullable"] = true.into();
    assert_eq!(worst(&compare(&old, &new)), Some(Risky));
}
