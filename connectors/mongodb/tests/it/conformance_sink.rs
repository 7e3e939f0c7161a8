//! The promises of the sink, one test each.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use async_trait::async_trait;
use serde_json::json;
use towpath_connector_mongodb::{CONNECTOR, MongodbSinkConfig};
use towpath_core::{Context, DynSink, ErrorKind, Json, Result};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::sink::SinkFixture;

use crate::sink_support::{left, rows};
use crate::support::{Database, PASSWORD, server_alone};

/// A database without collections, and a user who may write there.
struct Empty {
    database: Database,
    nulls: &'static str,
}

impl Empty {
    async fn new(nulls: &'static str) -> Self {
        Self::of(Database::new().await, nulls).await
    }

    /// On a server that has no transactions.
    async fn alone() -> Self {
        Self::of(Database::at(server_alone()).await, "omit").await
    }

    async fn of(database: Database, nulls: &'static str) -> Self {
        database.user("writer", &["readWrite"]).await;
        database.user("reader", &["read"]).await;
        Self { database, nulls }
    }

    fn options(&self, more: &Json) -> Json {
        let mut options = self.database.options(&json!({
            "user": "writer", "password": PASSWORD, "auth_source": self.database.name, "nulls": self.nulls,
            "server_timeout": "2s",
        }));
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        options
    }
}

#[async_trait]
impl SinkFixture for Empty {
    async fn open(&self, cx: &Context, _: &str) -> Result<Arc<dyn DynSink>> {
        CONNECTOR.sink_entry().unwrap().open(self.options(&json!({})), cx).await
    }

    async fn rows(&self, stream: &str) -> Result<Vec<Json>> {
        Ok(rows(&self.database, stream).await)
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let cx = self.context();
        let case = |name: &str, kind, more| ErrorCase::sink(name, kind, CONNECTOR, self.options(&more), &cx);
        let nobody =
            json!({ "url": "mongodb://127.0.0.1:1/?directConnection=true", "server_timeout": "300ms" });
        vec![
            case("wrong password", ErrorKind::Unauthenticated, json!({ "password": "wrong" }))
                .mentions("password"),
            case("nobody listens", ErrorKind::Unavailable, nobody).mentions("127.0.0.1:1"),
            case("may only read", ErrorKind::PermissionDenied, json!({ "user": "reader" }))
                .mentions("readWrite"),
            case("not ours", ErrorKind::PermissionDenied, json!({ "database": "config" })).mentions("config"),
            case("no name", ErrorKind::Config, json!({ "collection": "" })).mentions("collection"),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        Ok(left(&self.database).await)
    }

    fn reads_back(&self, field: &Field, value: Json) -> Json {
        const SAFE: u64 = i64::MAX as u64;
        match (field.data_type(), &value) {
            // Dates are milliseconds there, and told as such here.
            (DataType::Timestamp(..) | DataType::Date32 | DataType::Date64, Json::String(text)) => {
                json!(milliseconds(text))
            }
            (DataType::UInt64, Json::Number(number))
                if number.as_u64().is_some_and(|number| number > SAFE) =>
            {
                json!(number.to_string())
            }
            // The text of a decimal there has no zeros in front of an exponent.
            (data_type, Json::String(text)) if data_type.is_decimal() => {
                let text = text
                    .parse::<bson::Decimal128>()
                    .map_or_else(|_| text.clone(), |decimal| decimal.to_string());
                json!(text)
            }
            _ => value,
        }
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned()]
    }

    fn debug_texts(&self) -> Vec<String> {
        let config: MongodbSinkConfig = serde_json::from_value(self.options(&json!({}))).unwrap();
        vec![format!("{config:?}")]
    }
}

/// A moment or a day in ISO form as milliseconds since 1970, what is finer cut off.
fn milliseconds(text: &str) -> i64 {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let time =
        if time.ends_with('Z') || time.contains(['+', '-']) { time.to_owned() } else { format!("{time}Z") };
    let (clock, zone) = time.split_at(time.find(['Z', '+', '-']).unwrap());
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let fraction = &format!("{fraction:0<3}")[..3];
    bson::DateTime::parse_rfc3339_str(format!("{date}T{clock}.{fraction}{zone}")).unwrap().timestamp_millis()
}

mod nulls_left_out {
    towpath_testkit::sink_conformance! { case = super::Empty::new("omit").await }
}

mod nulls_written {
    towpath_testkit::sink_conformance! { case = super::Empty::new("write").await }
}

mod on_a_server_alone {
    towpath_testkit::sink_conformance! { case = super::Empty::alone().await }
}
