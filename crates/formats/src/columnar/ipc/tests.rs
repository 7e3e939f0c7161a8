use arrow::array::{Array, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use serde_json::json;
use towpath_core::ErrorKind;
use towpath_testkit::context;

use super::*;
use crate::MemoryInput;
use crate::columnar::Columnar;
use crate::columnar::reading::*;
use crate::samples::{batch, columns, orders};

const ARROW: Columnar = Columnar::Arrow;

fn file(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &batches[0].schema(), options).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

fn cut(rows: &RecordBatch, size: usize) -> Vec<RecordBatch> {
    let starts = (0..rows.num_rows()).step_by(size);
    starts.map(|start| rows.slice(start, size.min(rows.num_rows() - start))).collect()
}

#[tokio::test]
async fn every_type_comes_in_its_plain_layout_from_files_and_streams() {
    for (name, column) in columns() {
        let plain = crate::plain::plain_type(column.data_type());
        let expected =
            if plain == *column.data_type() { column.clone() } else { cast(&column, &plain).unwrap() };
        let rows = [batch(name, &column)];
        for bytes in [file(&rows, None), file(&rows, Some(CompressionType::ZSTD)), stream(&rows)] {
            let found = read_rows(ARROW, input(&bytes)).await.unwrap();
            assert_eq!(found.column(0), &expected, "{name}");
        }
    }
}

#[tokio::test]
async fn files_and_streams_are_read_on_from_every_position() {
    let rows = orders(150_000);
    let batches =
        [&cut(&rows.slice(0, 1_000), 300)[..], &[rows.slice(1_000, 0), rows.slice(1_000, 149_000)]].concat();
    let (found, pieces) = resumed(ARROW, &file(&batches, None), 1).await;
    assert_eq!((found, pieces), (rows.clone(), 6));
    let (found, pieces) = resumed(ARROW, &file(&batches, Some(CompressionType::LZ4_FRAME)), u64::MAX).await;
    assert_eq!((found, pieces), (rows.clone(), 1));
    let (found, pieces) = resumed(ARROW, &stream(&batches), 1).await;
    assert_eq!((found, pieces), (rows, 1));
}

#[tokio::test]
async fn a_position_may_be_within_a_record_batch() {
    let batches = cut(&orders(1_000), 400);
    for bytes in [file(&batches, None), stream(&batches)] {
        for (record_batch, row) in [(0, 0), (0, 399), (0, 400), (2, 199)] {
            let from = Position::At(json!({ "record_batch": record_batch, "row": row }));
            let found = read_batches(ARROW, input(&bytes), &whole(), from).await.unwrap();
            let found: usize = found.iter().map(|batch| batch.rows.num_rows()).sum();
            assert_eq!(found, 1_000 - record_batch * 400 - row, "{record_batch} {row}");
        }
    }
}

#[tokio::test]
async fn only_wanted_columns_are_given() {
    let rows = orders(1_000);
    let wanted = ["day".to_owned(), "id".to_owned()];
    let expected = rows.project(&[0, 3]).unwrap();
    for bytes in [file(&cut(&rows, 300), None), stream(&cut(&rows, 300))] {
        let found: Vec<_> = read(&context(), input(&bytes), &whole(), Position::Start, Some(&wanted))
            .try_collect()
            .await
            .unwrap();
        assert_eq!(
            concat_batches(&expected.schema(), found.iter().map(|batch| &batch.rows)).unwrap(),
            expected
        );
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_read_whole() {
    let rows = orders(1_000);
    for bytes in [file(&cut(&rows, 300), None), stream(&cut(&rows, 300))] {
        let body: Arc<dyn Input> = Arc::new(Endless(MemoryInput::new("http://x/y", bytes)));
        assert_eq!(read_rows(ARROW, body).await.unwrap(), rows);
    }
}

#[tokio::test]
async fn no_rows_are_columns_still() {
    let none = orders(1).slice(0, 0);
    for bytes in [file(std::slice::from_ref(&none), None), stream(std::slice::from_ref(&none))] {
        assert_eq!(read_rows(ARROW, input(&bytes)).await.unwrap(), none);
    }
}

#[tokio::test]
async fn what_is_not_arrow_says_so() {
    let bytes = file(&[orders(10)], None);
    let cut_off = &bytes[..bytes.len() - 1];
    for (bytes, expected) in [
        (&b""[..], "it is not Arrow: it has no columns (input: rows.data)"),
        (b"id,name\n1,x\n", "it ends within a record batch (input: rows.data)"),
        (cut_off, "it is not an Arrow file: it does not end with ARROW1 (input: rows.data)"),
    ] {
        let error = read_rows(ARROW, input(bytes)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataInvalid);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn broken_files_and_streams_are_errors() {
    let batches = cut(&orders(50), 20);
    assert_broken_inputs_are_errors(ARROW, &file(&batches, None)).await;
    assert_broken_inputs_are_errors(ARROW, &stream(&batches)).await;
}
