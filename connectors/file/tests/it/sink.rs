//! Every option of the sink changes what is written.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use serde_json::json;
use towpath_connector_file::CONNECTOR;
use towpath_core::WriteDisposition::{Append, Merge, Replace};
use towpath_core::{ErrorKind, Json, LoadSpec};
use towpath_testkit::{rows, types};

use crate::support::{Folder, error};

fn numbers(ids: std::ops::Range<i64>) -> arrow::array::RecordBatch {
    rows::batch("id: int64", &ids.map(|id| json!([id])).collect())
}

#[tokio::test]
async fn a_plain_path_is_exactly_that_file() {
    let folder = Folder::with(&[("out/a.csv", "somebody else's\n")]);
    folder.load("out/a.csv", &json!({}), "run1", Replace, &[numbers(1..3)]).await.unwrap();
    assert_eq!(folder.text("out/a.csv"), "id\n1\n2\n");
    folder.load("out/a.csv", &json!({}), "run2", Replace, &[numbers(7..8)]).await.unwrap();
    assert_eq!(folder.text("out/a.csv"), "id\n7\n");
    assert_eq!(folder.files("out"), ["a.csv"]);
    folder.load("{stream}.csv", &json!({}), "run1", Replace, &[numbers(1..2)]).await.unwrap();
    assert_eq!(folder.text("orders.csv"), "id\n1\n");
}

#[tokio::test]
async fn what_files_cannot_do_is_refused_with_a_way_out() {
    let folder = Folder::new();
    let append = error(folder.load("out/a.csv", &json!({}), "run1", Append, &[numbers(1..2)]).await);
    assert_eq!(append.kind(), ErrorKind::Config);
    assert!(append.to_string().contains("out/a/{part}.csv`"), "{append}");
    let merge = error(folder.load("out/{part}.csv", &json!({}), "run1", Merge, &[numbers(1..2)]).await);
    assert_eq!(merge.kind(), ErrorKind::Unsupported);
    assert!(merge.to_string().contains("such as postgres"), "{merge}");
    folder.write("taken/b/c.csv", "id\n");
    let taken =
        error(folder.load("taken/b", &json!({ "format": "csv" }), "run1", Replace, &[numbers(1..2)]).await);
    assert!(taken.to_string().contains("the path is a folder that exists"), "{taken}");
    assert!(!folder.at("out").exists(), "nothing was made");
}

#[tokio::test]
async fn a_file_without_rows_still_tells_its_columns() {
    let folder = Folder::new();
    for (path, disposition) in
        [("a.csv", Replace), ("b.csv.gz", Replace), ("c.parquet", Replace), ("d/{part}.parquet", Replace)]
    {
        folder.load(path, &json!({}), "run1", disposition, &[numbers(0..0)]).await.unwrap();
    }
    assert_eq!(folder.text("a.csv"), "id\n");
    for path in ["c.parquet", "d/*.parquet"] {
        let scan = folder
            .scan(folder.options(path, &json!({})), &towpath_core::ScanRequest::default())
            .await
            .unwrap();
        let schema = scan.schema.as_ref().unwrap();
        assert_eq!(schema.fields().iter().map(|field| field.name()).collect::<Vec<_>>(), ["id"], "{path}");
        assert!(scan.rows().is_empty());
    }
}

#[tokio::test]
async fn a_plain_path_is_one_file_even_when_the_columns_change_in_mid_run() {
    let batches = [
        rows::batch("id: int32, name: string", &json!([[1, "a,\"b\""], [2, null], [3, ""]])),
        rows::batch(
            "id: int64, name: string, at: timestamp(us, UTC)",
            &json!([[4_000_000_000_i64, "x", "2026-01-02T03:04:05Z"]]),
        ),
    ];
    for path in ["a.csv", "a.ndjson.gz", "a.json", "a.parquet", "a.arrow", "a.avro"] {
        let folder = Folder::new();
        folder.load(path, &json!({}), "run1", Replace, &batches).await.unwrap();
        let read = folder.read(path, &json!({})).await.unwrap();
        let ids: Vec<_> = read.iter().map(|row| row["id"].clone()).collect();
        assert_eq!(ids, [json!(1), json!(2), json!(3), json!(4_000_000_000_i64)], "{path}");
        let names: Vec<_> = read.iter().map(|row| row["name"].clone()).collect();
        assert_eq!(names, [json!("a,\"b\""), Json::Null, json!(""), json!("x")], "{path}");
        assert_eq!(read[0]["at"], Json::Null, "{path}");
        assert_eq!(folder.files(""), [path]);
    }
}

