//! Which column each type becomes, and how its values look in it.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};
use serde_json::json;
use towpath_core::{Batch, Json};
use towpath_testkit::context;

use crate::support::{Database, json_rows, read_all, request};

async fn database() -> Database {
    Database::with(&[
        "CREATE EXTENSION citext",
        "CREATE EXTENSION hstore",
        "CREATE TYPE mood AS ENUM ('glad', 'so so')",
        "CREATE DOMAIN positive AS numeric(6,2) CHECK (VALUE > 0)",
        "CREATE TYPE pair AS (number integer, word text)",
    ])
    .await
}

async fn rows(database: &Database, options: &Json) -> Vec<Batch> {
    let cx = context();
    let source = database.source(&cx, options).await.unwrap();
    read_all(&*source, &cx, &request()).await.unwrap_or_else(|error| panic!("{options}: {error}"))
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// Type, value, column, value in it, and what the field says of the type.
fn with_columns_of_their_own() -> Vec<(&'static str, &'static str, DataType, Json)> {
    let microseconds = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let pair = DataType::Struct(Fields::from(vec![
        Field::new("number", DataType::Int32, true),
        Field::new("word", DataType::Utf8, true),
    ]));
    vec![
        ("boolean", "true", DataType::Boolean, json!(true)),
        ("smallint", "-32768", DataType::Int16, json!(-32768)),
        ("integer", "2147483647", DataType::Int32, json!(2_147_483_647)),
        ("bigint", "-9223372036854775808", DataType::Int64, json!(i64::MIN)),
        ("oid", "4294967295", DataType::UInt32, json!(u32::MAX)),
        ("real", "'NaN'", DataType::Float32, json!("NaN")),
        ("double precision", "0.1", DataType::Float64, json!(0.1)),
        ("numeric(12,2)", "-1234567890.5", DataType::Decimal128(12, 2), json!("-1234567890.50")),
        ("numeric(4,6)", "0.000001", DataType::Decimal128(6, 6), json!("0.000001")),
        ("numeric(40,1)", "1e38", DataType::Decimal256(40, 1), json!(format!("1{}.0", "0".repeat(38)))),
        ("numeric", "-0.50", DataType::Utf8, json!("-0.50")),
        ("numeric", "'NaN'", DataType::Utf8, json!("NaN")),
        ("text", "'Grüße 🚣'", DataType::Utf8, json!("Grüße 🚣")),
        ("character varying(9)", "''", DataType::Utf8, json!("")),
        ("character(4)", "'ab'", DataType::Utf8, json!("ab  ")),
        ("name", "'n'", DataType::Utf8, json!("n")),
        ("citext", "'MiXed'", DataType::Utf8, json!("MiXed")),
        ("mood", "'so so'", DataType::Utf8, json!("so so")),
        ("xml", "'<a/>'", DataType::Utf8, json!("<a/>")),
        ("bytea", "'\\x00ff'", DataType::Binary, json!("00ff")),
        ("date", "'1969-12-31'", DataType::Date32, json!("1969-12-31")),
        (
            "time without time zone",
            "'23:59:59.999999'",
            DataType::Time64(TimeUnit::Microsecond),
            json!("23:59:59.999999"),
        ),
        (
            "timestamp without time zone",
            "'1999-12-31 23:59:59.5'",
            microseconds(None),
            json!("1999-12-31T23:59:59.500"),
        ),
        (
            "timestamp with time zone",
            "'2026-01-01 02:00+02'",
            microseconds(Some("UTC")),
            json!("2026-01-01T00:00:00Z"),
        ),
        (
            "uuid",
            "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
            DataType::Utf8,
            json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ),
        ("json", "'{\"b\":  1}'", DataType::Utf8, json!("{\"b\":  1}")),
        ("jsonb", "'{\"b\":  1}'", DataType::Utf8, json!("{\"b\": 1}")),
        ("integer[]", "'{1,NULL}'", list(DataType::Int32), json!([1, null])),
        ("text[]", "'{}'", list(DataType::Utf8), json!([])),
        ("numeric(9,1)[]", "'{1.5}'", list(DataType::Decimal128(9, 1)), json!(["1.5"])),
        ("mood[]", "'{glad}'", list(DataType::Utf8), json!(["glad"])),
        ("positive", "1.5", DataType::Decimal128(6, 2), json!("1.50")),
        ("pair", "ROW(1, NULL)", pair.clone(), json!({"number": 1, "word": null})),
        ("pair[]", "ARRAY[ROW(1, 'a')::pair, NULL]", list(pair), json!([{"number": 1, "word": "a"}, null])),
    ]
}

/// Types that come as the server writes them.
const AS_TEXT: &[(&str, &str, &str)] = &[
    ("interval", "'1 year -2 days 03:04:05.5'", "P1Y-2DT3H4M5.5S"),
    ("time with time zone", "'01:02:03+05:30'", "01:02:03+05:30"),
    ("int4range", "'[1,4]'", "[1,5)"),
    ("int4multirange", "'{[1,2),[4,5)}'", "{[1,2),[4,5)}"),
    ("inet", "'10.0.0.1/8'", "10.0.0.1/8"),
    ("cidr", "'10.0.0.0/8'", "10.0.0.0/8"),
    ("macaddr", "'08:00:2b:01:02:03'", "08:00:2b:01:02:03"),
    ("bit(3)", "B'101'", "101"),
    ("bit varying", "B'1'", "1"),
    ("money", "'-12.34'", "-$12.34"),
    ("hstore", "'a=>1'", "\"a\"=>\"1\""),
    ("tsvector", "'b a'", "'a' 'b'"),
    ("point", "'(1,2)'", "(1,2)"),
    ("box", "'(1,1),(0,0)'", "(1,1),(0,0)"),
    ("pg_lsn", "'0/1'", "0/1"),
    ("int2vector", "'1 2'", "1 2"),
    ("inet[]", "'{10.0.0.1}'", "{10.0.0.1}"),
    ("interval[]", "'{1 day}'", "{P1D}"),
];

async fn becomes(database: &Database, data_type: &str, sql: &str, column: &DataType, value: &Json) {
    database.run(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t (v {data_type})")).await;
    database.run(&format!("INSERT INTO t VALUES ({sql}), (NULL)")).await;
    let batches = rows(database, &json!({ "table": "t" })).await;
    let schema = batches[0].rows.schema();
    let field = schema.field(0);
    assert_eq!((field.data_type(), field.is_nullable()), (column, true), "{data_type}");
    // The server says of a domain what it is made of.
    let known_as = if data_type == "positive" { "numeric(6,2)" } else { data_type };
    assert_eq!(field.metadata()["postgres.type"], known_as);
    let is_json = field.metadata().get("ARROW:extension:name").is_some_and(|name| name == "arrow.json");
    assert_eq!(is_json, data_type.starts_with("json"), "{data_type}");
    assert_eq!(json_rows(&batches), [json!({ "v": value }), json!({ "v": null })], "{data_type}");
    assert!(batches.iter().all(|batch| batch.rejected.is_empty()));
}

#[tokio::test]
async fn every_type_has_its_column_and_its_values_are_the_same_there() {
    let database = database().await;
    for (data_type, sql, column, value) in with_columns_of_their_own() {
        becomes(&database, data_type, sql, &column, &value).await;
    }
    for (data_type, sql, text) in AS_TEXT {
        becomes(&database, data_type, sql, &DataType::Utf8, &json!(text)).await;
    }
}

#[tokio::test]
async fn arrays_are_nested_as_deep_as_declared_and_others_are_rejected_or_text() {
    let database = Database::with(&[
        "CREATE TABLE t (id int, v integer[][])",
        "INSERT INTO t VALUES (1, '{{1,2},{3,NULL}}'), (2, '{}'), (3, NULL), (4, '{7}'), (5, '[0:0][1:1]={{9}}')",
    ])
    .await;
    let batches = rows(&database, &json!({ "table": "t" })).await;
    let expected =
        [json!({"id": 1, "v": [[1, 2], [3, null]]}), json!({"id": 2, "v": []}), json!({"id": 3, "v": null})];
    assert_eq!(json_rows(&batches), expected);
    let rejected: Vec<_> = batches.iter().flat_map(|batch| &batch.rejected).collect();
    assert_eq!(rejected.len(), 2);
    for (rejected, id) in rejected.iter().zip([4, 5]) {
        assert_eq!(rejected.row.as_ref().unwrap()["id"], id);
        assert_eq!(rejected.column.as_deref(), Some("v"));
        assert!(rejected.to_string().contains("arrays: text"), "{rejected}");
    }
    let texts = json_rows(&rows(&database, &json!({ "table": "t", "arrays": "text" })).await);
    assert_eq!(texts[4], json!({"id": 5, "v": "[0:0][1:1]={{9}}"}));
    assert_eq!(texts.len(), 5);
}

#[tokio::test]
async fn a_number_that_no_decimal_holds_is_rejected_or_read_by_option() {
    let database = Database::with(&[
        "CREATE TABLE t (id int, v numeric(6,2))",
        "INSERT INTO t VALUES (1, 1.5), (2, 'NaN'), (3, 2)",
    ])
    .await;
    let batches = rows(&database, &json!({ "table": "t" })).await;
    assert_eq!(json_rows(&batches), [json!({"id": 1, "v": "1.50"}), json!({"id": 3, "v": "2.00"})]);
    let text = batches[0].rejected[0].to_string();
    assert!(text.contains("NaN") && text.contains("numeric: text"), "{text}");
    for (numeric, one, nan) in [("text", json!("1.50"), "NaN"), ("float64", json!(1.5), "NaN")] {
        let read = json_rows(&rows(&database, &json!({ "table": "t", "numeric": numeric })).await);
        assert_eq!(read[..2], [json!({"id": 1, "v": one}), json!({"id": 2, "v": nan})], "{numeric}");
    }
}

#[tokio::test]
async fn a_table_without_columns_and_one_without_rows_are_read() {
    let database = Database::with(&["CREATE TABLE none ()", "CREATE TABLE empty (id int)"]).await;
    database.run("INSERT INTO none DEFAULT VALUES").await;
    let count = async |table: &str| {
        let batches = rows(&database, &json!({ "table": table })).await;
        batches.iter().map(|batch| batch.rows.num_rows()).sum::<usize>()
    };
    assert_eq!((count("none").await, count("empty").await), (1, 0));
}
