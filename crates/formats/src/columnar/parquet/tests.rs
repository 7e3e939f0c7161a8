use std::sync::atomic::Ordering;

use arrow::array::{Array, RecordBatch};
use arrow::compute::cast;
use serde_json::json;
use towpath_core::ErrorKind;
use towpath_testkit::context;

use super::*;
use crate::columnar::Columnar;
use crate::columnar::reading::*;
use crate::samples::{batch, columns, encode, encode_counted, orders};
use crate::{MemoryInput, ParquetWrite, WriteFormat, WriteOptions};

const PARQUET: Columnar = Columnar::Parquet;

async fn file(rows: &RecordBatch, row_group_rows: usize) -> Vec<u8> {
    let parquet = ParquetWrite { row_group_rows, ..ParquetWrite::default() };
    let options = WriteOptions { format: Some(WriteFormat::Parquet(parquet)), compression: None };
    encode(&options, "x", std::slice::from_ref(rows)).await.unwrap()
}

#[tokio::test]
async fn every_type_comes_in_its_plain_layout() {
    for (name, column) in columns() {
        let Ok(bytes) = encode(&WriteOptions::default(), "x.parquet", &[batch(name, &column)]).await else {
            continue;
        };
        let found = read_rows(PARQUET, input(&bytes)).await.unwrap();
        let data_type = found.column(0).data_type();
        assert_eq!(data_type, &crate::plain::plain_type(data_type), "{name}");
        assert_eq!(found.column(0), &cast(&column, data_type).unwrap(), "{name}");
    }
}

#[tokio::test]
async fn a_piece_is_read_on_from_every_position() {
    let rows = orders(150_000);
    let bytes = file(&rows, 60_000).await;
    let (found, pieces) = resumed(PARQUET, &bytes, 1).await;
    assert_eq!(found, rows);
    assert_eq!(pieces, 3);
    let (found, pieces) = resumed(PARQUET, &bytes, u64::MAX).await;
    assert_eq!(found, rows);
    assert_eq!(pieces, 1);
    let batches = read_batches(PARQUET, input(&bytes), &whole(), Position::Start).await.unwrap();
    assert!(batches.len() > 3, "row groups have several batches");
}

#[tokio::test]
async fn a_position_may_be_within_a_batch() {
    let rows = orders(1_000);
    let bytes = file(&rows, 400).await;
    for (row_group, row) in [(0, 0), (0, 399), (0, 400), (1, 1), (2, 199), (2, 200), (3, 0)] {
        let from = Position::At(json!({ "row_group": row_group, "row": row }));
        let found = read_batches(PARQUET, input(&bytes), &whole(), from).await.unwrap();
        let found: usize = found.iter().map(|batch| batch.rows.num_rows()).sum();
        assert_eq!(found, 1_000_usize.saturating_sub(row_group * 400 + row), "{row_group} {row}");
    }
    let error =
        read_batches(PARQUET, input(&bytes), &whole(), Position::At(json!({ "byte": 3 }))).await.unwrap_err();
    assert!(error.to_string().starts_with("the position {\"byte\":3} is not one of this format"), "{error}");
}

