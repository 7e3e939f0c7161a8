//! What the suites of sources and sinks need of a store of objects.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use async_trait::async_trait;
use serde_json::json;
use towpath_core::{ColumnType, Context, DynSink, DynSource, ErrorKind, Json, Result, TypeFamily};
use towpath_formats::chunks::{Cutter, File, batch};

use super::{Case, ObjectSite, ObjectSiteTools};
use crate::conformance::ErrorCase;
use crate::conformance::sink::SinkFixture;
use crate::conformance::source::SourceFixture;
use crate::{archives, context, rows, types};

/// Objects of some thousand rows below partition prefixes, cut small.
pub struct Seeded<S> {
    site: S,
    rows: Vec<Json>,
    more: Json,
}

impl<S: ObjectSite> Seeded<S> {
    /// Rows in files of a format.
    pub async fn rows(extension: &str, incremental: bool) -> Self {
        let site = S::new().await;
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
            site.write(&format!("in/day={day}/file.{extension}"), &format, batch).await;
            let with_day = |row: Json| json!({"id": row[0], "name": row[1], "amount": row[2], "day": day});
            all.extend(values.into_iter().map(with_day));
        }
        Self { site, rows: all, more: json!({ "incremental": incremental }) }
    }

    /// Rows in the entries of zips.
    pub async fn zipped(extension: &str) -> Self {
        let seeded = Self::rows(extension, true).await;
        let mut files = Vec::new();
        for day in 1..=3 {
            let name = format!("day={day}/file.{extension}");
            files.push((seeded.site.object_bytes(&format!("in/{name}")).await, name));
        }
        let entries: Vec<_> =
            files.iter().map(|(content, name)| (name.as_str(), content.as_slice())).collect();
        let (first, second) = entries.split_at(2);
        seeded.site.put("in/x/a.zip", archives::zip(first)).await;
        seeded.site.put("in/x/b.zip", archives::stored_zip(second)).await;
        // The objects beside them are of no archive.
        let more = json!({ "incremental": true, "archive": "zip", "path": seeded.site.key("in/x/*.zip") });
        Self { more, ..seeded }
    }

    /// Objects as they are, of which one is cut into two splits of several chunks.
    pub async fn bytes() -> Self {
        let site = S::new().await;
        let mut rows = Vec::new();
        for (name, length) in [("day=1/a", 5), ("day=1/b", 0), ("day=2/c", (4 << 20) + 7)] {
            let content: Vec<u8> = (0..length).map(|at: usize| u8::try_from(at % 251).unwrap()).collect();
            let key = format!("in/{name}");
            site.put(&key, content.clone()).await;
            let version = Some(site.object_tag(&key).await);
            let file = File { name: name.to_owned(), size: Some(length as u64), version, digest: None };
            let mut cutter = Cutter::new(0);
            cutter.push(&content.into());
            let full: Vec<_> = std::iter::from_fn(|| cutter.full()).collect();
            for (offset, data) in full.into_iter().chain([cutter.rest()]) {
                rows.extend(rows::to_json([&batch(&file, offset, data).unwrap()]));
            }
        }
        Self { site, rows, more: json!({ "format": "bytes" }) }
    }
}

#[async_trait]
impl<S: ObjectSite> SourceFixture for Seeded<S> {
    async fn open(&self, cx: &Context) -> Result<Arc<dyn DynSource>> {
        let mut options = self.site.options("in/*/*", &self.more);
        options["split_size"] = json!("2300KiB");
        S::CONNECTOR.source_entry().unwrap().open(options, cx).await
    }

