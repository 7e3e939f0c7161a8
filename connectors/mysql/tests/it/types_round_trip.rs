//! Every column type from MySQL through a Parquet file and back, compared by SQL.

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;
use towpath_core::WriteDisposition;
use towpath_testkit::context;

use crate::sink_support;
use crate::support::{batches, request};
use crate::types_source::{CASES, table_of_all_types, without_width};

/// What a Parquet file gives back of a batch.
fn through_parquet(batch: &RecordBatch) -> RecordBatch {
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap().build().unwrap();
    let read: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(read.len(), 1);
    read.into_iter().next().unwrap()
}

#[tokio::test]
async fn every_type_comes_back_unchanged_from_a_parquet_file() {
    let database = table_of_all_types().await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "types" })).await.unwrap();
    let read = batches(&*source, &cx, &request()).await.unwrap();
    let [batch] = read.as_slice() else { panic!("so few rows are one batch") };
    let options = json!({ "table": "back" });
    sink_support::run(&database, &options, 1, WriteDisposition::Append, through_parquet(&batch.rows))
        .await
        .unwrap();

    let declared = |table: &str| {
        format!(
            "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' ORDER BY ORDINAL_POSITION"
        )
    };
    let (before, behind) =
        (database.texts(&declared("types")).await, database.texts(&declared("back")).await);
    let comparable = |columns: Vec<Vec<String>>| -> Vec<(String, String)> {
        columns.into_iter().map(|column| (column[0].clone(), without_width(&column[1]))).collect()
    };
    assert_eq!(comparable(before), comparable(behind));
    for (index, case) in CASES.iter().enumerate() {
        let is_text = case.arrow == "Utf8";
        let value = |table: &str| {
            // Texts may be in another character set, and their collation must not make them equal.
            if is_text {
                format!("HEX(CONVERT({table}.c{index} USING utf8mb4))")
            } else {
                format!("{table}.c{index}")
            }
        };
        let differing = format!(
            "SELECT types.id, {}, {} FROM types JOIN back ON types.id = back.id WHERE NOT ({} <=> {})",
            value("types"),
            value("back"),
            value("types"),
            value("back")
        );
        assert_eq!(database.texts(&differing).await, Vec::<Vec<String>>::new(), "{}", case.declared);
    }
    let count = "SELECT (SELECT COUNT(*) FROM types) = (SELECT COUNT(*) FROM back)";
    assert_eq!(database.texts(count).await, [["1"]]);
}
