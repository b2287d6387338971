use serde_json::{Value, json};

use super::{Api, Resolver, Schema};

fn schema(components: Value, schema: Value) -> Schema {
    let document = json!({ "components": { "schemas": components }, "here": schema });
    Resolver::new(&document)
        .schema(&document["here"])
        .expect("resolves")
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Each row: two layouts of the same.
#[test]
fn layout_makes_no_difference() {
    let components = json!({
        "text": { "type": "string", "description": "words" },
        "alias": { "$ref": "#/components/schemas/text" },
        "common": { "required": ["success"], "properties": { "success": { "type": "boolean" } } },
        "list": { "type": "array", "items": {}, "nullable": true },
    });
    let object = |properties: Value| json!({ "type": "object", "properties": properties });
    for (one, other) in [
        (
            reference("alias"),
            json!({ "type": "string", "nullable": false, "minLength": 0 }),
        ),
        (
            json!({ "allOf": [reference("text")] }),
            json!({ "type": "string", "x-new": 1 }),
        ),
        (
            json!({ "allOf": [reference("common"), object(json!({ "id": reference("text") }))] }),
            json!({ "type": "object", "required": ["success"], "properties": {
                "success": { "type": "boolean" }, "id": { "type": "string" } } }),
        ),
        (
            // A part that says less of a property says nothing.
            json!({ "allOf": [
                object(json!({ "result": reference("list") })),
                { "allOf": [object(json!({ "result": { "type": "array", "items": reference("text") } }))] },
            ] }),
            object(json!({ "result": { "type": "array", "items": { "type": "string" } } })),
        ),
        (
            json!({ "type": "object", "anyOf": [{ "type": "object" }, { "type": "string" }] }),
            json!({ "type": "object" }),
        ),
        (
            json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }] }),
            json!({ "oneOf": [{ "type": "integer" }, reference("text")] }),
        ),
        (
            json!({ "type": "string", "enum": ["b", "a"] }),
            json!({ "type": "string", "enum": ["a", "b"] }),
        ),
        (
            json!({ "allOf": [{ "type": "number", "minimum": 1 }, { "type": "integer", "minimum": 2.0 }] }),
            json!({ "type": "integer", "minimum": 2 }),
        ),
        (
            json!({ "allOf": [{ "type": "string", "enum": ["a"] }, { "type": "string", "enum": ["b"] }] }),
            json!({ "allOf": [{ "type": "string", "enum": ["b"] }, { "type": "string", "enum": ["a"] }] }),
        ),
        (
            object(json!({ "a": { "additionalProperties": true } })),
            object(json!({ "a": { "additionalProperties": {} } })),
        ),
    ] {
        let (a, b) = (
            schema(components.clone(), one.clone()),
            schema(components.clone(), other.clone()),
        );
        assert_eq!(a, b, "{one} {other}");
    }
}

/// Each row: two schemas that look alike, and are not.
#[test]
fn what_travels_makes_a_difference() {
    for (one, other) in [
        (
            json!({ "type": "string" }),
            json!({ "type": "string", "nullable": true }),
        ),
        (
            json!({ "type": "integer", "minimum": 1 }),
            json!({ "type": "integer", "minimum": 1, "exclusiveMinimum": true }),
        ),
        (
            // Each part excludes the other's property.
            json!({ "allOf": [
                { "properties": { "a": {} }, "additionalProperties": false },
                { "properties": { "b": {} } },
            ] }),
            json!({ "properties": { "a": {}, "b": {} }, "additionalProperties": false }),
        ),
        (
            json!({ "anyOf": [{ "type": "object" }, { "type": "string" }] }),
            json!({ "type": "object" }),
        ),
        (json!({ "readOnly": true }), json!({})),
        (
            json!({ "additionalProperties": { "type": "string" } }),
            json!({}),
        ),
    ] {
        let (a, b) = (
            schema(json!({}), one.clone()),
            schema(json!({}), other.clone()),
        );
        assert_ne!(a, b, "{one} {other}");
    }
}

#[test]
fn references_that_multiply_or_never_end_are_refused_or_end() {
    let mut schemas = json!({ "c0": { "type": "string" } });
    for number in 1..25 {
        let below = reference(&format!("c{}", number - 1));
        schemas[format!("c{number}")] = json!({ "properties": { "a": below, "b": below } });
    }
    let document = json!({ "components": { "schemas": schemas } });
    let mut resolver = Resolver::new(&document);
    let error = resolver
        .schema(&document["components"]["schemas"]["c24"])
        .expect_err("is refused");
    assert!(
        error.to_string().contains("more than 200000 schemas"),
        "{error}"
    );

    let mut deep = json!({ "type": "string" });
    for _ in 0..80 {
        deep = json!({ "items": deep });
    }
    let error = Resolver::new(&Value::Null)
        .schema(&deep)
        .expect_err("is refused");
    assert!(
        error.to_string().contains("nested more than 64 deep"),
        "{error}"
    );

    let itself =
        json!({ "a": { "properties": { "a": reference("a") }, "allOf": [reference("a")] } });
    schema(itself.clone(), reference("a"));
    assert_eq!(
        schema(itself.clone(), reference("a")),
        schema(itself, reference("a"))
    );
}

fn api(document: &Value) -> Api {
    Api::read(document).expect("reads")
}

#[test]
fn an_operation_is_the_same_wherever_its_parts_stand() {
    let parameter =
        json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } });
    let response =
        json!({ "description": "d", "headers": { "ETag": { "schema": { "type": "string" } } } });
    let one = json!({
        "servers": [{ "url": "https://{host}/v4", "variables": { "host": { "default": "example.com" } } }],
        "security": [{ "token": [] }],
        "paths": { "/a/{id}": { "parameters": [parameter], "get": { "responses": { "200": response } } } },
        "components": { "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
    });
    let other = json!({
        "paths": { "/a/{id}": { "servers": [{ "url": "https://example.com/v4" }], "get": {
            "parameters": [{ "$ref": "#/components/parameters/id" }],
            "security": [{ "bearer": [] }],
            "responses": { "200": { "$ref": "#/components/responses/ok" } },
        } } },
        "components": {
            "parameters": { "id": parameter },
            "responses": { "ok": response },
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "description": "words" } },
        },
    });
    assert_eq!(api(&one), api(&other));
    let mut spelled = other.clone();
    spelled["components"]["parameters"]["id"]["style"] = "simple".into();
    assert_eq!(api(&one), api(&spelled));
    for (pointer, value) in [
        ("/paths/~1a~1{id}/get/security", json!([])),
        ("/components/securitySchemes/bearer/scheme", json!("basic")),
        ("/components/parameters/id/style", json!("label")),
        (
            "/components/responses/ok/headers/ETag/schema",
            json!({ "type": "integer" }),
        ),
        (
            "/paths/~1a~1{id}/servers/0/url",
            json!("https://example.org"),
        ),
    ] {
        let mut changed = spelled.clone();
        *changed.pointer_mut(pointer).expect("is there") = value;
        assert_ne!(api(&one), api(&changed), "{pointer}");
    }
}
