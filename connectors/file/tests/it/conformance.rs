//! The promises of the contract, for the formats that differ most.

use std::sync::Arc;

use arrow_schema::DataType;
use async_trait::async_trait;
use serde_json::json;
use towpath_connector_file::CONNECTOR;
use towpath_core::{
    ColumnType, Context, DynSink, DynSource, ErrorKind, Json, Result, TypeFamily, WriteDisposition,
};
use towpath_formats::chunks::{Cutter, File, batch};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::sink::SinkFixture;
use towpath_testkit::conformance::source::SourceFixture;
use towpath_testkit::{archives, context, rows, types};

use crate::support::Folder;

mod csv_source {
    towpath_testkit::source_conformance! { case = super::Seeded::new("csv", false).await }
}

mod ndjson_source {
    towpath_testkit::source_conformance! { case = super::Seeded::new("ndjson.gz", false).await }
}

mod incremental_source {
    towpath_testkit::source_conformance! { case = super::Seeded::new("ndjson", true).await }
}

mod parquet_source {
    towpath_testkit::source_conformance! { case = super::Seeded::new("parquet", false).await }
}

mod bytes_source {
    towpath_testkit::source_conformance! { case = super::Seeded::bytes() }
}

mod zip_source {
    towpath_testkit::source_conformance! { case = super::Seeded::archived("csv", "zip", super::archives::zip).await }
}

mod stored_zip_source {
    towpath_testkit::source_conformance! { case = super::Seeded::archived("ndjson", "zip", super::archives::stored_zip).await }
}

mod tar_source {
    towpath_testkit::source_conformance! { case = super::Seeded::archived("parquet", "tar", super::archives::tar).await }
}

mod compressed_tar_source {
    towpath_testkit::source_conformance! {
        case = super::Seeded::archived("csv", "tar.gz", super::archives::tar_gz).await
    }
}

mod csv_sink {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}/{part}.csv", "csv") }
}

mod ndjson_sink {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}/{part}.ndjson.zst", "ndjson") }
}

mod parquet_sink {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}/{run}/{part}.parquet", "parquet") }
}

mod plain_ndjson_sink {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}.ndjson", "ndjson") }
}

mod plain_csv_sink {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}.csv.gz", "csv") }
}

mod plain_parquet_sink {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}.parquet", "parquet") }
}

/// What makes an archive of names and contents.
type Pack = fn(&[(&str, &[u8])]) -> Vec<u8>;

/// Files of some thousand rows in partition folders, cut small.
struct Seeded {
    folder: Folder,
    rows: Vec<Json>,
    more: Json,
}

impl Seeded {
    async fn new(extension: &str, incremental: bool) -> Self {
        let folder = Folder::new();
        let mut all = Vec::new();
        let format = if extension == "parquet" {
            json!({ "format": { "type": "parquet", "row_group_rows": 500 } })
        } else {
            json!({})
        };
        let padding = "padding ".repeat(300);
        for (day, count) in [(1_i64, 1_600_i64), (2, 5), (3, 1_200)] {
            let row = |id: i64| json!([id, format!("{padding}{id}, day {day}"), id as f64 + 0.5]);
            let values: Vec<Json> = (0..count).map(row).collect();
            let batch = rows::batch("id: int64, name: string, amount: float64", &json!(values));
            let file = format!("in/day={day}/file.{extension}");
            folder
                .load(&file, &format, &format!("run{day}"), WriteDisposition::Replace, &[batch])
                .await
                .unwrap();
            let with_day = |row: Json| json!({"id": row[0], "name": row[1], "amount": row[2], "day": day});
            all.extend(values.into_iter().map(with_day));
        }
        Self { folder, rows: all, more: json!({ "incremental": incremental }) }
    }

    /// The same files as entries of two archives.
    async fn archived(extension: &str, kind: &str, archive: Pack) -> Self {
        let seeded = Self::new(extension, true).await;
        let day = |day: u64| {
            let name = format!("day={day}/file.{extension}");
            let content = std::fs::read(seeded.folder.at(&format!("in/{name}"))).unwrap();
            std::fs::remove_dir_all(seeded.folder.at(&format!("in/day={day}"))).unwrap();
            (name, content)
        };
        let (one, two, three) = (day(1), day(2), day(3));
        let pack = |name: &str, entries: &[&(String, Vec<u8>)]| {
            let entries: Vec<_> =
                entries.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
            seeded.folder.write(&format!("in/x/{name}.{kind}"), archive(&entries));
        };
        pack("a", &[&one, &two]);
        pack("b", &[&three]);
        let more = json!({ "incremental": true, "archive": "auto" });
        Self { more, ..seeded }
    }

    /// Files as they are, of which one is cut into two splits of several chunks.
    fn bytes() -> Self {
        let folder = Folder::new();
        let mut rows = Vec::new();
        for (name, length) in [("day=1/a", 5), ("day=1/b", 0), ("day=2/c", (4 << 20) + 7)] {
            let content: Vec<u8> = (0..length).map(|at: usize| u8::try_from(at % 251).unwrap()).collect();
            let path = format!("in/{name}");
            folder.write(&path, &content);
            let modified = folder.at(&path).metadata().unwrap().modified().unwrap();
            let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
            let version = Some(format!("{length}-{modified}"));
            let file = File { name: name.to_owned(), size: Some(length as u64), version, digest: None };
            let mut cutter = Cutter::new(0);
            cutter.push(&content.into());
            let full: Vec<_> = std::iter::from_fn(|| cutter.full()).collect();
            for (offset, data) in full.into_iter().chain([cutter.rest()]) {
                rows.extend(rows::to_json([&batch(&file, offset, data).unwrap()]));
            }
        }
        Self { folder, rows, more: json!({ "format": "bytes" }) }
    }
}

