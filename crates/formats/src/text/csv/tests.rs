//! Reading CSV as a whole.

use serde_json::json;
use towpath_core::{Json, Position};
use towpath_testkit::context;

use crate::text::testing::{
    WHOLE, batches, csv, csv_with, declared, input, joined, messages, read, rows, rows_of, types,
};
use crate::{CsvRead, Encoding, ReadOptions};

#[tokio::test]
async fn types_are_inferred_from_all_that_stands_in_a_column() {
    let text = "i,f,b,d,t,z,big,zip,none,s,mixed\n\
        1,1.5,true,2024-02-29,2024-02-29T12:00:00,2024-02-29T12:00:00+01:00,12345678901234567890,00501,,x,1\n\
        -2,3,FALSE,2024-03-01,2024-02-29 12:00:00.5,2024-02-29T12:00:00Z,1,10115,,\"1\",x\n";
    let (rows, rejected) = read(&csv(|_| ()), text).await.unwrap();
    assert_eq!(rejected, []);
    assert_eq!(
        types(&rows),
        [
            "i: int64",
            "f: float64",
            "b: bool",
            "d: date",
            "t: timestamp",
            "z: timestamp(us, UTC)",
            "big: decimal(38,0)",
            "zip: string",
            "none: string",
            "s: string",
            "mixed: string"
        ]
    );
    let first = &rows_of(&rows)[0];
    assert_eq!(first["z"], json!("2024-02-29T11:00:00Z"));
    assert_eq!(first["big"], json!("12345678901234567890"));
    assert_eq!(first["zip"], json!("00501"));
    assert_eq!(first["none"], Json::Null);
}

#[tokio::test]
async fn nothing_without_quotes_is_null_and_quotes_with_nothing_are_an_empty_string() {
    let rows = rows(&csv(|_| ()), "s,n\n,1\n\"\",\"\"\nx,3\n").await;
    assert_eq!(rows, [json!({"s": null, "n": 1}), json!({"s": "", "n": null}), json!({"s": "x", "n": 3})]);
}

#[tokio::test]
async fn declared_types_are_exact_and_override_what_would_be_inferred() {
    let options = declared(&[
        ("id", "string"),
        ("price", "decimal(10,2)"),
        ("day", "date"),
        ("at", "timestamp(us, Europe/Berlin)"),
        ("time", "time"),
        ("small", "int8"),
    ]);
    let text = "id,price,day,at,time,small,other\n7,1.1,2024-02-29,2024-07-01T12:00:00,09:30:00,+5,1\n";
    let (rows, _) = read(&csv_with(|_| (), options), text).await.unwrap();
    assert_eq!(
        types(&rows),
        [
            "id: string",
            "price: decimal(10,2)",
            "day: date",
            "at: timestamp(us, Europe/Berlin)",
            "time: time",
            "small: int8",
            "other: int64"
        ]
    );
    assert_eq!(
        rows_of(&rows)[0],
        json!({"id": "7", "price": "1.10", "day": "2024-02-29", "at": "2024-07-01T12:00:00+02:00",
               "time": "09:30:00", "small": 5, "other": 1})
    );
}

#[tokio::test]
async fn a_bad_row_names_file_line_column_and_value() {
    let options = declared(&[("price", "decimal(10,2)")]);
    let text = "id,price\n1,2.50\n\"2\n\",oops\n3,1,1\n4\n5,1.005\n6,7\n";
    let (rows, rejected) = read(&csv_with(|_| (), options), text).await.unwrap();
    assert_eq!(rows_of(&rows), [json!({"id": "1", "price": "2.50"}), json!({"id": "6", "price": "7.00"})]);
    assert_eq!(
        messages(&rejected),
        [
            "in/file.txt:3: does not fit decimal(10,2) (column: price, value: oops)",
            "in/file.txt:5: expected 2 fields, found 3",
            "in/file.txt:6: expected 2 fields, found 1",
            "in/file.txt:7: does not fit decimal(10,2) (column: price, value: 1.005)",
        ]
    );
    assert_eq!(rejected[0].row, Some(json!("\"2\n\",oops")));
}

#[tokio::test]
async fn bytes_that_are_no_utf_8_are_rejected_with_their_row_only() {
    let (rows, rejected) =
        read(&csv(|_| ()), b"a,b\nx,1\ncaf\xE9,2\ny,3\n".as_slice().to_vec()).await.unwrap();
    assert_eq!(rows.num_rows(), 2);
    assert_eq!(
        messages(&rejected),
        ["in/file.txt:3: invalid UTF-8 (byte 0xe9); set `encoding` if the file has another one"]
    );
}

#[tokio::test]
async fn an_inferred_column_widens_where_later_values_need_it() {
    let reader = csv(|_| ()).with_block_bytes(8);
    let input = input("a.csv", "n,s\n1,1\n2,2\n3,3\n4.5,x\n5,y\n");
    let batches = batches(&reader, &input, &WHOLE, &Position::Start).await.unwrap();
    assert_eq!(types(&batches[0].rows), ["n: int64", "s: int64"]);
    let (rows, rejected) = joined(&batches);
    assert_eq!(types(&rows), ["n: float64", "s: string"]);
    assert_eq!((rows.num_rows(), rejected.len()), (5, 0));
    // Whoever reads on knows it from the start.
    let (rows, _) = read(&reader, "n,s\n6,7\n").await.unwrap();
    assert_eq!(types(&rows), ["n: float64", "s: string"]);
}

#[tokio::test]
async fn a_file_with_its_columns_in_another_order_is_read_by_name() {
    let reader = csv(|_| ());
    rows(&reader, "a,b\n1,x\n").await;
    assert_eq!(rows(&reader, "c,b,a\ntrue,y,2\n").await, [json!({"c": true, "b": "y", "a": 2})]);
}

