use serde_json::{Value, json};

use super::{check, check_generator};

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

/// Each row: where, a merge patch, and what the message must contain.
#[test]
fn what_the_generator_cant_express_is_named_with_the_action_that_helps() {
    let operation = "/paths/~1a~1{id}/get";
    let responses = "/paths/~1a~1{id}/get/responses";
    let schema = "/components/schemas/a/properties/x";
    let media = |schema: Value| json!({ "description": "d", "content": { "application/json": { "schema": schema } } });
    for (pointer, patch, expected) in [
        (
            responses,
            json!({ "202": { "description": "d" } }),
            "GET /a/{id} → 202: a success that differs from 200",
        ),
        (
            responses,
            json!({ "204": { "description": "d" } }),
            "target: $.paths['/a/{id}'].get.responses['204']",
        ),
        (
            responses,
            json!({ "4XX": media(json!({ "type": "object" })), "429": media(json!({ "type": "string" })) }),
            "→ 429: a failure that differs from 4XX",
        ),
        (
            responses,
            json!({ "default": media(json!({ "type": "string" })) }),
            "→ default: a success that differs from 200",
        ),
        (
            responses,
            json!({ "499": media(json!({ "type": "string" })) }),
            "→ 499: the code has no name",
        ),
        (
            operation,
            json!({ "requestBody": { "content": { "multipart/form-data": { "schema": {} } } } }),
            "the generated client can't send multipart/form-data",
        ),
        (
            operation,
            json!({ "requestBody": { "content": { "application/json": { "schema": {} }, "text/plain": { "schema": {} } } } }),
            "update: { text/plain: null }",
        ),
        (
            operation,
            json!({ "requestBody": { "content": { "application/json": { "schema": {}, "encoding": {} } } } }),
            "knows no `encoding`",
        ),
        (
            "/paths/~1a~1{id}/get/parameters/0",
            json!({ "style": "label" }),
            "target: $.paths['/a/{id}'].get.parameters[?@.name=='id']",
        ),
        (
            schema,
            json!({ "type": "string", "minimum": null, "format": "uuid" }),
            "the format \"uuid\"",
        ),
        (
            schema,
            json!({ "minimum": null, "exclusiveMinimum": true }),
            "`exclusiveMinimum` without `minimum`",
        ),
        (
            schema,
            json!({ "default": 0 }),
            "the default 0 is outside the bounds",
        ),
        (
            schema,
            json!({ "default": 1, "exclusiveMinimum": true }),
            "the default 1 is outside the bounds",
        ),
        (
            schema,
            json!({ "default": "1" }),
            "the default \"1\" is not of the type integer",
        ),
        (
            schema,
            json!({ "enum": [1, "2"] }),
            "the value \"2\" is not of the type integer",
        ),
        (
            schema,
            json!({ "type": "string", "enum": ["a-b", "ab"] }),
            "target: $.components.schemas['a'].properties['x'].enum",
        ),
        (
            schema,
            json!({ "type": "string", "enum": ["..."] }),
            "gives no name for Rust",
        ),
    ] {
        let mut document = sound();
        let node = document
            .pointer_mut(pointer)
            .expect("the row's place exists");
        json_patch::merge(node, &patch);
        check(&document).expect("its form is right");
        let message = check_generator(&document).expect_err(expected).to_string();
        assert!(message.contains(expected), "{pointer} {patch}: {message}");
    }
    check_generator(&sound()).expect("passes");
}
