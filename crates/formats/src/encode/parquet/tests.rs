//! Parquet files, read back by the library's own reader.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow_schema::{Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use towpath_core::ErrorKind;
use towpath_testkit::{context, paused_context};

use super::refuse;
use super::storage::stored_type;
use crate::encode::copying::Copying;
use crate::samples::{batch, columns, encode, encode_counted, orders};
use crate::{
    Encoder, MemoryInput, MemoryOutput, ParquetCompression, ParquetWrite, WriteFormat, WriteOptions,
};

fn options(parquet: ParquetWrite) -> WriteOptions {
    WriteOptions { format: Some(WriteFormat::Parquet(parquet)), compression: None }
}

fn read(bytes: &[u8]) -> (SchemaRef, RecordBatch) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(bytes)).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    (schema.clone(), concat_batches(&schema, &batches).unwrap())
}

fn metadata(bytes: &[u8]) -> Arc<ParquetMetaData> {
    ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(bytes)).unwrap().metadata().clone()
}

#[tokio::test]
async fn every_type_is_carried_or_refused() {
    let mut refused = Vec::new();
    for (name, column) in columns() {
        let rows = batch(name, &column);
        match encode(&WriteOptions::default(), "x.parquet", std::slice::from_ref(&rows)).await {
            Ok(bytes) => {
                let (schema, found) = read(&bytes);
                let stored = stored_type(column.data_type());
                assert_eq!(schema.field(0).data_type(), &stored, "{name}");
                assert_eq!(found.column(0), &cast(&column, &stored).unwrap(), "{name}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::SchemaMismatch, "{name}: {error}");
                assert!(refuse(column.data_type()).is_some(), "{name}: {error}");
                assert!(error.to_string().starts_with("Parquet cannot hold the column"), "{error}");
                refused.push(name);
            }
        }
    }
    refused.sort_unstable();
    refused.dedup();
    assert_eq!(refused, ["fixed_binary_0", "interval_mixed", "interval_nanos", "struct_empty", "union"]);
}

#[tokio::test]
async fn the_file_is_the_same_whatever_the_batches() {
    let rows = orders(100_000);
    let small = || options(ParquetWrite { row_group_rows: 40_000, ..ParquetWrite::default() });
    let whole = encode(&small(), "x", std::slice::from_ref(&rows)).await.unwrap();
    for cut in [1_000, 33_333, 32 << 10, 40_000, 99_999] {
        let batches: Vec<_> =
            (0..100_000).step_by(cut).map(|start| rows.slice(start, cut.min(100_000 - start))).collect();
        assert!(encode(&small(), "x", &batches).await.unwrap() == whole, "{cut}");
    }
    let found: Vec<_> = metadata(&whole).row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    assert_eq!(found, [40_000, 40_000, 20_000]);
    assert_eq!(read(&whole).1, rows);
}

#[tokio::test]
async fn each_option_changes_what_is_written() {
    let rows = [orders(10_000)];
    let default = encode(&options(ParquetWrite::default()), "x", &rows).await.unwrap();
    let codec = |bytes: &[u8]| metadata(bytes).row_group(0).column(0).compression();
    for (compression, expected) in [
        (ParquetCompression::None, Compression::UNCOMPRESSED),
        (ParquetCompression::Snappy, Compression::SNAPPY),
        (ParquetCompression::Gzip, Compression::GZIP(parquet::basic::GzipLevel::default())),
        (ParquetCompression::Lz4, Compression::LZ4_RAW),
        (ParquetCompression::Zstd, Compression::ZSTD(parquet::basic::ZstdLevel::default())),
    ] {
        let bytes = encode(&options(ParquetWrite { compression, ..ParquetWrite::default() }), "x", &rows)
            .await
            .unwrap();
        assert_eq!(codec(&bytes), expected);
        assert_eq!(read(&bytes).1, rows[0]);
    }
    assert!(metadata(&default).row_group(0).column(0).statistics().is_some());
    let bare = encode(&options(ParquetWrite { statistics: false, ..ParquetWrite::default() }), "x", &rows)
        .await
        .unwrap();
    assert!(metadata(&bare).row_group(0).column(0).statistics().is_none());
    let names = |bytes: &[u8]| metadata(bytes).row_group(0).column(2).dictionary_page_offset();
    assert!(names(&default).is_some());
    let plain = encode(&options(ParquetWrite { dictionary: false, ..ParquetWrite::default() }), "x", &rows)
        .await
        .unwrap();
    assert!(names(&plain).is_none());
    let zero = options(ParquetWrite { row_group_rows: 0, ..ParquetWrite::default() });
    let error = encode(&zero, "x", &rows).await.unwrap_err();
    assert_eq!(error.to_string(), "`row_group_rows` must be at least 1");
}

#[tokio::test]
async fn no_rows_are_a_file_with_columns() {
    let schema = orders(1).schema();
    let empty = [orders(1).slice(0, 0)];
    for batches in [&[][..], &empty[..]] {
        let (encoded, bytes) =
            encode_counted(&context(), &WriteOptions::default(), "x.parquet", &schema, batches)
                .await
                .unwrap();
        assert_eq!((encoded.rows, encoded.bytes), (0, bytes.len() as u64));
        assert_eq!(read(&bytes), (schema.clone(), RecordBatch::new_empty(schema.clone())));
    }
}

#[tokio::test]
async fn metadata_of_schema_and_fields_survives() {
    let field = orders(1).schema().field(0).clone().with_metadata([("unit".into(), "pieces".into())].into());
    let schema = Arc::new(Schema::new_with_metadata(vec![field], [("owner".into(), "sales".into())].into()));
    let rows = RecordBatch::try_new(schema.clone(), vec![orders(3).column(0).clone()]).unwrap();
    let bytes = encode(&WriteOptions::default(), "x.parquet", &[rows]).await.unwrap();
    assert_eq!(read(&bytes).0, schema);
    let created_by = metadata(&bytes).file_metadata().created_by().map(str::to_owned);
    assert!(created_by.unwrap().starts_with("towpath version "));
}

#[tokio::test]
async fn hundreds_of_columns_keep_their_order() {
    let columns = (0..300).map(|index| {
        let name = if index % 3 == 0 { format!("s{index}") } else { format!("c{index}") };
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some(name.clone()), None]));
        (name, column, true)
    });
    let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let bytes = encode(&WriteOptions::default(), "x.parquet", std::slice::from_ref(&rows)).await.unwrap();
    assert_eq!(read(&bytes).1, rows);
}