#[tokio::test]
async fn only_wanted_columns_are_fetched() {
    let rows = orders(50_000);
    let bytes = file(&rows, 20_000).await;
    let counting = Counting::new(&bytes);
    let wanted = ["price".to_owned(), "id".to_owned(), "no such column".to_owned()];
    let stream = read(&context(), counting.clone(), &whole(), Position::Start, Some(&wanted));
    let found: Vec<_> = stream.try_collect().await.unwrap();
    let expected = rows.project(&[0, 1]).unwrap();
    let found =
        arrow::compute::concat_batches(&expected.schema(), found.iter().map(|batch| &batch.rows)).unwrap();
    assert_eq!(found, expected);
    let read = counting.bytes.load(Ordering::Relaxed);
    assert!(read < bytes.len() as u64 / 2, "{read} of {}", bytes.len());
    let stream = super::read(&context(), input(&bytes), &whole(), Position::Start, Some(&[]));
    let found: Vec<_> = stream.try_collect().await.unwrap();
    assert_eq!(found.iter().map(|batch| batch.rows.num_rows()).sum::<usize>(), 50_000);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_read_whole() {
    let rows = orders(1_000);
    let bytes = file(&rows, 300).await;
    let body: Arc<dyn Input> = Arc::new(Endless(MemoryInput::new("http://x/y", bytes)));
    assert_eq!(read_rows(PARQUET, body.clone()).await.unwrap(), rows);
    let pieces: Vec<_> = pieces(&context(), body, 1).try_collect().await.unwrap();
    assert_eq!(pieces, [whole()]);
}

#[tokio::test]
async fn a_file_without_rows_has_columns() {
    let schema = orders(1).schema();
    let (_, bytes) =
        encode_counted(&context(), &WriteOptions::default(), "x.parquet", &schema, &[]).await.unwrap();
    assert_eq!(read_rows(PARQUET, input(&bytes)).await.unwrap(), RecordBatch::new_empty(schema));
    assert_eq!(resumed(PARQUET, &bytes, 1).await.1, 0);
}

#[tokio::test]
async fn what_is_not_parquet_says_so() {
    let bytes = file(&orders(10), 10).await;
    for (bytes, expected) in [
        (&b"PAR1"[..], "it is not Parquet: it has 4 bytes (input: rows.data)"),
        (&b"a,b\n1,2\n3,4\n5,6\n"[..], "it is not Parquet: it does not end with PAR1 (input: rows.data)"),
        (&bytes[..bytes.len() - 1], "it is not Parquet: it does not end with PAR1 (input: rows.data)"),
        (&bytes[bytes.len() - 60..], "it is not Parquet: its footer would have"),
    ] {
        let error = read_rows(PARQUET, input(bytes)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataInvalid);
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(error.to_string().ends_with("; is it complete, and is `format` right?"), "{error}");
    }
}

#[tokio::test]
async fn a_broken_page_names_file_and_row_group() {
    let mut bytes = file(&orders(1_000), 400).await;
    let footer = footer::load(&context(), &*input(&bytes), bytes.len() as u64).await.unwrap();
    let (start, length) = footer.metadata().row_group(1).column(2).byte_range();
    let range = usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap();
    bytes[range].fill(0xff);
    let found: Vec<_> = read(&context(), input(&bytes), &whole(), Position::Start, None).collect().await;
    assert_eq!(found[0].as_ref().unwrap().rows.num_rows(), 400);
    let error = found[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataInvalid);
    assert!(
        error.to_string().starts_with("the row group cannot be decoded (input: rows.data, row_group: 1): "),
        "{error}"
    );
    assert_eq!(found.len(), 2);
}

#[tokio::test]
async fn broken_files_are_errors() {
    assert_broken_inputs_are_errors(PARQUET, &file(&orders(500), 200).await).await;
}

#[tokio::test]
async fn old_timestamps_beyond_nanoseconds_keep_their_values() {
    use parquet::data_type::{Int96, Int96Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    // The last second of the year 9999 as a Julian day and nanoseconds, which Spark writes for "never".
    let nanos: u64 = 86_399 * 1_000_000_000;
    let mut never = Int96::new();
    never.set_data(
        u32::try_from(nanos & 0xffff_ffff).unwrap(),
        u32::try_from(nanos >> 32).unwrap(),
        5_373_484,
    );
    let schema = Arc::new(parse_message_type("message rows { required int96 at; }").unwrap());
    let mut writer =
        SerializedFileWriter::new(Vec::new(), schema, Arc::new(WriterProperties::default())).unwrap();
    let mut row_group = writer.next_row_group().unwrap();
    let mut column = row_group.next_column().unwrap().unwrap();
    column.typed::<Int96Type>().write_batch(&[never], None, None).unwrap();
    column.close().unwrap();
    row_group.close().unwrap();
    let rows = read_rows(PARQUET, input(&writer.into_inner().unwrap())).await.unwrap();
    let expected = arrow::array::TimestampMicrosecondArray::from(vec![253_402_300_799_000_000]);
    assert_eq!(rows.column(0).as_ref(), &expected as &dyn Array);
}
