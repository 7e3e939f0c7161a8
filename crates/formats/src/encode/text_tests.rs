//! The text formats as others see them.

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_core::ErrorKind;
use towpath_testkit::context;

use crate::encode::copying::Copying;
use crate::samples::{batch, columns, encode, encode_counted, orders};
use crate::{Compression, CsvWrite, Encoder, MemoryInput, MemoryOutput, WriteFormat, WriteOptions};

fn format(format: WriteFormat) -> WriteOptions {
    WriteOptions { format: Some(format), compression: None }
}

fn csv(options: CsvWrite) -> WriteOptions {
    format(WriteFormat::Csv(options))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn strings(name: &str, values: Vec<Option<&str>>) -> RecordBatch {
    batch(name, &(Arc::new(StringArray::from(values)) as ArrayRef))
}

/// What Arrow's own writer makes of rows.
fn by_arrow(rows: &RecordBatch) -> String {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(rows).unwrap();
    text(writer.into_inner())
}

#[tokio::test]
async fn ndjson_is_what_arrow_would_write() {
    for (name, column) in columns() {
        let rows = batch(name, &column);
        let ours = encode(&WriteOptions::default(), "rows.ndjson", std::slice::from_ref(&rows)).await;
        // Arrow quotes no keys but strings, and prints no unions.
        match name {
            "union" => assert_eq!(ours.unwrap_err().kind(), ErrorKind::SchemaMismatch),
            "map_of_numbers" => {
                let first = text(ours.unwrap()).lines().next().unwrap().to_owned();
                assert_eq!(first, r#"{"map_of_numbers":{"0":"v","1":"v"}}"#);
            }
            // Floating numbers differ in notation, not in value.
            "float32" | "float64" => {
                let values =
                    |lines: String| lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                let (ours, theirs): (Vec<Value>, Vec<Value>) =
                    (values(text(ours.unwrap())), values(by_arrow(&rows)));
                assert_eq!(ours, theirs, "{name}");
            }
            _ => assert_eq!(text(ours.unwrap()), by_arrow(&rows), "{name}"),
        }
    }
}

#[tokio::test]
async fn strings_are_escaped_as_json_demands() {
    let all: String = (0..0x80_u8).map(char::from).collect();
    let rows = strings("all \"of\" them", vec![Some(&all), Some("plain"), Some("tail\\"), Some("é\u{7f}")]);
    let ours = text(encode(&WriteOptions::default(), "x.jsonl", std::slice::from_ref(&rows)).await.unwrap());
    assert_eq!(ours, by_arrow(&rows));
}

#[tokio::test]
async fn numbers_that_are_not_finite_are_null_in_json_and_named_in_csv() {
    let values: ArrayRef =
        Arc::new(Float64Array::from(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e21]));
    let rows = [batch("x", &values)];
    let ndjson = text(encode(&WriteOptions::default(), "x.ndjson", &rows).await.unwrap());
    assert_eq!(ndjson, "{\"x\":null}\n{\"x\":null}\n{\"x\":null}\n{\"x\":1e+21}\n");
    let csv = text(encode(&WriteOptions::default(), "x.csv", &rows).await.unwrap());
    assert_eq!(csv, "x\nNaN\ninf\n-inf\n1e+21\n");
}

#[tokio::test]
async fn a_json_array_holds_all_rows_of_all_blocks() {
    let rows = orders(70_000);
    let document =
        encode(&WriteOptions::default(), "x.json", &[rows.slice(0, 1), rows.slice(1, 69_999)]).await.unwrap();
    let values: Vec<Value> = serde_json::from_slice(&document).unwrap();
    assert_eq!(values.len(), 70_000);
    assert_eq!(values[69_999]["id"], 69_999);
    assert_eq!(values[14]["price"], json!(null));
    let empty =
        encode_counted(&context(), &WriteOptions::default(), "x.json", &rows.schema(), &[]).await.unwrap();
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&empty.1).unwrap(), [] as [Value; 0]);
}

