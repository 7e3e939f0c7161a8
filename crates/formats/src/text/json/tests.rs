//! Reading JSON as a whole.

use serde_json::json;
use towpath_core::{Json, Position};
use towpath_testkit::context;

use crate::ReadOptions;
use crate::json::Page;
use crate::text::testing::{
    WHOLE, batches, declared, input, joined, json, messages, ndjson, read, rows, rows_of, types,
};

fn lines() -> crate::text::Reader {
    ndjson(ReadOptions::default())
}

#[tokio::test]
async fn types_follow_the_values_nested_ones_included() {
    let text = r#"{"i": 1, "f": 1, "b": true, "s": "x", "n": null, "l": [1, 2], "o": {"a": {"b": 1}}, "e": {}, "at": "2024-02-29T12:00:00Z"}
{"i": -2, "f": 2.5, "b": null, "s": "é\n", "l": [], "o": {"c": "x"}, "new": [{"k": 1}, {"m": 2}]}
"#;
    let (rows, rejected) = read(&lines(), text).await.unwrap();
    assert_eq!(rejected, []);
    assert_eq!(
        types(&rows),
        [
            "i: int64",
            "f: float64",
            "b: bool",
            "s: string",
            "n: null",
            "l: list<int64>",
            "o: struct<a: struct<b: int64>, c: string>",
            "e: null",
            "at: string",
            "new: list<struct<k: int64, m: int64>>"
        ]
    );
    assert_eq!(
        rows_of(&rows)[1],
        json!({"i": -2, "f": 2.5, "b": null, "s": "é\n", "n": null, "l": [], "o": {"a": null, "c": "x"}, "e": null,
               "at": null, "new": [{"k": 1, "m": null}, {"k": null, "m": 2}]})
    );
}

#[tokio::test]
async fn no_value_is_bent_to_fit() {
    for (text, data_type, values) in [
        ("{\"a\":1}\n{\"a\":1.5}", "float64", json!([1.0, 1.5])),
        ("{\"a\":1}\n{\"a\":\"007\"}", "string", json!(["1", "007"])),
        ("{\"a\":\"007\"}\n{\"a\":1}", "string", json!(["007", "1"])),
        ("{\"a\":true}\n{\"a\":1}", "string", json!(["true", "1"])),
        ("{\"a\":18446744073709551615}", "uint64", json!([18_446_744_073_709_551_615_u64])),
        ("{\"a\":18446744073709551615}\n{\"a\":-1}", "decimal(20,0)", json!(["18446744073709551615", "-1"])),
        (
            "{\"a\":123456789012345678901234567890}",
            "decimal(38,0)",
            json!(["123456789012345678901234567890"]),
        ),
        ("{\"a\":1e999}", "string", json!(["1e999"])),
        ("{\"a\":{\"b\":1}}\n{\"a\":[1, 2]}", "string", json!(["{\"b\":1}", "[1, 2]"])),
        ("{\"a\":[1]}\n{\"a\":2}", "string", json!(["[1]", "2"])),
        ("{\"a\":[1]}\n{\"a\":[\"x\"]}", "list<string>", json!([["1"], ["x"]])),
        (
            "{\"a\":null}\n{\"a\":{}}\n{\"a\":{\"b\":1}}",
            "struct<b: int64>",
            json!([null, {"b": null}, {"b": 1}]),
        ),
        ("{\"a\":{}}\n{\"a\":[1]}", "list<int64>", json!([null, [1]])),
        ("{\"a\":1,\"a\":2}", "int64", json!([2])),
    ] {
        let (rows, rejected) = read(&lines(), text).await.unwrap();
        assert_eq!(rejected, [], "{text}");
        assert_eq!(types(&rows), [format!("a: {data_type}")], "{text}");
        let found: Vec<_> = rows_of(&rows).iter().map(|row| row["a"].clone()).collect();
        assert_eq!(Json::Array(found), values, "{text}");
    }
}