#[tokio::test]
async fn wide_rows_end_their_row_group_early() {
    let wide: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(8 << 20); 20]));
    let bytes = encode(&WriteOptions::default(), "x.parquet", &[batch("wide", &wide)]).await.unwrap();
    let found: Vec<_> = metadata(&bytes).row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    assert_eq!(found, [20]);
    let half = batch("wide", &wide);
    let batches: Vec<_> = (0..20).map(|row| half.slice(row, 1)).collect();
    let bytes = encode(&WriteOptions::default(), "x.parquet", &batches).await.unwrap();
    let found: Vec<_> = metadata(&bytes).row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    assert_eq!(found, [12, 8]);
}

#[tokio::test]
async fn a_dictionary_stays_small() {
    let dictionary = async |distinct: i64| {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values((0..200_000).map(|row| row % distinct)));
        let plain = ParquetWrite { compression: ParquetCompression::None, ..ParquetWrite::default() };
        let bytes = encode(&options(plain), "x.parquet", &[batch("number", &column)]).await.unwrap();
        assert_eq!(read(&bytes).1.column(0), &column);
        let column = metadata(&bytes).row_group(0).column(0).clone();
        column.data_page_offset() - column.dictionary_page_offset().unwrap()
    };
    let all = dictionary(50_000).await;
    assert!((400_000..410_000).contains(&all), "a dictionary has all of a few values: {all}");
    let some = dictionary(200_000).await;
    assert!((500_000..600_000).contains(&some), "it has only some of many: {some}");
}

#[tokio::test]
async fn rows_go_out_while_others_come_in() {
    let rows = orders(50_000);
    let parquet = options(ParquetWrite { row_group_rows: 10_000, ..ParquetWrite::default() });
    // Without a pool each job runs at once.
    let mut encoder =
        Encoder::new(&parquet, "x", &rows.schema(), &paused_context(), MemoryOutput::default()).unwrap();
    encoder.write(rows).await.unwrap();
    let progress = encoder.progress();
    assert_eq!(progress.rows, 50_000);
    assert!(progress.bytes > 50_000, "{progress:?}");
}

