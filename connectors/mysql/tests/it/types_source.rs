//! Every column type, with nulls and edge values, as Arrow and as what is kept of the type.

use arrow_schema::DataType;
use serde_json::{Value as Json, json};
use towpath_testkit::context;

use crate::support::{Database, batches, json_rows, plan, read_all, request};

/// A type, what it is in Arrow, literals of values, and how these values are shown.
pub(crate) struct Case {
    pub(crate) declared: &'static str,
    pub(crate) arrow: &'static str,
    values: &'static [(&'static str, &'static str)],
}

const fn case(
    declared: &'static str,
    arrow: &'static str,
    values: &'static [(&'static str, &'static str)],
) -> Case {
    Case { declared, arrow, values }
}

/// Values are JSON.
pub(crate) const CASES: &[Case] = &[
    case("tinyint(1)", "Boolean", &[("0", "false"), ("1", "true")]),
    case("tinyint(4)", "Int8", &[("-128", "-128"), ("127", "127")]),
    case("tinyint(3) unsigned", "UInt8", &[("255", "255")]),
    case("smallint(6)", "Int16", &[("-32768", "-32768"), ("32767", "32767")]),
    case("smallint(5) unsigned", "UInt16", &[("65535", "65535")]),
    case("mediumint(9)", "Int32", &[("-8388608", "-8388608"), ("8388607", "8388607")]),
    case("mediumint(8) unsigned", "UInt32", &[("16777215", "16777215")]),
    case("int(11)", "Int32", &[("-2147483648", "-2147483648"), ("2147483647", "2147483647")]),
    case("int(10) unsigned", "UInt32", &[("4294967295", "4294967295")]),
    case("bigint(20)", "Int64", &[("-9223372036854775808", "-9223372036854775808")]),
    case("bigint(20) unsigned", "UInt64", &[("18446744073709551615", "18446744073709551615")]),
    case(
        "decimal(12,2)",
        "Decimal128(12, 2)",
        &[("-9999999999.99", "\"-9999999999.99\""), ("0", "\"0.00\"")],
    ),
    case("decimal(5,0) unsigned", "Decimal128(5, 0)", &[("99999", "\"99999\"")]),
    case("decimal(3,3)", "Decimal128(3, 3)", &[("-0.001", "\"-0.001\"")]),
    case(
        "decimal(65,30)",
        "Decimal256(65, 30)",
        &[(
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "\"-99999999999999999999999999999999999.999999999999999999999999999999\"",
        )],
    ),
    case("float", "Float32", &[("1.5", "1.5"), ("-16777216.5", "-16777216.0")]),
    case("double", "Float64", &[("0.1", "0.1"), ("-1.7976931348623157e308", "-1.7976931348623157e308")]),
    case("bit(1)", "UInt64", &[("b'1'", "1")]),
    case("bit(64)", "UInt64", &[("0xFFFFFFFFFFFFFFFF", "18446744073709551615"), ("b'101'", "5")]),
    case("year(4)", "Int16", &[("1901", "1901"), ("2155", "2155"), ("0", "0")]),
    case("date", "Date32", &[("'1000-01-01'", "\"1000-01-01\""), ("'9999-12-31'", "\"9999-12-31\"")]),
    case(
        "datetime",
        "Timestamp(µs)",
        &[
            ("'1000-01-01 00:00:00'", "\"1000-01-01T00:00:00\""),
            ("'9999-12-31 23:59:59'", "\"9999-12-31T23:59:59\""),
        ],
    ),
    case(
        "datetime(6)",
        "Timestamp(µs)",
        &[("'2024-02-29 12:34:56.000001'", "\"2024-02-29T12:34:56.000001\"")],
    ),
    case(
        "timestamp",
        "Timestamp(µs, \"UTC\")",
        &[
            ("'1970-01-01 00:00:01'", "\"1970-01-01T00:00:01Z\""),
            ("'2038-01-19 03:14:07'", "\"2038-01-19T03:14:07Z\""),
        ],
    ),
    case(
        "timestamp(3)",
        "Timestamp(µs, \"UTC\")",
        &[("'2024-02-29 12:34:56.789'", "\"2024-02-29T12:34:56.789Z\"")],
    ),
    case("time", "Duration(µs)", &[("'-838:59:59'", "\"-PT3020399S\""), ("'00:00:00'", "\"P0D\"")]),
    case("time(6)", "Duration(µs)", &[("'25:00:00.000001'", "\"PT90000.000001S\"")]),
    case("char(10)", "Utf8", &[("'ab '", "\"ab\""), ("''", "\"\"")]),
    case(
        "varchar(200)",
        "Utf8",
        &[("'naïve 🐴 \\\\ \\' \"'", "\"naïve 🐴 \\\\ ' \\\"\""), ("'ab '", "\"ab \"")],
    ),
    case("varchar(20) CHARACTER SET latin1", "Utf8", &[("'Zürich €'", "\"Zürich €\"")]),
    case("varchar(20) CHARACTER SET utf16", "Utf8", &[("'🐴'", "\"🐴\"")]),
    case("tinytext", "Utf8", &[("'t'", "\"t\"")]),
    case("text", "Utf8", &[("''", "\"\"")]),
    case("mediumtext", "Utf8", &[("'m'", "\"m\"")]),
    case("longtext", "Utf8", &[("'l'", "\"l\"")]),
    case("enum('a','it''s','')", "Utf8", &[("'it''s'", "\"it's\""), ("''", "\"\"")]),
    case("set('x','y','z')", "Utf8", &[("'x,z'", "\"x,z\""), ("''", "\"\"")]),
    case("binary(3)", "Binary", &[("x'00ff'", "\"00ff00\"")]),
    case("varbinary(10)", "Binary", &[("x'00ff27'", "\"00ff27\""), ("''", "\"\"")]),
    case("tinyblob", "Binary", &[("x'01'", "\"01\"")]),
    case("blob", "Binary", &[("x'fffe'", "\"fffe\"")]),
    case("mediumblob", "Binary", &[("x'02'", "\"02\"")]),
    case("longblob", "Binary", &[("x'03'", "\"03\"")]),
    case("json", "Utf8", &[("'{\"a\": [1, null]}'", "\"{\\\"a\\\": [1, null]}\"")]),
    case(
        "point",
        "Binary",
        &[("ST_GeomFromText('POINT(1 2)')", "\"0101000000000000000000f03f0000000000000040\"")],
    ),
    case(
        "geometry",
        "Binary",
        &[("ST_GeomFromText('POINT(1 2)', 4326)", "\"0101000020e6100000000000000000f03f0000000000000040\"")],
    ),
];