#[tokio::test]
async fn a_line_that_is_no_record_is_rejected_alone() {
    let text =
        "{\"a\": 1}\n{\"a\": \n\n{\"a\": 3} x\r\n[4]\n{\"a\": \"five\", \"b\": [1, {\"c\": 2}]\n{\"a\": 6}";
    let (rows, rejected) = read(&lines(), text).await.unwrap();
    assert_eq!(rows_of(&rows).iter().map(|row| row["a"].clone()).collect::<Vec<_>>(), ["1", "6"]);
    assert_eq!(
        messages(&rejected),
        [
            "in/file.txt:2: invalid JSON at column 7: expected a value, it ends there",
            "in/file.txt:4: invalid JSON at column 10: expected the end, found `x`",
            "in/file.txt:5: a record must be an object, found an array",
            "in/file.txt:6: invalid JSON at column 33: expected `,` or `}`, it ends there",
        ]
    );
    assert_eq!(rejected[1].row, Some(json!("{\"a\": 3} x")));
}

#[tokio::test]
async fn declared_types_reject_what_does_not_fit() {
    let reader = ndjson(declared(&[
        ("id", "int32"),
        ("price", "decimal(10,2)"),
        ("at", "timestamp(us, UTC)"),
        ("tags", "map<string, int64>"),
        ("o", "struct<a: date>"),
    ]));
    let text = r#"{"id": "7", "price": 1.10, "at": "2024-02-29T12:00:00+01:00", "tags": {"x": 1, "y": 2}, "o": {"a": "2024-02-29"}}
{"id": 3000000000}
{"id": 1, "o": {"a": "yesterday"}}
{"id": 2, "o": {"b": 1}}
{"id": 3, "tags": {"x": "y"}}
{"id": true}
"#;
    let (rows, rejected) = read(&reader, text).await.unwrap();
    assert_eq!(
        rows_of(&rows),
        [
            json!({"id": 7, "price": "1.10", "at": "2024-02-29T11:00:00Z", "tags": {"x": 1, "y": 2}, "o": {"a": "2024-02-29"}})
        ]
    );
    assert_eq!(
        messages(&rejected),
        [
            "in/file.txt:2: does not fit int32 (column: id, value: 3000000000)",
            "in/file.txt:3: does not fit date (column: o.a, value: yesterday)",
            "in/file.txt:4: is not in the declared struct (column: o.b, value: 1)",
            "in/file.txt:5: does not fit int64 (column: tags, value: y)",
            "in/file.txt:6: does not fit int32 (column: id, value: true)",
        ]
    );
}

#[tokio::test]
async fn columns_widen_over_blocks_and_the_reader_remembers() {
    let reader = lines().with_block_bytes(8);
    let input = input("a.ndjson", "{\"a\":1}\n{\"a\":2}\n{\"a\":2.5,\"b\":1}\n{\"a\":3}\n");
    let batches = batches(&reader, &input, &WHOLE, &Position::Start).await.unwrap();
    assert_eq!(types(&batches[0].rows), ["a: int64"]);
    assert_eq!(types(&joined(&batches).0), ["a: float64", "b: int64"]);
    assert_eq!(types(&read(&reader, "{\"a\":1}").await.unwrap().0), ["a: float64", "b: int64"]);
}

#[tokio::test]
async fn other_formats_are_told_apart() {
    let error = read(&lines(), "<!DOCTYPE html>\n<html></html>").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the body is HTML, not JSON (begins with `<!DOCTYPE html>\n<html></html>`) (input: in/file.txt); check the \
         URL, and whether the server asks for a login"
    );
    let error = read(&lines(), "[\n{\"a\":1}\n]").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the first line begins an array, not an object (input: in/file.txt); is it one JSON document? Set \
         `format: json`"
    );
    let error = read(&json(None), "{\"a\":1}\n{\"a\":2}\n").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid JSON at line 2, column 1: expected the end, found `{` (input: in/file.txt); is it an object a line? \
         Set `format: ndjson`"
    );
    assert_eq!(read(&json(None), "").await.unwrap_err().message(), "the body is empty, not JSON");
}