#[tokio::test]
async fn each_option_changes_what_is_read() {
    type Case<'a> = (&'a str, Box<dyn FnOnce(&mut CsvRead)>, Json, Json);
    let cases: Vec<Case<'_>> = vec![
        (
            "a;b\n1;2\n",
            Box::new(|csv| csv.delimiter = Some(';')),
            json!({"a;b": "1;2"}),
            json!({"a": 1, "b": 2}),
        ),
        (
            "a,b\n'1,2',3\n",
            Box::new(|csv| csv.quote = "'".to_owned()),
            json!(null),
            json!({"a": "1,2", "b": 3}),
        ),
        ("a\n\"1\"\n", Box::new(|csv| csv.quote = String::new()), json!({"a": 1}), json!({"a": "\"1\""})),
        (
            "a\n\"x\\\"y\"\n",
            Box::new(|csv| csv.escape = Some('\\')),
            json!({"a": "x\\y\""}),
            json!({"a": "x\"y"}),
        ),
        ("1,2\n", Box::new(|csv| csv.header = false), json!(null), json!({"column_1": 1, "column_2": 2})),
        (
            "a\nNA\n",
            Box::new(|csv| csv.null_values = vec!["NA".to_owned()]),
            json!({"a": "NA"}),
            json!({"a": null}),
        ),
        ("x\na\n1\n", Box::new(|csv| csv.skip_lines = 1), json!({"x": "a"}), json!({"a": 1})),
        ("a\n#1\n2\n", Box::new(|csv| csv.comment = Some('#')), json!({"a": "#1"}), json!({"a": 2})),
        ("a,b\n1\n", Box::new(|csv| csv.allow_short_rows = true), json!(null), json!({"a": 1, "b": null})),
    ];
    for (text, change, without, with) in cases {
        let (rows, _) = read(&csv(|_| ()), text).await.unwrap();
        assert_eq!(rows_of(&rows).first().cloned().unwrap_or_default(), without, "{text:?}");
        let (rows, _) = read(&csv(change), text).await.unwrap();
        assert_eq!(rows_of(&rows).first().cloned().unwrap_or_default(), with, "{text:?}");
    }
}

#[tokio::test]
async fn other_encodings_become_utf_8_and_can_be_resumed() {
    let text = "name,n\r\ncafé,1\r\nnaïve,2\r\n";
    let expected = [json!({"name": "café", "n": 1}), json!({"name": "naïve", "n": 2})];
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> =
        std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    for (bytes, encoding) in [
        (latin, Encoding::Latin1),
        (little, Encoding::Utf16),
        (big.clone(), Encoding::Utf16),
        (big, Encoding::Utf8),
        (format!("\u{feff}{text}").into_bytes(), Encoding::Utf8),
    ] {
        let reader = csv(|csv| csv.encoding = encoding).with_block_bytes(4);
        let input = input("a.csv", bytes);
        let all = batches(&reader, &input, &WHOLE, &Position::Start).await.unwrap();
        assert_eq!(rows_of(&joined(&all).0), expected, "{encoding:?}");
        let rest = batches(&reader, &input, &WHOLE, &all[0].resume).await.unwrap();
        assert_eq!(rows_of(&joined(&rest).0), expected[1..], "{encoding:?}");
    }
}

#[tokio::test]
async fn a_quote_without_a_partner_is_an_error_and_not_a_very_long_field() {
    let error = read(&csv(|_| ()), "a,b\n1,2\n3,\"4\n5,6\n").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "it ends in the middle of a quoted field after 0 rows (input: in/file.txt); get the whole file, or set \
         `keep_truncated: true` to keep the rows before the end"
    );
    let keeping = ReadOptions { keep_truncated: true, ..ReadOptions::default() };
    let (rows, rejected) = read(&csv_with(|_| (), keeping), "a,b\n1,2\n3,\"4\n5,6\n").await.unwrap();
    assert_eq!(rows_of(&rows), [json!({"a": 1, "b": 2})]);
    assert_eq!(messages(&rejected), ["in/file.txt:3: the input ends in the middle of this record"]);
}

#[tokio::test]
async fn only_the_wanted_columns_are_read() {
    let input = input("a.csv", "a,b,c\n1,oops,3\n");
    let reader = csv_with(|_| (), declared(&[("b", "int64")]));
    let wanted = ["c".to_owned(), "gone".to_owned()];
    let stream = reader.read(&context(), input, &WHOLE, &Position::Start, Some(&wanted));
    let batches: Vec<_> = futures::TryStreamExt::try_collect(stream).await.unwrap();
    let (rows, rejected) = joined(&batches);
    assert_eq!((rows_of(&rows), rejected), (vec![json!({"c": 3})], vec![]));
}

#[tokio::test]
async fn the_schema_comes_from_as_many_rows_as_asked_for() {
    let input = input("a.csv", "a,b\n1,\n2.5,\n");
    for (rows, expected) in [(1, "a: int64"), (2, "a: float64")] {
        let options = ReadOptions { sample_rows: Some(rows), ..ReadOptions::default() };
        let schema = csv_with(|_| (), options).schema(&context(), &input).await.unwrap();
        let empty = arrow::record_batch::RecordBatch::new_empty(schema);
        assert_eq!(types(&empty), [expected, "b: string"]);
    }
}

#[tokio::test]
async fn files_without_rows_give_none() {
    for text in ["", "a,b\n", "a,b", "\n\n"] {
        assert_eq!(rows(&csv(|_| ()), text).await, [] as [Json; 0], "{text:?}");
    }
}
