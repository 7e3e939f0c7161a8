//! The promises of the contract, for the formats that differ most.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use towpath_connector_gcs::CONNECTOR;
use towpath_core::{Context, DynSource, ErrorKind, Json, Result};
use towpath_formats::chunks::{Cutter, File, batch};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::source::SourceFixture;
use towpath_testkit::{context, rows};

use crate::support::Site;

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
    towpath_testkit::source_conformance! { case = super::Seeded::bytes().await }
}

/// Objects of some thousand rows below partition prefixes, cut small.
struct Seeded {
    site: Site,
    rows: Vec<Json>,
    more: Json,
}

impl Seeded {
    async fn new(extension: &str, incremental: bool) -> Self {
        let site = Site::new().await;
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

    /// Objects as they are, of which one is cut into two splits of several chunks.
    async fn bytes() -> Self {
        let site = Site::new().await;
        let mut rows = Vec::new();
        for (name, length) in [("day=1/a", 5), ("day=1/b", 0), ("day=2/c", (4 << 20) + 7)] {
            let content: Vec<u8> = (0..length).map(|at: usize| u8::try_from(at % 251).unwrap()).collect();
            let key = format!("in/{name}");
            site.put(&key, content.clone());
            let version = Some(site.tag(&key));
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
impl SourceFixture for Seeded {
    async fn open(&self, cx: &Context) -> Result<Arc<dyn DynSource>> {
        let mut options = self.site.options("in/*/*", &self.more);
        options["split_size"] = json!("2300KiB");
        CONNECTOR.source_entry().unwrap().open(options, cx).await
    }

    fn rows(&self) -> Vec<Json> {
        self.rows.clone()
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let case = |name: &str, kind, path: &str, more: Json| {
            ErrorCase::source(name, kind, CONNECTOR, self.site.options(path, &more), &context())
        };
        vec![
            case("no such object", ErrorKind::NotFound, "none.csv", json!({})).mentions("none.csv"),
            case("no match", ErrorKind::NotFound, "in/*.nothing", json!({})).mentions("in/*.nothing"),
            case("a broken glob", ErrorKind::Config, "in/[a.csv", json!({})).mentions("in/[a.csv"),
            case("no split size", ErrorKind::Config, "in", json!({"split_size": 0})).mentions("split_size"),
            case("no bucket", ErrorKind::Config, "in", json!({"bucket": null})).mentions("`bucket`"),
            case("no such bucket", ErrorKind::NotFound, "in/*", json!({"bucket": "nowhere"}))
                .mentions("nowhere"),
            case("no such token", ErrorKind::Unauthenticated, "in/*", json!({"access_token": "hush-hush"})),
            case(
                "nobody",
                ErrorKind::PermissionDenied,
                "in/*",
                json!({"access_token": null, "anonymous": true}),
            )
            .mentions("storage.objects.list"),
            case("nobody there", ErrorKind::Unavailable, "in/*", json!({"endpoint": "http://127.0.0.1:1"}))
                .mentions("cannot connect"),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.site.server.owner_token(), "hush-hush".to_owned()]
    }
}