#[tokio::test]
async fn text_is_the_same_whatever_the_batches() {
    let rows = orders(50_000);
    let cuts = [vec![50_000], vec![1, 49_999], vec![7; 50], vec![25_000, 0, 25_000], vec![9_999; 5]];
    for name in ["x.ndjson", "x.csv", "x.json", "x.tsv"] {
        let whole = encode(&WriteOptions::default(), name, std::slice::from_ref(&rows)).await.unwrap();
        for cut in &cuts {
            let mut start = 0;
            let mut batches: Vec<_> = cut
                .iter()
                .map(|length| {
                    start += length;
                    rows.slice(start - length, *length)
                })
                .collect();
            batches.push(rows.slice(start, 50_000 - start));
            assert!(
                encode(&WriteOptions::default(), name, &batches).await.unwrap() == whole,
                "{name} {cut:?}"
            );
        }
    }
}

#[tokio::test]
async fn csv_quotes_only_where_it_must() {
    let rows = RecordBatch::try_from_iter_with_nullable([
        (
            "a,b",
            Arc::new(StringArray::from(vec![Some("plain"), Some("a,b"), Some("say \"x\""), Some(""), None]))
                as ArrayRef,
            true,
        ),
        ("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(-3), Some(4), Some(5)])) as ArrayRef, true),
    ])
    .unwrap();
    let written = text(encode(&WriteOptions::default(), "x.csv", std::slice::from_ref(&rows)).await.unwrap());
    assert_eq!(written, "\"a,b\",n\nplain,1\n\"a,b\",\n\"say \"\"x\"\"\",-3\n\"\",4\n,5\n");
}

#[tokio::test]
async fn each_option_of_csv_changes_what_is_written() {
    let rows = [RecordBatch::try_from_iter_with_nullable([
        ("t", Arc::new(StringArray::from(vec![Some("a;b'c"), None, Some("NA")])) as ArrayRef, true),
        ("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(-1)])) as ArrayRef, true),
    ])
    .unwrap()];
    let written = async |options| text(encode(&csv(options), "x", &rows).await.unwrap());
    assert_eq!(written(CsvWrite::default()).await, "t,n\na;b'c,1\n,\nNA,-1\n");
    let options = CsvWrite { delimiter: Some(';'), ..CsvWrite::default() };
    assert_eq!(written(options).await, "t;n\n\"a;b'c\";1\n;\nNA;-1\n");
    let options = CsvWrite { quote: '\'', ..CsvWrite::default() };
    assert_eq!(written(options).await, "t,n\n'a;b''c',1\n,\nNA,-1\n");
    let options = CsvWrite { header: false, ..CsvWrite::default() };
    assert_eq!(written(options).await, "a;b'c,1\n,\nNA,-1\n");
    let options = CsvWrite { null_value: "NA".into(), ..CsvWrite::default() };
    assert_eq!(written(options).await, "t,n\na;b'c,1\nNA,NA\n\"NA\",-1\n");
    let options = CsvWrite { null_value: "-1".into(), ..CsvWrite::default() };
    assert_eq!(written(options).await, "t,n\na;b'c,1\n-1,-1\nNA,\"-1\"\n");
    let tsv = format(WriteFormat::Tsv(CsvWrite::default()));
    assert_eq!(text(encode(&tsv, "x", &rows).await.unwrap()), "t\tn\na;b'c\t1\n\t\nNA\t-1\n");
    // A number can hold the delimiter too.
    let options = CsvWrite { delimiter: Some('-'), ..CsvWrite::default() };
    assert_eq!(written(options).await, "t-n\na;b'c-1\n-\nNA-\"-1\"\n");
}

#[tokio::test]
async fn options_of_csv_that_cannot_work_are_refused() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    for (options, expected) in [
        (CsvWrite { delimiter: Some('é'), ..CsvWrite::default() }, "`delimiter` must be one ASCII character"),
        (CsvWrite { quote: '\n', ..CsvWrite::default() }, "`quote` must be one ASCII character"),
        (CsvWrite { delimiter: Some('"'), ..CsvWrite::default() }, "are the same character"),
        (CsvWrite { null_value: "a,b".into(), ..CsvWrite::default() }, "`null_value` holds the delimiter"),
    ] {
        let encoder = Encoder::new(&csv(options), "x", &schema, &context(), crate::MemoryOutput::default());
        let error = encoder.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_row_of_one_empty_field_is_no_blank_line() {
    let rows = strings("a", vec![Some("x"), None, Some("")]);
    let written = text(encode(&WriteOptions::default(), "x.csv", &[rows]).await.unwrap());
    assert_eq!(written, "a\nx\n\"\"\n\"\"\n");
}

#[tokio::test]
async fn csv_carries_scalars_and_refuses_nested_columns() {
    for (name, column) in columns() {
        let written = encode(&WriteOptions::default(), "x.csv", &[batch(name, &column)]).await;
        let nested = crate::plain::plain_type(column.data_type()).is_nested();
        match written {
            Ok(written) => {
                assert!(!nested, "{name}");
                assert!(text(written).lines().count() > column.len(), "{name}");
            }
            Err(error) => {
                assert!(nested, "{name}: {error}");
                let message = error.to_string();
                assert!(
                    message.starts_with(&format!("CSV cannot hold the column `{name}` of type ")),
                    "{message}"
                );
                assert!(
                    message.ends_with("; flatten it, or cast it to string, which makes JSON text of it"),
                    "{message}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_date_that_no_calendar_has_names_its_column() {
    let far: ArrayRef = Arc::new(arrow::array::Date32Array::from(vec![0, i32::MAX]));
    for name in ["x.csv", "x.ndjson"] {
        let error = encode(&WriteOptions::default(), name, &[batch("day", &far)]).await.unwrap_err();
        let expected = "the value 2147483647 is out of the range of dates and times (column: day)";
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn no_rows_are_still_a_file() {
    let schema = orders(1).schema();
    for (name, expected) in [("x.csv", "id,price,name,day,at\n"), ("x.ndjson", ""), ("x.json", "[\n]\n")] {
        let (encoded, bytes) =
            encode_counted(&context(), &WriteOptions::default(), name, &schema, &[]).await.unwrap();
        assert_eq!(encoded.rows, 0);
        assert_eq!(text(bytes), expected);
    }
}

#[tokio::test]
async fn rows_and_bytes_are_counted() {
    let rows = orders(10_000);
    let options = WriteOptions { format: Some(WriteFormat::Ndjson), compression: Some(Compression::Gzip) };
    let (encoded, bytes) =
        encode_counted(&context(), &options, "x", &rows.schema(), &[rows.clone(), rows]).await.unwrap();
    assert_eq!(encoded.rows, 20_000);
    assert_eq!(encoded.bytes, bytes.len() as u64);
}

#[tokio::test]
async fn lines_of_another_file_are_appended_without_its_head() {
    let rows = orders(3);
    for (name, joins) in [
        ("x.csv", true),
        ("x.ndjson", true),
        ("x.ndjson.gz", true),
        ("x.csv.gz", false),
        ("x.json", false),
        ("x.ndjson.zz", false),
        ("x.avro", false),
    ] {
        let options = WriteOptions::default();
        let segment = encode(&options, name, std::slice::from_ref(&rows)).await.unwrap();
        let segment = Arc::new(MemoryInput::new("segment", segment));
        let mut encoder =
            Encoder::new(&options, name, &rows.schema(), &context(), MemoryOutput::default()).unwrap();
        for _ in 0..2 {
            assert_eq!(encoder.append(segment.clone()).await.unwrap(), joins, "{name}");
            encoder.write(rows.clone()).await.unwrap();
        }
        if joins && !name.ends_with("gz") {
            let joined = encoder.finish().await.unwrap().1.into_bytes();
            let at_once = encode(&options, name, &vec![rows.clone(); 4]).await.unwrap();
            assert_eq!(joined, at_once, "{name}");
        }
    }
}

#[tokio::test]
async fn an_output_that_copies_leaves_the_head_of_further_files_out() {
    let rows = orders(3);
    let options = WriteOptions::default();
    for (name, head) in [("x.csv", 1), ("x.ndjson", 0)] {
        let segment = encode(&options, name, std::slice::from_ref(&rows)).await.unwrap();
        let head: usize = segment.split_inclusive(|byte| *byte == b'\n').take(head).map(<[u8]>::len).sum();
        let (head, size) = (head as u64, segment.len() as u64);
        let segment = Arc::new(MemoryInput::new("segment", segment));
        let output = Copying::default();
        let copied = output.copied.clone();
        let mut encoder = Encoder::new(&options, name, &rows.schema(), &context(), output).unwrap();
        for _ in 0..2 {
            assert!(encoder.append(segment.clone()).await.unwrap());
            encoder.write(rows.clone()).await.unwrap();
        }
        let joined = encoder.finish().await.unwrap().1.output.into_bytes();
        assert_eq!(joined, encode(&options, name, &vec![rows.clone(); 4]).await.unwrap(), "{name}");
        assert_eq!(*copied.lock().unwrap(), [0..size, head..size], "{name}");
    }
}
