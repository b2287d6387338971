use serde_json::{Value, json};

use anyhow::Result;

use super::Overlay;

fn apply(actions: Value, mut document: Value) -> Result<Value> {
    let overlay = json!({
        "overlay": "1.0.0",
        "info": { "title": "test", "version": "1" },
        "actions": actions,
    });
    // JSON is YAML.
    Overlay::parse(&overlay.to_string())?
        .apply(&mut document)
        .into_result()?;
    Ok(document)
}

fn refusal(actions: Value, document: Value) -> String {
    format!(
        "{:#}",
        apply(actions, document).expect_err("must be refused")
    )
}

#[test]
fn an_update_merges_by_rfc_7396() {
    let merged = apply(
        json!([{ "target": "$.a", "description": "why", "update": { "x": 2, "y": null, "z": { "n": 1 } } }]),
        json!({ "a": { "x": 1, "y": 1, "keep": true } }),
    )
    .expect("applies");
    assert_eq!(
        merged,
        json!({ "a": { "x": 2, "keep": true, "z": { "n": 1 } } })
    );
}

#[test]
fn an_update_appends_to_an_array() {
    let merged = apply(
        json!([{ "target": "$.tags", "description": "why", "update": "b" }]),
        json!({ "tags": ["a"] }),
    )
    .expect("applies");
    assert_eq!(merged, json!({ "tags": ["a", "b"] }));
}

#[test]
fn a_filter_selects_every_match() {
    let merged = apply(
        json!([{ "target": "$.p[?@.name=='page' || @.name=='per_page'].schema", "description": "why",
                 "x-matches": 2, "update": { "type": "integer" } }]),
        json!({ "p": [
            { "name": "page", "schema": { "type": "number" } },
            { "name": "other", "schema": { "type": "number" } },
            { "name": "per_page", "schema": { "type": "number", "maximum": 50 } },
        ] }),
    )
    .expect("applies");
    assert_eq!(merged["p"][0]["schema"], json!({ "type": "integer" }));
    assert_eq!(merged["p"][1]["schema"], json!({ "type": "number" }));
    assert_eq!(
        merged["p"][2]["schema"],
        json!({ "type": "integer", "maximum": 50 })
    );
}

#[test]
fn remove_takes_members_and_elements_away() {
    let merged = apply(
        json!([
            { "target": "$['a/b~c'].x", "description": "why", "remove": true },
            { "target": "$.list[?@ > 1]", "x-matches": 2, "description": "why", "remove": true },
        ]),
        json!({ "a/b~c": { "x": 1, "y": 2 }, "list": [1, 2, 3] }),
    )
    .expect("applies");
    assert_eq!(merged, json!({ "a/b~c": { "y": 2 }, "list": [1] }));
}

#[test]
fn later_actions_see_what_earlier_ones_did() {
    let merged = apply(
        json!([
            { "target": "$", "description": "why", "update": { "a": {} } },
            { "target": "$.a", "description": "why", "update": { "b": 1 } },
        ]),
        json!({}),
    )
    .expect("applies");
    assert_eq!(merged, json!({ "a": { "b": 1 } }));
}

#[test]
fn an_action_that_matches_nothing_is_named() {
    let message = refusal(
        json!([{ "target": "$.gone.maxLength", "description": "ids are longer", "remove": true }]),
        json!({ "here": 1 }),
    );
    assert!(
        message.contains("action 1: the target matches nothing; $ has no"),
        "{message}"
    );
    assert!(message.contains("$.gone.maxLength"), "{message}");
    assert!(message.contains("ids are longer"), "{message}");
}

#[test]
fn an_action_that_changes_nothing_is_named() {
    let message = refusal(
        json!([{ "target": "$.a", "description": "why", "update": { "type": "integer" } }]),
        json!({ "a": { "type": "integer" } }),
    );
    assert!(message.contains("action 1: done:"), "{message}");
}

