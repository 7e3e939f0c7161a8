//! Steps as the pipeline file has them.

use serde_json::json;
use towpath_transform::Step;

use crate::steps;

#[test]
fn what_is_not_a_step_or_an_option_is_named_with_what_there_is() {
    for (step, message) in [
        (json!({"renme": {}}), "unknown variant `renme`, expected one of `select`, `drop`, `rename`"),
        (
            json!({"mask": {"columns": ["a"], "keep": 1}}),
            "unknown field `keep`, expected one of `columns`, `keep_last`",
        ),
        (json!({"hash": {"salt": "x"}}), "missing field `columns`"),
        (
            json!({"hash": {"columns": "a", "algorithm": "md5"}}),
            "unknown variant `md5`, expected `sha256` or `sha512`",
        ),
        (json!({"cast": {"a": "int65"}}), "`int65` is not a column type"),
        (json!({"cast": {"a": 5}}), "invalid type: integer `5`, expected a column type or a map"),
        (json!({"cast": {"a": {"format": "%Y"}}}), "missing field `to`"),
        (json!({"explode": ["a"]}), "invalid type: sequence, expected a column or a map"),
        (json!({"select": 5}), "invalid type: integer `5`, expected a column, a list of columns or a map"),
        (json!({"drop": {"columns": "a"}}), "invalid type: map, expected a column or a list of columns"),
        (json!({"add": {"a": ["x"]}}), "invalid type: sequence, expected a text, a number, true, false"),
        (json!({"flatten": {"depth": 0}}), "expected a nonzero usize"),
        (json!({"select": {"columns": "a", "missing": "ignore"}}), "expected `error` or `skip`"),
    ] {
        let error = steps(json!([step])).unwrap_err();
        assert!(error.contains(message), "{error}\nlacks\n{message}");
    }
}

#[test]
fn every_step_and_option_is_documented_in_the_schema() {
    let schema = serde_json::to_value(schemars::schema_for!(Step)).unwrap();
    let variants = schema["oneOf"].as_array().unwrap();
    assert_eq!(variants.len(), 10);
    for variant in variants {
        assert!(variant["description"].is_string(), "{variant}");
    }
    for (name, options) in schema["$defs"].as_object().unwrap() {
        assert!(options["description"].is_string(), "{name}");
        for (option, described) in options["properties"].as_object().into_iter().flatten() {
            assert!(described["description"].is_string(), "{name}.{option}: {described}");
        }
    }
}

#[test]
fn the_salt_is_never_shown() {
    let steps = steps(json!([{"hash": {"columns": "a", "salt": "pepper"}}])).unwrap();
    let shown = format!("{steps:?}");
    assert!(shown.contains("***") && !shown.contains("pepper"), "{shown}");
}