/// A table `types` with a column `c0`, `c1`, ... of each case, its values, and a row of nulls.
pub(crate) async fn table_of_all_types() -> Database {
    let columns: Vec<String> = CASES
        .iter()
        .enumerate()
        .map(|(index, case)| {
            let null = if case.declared.starts_with("timestamp") { " NULL" } else { "" };
            format!("c{index} {}{null}", case.declared)
        })
        .collect();
    let database =
        Database::with(&[&format!("CREATE TABLE types (id INT PRIMARY KEY, {})", columns.join(", "))]).await;
    for row in 0..=most_values() {
        let values: Vec<&str> =
            CASES.iter().map(|case| case.values.get(row).map_or("NULL", |(literal, _)| literal)).collect();
        database.run(&format!("INSERT INTO types VALUES ({row}, {})", values.join(", "))).await;
    }
    database
}

fn most_values() -> usize {
    CASES.iter().map(|case| case.values.len()).max().unwrap()
}

#[tokio::test]
async fn every_type_comes_with_its_values_and_nulls() {
    let database = table_of_all_types().await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "types" })).await.unwrap();
    let (told, _) = plan(&*source, &cx, &request()).await.unwrap();
    let schema = told.schema.unwrap();
    let rows = json_rows(&batches(&*source, &cx, &request()).await.unwrap());
    assert_eq!(rows.len(), most_values() + 1);
    for (index, case) in CASES.iter().enumerate() {
        let (name, declared) = (format!("c{index}"), case.declared);
        let field = schema.field_with_name(&name).unwrap();
        assert_eq!(field.data_type().to_string(), case.arrow, "{declared}");
        for (row, found) in rows.iter().enumerate() {
            let expected: Json =
                case.values.get(row).map_or(Json::Null, |(_, shown)| serde_json::from_str(shown).unwrap());
            assert_eq!(found[&name], expected, "{declared}, row {row}");
        }
        let kept = &field.metadata()["mysql.type"];
        let expected = declared.split(" CHARACTER").next().unwrap();
        assert_eq!(without_width(kept), without_width(expected));
        let is_json = field.metadata().get("ARROW:extension:name").map(String::as_str) == Some("arrow.json");
        assert_eq!(is_json, declared == "json", "{declared}");
    }
}

