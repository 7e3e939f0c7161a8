//! The promises of a sink, for the formats and layouts that differ most.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use async_trait::async_trait;
use serde_json::json;
use towpath_connector_gcs::{CONNECTOR, SinkConfig};
use towpath_core::{ColumnType, Context, DynSink, ErrorKind, Json, Result, TypeFamily};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::sink::SinkFixture;
use towpath_testkit::{context, types};

use crate::support::Site;

mod ndjson {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}/{part}.ndjson", "ndjson", json!({})).await }
    use serde_json::json;
}

mod parquet {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}/{run}/{part}.parquet", "parquet", json!({})).await }
    use serde_json::json;
}

mod plain_path {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}.ndjson.gz", "ndjson", json!({})).await }
    use serde_json::json;
}

mod plain_path_parquet {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}.parquet", "parquet", json!({})).await }
    use serde_json::json;
}

mod plain_layout {
    towpath_testkit::sink_conformance! {
        case = super::Empty::new("{stream}/{part}.ndjson", "ndjson", json!({"layout": "plain"})).await
    }
    use serde_json::json;
}

/// An empty site.
struct Empty {
    site: Site,
    path: &'static str,
    format: &'static str,
    more: Json,
}

impl Empty {
    async fn new(path: &'static str, format: &'static str, more: Json) -> Self {
        Self { site: Site::new().await, path, format, more }
    }
}

#[async_trait]
impl SinkFixture for Empty {
    async fn open(&self, cx: &Context, _: &str) -> Result<Arc<dyn DynSink>> {
        let options = self.site.options(&format!("out/{}", self.path), &self.more);
        CONNECTOR.sink_entry().unwrap().open(options, cx).await
    }

    async fn rows(&self, stream: &str) -> Result<Vec<Json>> {
        let options = json!({ "hive_partitions": false, "columns": declared(stream) });
        let mut found = Vec::new();
        let of_stream = [format!("out/{stream}/"), format!("out/{stream}.")];
        for key in self.site.visible() {
            if of_stream.iter().any(|beginning| key.starts_with(beginning)) {
                found.extend(self.site.read(&key, &options).await?);
            }
        }
        Ok(found)
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let case = |name: &str, kind, path: &str, more: Json| {
            ErrorCase::sink(name, kind, CONNECTOR, self.site.options(path, &more), &context())
        };
        vec![
            case("no name", ErrorKind::Config, "out/", json!({})).mentions("{part}"),
            case("no format", ErrorKind::Config, "out/{part}", json!({})).mentions("format"),
            case("no bucket", ErrorKind::Config, "out/{part}.csv", json!({"bucket": null}))
                .mentions("bucket"),
            case("small parts", ErrorKind::Config, "out/{part}.csv", json!({"part_size": "1MiB"}))
                .mentions("5 MiB"),
            case("no parts", ErrorKind::Config, "out/{part}.csv", json!({"parts_in_flight": 0}))
                .mentions("parts_in_flight"),
            case("no such acl", ErrorKind::Config, "out/{part}.csv", json!({"acl": "mine"}))
                .mentions("private"),
            case("no header", ErrorKind::Config, "out/{part}.csv", json!({"kms_key": "a\nb"}))
                .mentions("kms_key"),
            case(
                "only reading",
                ErrorKind::PermissionDenied,
                "out/{part}.csv",
                json!({"access_token": self.site.server.reader_token()}),
            )
            .mentions("storage.objects.create"),
            case(
                "a wrong token",
                ErrorKind::Unauthenticated,
                "out/{part}.csv",
                json!({"access_token": "hush-hush"}),
            ),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        Ok(self.site.staged())
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.site.server.owner_token(), "hush-hush".to_owned()]
    }

    fn debug_texts(&self) -> Vec<String> {
        let config: SinkConfig = serde_json::from_value(self.site.options("{part}.csv", &json!({}))).unwrap();
        vec![format!("{config:?}")]
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