/// A file that was put together from segments is the same, byte for byte, as one that was written at once.
#[tokio::test]
async fn values_of_every_type_survive_being_put_together() {
    let samples = types::samples();
    let proofs = ["csv", "ndjson", "json"].into_iter().flat_map(|extension| {
        samples.iter().map(move |sample| async move {
            let how = put_together(extension, sample.values.clone()).await.err();
            how.map(|how| format!("{extension}: {}: {how}", sample.name))
        })
    });
    let broken: Vec<String> = futures::future::join_all(proofs).await.into_iter().flatten().collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

async fn put_together(extension: &str, values: ArrayRef) -> Result<(), String> {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values((0..).take(values.len())));
    let more: ArrayRef = Arc::new(StringArray::from(vec!["more"; values.len()]));
    let batch =
        |columns: Vec<(&str, ArrayRef, bool)>| RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let first = batch(vec![("id", id.clone(), true), ("value", values.clone(), true)]);
    let second = batch(vec![("id", id, true), ("value", values, true), ("more", more, true)]);
    let padded = towpath_core::conform(&first, &second.schema()).unwrap();
    let Ok(whole) = arrow::compute::concat_batches(&second.schema(), [&padded, &second]) else {
        return Ok(());
    };

    let folder = Folder::new();
    let expected = format!("whole.{extension}");
    if folder.load(&expected, &json!({}), "run1", Replace, &[whole]).await.is_err() {
        // The format does not hold the type at all.
        return Ok(());
    }
    let found = format!("segments.{extension}");
    let loaded = folder.load(&found, &json!({}), "run2", Replace, &[first, second]).await;
    loaded.map_err(|error| error.to_string())?;
    let (found, expected) = (folder.text(&found), folder.text(&expected));
    if found == expected { Ok(()) } else { Err(format!("{found} is not {expected}")) }
}

#[tokio::test]
async fn types_that_widen_in_mid_run_meet_in_the_wider_one() {
    for (narrow, value, wide, wider, expected) in [
        ("int64", json!(1), "float64", json!(2.5), json!([1, 2.5])),
        ("int64", json!(1), "string", json!("x"), json!(["1", "x"])),
        (
            "date",
            json!("2026-01-02"),
            "timestamp",
            json!("2026-01-03T04:00:00"),
            json!(["2026-01-02T00:00:00", "2026-01-03T04:00:00"]),
        ),
        ("decimal(4,2)", json!("1.25"), "decimal(6,3)", json!("2.125"), json!(["1.250", "2.125"])),
    ] {
        for extension in ["csv", "ndjson", "parquet"] {
            let folder = Folder::new();
            let first = rows::batch(&format!("v: {narrow}"), &json!([[value]]));
            let second = rows::batch(&format!("v: {wide}"), &json!([[wider]]));
            let path = format!("a.{extension}");
            folder.load(&path, &json!({}), "run1", Replace, &[first, second]).await.unwrap();
            let read = folder.read(&path, &json!({ "columns": { "v": wide } })).await.unwrap();
            let found: Json = read.iter().map(|row| rows::canonical(&row["v"])).collect();
            assert_eq!(found, expected, "{extension}: {narrow} and {wide}");
        }
    }
}

#[tokio::test]
async fn a_csv_of_an_odd_dialect_is_put_together_without_loss() {
    let folder = Folder::new();
    let dialect =
        json!({ "format": { "type": "csv", "delimiter": ";", "quote": "'", "null_value": "NULL" } });
    let batches = [
        rows::batch("id: int64, name: string", &json!([[1, "a;'b'"], [2, null]])),
        rows::batch("id: int64, name: string, more: bool", &json!([[3, "c", true]])),
    ];
    folder.load("a.txt", &dialect, "run1", Replace, &batches).await.unwrap();
    assert_eq!(folder.text("a.txt"), "id;name;more\n1;'a;''b''';NULL\n2;NULL;NULL\n3;c;true\n");
}

