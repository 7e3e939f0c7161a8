//! Whole pipeline files.

use super::*;

#[test]
fn an_empty_pipeline_is_told_what_is_missing() {
    let text = parse("a.yaml", "streams: {}\n", &ProcessEnvironment).unwrap_err().to_string();
    assert!(text.contains("`name` is missing"), "{text}");
    assert!(text.contains("there is no stream"), "{text}");
}
