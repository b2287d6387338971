use serde_json::{Value, json};

use super::check;

fn sound() -> Value {
    json!({
        "openapi": "3.0.3",
        "info": { "title": "t", "version": "1" },
        "paths": { "/a/{id}": { "get": {
            "operationId": "get_a",
            "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } }],
            "responses": { "200": { "description": "d", "content": { "application/json": {
                "schema": { "$ref": "#/components/schemas/a" } } } } },
        } } },
        "components": { "schemas": { "a": { "type": "object", "properties": { "x": { "type": "integer", "minimum": 1 } } } } },
    })
}

#[test]
fn a_sound_document_passes() {
    check(&sound()).expect("passes");
}

/// Each row: where, a merge patch, and what the message must contain.
#[test]
fn every_problem_is_named_with_its_pointer() {
    let operation = "/paths/~1a~1{id}/get";
    let schema = "/components/schemas/a";
    for (pointer, patch, expected) in [
        (
            "",
            json!({ "openapi": "3.1.0" }),
            "/openapi: version 3.1.0 can't be read",
        ),
        (
            "",
            json!({ "openapi": null }),
            "/: `openapi: 3.0.x` is missing",
        ),
        ("", json!({ "paths": null }), "/: `paths` is missing"),
        (
            "",
            json!({ "paths": [] }),
            "/paths: expected an object, found an array",
        ),
        ("", json!({ "info": null }), "/: `info` is missing"),
        (
            "",
            json!({ "components": null }),
            "200/content/application~1json/schema/$ref: \"#/components/schemas/a\" has no target",
        ),
        (
            operation,
            json!({ "operationId": null }),
            "get: `operationId` is missing",
        ),
        (
            operation,
            json!({ "parameters": null }),
            "get: the path's {id} is not among the parameters",
        ),
        (
            operation,
            json!({ "parameters": [{ "name": "id", "in": "path", "schema": {} }] }),
            "parameters/0: a path parameter must have",
        ),
        (
            operation,
            json!({ "parameters": [{ "name": "id" }] }),
            "parameters/0: a parameter needs a `name` and an `in`",
        ),
        (
            "/paths/~1a~1{id}/get/responses",
            json!({ "200": null }),
            "responses: an operation needs at least one response",
        ),
        (
            operation,
            json!({ "responses": { "2OO": { "description": "d" } } }),
            "responses/2OO: a response is",
        ),
        (
            operation,
            json!({ "requestBody": {} }),
            "requestBody: `content` is missing",
        ),
        (
            schema,
            json!({ "type": "objekt" }),
            "/components/schemas/a/type: \"objekt\" is not a type",
        ),
        (
            schema,
            json!({ "type": ["object", "null"] }),
            "/components/schemas/a/type:",
        ),
        (
            schema,
            json!({ "type": "array" }),
            "/components/schemas/a: an array needs `items`",
        ),
        (
            schema,
            json!({ "enum": [] }),
            "/components/schemas/a/enum: expected an array",
        ),
        (
            schema,
            json!({ "required": true }),
            "/components/schemas/a/required: expected an array",
        ),
        (
            schema,
            json!({ "minLength": -1 }),
            "/components/schemas/a/minLength: expected an integer",
        ),
        (
            schema,
            json!({ "nullable": "yes" }),
            "/components/schemas/a/nullable: expected true or false",
        ),
        (
            schema,
            json!({ "allOf": {} }),
            "/components/schemas/a/allOf: expected an array",
        ),
        (
            schema,
            json!({ "$ref": "other.yaml#/a" }),
            "/components/schemas/a/$ref: \"other.yaml#/a\" does not point into",
        ),
        (
            schema,
            json!({ "$ref": "#/components/schemas/a" }),
            "/components/schemas/a/$ref: circular reference",
        ),
        (
            "/components/schemas/a/properties/x",
            json!({ "maximum": 0 }),
            "properties/x: minimum 1 is above maximum 0",
        ),
        (
            "/components/schemas/a/properties/x",
            json!({ "maximum": "9" }),
            "properties/x/maximum: expected a number, found \"9\"",
        ),
    ] {
        let mut document = sound();
        let node = document
            .pointer_mut(pointer)
            .expect("the row's place exists");
        json_patch::merge(node, &patch);
        let message = check(&document).expect_err(expected).to_string();
        assert!(message.contains(expected), "{pointer} {patch}: {message}");
    }
}

#[test]
fn a_duplicate_operation_id_is_named_in_both_places() {
    let mut document = sound();
    let copy = document["paths"]["/a/{id}"]["get"].clone();
    document["paths"]["/a/{id}"]["put"] = copy;
    let message = check(&document).expect_err("must be refused").to_string();
    assert!(
        message.contains("/paths/~1a~1{id}/put/operationId"),
        "{message}"
    );
    assert!(message.contains("/paths/~1a~1{id}/get"), "{message}");
}