#[tokio::test]
async fn appended_files_lie_beside_the_old_ones() {
    let folder = Folder::new();
    let path = "out/{stream}/{part}.csv";
    folder.load(path, &json!({}), "run1", Append, &[numbers(1..2), numbers(2..3)]).await.unwrap();
    folder.load(path, &json!({}), "run2", Append, &[numbers(3..4)]).await.unwrap();
    assert_eq!(
        folder.files("out"),
        ["orders/run1-00000.csv", "orders/run1-00001.csv", "orders/run2-00000.csv"]
    );
    let named = "named/{run}/{stream}-{part}-{sequence}.csv";
    folder.load(named, &json!({ "max_rows_per_file": 1 }), "run1", Append, &[numbers(1..3)]).await.unwrap();
    assert_eq!(folder.files("named"), ["run1/orders-00000-0000.csv", "run1/orders-00000-0001.csv"]);
}

#[tokio::test]
async fn replacing_many_files_removes_the_old_ones_and_nothing_else() {
    let folder = Folder::with(&[("out/p=1/foreign.csv", "id\n"), ("out/own.txt", "mine")]);
    let options = json!({ "partition_by": ["p"] });
    let load = async |run: &str, values: Json| {
        let batch = rows::batch("id: int64, p: int64", &values);
        folder.load("out/{part}.csv", &options, run, Replace, &[batch]).await.unwrap();
    };
    load("run1", json!([[1, 1], [2, 2]])).await;
    assert_eq!(
        folder.files("out"),
        ["own.txt", "p=1/foreign.csv", "p=1/run1-00000.csv", "p=2/run1-00000-0001.csv"]
    );
    load("run2", json!([[3, 3]])).await;
    assert_eq!(folder.files("out"), ["own.txt", "p=1/foreign.csv", "p=3/run2-00000.csv"]);
    assert!(!folder.at("out/p=2").exists(), "a folder that became empty is gone");
}

#[tokio::test]
async fn partitions_are_folders_and_come_back_as_columns() {
    let folder = Folder::new();
    let batch = rows::batch(
        "id: int64, day: date, city: string",
        &json!([
            [1, "2026-01-02", "Köln"],
            [2, "2026-01-02", null],
            [3, "2026-01-03", "../x/y=z"],
            [4, null, "a b"]
        ]),
    );
    let options = json!({ "partition_by": ["day", "city"] });
    folder.load("lake/{part}.parquet", &options, "run1", Append, std::slice::from_ref(&batch)).await.unwrap();
    assert_eq!(
        folder.files("lake"),
        [
            "day=2026-01-02/city=Köln/run1-00000.parquet",
            "day=2026-01-02/city=__HIVE_DEFAULT_PARTITION__/run1-00000-0001.parquet",
            "day=2026-01-03/city=%2E.%2Fx%2Fy%3Dz/run1-00000-0002.parquet",
            "day=__HIVE_DEFAULT_PARTITION__/city=a b/run1-00000-0003.parquet",
        ]
    );
    let inside = folder.read("lake/**/*.parquet", &json!({ "hive_partitions": false })).await.unwrap();
    rows::assert_same(&[json!({"id": 1}), json!({"id": 2}), json!({"id": 3}), json!({"id": 4})], &inside);
    let declared = json!({ "columns": { "day": "date", "city": "string" } });
    rows::assert_same(&rows::to_json([&batch]), &folder.read("lake/**/*.parquet", &declared).await.unwrap());
}

#[tokio::test]
async fn more_partitions_than_open_files_lose_nothing() {
    let folder = Folder::new();
    let values: Vec<Json> = (0..600).map(|id| json!([id, id % 150])).collect();
    let batch = rows::batch("id: int64, p: int64", &json!(values));
    let options = json!({ "partition_by": ["p"] });
    let halves = [batch.slice(0, 300), batch.slice(300, 300)];
    let sink = CONNECTOR
        .sink_entry()
        .unwrap()
        .open(folder.options("out/{part}.ndjson", &options), &folder.cx)
        .await
        .unwrap();
    let begun = sink.begin(&folder.cx, &LoadSpec::new("shop", "orders", "run1", Append)).await.unwrap();
    let begun = sink.evolve(&folder.cx, &begun, &batch.schema()).await.unwrap();
    let mut writer = sink.writer(&folder.cx, &begun, 0).await.unwrap();
    for half in halves {
        writer.write(half).await.unwrap();
    }
    let staged = writer.finish().await.unwrap();
    assert_eq!(staged.rows, 600);
    sink.commit(&folder.cx, &begun, &crate::support::last_token(&begun), vec![staged]).await.unwrap();
    rows::assert_same(&rows::to_json([&batch]), &folder.read("out/**/*.ndjson", &json!({})).await.unwrap());
    assert!(folder.files("out").len() > 150, "files were finished and begun anew");
}

