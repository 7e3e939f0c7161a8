use arrow::array::{Array, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow_avro::compression::CompressionCodec;
use arrow_avro::writer::{AvroWriter, WriterBuilder};
use serde_json::json;
use towpath_core::ErrorKind;
use towpath_testkit::context;

use super::*;
use crate::columnar::Columnar;
use crate::columnar::reading::*;
use crate::samples::{batch, columns, encode, encode_counted, orders};
use crate::{MemoryInput, WriteOptions};

const AVRO: Columnar = Columnar::Avro;

/// A file with a block for each of so many rows.
fn file(rows: &RecordBatch, block: usize, codec: Option<CompressionCodec>) -> Vec<u8> {
    let schema = rows.schema().as_ref().clone();
    let mut writer: AvroWriter<Vec<u8>> =
        WriterBuilder::new(schema).with_compression(codec).build(Vec::new()).unwrap();
    for start in (0..rows.num_rows()).step_by(block) {
        writer.write(&rows.slice(start, block.min(rows.num_rows() - start))).unwrap();
    }
    writer.into_inner()
}

/// Rows without the metadata that Avro adds to columns.
fn assert_same_columns(found: &RecordBatch, expected: &RecordBatch) {
    assert_eq!(found.columns(), expected.columns());
    let names = |rows: &RecordBatch| {
        rows.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(found), names(expected));
}

#[tokio::test]
async fn every_type_comes_in_its_plain_layout() {
    for (name, column) in columns() {
        let Ok(bytes) = encode(&WriteOptions::default(), "x.avro", &[batch(name, &column)]).await else {
            continue;
        };
        let found = read_rows(AVRO, input(&bytes)).await.unwrap();
        let data_type = found.column(0).data_type();
        assert_eq!(data_type, &crate::plain::plain_type(data_type), "{name}");
        assert_eq!(found.column(0), &cast(&column, data_type).unwrap(), "{name}");
    }
}

#[tokio::test]
async fn a_file_is_read_on_from_every_position() {
    let rows = orders(60_000);
    for codec in [None, Some(CompressionCodec::Snappy), Some(CompressionCodec::ZStandard)] {
        let (found, pieces) = resumed(AVRO, &file(&rows, 700, codec), 1).await;
        assert_same_columns(&found, &rows);
        assert_eq!(pieces, 1);
    }
    let (found, _) = resumed(AVRO, &file(&rows, 60_000, None), 1).await;
    assert_same_columns(&found, &rows);
}

#[tokio::test]
async fn a_position_may_be_within_a_batch() {
    let bytes = file(&orders(1_000), 400, None);
    for row in [0, 1, 399, 400, 401, 999] {
        let from = Position::At(json!({ "block": 0, "row": row }));
        let found = read_batches(AVRO, input(&bytes), &whole(), from).await.unwrap();
        assert_eq!(found.iter().map(|batch| batch.rows.num_rows()).sum::<usize>(), 1_000 - row);
    }
}

#[tokio::test]
async fn only_wanted_columns_are_given() {
    let rows = orders(1_000);
    let wanted = ["day".to_owned(), "id".to_owned()];
    let bytes = file(&rows, 300, None);
    let found = read(&context(), input(&bytes), &whole(), Position::Start, Some(&wanted));
    let found: Vec<_> = found.try_collect().await.unwrap();
    let found = concat_batches(&found[0].rows.schema(), found.iter().map(|batch| &batch.rows)).unwrap();
    assert_same_columns(&found, &rows.project(&[0, 3]).unwrap());
}

#[tokio::test]
async fn a_body_of_unknown_length_is_read_whole() {
    let rows = orders(1_000);
    let body: Arc<dyn Input> = Arc::new(Endless(MemoryInput::new("http://x/y", file(&rows, 300, None))));
    assert_same_columns(&read_rows(AVRO, body).await.unwrap(), &rows);
}

#[tokio::test]
async fn a_file_without_rows_has_columns() {
    let schema = orders(1).schema();
    let (_, bytes) =
        encode_counted(&context(), &WriteOptions::default(), "x.avro", &schema, &[]).await.unwrap();
    assert_eq!(read_rows(AVRO, input(&bytes)).await.unwrap().num_rows(), 0);
}

#[tokio::test]
async fn what_is_not_avro_says_so() {
    let bytes = file(&orders(10), 10, None);
    for (bytes, expected) in [
        (&b""[..], "it is not Avro: its header cannot be read (input: rows.data)"),
        (b"id,name\n1,x\n", "it is not Avro: it does not begin with Obj (input: rows.data)"),
        (&bytes[..40], "it is not Avro: its header cannot be read (input: rows.data)"),
        (&bytes[..bytes.len() - 1], "the file ends within a block (block: "),
    ] {
        let error = read_rows(AVRO, input(bytes)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataInvalid);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn broken_files_are_errors() {
    assert_broken_inputs_are_errors(AVRO, &file(&orders(100), 30, None)).await;
    assert_broken_inputs_are_errors(AVRO, &file(&orders(100), 30, Some(CompressionCodec::Deflate))).await;
}