#[tokio::test]
async fn documents_give_their_records_however_they_hold_them() {
    let expected = [json!({"id": 1}), json!({"id": 2})];
    for (path, text) in [
        (None, r#"[{"id": 1}, {"id": 2}]"#),
        (Some("$"), "\u{feff} [ {\"id\": 1},\n {\"id\": 2} ] \n"),
        (Some("$[*]"), r#"[{"id": 1}, {"id": 2}]"#),
        (
            Some("$.a.b"),
            r#"{"x": [1, {"b": "]"}], "a": {"y": "}", "b": [{"id": 1}, {"id": 2}], "z": [7]}, "w": 1}"#,
        ),
        (Some("$.a.b[*]"), r#"{"a": {"b": [{"id": 1}, {"id": 2}]}}"#),
        (Some("$.pages[0].rows"), r#"{"pages": [{"rows": [{"id": 1}, {"id": 2}]}]}"#),
        (Some("$.pages[*].row"), r#"{"pages": [{"row": {"id": 1}}, {"row": {"id": 2}}]}"#),
        (Some("$..row"), r#"{"pages": [{"row": {"id": 1}}, {"row": {"id": 2}}]}"#),
    ] {
        for block in [1, 1 << 20] {
            let reader = json(path).with_block_bytes(block);
            assert_eq!(rows(&reader, text).await, expected, "{path:?} {text}");
        }
    }
    assert_eq!(rows(&json(None), r#"{"id": 1}"#).await, expected[..1]);
    assert_eq!(rows(&json(Some("$.a")), r#"{"a": []}"#).await, [] as [Json; 0]);
}

#[tokio::test]
async fn invalid_json_in_a_document_names_line_and_column() {
    let text = "{\"data\": [\n  {\"id\": 1},\n  {\"id\": 2, x}\n]}";
    for block in [1, 1 << 20] {
        let error = read(&json(Some("$.data")).with_block_bytes(block), text).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid JSON at line 3, column 13: expected a string, found `x` (input: in/file.txt)"
        );
    }
    let (rows, rejected) = read(&json(None), "[{\"id\": 1}, 5, \"x\", {\"id\": 2}]").await.unwrap();
    assert_eq!(rows.num_rows(), 2);
    assert_eq!(
        messages(&rejected),
        [
            "in/file.txt#2: a record must be an object, found a number",
            "in/file.txt#3: a record must be an object, found a string"
        ]
    );
}

#[tokio::test]
async fn a_document_that_ends_early_is_told() {
    let text = r#"{"d": [{"id": 1, "text": "long enough that the head is not all"}, {"id"#;
    let error = read(&json(Some("$.d")).with_block_bytes(1), text).await.unwrap_err();
    assert!(
        error.to_string().starts_with("it ends in the middle of the JSON document after 1 row "),
        "{error}"
    );
    let error = read(&json(Some("$.d")), r#"{"d": [{"id": 1}]"#).await.unwrap_err();
    assert!(error.to_string().starts_with("it ends in the middle of the JSON document"), "{error}");
    let error = read(&json(Some("$.data")), r#"{"error": "none today"}"#).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the body has nothing at `$.data` (input: in/file.txt); it has `error`; set `records`"
    );
}

#[tokio::test]
async fn a_page_gives_values_and_rows_from_one_parse() {
    let body = r#"{"next": "abc", "total": 5, "data": [{"id": 3}, {"id": "x"}, 7]}"#;
    let page = Page::parse(body.into(), "https://api.example/x", Some(&"$.data".parse().unwrap())).unwrap();
    assert_eq!(page.value(&"$.next".parse().unwrap()), Some(json!("abc")));
    assert_eq!(page.value(&"$.data[-1:]".parse().unwrap()), Some(json!(7)));
    let batch = lines().page(&context(), &page, 20, None).await.unwrap();
    assert_eq!(rows_of(&batch.rows), [json!({"id": "3"}), json!({"id": "x"})]);
    assert_eq!(
        messages(&batch.rejected),
        ["https://api.example/x#23: a record must be an object, found a number"]
    );
    assert_eq!(batch.resume, Position::End);
}