#[tokio::test]
async fn files_hold_at_most_so_many_rows() {
    let folder = Folder::new();
    let options = json!({ "max_rows_per_file": 3 });
    folder.load("out/{part}.csv", &options, "run1", Append, &[numbers(0..8)]).await.unwrap();
    let lines: Vec<_> =
        folder.files("out").iter().map(|file| folder.text(&format!("out/{file}")).lines().count()).collect();
    // The name without a number in it comes last.
    assert_eq!(lines, [4, 3, 4]);
}

#[tokio::test]
async fn files_are_about_as_large_as_allowed() {
    for extension in ["ndjson", "parquet"] {
        let folder = Folder::new();
        let options = json!({ "max_bytes_per_file": "128KiB" });
        let sink = CONNECTOR
            .sink_entry()
            .unwrap()
            .open(folder.options(&format!("out/{{part}}.{extension}"), &options), &folder.cx);
        let sink = sink.await.unwrap();
        let begun = sink.begin(&folder.cx, &LoadSpec::new("shop", "orders", "run1", Append)).await.unwrap();
        let batch = |from: i64| {
            let noise =
                |id: i64| format!("{:x}", (id + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed()));
            let values: Vec<Json> = (from..from + 1_000).map(|id| json!([id, noise(id)])).collect();
            rows::batch("id: int64, noise: string", &json!(values))
        };
        let begun = sink.evolve(&folder.cx, &begun, &batch(0).schema()).await.unwrap();
        let mut writer = sink.writer(&folder.cx, &begun, 0).await.unwrap();
        for number in 0..50 {
            writer.write(batch(number * 1_000)).await.unwrap();
        }
        let staged = writer.finish().await.unwrap();
        sink.commit(&folder.cx, &begun, &crate::support::last_token(&begun), vec![staged]).await.unwrap();
        let files = folder.files("out");
        assert!(files.len() >= 3, "{extension}: {files:?}");
        for file in &files {
            let bytes = folder.at(&format!("out/{file}")).metadata().unwrap().len();
            assert!(bytes < 4 * (128 << 10), "{extension}: {bytes}");
        }
        assert_eq!(folder.read(&format!("out/*.{extension}"), &json!({})).await.unwrap().len(), 50_000);
    }
}

#[tokio::test]
async fn format_and_compression_can_be_told() {
    let folder = Folder::new();
    let options =
        json!({ "format": { "type": "csv", "delimiter": "|", "header": false }, "compression": "gzip" });
    let batch = rows::batch("a: int64, b: int64", &json!([[1, 2]]));
    folder.load("out.data", &options, "run1", Replace, &[batch]).await.unwrap();
    let read =
        json!({ "format": { "type": "csv", "delimiter": "|", "header": false }, "compression": "gzip" });
    assert_eq!(folder.read("out.data", &read).await.unwrap(), [json!({"column_1": 1, "column_2": 2})]);
}

#[tokio::test]
async fn a_row_without_a_possible_folder_is_refused_and_told() {
    let folder = Folder::new();
    let batch = rows::batch("id: int64, p: string", &json!([[1, "x".repeat(300)], [2, "y"]]));
    let loaded = folder
        .load("out/{part}.csv", &json!({ "partition_by": ["p"] }), "run1", Append, &[batch])
        .await
        .unwrap();
    assert_eq!((loaded.staged[0].rows, loaded.staged[0].rejected.len()), (1, 1));
    assert_eq!(folder.files("out"), ["p=y/run1-00000.csv"]);
}

#[tokio::test]
async fn check_makes_nothing() {
    let folder = Folder::new();
    let sink = CONNECTOR.sink_entry().unwrap();
    let sink = sink.open(folder.options("deep/er/{part}.csv", &json!({})), &folder.cx).await.unwrap();
    let load = LoadSpec::new("p", "s", "run1", Replace);
    sink.check(&folder.cx, &load).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.at("")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_read_again_leaves_the_hidden_folder_out() {
    let folder = Folder::new();
    folder.load("out/{part}.csv", &json!({}), "run1", Append, &[numbers(1..3)]).await.unwrap();
    assert!(folder.at("out/.towpath/shop/orders/manifest.json").exists());
    assert_eq!(folder.read("out", &json!({})).await.unwrap().len(), 2);
}