#[async_trait]
impl SourceFixture for Seeded {
    async fn open(&self, cx: &Context) -> Result<Arc<dyn DynSource>> {
        let mut options = self.folder.options("in/*/*", &self.more);
        options["split_size"] = json!("2300KiB");
        CONNECTOR.source_entry().unwrap().open(options, cx).await
    }

    fn rows(&self) -> Vec<Json> {
        self.rows.clone()
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let case = |name: &str, kind, path: &str, more: Json| {
            ErrorCase::source(name, kind, CONNECTOR, self.folder.options(path, &more), &context())
        };
        vec![
            case("no such file", ErrorKind::NotFound, "none.csv", json!({})).mentions("none.csv"),
            case("no match", ErrorKind::NotFound, "in/*.nothing", json!({})).mentions("in/*.nothing"),
            case("a broken glob", ErrorKind::Config, "in/[a.csv", json!({})).mentions("in/[a.csv"),
            case("no split size", ErrorKind::Config, "in", json!({"split_size": 0})).mentions("split_size"),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        let own = self.folder.at("in").canonicalize().unwrap();
        let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return Ok(Vec::new()) };
        let targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        Ok(targets
            .filter(|target| target.starts_with(&own))
            .map(|target| target.display().to_string())
            .collect())
    }
}

/// An empty folder.
struct Empty {
    folder: Folder,
    path: &'static str,
    format: &'static str,
}

impl Empty {
    fn new(path: &'static str, format: &'static str) -> Self {
        Self { folder: Folder::new(), path, format }
    }

    fn files_of(&self, stream: &str) -> Vec<String> {
        let of_stream = |file: &String| {
            file.starts_with(&format!("{stream}/")) || file.starts_with(&format!("{stream}."))
        };
        self.folder.files("out").into_iter().filter(of_stream).collect()
    }
}

#[async_trait]
impl SinkFixture for Empty {
    async fn open(&self, cx: &Context, _: &str) -> Result<Arc<dyn DynSink>> {
        let options = self.folder.options(&format!("out/{}", self.path), &json!({}));
        CONNECTOR.sink_entry().unwrap().open(options, cx).await
    }

    async fn rows(&self, stream: &str) -> Result<Vec<Json>> {
        let options = json!({ "hive_partitions": false, "columns": declared(stream) });
        let mut found = Vec::new();
        for file in self.files_of(stream) {
            found.extend(self.folder.read(&format!("out/{file}"), &options).await?);
        }
        Ok(found)
    }

    fn broken(&self) -> Vec<ErrorCase> {
        self.folder.write("a_file", "x");
        let case = |name: &str, kind, path: &str, more: Json| {
            ErrorCase::sink(name, kind, CONNECTOR, self.folder.options(path, &more), &context())
        };
        vec![
            case("no file name", ErrorKind::Config, "out/", json!({})).mentions("{part}"),
            case("no such placeholder", ErrorKind::Config, "out/{day}.csv", json!({})).mentions("{day}"),
            case("no format", ErrorKind::Config, "out/a", json!({})).mentions("format"),
            case("below a file", ErrorKind::Config, "a_file/b.csv", json!({})).mentions("a_file"),
            case("partitions of one file", ErrorKind::Config, "out/a.csv", json!({"partition_by": ["id"]}))
                .mentions("a/{part}.csv"),
            case(
                "no such partition",
                ErrorKind::SchemaMismatch,
                "out/{part}.csv",
                json!({"partition_by": ["day"]}),
            )
            .mentions("day"),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        staged(&self.folder.at("out"), &mut found);
        Ok(found)
    }

    fn reads_back(&self, field: &arrow_schema::Field, value: Json) -> Json {
        as_read_back(self.format, field.data_type(), value)
    }
}

/// Files that are staged, or were left by a check or a half-written manifest.
fn staged(folder: &std::path::Path, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.unwrap()) {
        let path = entry.path();
        if path.is_dir() {
            staged(&path, found);
        } else {
            let text = path.display().to_string();
            if text.contains("/staged/") || text.contains(".towpath-check") || text.contains("manifest.new") {
                found.push(text);
            }
        }
    }
}

/// The type of the column in question, where text alone does not tell it.
fn declared(stream: &str) -> Json {
    use TypeFamily::{Decimal, Timestamp, UInt};
    let sample = types::samples().into_iter().find(|sample| stream == format!("type_{}", sample.name));
    let data_type = sample.map(|sample| sample.values.data_type().clone());
    match data_type.filter(|known| [Decimal, Timestamp, UInt].contains(&TypeFamily::of(known))) {
        Some(data_type) => json!({ "measured_thing": ColumnType::from(data_type).to_string() }),
        None => json!({}),
    }
}

/// What the formats change on purpose.
fn as_read_back(format: &str, data_type: &DataType, value: Json) -> Json {
    let text = value.as_str().map(str::to_owned);
    match (format, data_type, text.as_deref()) {
        // JSON has no number for it; and a null of that layout looks like this as a single value.
        ("ndjson", _, Some("NaN" | "inf" | "-inf")) | (_, DataType::RunEndEncoded(..), Some("")) => {
            Json::Null
        }
        (_, DataType::ListView(_) | DataType::LargeListView(_), Some(list)) => {
            serde_json::from_str(&list.replace(", ]", ",null]")).unwrap_or(value)
        }
        // Parquet holds days.
        ("parquet", DataType::Date64, Some(date)) => json!(date.trim_end_matches("T00:00:00")),
        _ => value,
    }
}