    fn rows(&self) -> Vec<Json> {
        self.rows.clone()
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let case = |name: &str, kind, path: &str, more: Json, mentions: &str| {
            let options = self.site.options(path, &more);
            ErrorCase::source(name, kind, S::CONNECTOR, options, &context()).mentions(mentions)
        };
        let bucket = S::BUCKET;
        let nowhere = self.site.endpoint_at("http://127.0.0.1:1");
        let mut cases = vec![
            case("no such object", ErrorKind::NotFound, "none.csv", json!({}), "none.csv"),
            case("no match", ErrorKind::NotFound, "in/*.nothing", json!({}), "in/*.nothing"),
            case("a broken glob", ErrorKind::Config, "in/[a.csv", json!({}), "in/[a.csv"),
            case("no split size", ErrorKind::Config, "in", json!({"split_size": 0}), "split_size"),
            case("no bucket", ErrorKind::Config, "in", json!({bucket: null}), &format!("`{bucket}`")),
            case("no such bucket", ErrorKind::NotFound, "in/*", json!({bucket: "nowhere"}), "nowhere"),
            case(
                "nobody there",
                ErrorKind::Unavailable,
                "in/*",
                json!({"endpoint": nowhere}),
                "cannot connect",
            ),
        ];
        let own = self.site.broken_sources().into_iter();
        cases.extend(
            own.map(|Case { name, kind, options, mentions }| case(name, kind, "in/*", options, mentions)),
        );
        cases
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn secrets(&self) -> Vec<String> {
        self.site.secrets()
    }
}

/// A place without objects.
pub struct Empty<S> {
    site: S,
    path: &'static str,
    format: &'static str,
    more: Json,
}

impl<S: ObjectSite> Empty<S> {
    /// Rows go to a path of this format, with a manifest or without one.
    pub async fn new(path: &'static str, format: &'static str, is_plain: bool) -> Self {
        let more = if is_plain { json!({"layout": "plain"}) } else { json!({}) };
        Self { site: S::new().await, path, format, more }
    }
}

#[async_trait]
impl<S: ObjectSite> SinkFixture for Empty<S> {
    async fn open(&self, cx: &Context, _: &str) -> Result<Arc<dyn DynSink>> {
        let options = self.site.options(&format!("out/{}", self.path), &self.more);
        S::CONNECTOR.sink_entry().unwrap().open(options, cx).await
    }

    async fn rows(&self, stream: &str) -> Result<Vec<Json>> {
        let options = json!({ "hive_partitions": false, "columns": declared(stream) });
        let mut found = Vec::new();
        let of_stream = [format!("out/{stream}/"), format!("out/{stream}.")];
        for key in self.site.visible().await {
            if of_stream.iter().any(|beginning| key.starts_with(beginning)) {
                found.extend(self.site.read(&key, &options).await?);
            }
        }
        Ok(found)
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let case = |name: &str, kind, path: &str, more: Json, mentions: &str| {
            let options = self.site.options(path, &more);
            ErrorCase::sink(name, kind, S::CONNECTOR, options, &context()).mentions(mentions)
        };
        let bucket = S::BUCKET;
        let path = "out/{part}.csv";
        let mut cases = vec![
            case("no name", ErrorKind::Config, "out/", json!({}), "{part}"),
            case("no format", ErrorKind::Config, "out/{part}", json!({}), "format"),
            case("no bucket", ErrorKind::Config, path, json!({bucket: null}), bucket),
            case("small parts", ErrorKind::Config, path, json!({"part_size": "1MiB"}), "5 MiB"),
            case("no parts", ErrorKind::Config, path, json!({"parts_in_flight": 0}), "parts_in_flight"),
        ];
        let own = self.site.broken_sinks().into_iter();
        cases.extend(
            own.map(|Case { name, kind, options, mentions }| case(name, kind, path, options, mentions)),
        );
        cases
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        Ok(self.site.staged().await)
    }

    fn secrets(&self) -> Vec<String> {
        self.site.secrets()
    }

    fn debug_texts(&self) -> Vec<String> {
        S::debug_texts(self.site.options("{part}.csv", &json!({})))
    }

    fn reads_back(&self, field: &Field, value: Json) -> Json {
        as_read_back(self.format, field.data_type(), value)
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