/// MySQL 8 does not tell how wide numbers are shown any more.
pub(crate) fn without_width(declared: &str) -> String {
    let has_width = declared.contains("int(") || declared.starts_with("year(");
    match declared.split_once('(').zip(declared.split_once(')')) {
        Some(((name, _), (_, behind))) if has_width && declared != "tinyint(1)" => format!("{name}{behind}"),
        _ => declared.to_owned(),
    }
}

#[tokio::test]
async fn a_type_of_mariadb_alone_is_text() {
    let database = Database::new().await;
    if !database.texts("SELECT VERSION()").await[0][0].contains("MariaDB") {
        println!("this server has no such types");
        return;
    }
    database.run("CREATE TABLE t (id UUID PRIMARY KEY, ip INET6, v4 VARCHAR(15))").await;
    database
        .run(
            "INSERT INTO t VALUES ('123e4567-e89b-12d3-a456-426655440000', '::1', '127.0.0.1'), \
              ('00000000-0000-0000-0000-000000000001', NULL, NULL)",
        )
        .await;
    let rows = read_all(&database, &json!({ "table": "t", "batch_rows": 1 })).await.unwrap();
    assert_eq!(rows.len(), 2);
    let long = rows.iter().find(|row| row["ip"] == "::1").unwrap();
    assert_eq!(long["id"], "123e4567-e89b-12d3-a456-426655440000");
}

#[tokio::test]
async fn a_column_without_nulls_says_so() {
    let database = Database::with(&["CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL, b INT)"]).await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "t" })).await.unwrap();
    let schema = plan(&*source, &cx, &request()).await.unwrap().0.schema.unwrap();
    let nullable: Vec<bool> = schema.fields().iter().map(|field| field.is_nullable()).collect();
    assert_eq!(nullable, [false, false, true]);
}

#[tokio::test]
async fn expressions_of_a_query_get_the_types_that_columns_would_have() {
    let database = Database::new().await;
    let query = "SELECT CAST(1 AS UNSIGNED) AS u, 1.50 AS d, 'text' AS t, NOW(3) AS at, x'00' AS b, NULL AS n, \
        CAST('12:00:00' AS TIME) AS l, 1e0 AS f";
    let cx = context();
    let source = database.source(&cx, &json!({ "query": query })).await.unwrap();
    let schema = plan(&*source, &cx, &request()).await.unwrap().0.schema.unwrap();
    let types: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
    assert!(types[0].is_unsigned_integer(), "{types:?}");
    assert_eq!(types[1].to_string(), "Decimal128(3, 2)");
    assert_eq!((types[2], types[4]), (&DataType::Utf8, &DataType::Binary));
    assert_eq!(types[7], &DataType::Float64);
    let rows = json_rows(&batches(&*source, &cx, &request()).await.unwrap());
    assert_eq!(
        (&rows[0]["d"], &rows[0]["n"], &rows[0]["l"]),
        (&json!("1.50"), &Json::Null, &json!("PT43200S"))
    );
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_rejected_with_its_column_and_value() {
    let database = Database::with(&[
        "CREATE TABLE t (id INT PRIMARY KEY, flag TINYINT(1), day DATE)",
        "INSERT INTO t VALUES (1, 1, '2024-01-01'), (2, 7, '2024-01-02'), (3, 0, '0000-00-00'), (4, 0, '2024-00-07')",
    ])
    .await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "t" })).await.unwrap();
    let batches = batches(&*source, &cx, &request()).await.unwrap();
    assert_eq!(json_rows(&batches), [json!({"id": 1, "flag": true, "day": "2024-01-01"})]);
    let rejected: Vec<_> = batches.iter().flat_map(|batch| &batch.rejected).collect();
    assert_eq!(rejected.len(), 3);
    assert_eq!((rejected[0].column.as_deref(), rejected[0].value.as_deref()), (Some("flag"), Some("7")));
    assert!(rejected[0].reason.contains("tinyint1: int8"));
    assert_eq!(rejected[0].row, Some(json!({"id": 2, "flag": "7", "day": "2024-01-02"})));
    assert_eq!(rejected[1].value.as_deref(), Some("0000-00-00"));
    assert!(rejected[1].reason.contains("zero_dates: null"));
    assert_eq!(rejected[2].value.as_deref(), Some("2024-00-07"));
}
