//! Every type: Postgres -> source -> Parquet -> sink -> Postgres, compared as the server writes it.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;
use tokio_postgres::{Client, SimpleQueryMessage};
use towpath_core::Context;
use towpath_core::WriteDisposition::{self, Append, Merge, Replace};
use towpath_testkit::context;

use crate::load::load_within;
use crate::support::{Database, read_all, request};

/// A type, and values as they are written in SQL.
type Type = (&'static str, &'static [&'static str]);

/// Each type gets a null as well.
const TYPES: &[Type] = &[
    ("boolean", &["true", "false"]),
    ("smallint", &["-32768", "0", "32767"]),
    ("integer", &["-2147483648", "0", "2147483647"]),
    ("bigint", &["-9223372036854775808", "0", "9223372036854775807"]),
    ("oid", &["0", "4294967295"]),
    ("real", &["'NaN'", "'Infinity'", "'-Infinity'", "0.1", "-0.0", "3.4028235e38", "1e-45"]),
    ("double precision", &["'NaN'", "'-Infinity'", "0.1", "-0.0", "1.7976931348623157e308", "5e-324"]),
    ("numeric", &["0", "0.000", "-12.3400", "'NaN'", "1e100", "-1e-50", "12345678901234567890.123456789"]),
    ("numeric(12,2)", &["0", "-0.01", "9999999999.99", "100", "10000", "1234.5"]),
    ("numeric(5,0)", &["0", "99999", "-10000"]),
    ("numeric(38,10)", &["-9999999999999999999999999999.9999999999", "0.0000000001", "1"]),
    ("numeric(60,20)", &["1234567890123456789012345678901234567890.12345678901234567891", "-1e-20", "0"]),
    ("numeric(90,2)", &["1e87", "0.01"]),
    (
        "text",
        &["''", "'a\\b,c'", "E'line\\nend\\ttab'", "'Grüße 🚣'", "repeat('x', 100000)", "'NULL'", "'\\N'"],
    ),
    ("character varying(10)", &["''", "'ten chars.'", "'  '"]),
    ("character(5)", &["''", "'ab'", "'abcde'"]),
    ("name", &["'a name'"]),
    ("citext", &["'MiXed'"]),
    ("bytea", &["''", "'\\x00ff10'", "decode(repeat('00ff', 5000), 'hex')"]),
    ("date", &["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'1999-12-31'", "'9999-12-31'"]),
    ("time without time zone", &["'00:00'", "'23:59:59.999999'", "'24:00'"]),
    ("time(3) without time zone", &["'01:02:03.456'"]),
    ("time with time zone", &["'01:02:03.5+05:30'", "'23:59:59-08'"]),
    (
        "timestamp without time zone",
        &[
            "'infinity'",
            "'-infinity'",
            "'0001-01-01'",
            "'1969-12-31 23:59:59.999999'",
            "'9999-12-31 23:59:59'",
        ],
    ),
    ("timestamp(3) without time zone", &["'2026-01-01 00:00:00.123'"]),
    ("timestamp with time zone", &["'infinity'", "'2026-03-29 02:30:00+01'", "'0044-03-15 BC'"]),
    ("interval", &["'0'", "'1 year -2 months 3 days -04:05:06.789'", "'-1 day'", "'178000000 years'"]),
    ("interval day to second(2)", &["'1 day 00:00:01.23'"]),
    ("uuid", &["'00000000-0000-0000-0000-000000000000'", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"]),
    ("json", &["'{\"b\": 1,  \"a\": [1, null], \"b\": 2}'", "'null'", "'\"text\"'", "' 1.50 '"]),
    ("jsonb", &["'{\"b\": 1.50, \"a\": [1, null, {\"ü\": \"\\u00e9\"}]}'", "'null'", "'[]'", "'1e100'"]),
    ("integer[]", &["'{}'", "'{1,NULL,-3}'", "'{7}'"]),
    ("bigint[]", &["'{9223372036854775807}'"]),
    ("boolean[]", &["'{t,NULL,f}'"]),
    ("text[]", &["'{}'", "ARRAY['a,b', '', NULL, 'NULL', '{x}', '\"q\"', 'back\\slash']"]),
    ("double precision[]", &["'{NaN,0.1}'"]),
    ("numeric(10,2)[]", &["'{1.50,-2,NULL}'"]),
    ("bytea[]", &["ARRAY['\\x00ff'::bytea, '']"]),
    ("date[]", &["'{2026-01-01,infinity}'"]),
    ("timestamp with time zone[]", &["'{2026-01-01 00:00:00Z,NULL}'"]),
    ("uuid[]", &["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"]),
    ("jsonb[]", &["ARRAY['{\"a\": 1}'::jsonb, 'null', NULL]"]),
    ("interval[]", &["ARRAY['1 day'::interval, NULL]"]),
    ("inet[]", &["ARRAY['10.0.0.1'::inet]"]),
    ("mood", &["'glad'", "'so so'"]),
    ("mood[]", &["'{glad,\"so so\",NULL}'"]),
    ("positive", &["1", "12"]),
    ("short", &["'abc'"]),
    ("numeric[]", &["'{1.500,NaN}'"]),
    ("pair", &["ROW(1, 'one')", "ROW(NULL, '')", "ROW(2, 'quote \" comma, (paren)')"]),
    ("nested", &["ROW(ROW(1, 'x')::pair, ARRAY[1,2])"]),
    ("pair[]", &["ARRAY[ROW(1, 'a')::pair, NULL]"]),
    ("int4range", &["'empty'", "'[1,5)'", "'(,3)'"]),
    ("numrange", &["'[1.5,2.50]'"]),
    ("tstzrange", &["'[2026-01-01 00:00Z,)'"]),
    ("int4multirange", &["'{}'", "'{[1,3),[5,8)}'"]),
    ("inet", &["'10.0.0.1'", "'192.168.0.0/16'", "'::1'"]),
    ("cidr", &["'10.0.0.0/8'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"]),
    ("bit(3)", &["B'101'"]),
    ("bit varying", &["B''", "B'1'", "B'10110'"]),
    ("bit varying(7)", &["B'1011'"]),
    ("money", &["'-12.34'", "'92233720368547758.07'"]),
    ("xml", &["'<a b=\"1\">x</a>'", "'just text'"]),
    ("hstore", &["'a=>1, \"b c\"=>NULL'", "''"]),
    ("tsvector", &["'fat:2 cat:3A'::tsvector"]),
    ("tsquery", &["'fat & !cat'"]),
    ("point", &["'(1.5,-2)'"]),
    ("line", &["'{1,2,3}'"]),
    ("lseg", &["'[(0,0),(1,1)]'"]),
    ("box", &["'(1,1),(0,0)'"]),
    ("path", &["'[(0,0),(1,1)]'", "'((0,0),(1,1))'"]),
    ("polygon", &["'((0,0),(1,1),(1,0))'"]),
    ("circle", &["'<(0,0),2>'"]),
    ("pg_lsn", &["'16/B374D848'"]),
];

/// A database with types of its own.
struct Trip {
    database: Database,
    client: Client,
    /// One for all types, which so share their connections.
    cx: Context,
}

/// The rows as they come out of a Parquet file.
fn through_parquet(rows: &RecordBatch) -> RecordBatch {
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap().build().unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    concat_batches(&rows.schema(), &batches).unwrap()
}

/// Types of extensions that a server need not have.
const OF_EXTENSIONS: &[(&str, &[Type])] = &[
    (
        "postgis",
        &[
            ("geometry", &["'SRID=4326;POINT(1.5 -2)'", "'POINT EMPTY'", "'LINESTRING Z (0 0 1, 1 1 2)'"]),
            ("geometry(Point,4326)", &["'SRID=4326;POINT(-71.06 42.28)'"]),
            ("geography(Polygon,4326)", &["'POLYGON((0 0, 1 0, 1 1, 0 0))'"]),
        ],
    ),
    ("vector", &[("vector", &["'[1,2.5]'", "'[-0.1]'"]), ("vector(3)", &["'[0,1e-9,3.4e38]'"])]),
];

impl Trip {
    async fn new() -> Self {
        let database = Database::with(&["CREATE EXTENSION citext; CREATE EXTENSION hstore; \
             CREATE TYPE mood AS ENUM ('glad', 'so so'); \
             CREATE DOMAIN positive AS integer CHECK (VALUE > 0); \
             CREATE DOMAIN short AS character varying(3); \
             CREATE TYPE pair AS (number integer, word text); \
             CREATE TYPE nested AS (first pair, numbers integer[])"])
        .await;
        Self::within(database).await
    }

    async fn within(database: Database) -> Self {
        Self { client: database.client().await, database, cx: context() }
    }

    /// Makes a table of values. All are made before the first is read: what is read is of one moment.
    async fn fill(&self, number: usize, data_type: &str, values: &[&str]) {
        let rows = values.iter().chain(&["NULL"]).enumerate().map(|(id, value)| format!("({id}, {value})"));
        let rows: Vec<_> = rows.collect();
        let make = format!(
            "CREATE TABLE from_{number} (id bigint, v {data_type}); INSERT INTO from_{number} VALUES {}",
            rows.join(", ")
        );
        self.client.batch_execute(&make).await.unwrap();
    }

    /// Type and values of a table, as the server writes them. A domain may become what is below it.
    async fn shown(&self, table: &str) -> Vec<String> {
        let sql = format!(
            "SELECT format_type(coalesce(NULLIF(t.typbasetype, 0), t.oid), CASE t.typtype WHEN 'd' THEN t.typtypmod \
             ELSE a.atttypmod END) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
             WHERE a.attrelid = '{table}'::regclass AND a.attname = 'v'; SELECT v::text FROM {table} ORDER BY id"
        );
        let messages = self.client.simple_query(&sql).await.unwrap();
        let value = |message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        };
        messages.into_iter().filter_map(value).collect()
    }

    /// What went wrong with a type, if anything did.
    async fn broken(&self, number: usize, disposition: WriteDisposition, data_type: &str) -> Option<String> {
        let (from, to) = (format!("from_{number}"), format!("to_{number}"));
        let source = self.database.source(&self.cx, &json!({ "table": from })).await.unwrap();
        let batches = match read_all(&*source, &self.cx, &request()).await {
            Ok(batches) => batches,
            Err(error) => return Some(format!("reading: {error}")),
        };
        if let Some(rejected) = batches.iter().find_map(|batch| batch.rejected.first()) {
            return Some(format!("reading: {rejected}"));
        }
        let schema = batches[0].rows.schema();
        let rows = concat_batches(&schema, batches.iter().map(|batch| &batch.rows)).unwrap();
        let rows = through_parquet(&rows);
        assert_eq!(rows.schema(), schema, "Parquet keeps what is known of {data_type}");
        // The second run finds the column as the first one made it.
        for (run, disposition) in [(1, disposition), (2, Replace)] {
            let options = json!({ "table": to });
            match load_within(&self.cx, &self.database, &options, disposition, run, &rows).await {
                Err(error) => return Some(format!("writing in run {run}: {error}")),
                Ok(rejected) if !rejected.is_empty() => {
                    return Some(format!("writing in run {run}: {}", rejected[0]));
                }
                Ok(_) => {}
            }
        }
        let (sent, came) = (self.shown(&from).await, self.shown(&to).await);
        (sent != came).then(|| format!("{sent:.300?} came as {came:.300?}"))
    }
}

/// Holds each type against what comes back.
async fn survive(disposition: WriteDisposition, types: &[Type]) {
    survive_in(&Trip::new().await, disposition, types).await;
}

async fn survive_in(trip: &Trip, disposition: WriteDisposition, types: &[Type]) {
    for (number, (data_type, values)) in types.iter().enumerate() {
        trip.fill(number, data_type, values).await;
    }
    let mut all = Vec::new();
    for (number, (data_type, _)) in types.iter().enumerate() {
        if let Some(how) = trip.broken(number, disposition, data_type).await {
            all.push(format!("{data_type}: {how}"));
        }
    }
    assert!(all.is_empty(), "{disposition:?}:\n{}", all.join("\n"));
}

#[tokio::test]
async fn every_type_survives_the_way_through_parquet_by_append() {
    survive(Append, TYPES).await;
}

#[tokio::test]
async fn every_type_survives_the_way_through_parquet_by_merge() {
    survive(Merge, TYPES).await;
}

#[tokio::test]
async fn every_type_survives_the_way_through_parquet_by_replace() {
    survive(Replace, TYPES).await;
}

#[tokio::test]
async fn types_of_extensions_survive_the_way_through_parquet() {
    for (extension, types) in OF_EXTENSIONS {
        for disposition in [Append, Merge, Replace] {
            let trip = Trip::within(Database::new().await).await;
            let available = "SELECT count(*) FROM pg_available_extensions WHERE name = ";
            if trip.database.text(&format!("{available}'{extension}'")).await == "0" {
                println!("the server does not have the extension {extension}, so its types are left out");
                continue;
            }
            trip.database.run(&format!("CREATE EXTENSION {extension}")).await;
            survive_in(&trip, disposition, types).await;
        }
    }
}