#[test]
fn malformed_actions_are_refused_before_anything_is_applied() {
    for (action, expected) in [
        (
            json!({ "target": "$.a", "update": {} }),
            "`description` is empty",
        ),
        (
            json!({ "target": "$.a", "description": " ", "update": {} }),
            "`description` is empty",
        ),
        (
            json!({ "target": "$.a", "description": "why" }),
            "neither an `update` nor `remove: true`",
        ),
        (
            json!({ "target": "$.a", "description": "why", "update": {}, "remove": true }),
            "exclude each other",
        ),
        (
            json!({ "target": "a[", "description": "why", "remove": true }),
            "not a JSONPath",
        ),
        (
            json!({ "target": "$.a", "description": "why", "delete": true }),
            "delete",
        ),
        (
            json!({ "target": "$", "description": "why", "remove": true }),
            "whole document",
        ),
        (
            json!({ "target": "$.a", "description": "why", "update": {} }),
            "neither an object nor an array",
        ),
    ] {
        let message = refusal(json!([action]), json!({ "a": 1 }));
        assert!(message.contains(expected), "{action}: {message}");
    }
}

#[test]
fn another_version_of_the_standard_is_refused() {
    let message = Overlay::parse("overlay: 1.1.0\ninfo: {title: t, version: '1'}\nactions: []")
        .expect_err("must be refused")
        .to_string();
    assert!(message.contains("only 1.0.0"), "{message}");
}

#[test]
fn every_action_that_fails_is_named_and_the_others_are_applied() {
    let overlay = json!({
        "overlay": "1.0.0",
        "info": { "title": "test", "version": "1" },
        "actions": [
            { "target": "$.identifer.maxLength", "description": "ids are longer", "remove": true },
            { "target": "$.properties[*]", "x-matches": ["a", "b"], "description": "null is sent",
              "update": { "nullable": true } },
            { "target": "$.properties['a','b','c']", "x-matches": 2, "description": "why", "update": { "x": 1 } },
            { "target": "$.gone", "description": "it is not there", "remove": true },
            { "target": "$.integer", "description": "it is whole", "update": { "type": "integer" } },
            { "target": "$.text", "description": "why", "update": { "type": "integer" } },
            { "target": "$.properties.a", "description": "why", "update": { "y": 1 } },
        ],
    });
    let mut document = json!({
        "identifier": { "maxLength": 1 },
        "properties": { "a": {}, "b": { "nullable": true }, "c": {} },
        "integer": { "type": "integer" },
        "text": "text",
    });
    let applied = Overlay::parse(&overlay.to_string())
        .expect("an overlay")
        .apply(&mut document);
    assert_eq!(
        document["properties"]["a"],
        json!({ "nullable": true, "x": 1, "y": 1 })
    );
    let error = applied.into_result().expect_err("actions fail");
    insta::assert_snapshot!(error.to_string());
}

#[test]
fn places_that_need_an_action_no_longer_are_named_and_stop_nothing() {
    let overlay = json!({
        "overlay": "1.0.0",
        "info": { "title": "test", "version": "1" },
        "actions": [{ "target": "$['a','b']", "x-matches": 2, "description": "why", "update": { "nullable": true } }],
    });
    let mut document = json!({ "a": { "nullable": true }, "b": {} });
    let applied = Overlay::parse(&overlay.to_string())
        .expect("an overlay")
        .apply(&mut document);
    assert_eq!(document["b"], json!({ "nullable": true }));
    let done = applied.into_result().expect("nothing fails");
    assert_eq!(
        done,
        ["action 1 ($['a','b']) is not needed at /a: upstream says so now"]
    );
}

#[test]
fn a_target_that_can_match_several_places_says_which() {
    let action = json!([{ "target": "$.*", "description": "why", "remove": true }]);
    let message = refusal(action, json!({ "a": 1 }));
    assert!(message.contains("say which with `x-matches`"), "{message}");
}