#[test]
fn a_file_needs_a_column() {
    let none: SchemaRef = Arc::new(Schema::empty());
    let error = Encoder::<MemoryOutput>::check(&WriteOptions::default(), "x.parquet", &none).unwrap_err();
    assert_eq!(error.to_string(), "Parquet cannot hold rows without columns");
    let nullable = Arc::new(Schema::new(vec![Field::new("a", arrow_schema::DataType::Int8, true)]));
    assert!(Encoder::<MemoryOutput>::check(&WriteOptions::default(), "x.parquet", &nullable).is_ok());
}

#[tokio::test]
async fn row_groups_are_appended_as_they_are() {
    let cx = context();
    let fits: Vec<_> =
        columns().into_iter().filter(|(_, column)| refuse(column.data_type()).is_none()).collect();
    let rows = fits.iter().map(|(_, column)| column.len()).min().unwrap();
    let columns = fits.iter().map(|(name, column)| (*name, column.slice(0, rows), true));
    let all = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let small = options(ParquetWrite { row_group_rows: 2, ..ParquetWrite::default() });
    let written = encode(&small, "x.parquet", std::slice::from_ref(&all)).await.unwrap();
    let mut encoder = Encoder::new(&small, "x.parquet", &all.schema(), &cx, MemoryOutput::default()).unwrap();
    encoder.write(all.clone()).await.unwrap();
    let segment = Arc::new(MemoryInput::new("segment", written.clone()));
    assert!(encoder.append(segment.clone()).await.unwrap());
    encoder.write(all.clone()).await.unwrap();
    assert!(encoder.append(segment).await.unwrap());
    let joined = encoder.finish().await.unwrap().1.into_bytes();
    let (schema, read_back) = read(&joined);
    let (_, once) = read(&written);
    assert_eq!(read_back, concat_batches(&schema, [&once, &once, &once, &once]).unwrap());
    let (segment, joined) = (metadata(&written), metadata(&joined));
    assert_eq!(joined.num_row_groups(), 4 * segment.num_row_groups());
    let statistics = |metadata: &ParquetMetaData, row_group: usize| {
        let columns = metadata.row_group(row_group).columns().iter();
        columns.map(|column| (column.statistics().cloned(), column.column_index_length())).collect::<Vec<_>>()
    };
    assert_eq!(statistics(&joined, segment.num_row_groups()), statistics(&segment, 0));
}

#[tokio::test]
async fn small_row_groups_and_other_columns_are_not_appended() {
    let cx = context();
    let rows = orders(100);
    let small = options(ParquetWrite { row_group_rows: 10, ..ParquetWrite::default() });
    let segment = encode(&small, "x.parquet", std::slice::from_ref(&rows)).await.unwrap();
    let segment = Arc::new(MemoryInput::new("segment", segment));
    let encoder = |options: &WriteOptions, schema: &SchemaRef| {
        Encoder::new(options, "x.parquet", schema, &cx, MemoryOutput::default()).unwrap()
    };
    let mut large = encoder(&WriteOptions::default(), &rows.schema());
    assert!(!large.append(segment.clone()).await.unwrap(), "they are encoded anew, into larger ones");
    let narrower = Arc::new(rows.schema().project(&[0]).unwrap());
    let mut narrower = encoder(&small, &narrower);
    assert!(!narrower.append(segment).await.unwrap());
}

#[tokio::test]
async fn an_output_that_copies_gets_the_same_file() {
    let cx = context();
    let rows = orders(50);
    let options = options(ParquetWrite { row_group_rows: 10, ..ParquetWrite::default() });
    let segment = encode(&options, "x.parquet", std::slice::from_ref(&rows)).await.unwrap();
    let segment = Arc::new(MemoryInput::new("segment", segment));
    let mut reading =
        Encoder::new(&options, "x.parquet", &rows.schema(), &cx, MemoryOutput::default()).unwrap();
    let output = Copying::default();
    let copied = output.copied.clone();
    let mut copying = Encoder::new(&options, "x.parquet", &rows.schema(), &cx, output).unwrap();
    for _ in 0..2 {
        reading.write(rows.slice(0, 5)).await.unwrap();
        copying.write(rows.slice(0, 5)).await.unwrap();
        assert!(reading.append(segment.clone()).await.unwrap());
        assert!(copying.append(segment.clone()).await.unwrap());
    }
    let (read, copying) = (reading.finish().await.unwrap(), copying.finish().await.unwrap());
    assert_eq!((copying.0, copying.1.output.into_bytes()), (read.0, read.1.into_bytes()));
    // One range for each row group, since its columns lie one behind the other.
    assert_eq!(copied.lock().unwrap().len(), 10);
}
