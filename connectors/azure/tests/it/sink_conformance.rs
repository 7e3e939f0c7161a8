//! The promises of a sink, for the formats and layouts that differ most.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use async_trait::async_trait;
use serde_json::json;
use towpath_connector_azure::{CONNECTOR, SinkConfig};
use towpath_core::{ColumnType, Context, DynSink, ErrorKind, Json, Result, TypeFamily};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::sink::SinkFixture;
use towpath_testkit::{context, types};

use crate::account;
use crate::support::Prefix;

mod ndjson {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}/{part}.ndjson", "ndjson", json!({})) }
    use serde_json::json;
}

mod parquet {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}/{run}/{part}.parquet", "parquet", json!({})) }
    use serde_json::json;
}

mod plain_path {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}.ndjson.gz", "ndjson", json!({})) }
    use serde_json::json;
}

mod plain_path_parquet {
    towpath_testkit::sink_conformance! { case = super::Empty::new("{stream}.parquet", "parquet", json!({})) }
    use serde_json::json;
}

mod plain_layout {
    towpath_testkit::sink_conformance! {
        case = super::Empty::new("{stream}/{part}.ndjson", "ndjson", json!({"layout": "plain"}))
    }
    use serde_json::json;
}

/// An empty prefix.
struct Empty {
    prefix: Prefix,
    path: &'static str,
    format: &'static str,
    more: Json,
}

impl Empty {
    fn new(path: &'static str, format: &'static str, more: Json) -> Self {
        Self { prefix: Prefix::new(), path, format, more }
    }
}

#[async_trait]
impl SinkFixture for Empty {
    async fn open(&self, cx: &Context, _: &str) -> Result<Arc<dyn DynSink>> {
        let options = self.prefix.options(&format!("out/{}", self.path), &self.more);
        CONNECTOR.sink_entry().unwrap().open(options, cx).await
    }

    async fn rows(&self, stream: &str) -> Result<Vec<Json>> {
        let options = json!({ "hive_partitions": false, "columns": declared(stream) });
        let mut found = Vec::new();
        let of_stream = [format!("out/{stream}/"), format!("out/{stream}.")];
        for key in self.prefix.visible().await {
            if of_stream.iter().any(|beginning| key.starts_with(beginning)) {
                found.extend(self.prefix.read(&key, &options).await?);
            }
        }
        Ok(found)
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let case = |name: &str, kind, path: &str, more: Json| {
            ErrorCase::sink(name, kind, CONNECTOR, self.prefix.options(path, &more), &context())
        };
        vec![
            case("no name", ErrorKind::Config, "out/", json!({})).mentions("{part}"),
            case("no format", ErrorKind::Config, "out/{part}", json!({})).mentions("format"),
            case("no container", ErrorKind::Config, "out/{part}.csv", json!({"container": null}))
                .mentions("container"),
            case("small blocks", ErrorKind::Config, "out/{part}.csv", json!({"part_size": "1MiB"}))
                .mentions("5 MiB"),
            case("large blocks", ErrorKind::Config, "out/{part}.csv", json!({"part_size": "4001MiB"}))
                .mentions("4000 MiB"),
            case("no blocks", ErrorKind::Config, "out/{part}.csv", json!({"parts_in_flight": 0}))
                .mentions("parts_in_flight"),
            case(
                "a tag that Azure does not take",
                ErrorKind::Config,
                "out/{part}.csv",
                json!({"tags": {"a": "ö"}}),
            )
            .mentions("a tag has"),
            case(
                "only reading",
                ErrorKind::PermissionDenied,
                "out/{part}.csv",
                json!({"access_key": null, "sas_token": account::sas(self.prefix.container, "rl")}),
            )
            .mentions("containers/blobs/write"),
            case(
                "a wrong key",
                ErrorKind::Unauthenticated,
                "out/{part}.csv",
                json!({"access_key": "aHVzaC1odXNo"}),
            ),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        Ok(self.prefix.staged().await)
    }

    fn secrets(&self) -> Vec<String> {
        vec![account::key(), "aHVzaC1odXNo".to_owned()]
    }

    fn debug_texts(&self) -> Vec<String> {
        let config: SinkConfig =
            serde_json::from_value(self.prefix.options("{part}.csv", &json!({}))).unwrap();
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
