//! Every option of the source changes what is read.

use std::io::Write;

use arrow_schema::DataType;
use serde_json::json;
use towpath_connector_file::CONNECTOR;
use towpath_core::{ErrorKind, Json, Planned, Position, ScanRequest};
use towpath_testkit::rows;

use crate::support::{Folder, error, splits};

fn ids(rows: &[Json]) -> Vec<i64> {
    let mut ids: Vec<i64> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn documents_of_xml_and_html_are_rows() {
    let xml = |ids: &[u8]| {
        let item = |id: &u8| format!("<item><id>{id}</id><name>n{id}</name></item>");
        format!("<?xml version=\"1.0\"?><list>{}</list>", ids.iter().map(item).collect::<Vec<_>>().concat())
    };
    let folder = Folder::with(&[
        ("in/a.xml", &xml(&[1, 2])),
        ("in/b.xml", &xml(&[3])),
        (
            "in/shop.html",
            "<ul><li class=nut><b>Hazel</b> <i>4.50</i></li><li class=nut><b>Pea</b> <i>1</i></li></ul>",
        ),
    ]);
    let items = json!({ "format": { "type": "xml", "records": "/list/item" }, "columns": { "id": "int64" } });
    let found = folder.read("in/*.xml", &items).await.unwrap();
    assert_eq!(ids(&found), [1, 2, 3]);
    assert_eq!(found.iter().find(|row| row["id"] == 3).unwrap()["name"], "n3");
    let nuts = json!({
        "format": { "type": "html", "rows": "li.nut", "columns": { "name": "b", "price": "i" } },
        "columns": { "price": "decimal(9,2)" },
    });
    let found = folder.read("in/shop.html", &nuts).await.unwrap();
    assert_eq!(found, [json!({"name": "Hazel", "price": "4.50"}), json!({"name": "Pea", "price": "1.00"})]);
    let broken = folder.path("in/c.xml");
    std::fs::write(&broken, "<list><item><id>9</id></list>").unwrap();
    assert_eq!(error(folder.read("in/c.xml", &items).await).kind(), ErrorKind::DataInvalid);
}

#[tokio::test]
async fn a_path_is_a_file_a_folder_a_glob_or_a_list() {
    let folder = Folder::with(&[
        ("in/a.csv", "id\n1\n"),
        ("in/b.csv", "id\n2\n"),
        ("in/deep/er/c.csv", "id\n3\n"),
        ("in/.hidden.csv", "id\n4\n"),
        ("in/d.ndjson", "{\"id\":5}\n"),
    ]);
    for (path, expected) in [
        ("in/a.csv", vec![1]),
        ("in/*.csv", vec![1, 2]),
        ("in/**/*.csv", vec![1, 2, 3]),
        ("in/{a,d}.*", vec![1, 5]),
        ("in", vec![1, 2, 3, 5]),
        ("in/.hidden.csv", vec![4]),
    ] {
        assert_eq!(ids(&folder.read(path, &json!({})).await.unwrap()), expected, "{path}");
    }
    let list = json!({ "path": [folder.path("in/b.csv"), folder.path("in/*.csv")] });
    let scan = folder.scan(list, &ScanRequest::default()).await.unwrap();
    let order: Vec<_> = scan.rows().iter().map(|row| row["id"].clone()).collect();
    assert_eq!(order, [json!(2), json!(1)]);
}

#[tokio::test]
async fn compressed_files_lie_next_to_plain_ones() {
    let folder = Folder::with(&[("in/a.csv", "id\n1\n")]);
    let batch = rows::batch("id: int64", &json!([[2]]));
    for name in ["b.csv.gz", "c.csv.zst"] {
        let replace = towpath_core::WriteDisposition::Replace;
        folder
            .load(&format!("in/{name}"), &json!({}), "run1", replace, std::slice::from_ref(&batch))
            .await
            .unwrap();
    }
    assert_eq!(ids(&folder.read("in/*.csv*", &json!({})).await.unwrap()), [1, 2, 2]);
}

#[tokio::test]
async fn format_and_compression_can_be_told() {
    let folder = Folder::with(&[("in/a.txt", "id;name\n1;x\n"), ("in/b.gz", "{\"id\":2}\n")]);
    let semicolons = json!({ "format": { "type": "csv", "delimiter": ";" } });
    assert_eq!(folder.read("in/a.txt", &semicolons).await.unwrap(), [json!({"id": 1, "name": "x"})]);
    let plain = json!({ "format": "ndjson", "compression": "none" });
    assert_eq!(folder.read("in/b.gz", &plain).await.unwrap(), [json!({"id": 2})]);
    let unknown = error(folder.read("in/a.txt", &json!({})).await);
    assert_eq!(unknown.kind(), ErrorKind::Config);
    assert!(unknown.to_string().contains("a.txt"), "{unknown}");
}

#[tokio::test]
async fn declared_columns_have_their_types_and_others_come_from_a_sample() {
    let folder = Folder::with(&[("a.csv", "id,amount,code\n1,2.50,7\n2,3,x\n")]);
    let declared = json!({ "columns": { "id": "string", "amount": "decimal(12,2)" }, "sample_rows": 1 });
    let scan = folder.scan(folder.options("a.csv", &declared), &ScanRequest::default()).await.unwrap();
    let schema = scan.schema.clone().unwrap();
    assert_eq!(schema.field_with_name("id").unwrap().data_type(), &DataType::Utf8);
    assert_eq!(schema.field_with_name("amount").unwrap().data_type(), &DataType::Decimal128(12, 2));
    assert_eq!(schema.field_with_name("code").unwrap().data_type(), &DataType::Int64);
    let all = folder.scan(folder.options("a.csv", &json!({})), &ScanRequest::default()).await.unwrap();
    assert_eq!(all.schema.clone().unwrap().field_with_name("code").unwrap().data_type(), &DataType::Utf8);
}

#[tokio::test]
async fn partition_folders_become_columns() {
    let folder = Folder::with(&[
        ("in/year=2026/city=S%C3%A3o/a.csv", "id\n1\n"),
        ("in/year=2027/city=__HIVE_DEFAULT_PARTITION__/a.csv", "id\n2\n"),
    ]);
    let read = folder.read("in/**/*.csv", &json!({})).await.unwrap();
    rows::assert_same(
        &[json!({"id": 1, "year": 2026, "city": "São"}), json!({"id": 2, "year": 2027})],
        &read,
    );
    let typed = folder.read("in/**/*.csv", &json!({ "columns": { "year": "string" } })).await.unwrap();
    assert_eq!(typed[0]["year"], json!("2026"));
    let off = folder.read("in/**/*.csv", &json!({ "hive_partitions": false })).await.unwrap();
    assert_eq!(off, [json!({"id": 1}), json!({"id": 2})]);
}

#[tokio::test]
async fn required_partitions_are_the_same_for_every_file() {
    let folder = Folder::with(&[("in/year=1/a.csv", "id\n1\n"), ("in/zone=2/b.csv", "id\n2\n")]);
    assert_eq!(folder.read("in/**/*.csv", &json!({})).await.unwrap().len(), 2);
    let required = json!({ "hive_partitions": true });
    let differs = error(folder.read("in/**/*.csv", &required).await);
    assert_eq!(differs.kind(), ErrorKind::SchemaMismatch);
    assert!(differs.to_string().contains("zone") && differs.to_string().contains("b.csv"), "{differs}");
    folder.write("flat/a.csv", "id\n1\n");
    let none = error(folder.read("flat/*.csv", &required).await);
    assert!(none.to_string().contains("no folder `key=value`"), "{none}");
}

#[tokio::test]
async fn large_files_are_cut_into_splits_of_about_the_split_size() {
    let text = (0..5_000).map(|id| format!("{{\"id\":{id}}}\n")).collect::<Vec<_>>().concat();
    let folder = Folder::with(&[("a.ndjson", &text), ("b.ndjson", "{\"id\":5000}\n")]);
    let whole = folder.scan(folder.options("*.ndjson", &json!({})), &ScanRequest::default()).await.unwrap();
    assert_eq!(whole.splits().len(), 2);
    let small = folder.options("*.ndjson", &json!({ "split_size": "16KiB" }));
    let cut = folder.scan(small, &ScanRequest::default()).await.unwrap();
    assert!((4..=8).contains(&cut.splits().len()), "{}", cut.splits().len());
    assert_eq!(ids(&cut.rows()), (0..=5_000).collect::<Vec<_>>());
    let bytes: u64 = cut.splits().iter().map(|split| split.estimate.unwrap().bytes.unwrap()).sum();
    assert_eq!(bytes, text.len() as u64 + 12);
    assert!(cut.splits()[1].id.0.starts_with(&folder.path("a.ndjson#")), "{}", cut.splits()[1].id);
}

#[tokio::test]
async fn an_incremental_run_reads_only_new_and_changed_files() {
    let folder = Folder::with(&[("in/a.csv", "id\n1\n"), ("in/b.csv", "id\n2\n")]);
    let options = folder.options("in/*.csv", &json!({ "incremental": true }));
    let mut request = ScanRequest::default();
    let first = folder.scan(options.clone(), &request).await.unwrap();
    assert_eq!(ids(&first.rows()), [1, 2]);

    request.since = first.since();
    folder.write("in/c.csv", "id\n3\n");
    folder.write("in/a.csv", "id\n1\n9\n");
    let second = folder.scan(options.clone(), &request).await.unwrap();
    assert_eq!(ids(&second.rows()), [1, 3, 9]);

    request.since = second.since();
    let third = folder.scan(options, &request).await.unwrap();
    assert_eq!((third.splits().len(), third.schema.is_some()), (0, true));
    assert_eq!(third.since(), second.since());

    let every = folder.scan(folder.options("in/*.csv", &json!({})), &ScanRequest::default()).await.unwrap();
    assert!(every.steps.iter().all(|step| matches!(step, Planned::Split { .. })));
}

#[tokio::test]
async fn new_files_may_be_told_by_names_that_grow() {
    let folder = Folder::with(&[("in/1.csv", "id\n1\n"), ("in/2.csv", "id\n2\n")]);
    let options = folder.options("in/*.csv", &json!({ "incremental": "name" }));
    let mut request = ScanRequest::default();
    let first = folder.scan(options.clone(), &request).await.unwrap();
    assert_eq!(ids(&first.rows()), [1, 2]);
    // A name before the last one is none that grew, and what is behind it is not read again.
    folder.write("in/0.csv", "id\n0\n");
    folder.write("in/2.csv", "id\n22\n");
    folder.write("in/3.csv", "id\n3\n");
    request.since = first.since();
    let second = folder.scan(options, &request).await.unwrap();
    assert_eq!(ids(&second.rows()), [3]);
}

#[tokio::test]
async fn new_files_may_be_told_by_when_they_were_written() {
    let folder = Folder::with(&[]);
    let write = |name: &str, text: &str, second: u64| {
        folder.write(name, text);
        let file = std::fs::File::options().write(true).open(folder.at(name)).unwrap();
        let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000 + second);
        file.set_modified(modified).unwrap();
    };
    write("in/a.csv", "id\n1\n", 0);
    write("in/b.csv", "id\n2\n", 3_600);
    let options = folder.options("in/*.csv", &json!({ "incremental": { "by": "modified", "window": "1m" } }));
    let mut request = ScanRequest::default();
    let first = folder.scan(options.clone(), &request).await.unwrap();
    assert_eq!(ids(&first.rows()), [1, 2]);
    write("in/late.csv", "id\n3\n", 3_550);
    write("in/too-late.csv", "id\n4\n", 3_500);
    write("in/new.csv", "id\n5\n", 7_200);
    request.since = first.since();
    let second = folder.scan(options, &request).await.unwrap();
    assert_eq!(ids(&second.rows()), [3, 5]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_comes_while_an_incremental_run_is_interrupted_is_read_by_the_next() {
    let folder = Folder::with(&[("in/b.csv", "id\n2\n"), ("in/c.csv", "id\n3\n"), ("in/d.csv", "id\n4\n")]);
    let options = folder.options("in/*.csv", &json!({ "incremental": true }));
    let mut request = ScanRequest::default();
    let broken_off = folder.scan(options.clone(), &request).await.unwrap();
    let Planned::Split { resume, .. } = &broken_off.steps[1] else { panic!("a split") };

    write_later(&folder, "in/a.csv", "id\n1\n", "in/d.csv");
    request.planned = resume.clone();
    let resumed = folder.scan(options.clone(), &request).await.unwrap();
    assert_eq!(ids(&resumed.rows()), [4]);

    request = ScanRequest::default();
    request.since = resumed.since();
    assert_eq!(ids(&folder.scan(options.clone(), &request).await.unwrap().rows()), [1]);

    request = ScanRequest::default();
    request.planned = resume.clone();
    folder.write("in/b.csv", "id\n22222\n");
    let changed = error(folder.scan(options, &request).await);
    assert_eq!(changed.kind(), ErrorKind::Conflict);
}

/// Writes a file so that its file system tells it to be younger than another one.
#[cfg(unix)]
fn write_later(folder: &Folder, name: &str, text: &str, than: &str) {
    use std::os::unix::fs::MetadataExt;
    let arrived = |name: &str| {
        let metadata = folder.at(name).metadata().unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    };
    folder.write(name, text);
    while arrived(name) <= arrived(than) {
        folder.write(name, text);
    }
}

#[tokio::test]
async fn an_empty_match_is_an_error_unless_allowed() {
    let folder = Folder::with(&[("in/a.csv", "id\n1\n")]);
    let nothing = error(folder.read("in/*.parquet", &json!({})).await);
    assert_eq!(nothing.kind(), ErrorKind::NotFound);
    let allowed = json!({ "allow_empty": true, "columns": { "id": "int64" } });
    let scan = folder.scan(folder.options("in/*.parquet", &allowed), &ScanRequest::default()).await.unwrap();
    assert_eq!((scan.splits().len(), scan.schema.clone().unwrap().fields().len()), (0, 1));
    let missing = error(folder.read("in/b.csv", &json!({ "allow_empty": true })).await);
    assert_eq!(missing.kind(), ErrorKind::NotFound, "a file that is named must exist");
}

#[tokio::test]
async fn a_file_column_tells_where_a_row_comes_from() {
    let folder = Folder::with(&[("in/a.csv", "id\n1\n"), ("in/b.csv", "id\n2\n")]);
    let read = folder.read("in/*.csv", &json!({ "file_column": "source_file" })).await.unwrap();
    assert_eq!(read[1], json!({"id": 2, "source_file": folder.path("in/b.csv")}));
    let taken = error(folder.read("in/*.csv", &json!({ "file_column": "id" })).await);
    assert_eq!(taken.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn only_wanted_columns_are_read() {
    let folder = Folder::with(&[("in/day=1/a.csv", "id,name\n1,x\n")]);
    let options = folder.options("in/**/*.csv", &json!({ "file_column": "file" }));
    let mut request = ScanRequest::default();
    for (wanted, expected) in [
        (vec!["day", "id"], json!({"id": 1, "day": 1})),
        (vec!["day"], json!({"day": 1})),
        (vec!["name"], json!({"name": "x"})),
    ] {
        request.columns = Some(wanted.iter().map(ToString::to_string).collect());
        let scan = folder.scan(options.clone(), &request).await.unwrap();
        assert_eq!(scan.rows(), [expected]);
        assert_eq!(scan.schema.clone().unwrap(), scan.batches[0].rows.schema());
    }
}

#[tokio::test]
async fn a_truncated_file_is_an_error_or_kept_up_to_its_end() {
    let folder = Folder::new();
    let many: Vec<Json> = (0..20_000).map(|id| json!([id, format!("{:x}", id * 7_919 % 100_003)])).collect();
    let batch = rows::batch("id: int64, noise: string", &json!(many));
    let replace = towpath_core::WriteDisposition::Replace;
    folder.load("a.ndjson.gz", &json!({}), "run1", replace, &[batch]).await.unwrap();
    let bytes = std::fs::read(folder.at("a.ndjson.gz")).unwrap();
    folder.write("cut.ndjson.gz", &bytes[..bytes.len() / 2]);
    let cut = error(folder.read("cut.ndjson.gz", &json!({})).await);
    assert_eq!(cut.kind(), ErrorKind::DataInvalid);
    assert!(cut.to_string().contains("cut.ndjson.gz"), "{cut}");
    let kept = folder.read("cut.ndjson.gz", &json!({ "on_truncated": "keep" })).await.unwrap();
    assert!((1..20_000).contains(&kept.len()), "{}", kept.len());
}

#[tokio::test]
async fn a_file_that_becomes_too_large_is_an_error() {
    let folder = Folder::new();
    let batch = rows::batch("id: int64, name: string", &json!([[1, "x".repeat(1 << 20)]]));
    let replace = towpath_core::WriteDisposition::Replace;
    folder.load("bomb.ndjson.gz", &json!({}), "run1", replace, &[batch]).await.unwrap();
    assert_eq!(folder.read("bomb.ndjson.gz", &json!({})).await.unwrap().len(), 1);
    let bomb = error(folder.read("bomb.ndjson.gz", &json!({ "max_decompressed": "100KiB" })).await);
    assert_eq!(bomb.kind(), ErrorKind::DataInvalid);
    assert!(bomb.to_string().contains("max_decompressed"), "{bomb}");
}

#[tokio::test]
async fn a_bad_row_names_file_line_and_column() {
    let folder = Folder::with(&[("in/a.csv", "id,name\n1,x\ntwo,y\n3,z\n")]);
    let options = folder.options("in/a.csv", &json!({ "columns": { "id": "int64" } }));
    let scan = folder.scan(options, &ScanRequest::default()).await.unwrap();
    assert_eq!(ids(&scan.rows()), [1, 3]);
    let rejected = &scan.rejected()[0];
    assert_eq!(rejected.place, format!("{}:3", folder.path("in/a.csv")));
    assert_eq!((rejected.column.as_deref(), rejected.value.as_deref()), (Some("id"), Some("two")));
}

#[tokio::test]
async fn a_file_that_changes_behind_the_plan_is_an_error() {
    let folder = Folder::with(&[("a.csv", "id\n1\n")]);
    let source = CONNECTOR
        .source_entry()
        .unwrap()
        .open(folder.options("a.csv", &json!({})), &folder.cx)
        .await
        .unwrap();
    let scan = folder.scan(folder.options("a.csv", &json!({})), &ScanRequest::default()).await.unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(folder.at("a.csv")).unwrap();
    file.write_all(b"2\n").unwrap();
    let split = splits(&scan.steps).next().unwrap();
    let mut stream = source.read(&folder.cx, split, Position::Start).unwrap();
    let changed = futures::StreamExt::next(&mut stream).await.unwrap().unwrap_err();
    assert_eq!(changed.kind(), ErrorKind::Conflict);
    assert!(changed.to_string().contains("it has 7 bytes instead of 5"), "{changed}");

    let mut request = ScanRequest::default();
    let Planned::Split { resume, .. } = &scan.steps[0] else { panic!("a split") };
    request.planned = resume.clone();
    let replanned = error(folder.scan(folder.options("a.csv", &json!({})), &request).await);
    assert_eq!(replanned.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn discover_lists_data_sets_with_their_columns() {
    let folder = Folder::with(&[
        ("in/sales_2026_01.csv", "id,amount\n1,2.5\n"),
        ("in/sales_2026_02.csv", "id,amount\n2,2.5\n"),
        ("in/customers.ndjson", "{\"name\":\"x\"}\n"),
        ("in/README.unknown", "no data"),
        ("in/orders/day=1/part-0.csv", "id\n1\n"),
        ("in/orders/day=2/part-0.csv", "id\n2\n"),
    ]);
    let source =
        CONNECTOR.source_entry().unwrap().open(folder.options("in", &json!({})), &folder.cx).await.unwrap();
    let found = source.discover(&folder.cx).await.unwrap();
    let names: Vec<_> = found.iter().map(|dataset| dataset.name.as_str()).collect();
    assert_eq!(names, ["customers", "orders", "sales"]);
    assert_eq!(found[2].source, json!({ "path": folder.path("in/sales_*_*.csv") }));
    assert_eq!(found[2].schema.as_ref().unwrap().fields().len(), 2);
    for dataset in &found {
        folder.scan(dataset.source.clone(), &ScanRequest::default()).await.unwrap();
    }
    let orders = folder.scan(found[1].source.clone(), &ScanRequest::default()).await.unwrap();
    assert_eq!(ids(&orders.rows()), [1, 2]);
}

#[tokio::test]
async fn check_finds_what_a_run_will_need() {
    let folder = Folder::with(&[("in/a.csv", "id\n1\n"), ("in/b.txt", "?")]);
    let check = async |path: &str| {
        let source =
            CONNECTOR.source_entry().unwrap().open(folder.options(path, &json!({})), &folder.cx).await?;
        source.check(&folder.cx).await
    };
    check("in/*.csv").await.unwrap();
    assert_eq!(error(check("in/*.json").await).kind(), ErrorKind::NotFound);
    assert_eq!(error(check("in/b.txt").await).kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_uri_is_a_path() {
    let folder = Folder::with(&[("in/a b.csv", "id\n1\n")]);
    let options = CONNECTOR.options_of_uri(&format!("file:{}", folder.path("in/a%20b.csv"))).unwrap();
    assert_eq!(ids(&folder.scan(options, &ScanRequest::default()).await.unwrap().rows()), [1]);
}
