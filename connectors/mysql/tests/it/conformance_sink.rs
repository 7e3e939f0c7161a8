//! The promises of the sink, one test each, for both ways in which rows get to the server.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use async_trait::async_trait;
use chrono::DateTime;
use serde_json::{Map, json};
use towpath_connector_mysql::{CONNECTOR, SinkConfig};
use towpath_core::{Context, DynSink, ErrorKind, Json, Result};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::sink::SinkFixture;

use crate::support::{Database, PASSWORD, User, server};

/// A database without tables, and a user who may do everything in it.
struct Empty {
    database: Database,
    user: User,
    load_by: &'static str,
}

impl Empty {
    async fn new(load_by: &'static str) -> Self {
        let database = Database::new().await;
        let user = User::new(&database, &[&format!("ALL PRIVILEGES ON `{}`.*", database.name)]).await;
        Self { database, user, load_by }
    }

    fn options(&self, more: &Json) -> Json {
        let mut options = json!({
            "url": server().as_str(), "database": self.database.name, "user": self.user.name, "password": PASSWORD,
            "load_by": self.load_by,
        });
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
        vec![
            case("wrong password", ErrorKind::Unauthenticated, json!({ "password": "wrong" }))
                .mentions("password"),
            case("nobody listens", ErrorKind::Unavailable, json!({ "port": 1 })).mentions("127.0.0.1"),
            case(
                "a database that may not be made",
                ErrorKind::PermissionDenied,
                json!({ "database": "nowhere" }),
            )
            .mentions("GRANT ALL PRIVILEGES ON `nowhere`.*"),
            case("not ours", ErrorKind::PermissionDenied, json!({ "table": "mysql.x" })).mentions("GRANT"),
            case("no name", ErrorKind::Config, json!({ "table": "a.b.c" })).mentions("a.b.c"),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        let tables = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
                      AND TABLE_NAME LIKE '\\_towpath\\_%' AND TABLE_NAME <> '_towpath_checkpoints'";
        let mut left = Vec::new();
        for name in self.database.texts(tables).await.into_iter().flatten() {
            // What writers of a load share is there as long as the load, and may be empty.
            let is_shared = name.ends_with("_new") || name.ends_with("_parts");
            if !is_shared || !self.database.texts(&format!("SELECT 1 FROM `{name}` LIMIT 1")).await.is_empty()
            {
                left.push(name);
            }
        }
        Ok(left)
    }

    fn reads_back(&self, field: &Field, value: Json) -> Json {
        match (field.data_type(), value.as_str()) {
            (DataType::Timestamp(_, zone), Some(text)) => {
                let utc = zone.as_ref().map(|_| DateTime::parse_from_rfc3339(text).unwrap().to_utc());
                let text = utc.map_or_else(
                    || text.to_owned(),
                    |utc| utc.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
                );
                json!(trimmed(&text))
            }
            (DataType::Date64, Some(text)) => json!(text.split('T').next()),
            (DataType::Duration(unit), Some(text)) => json!(count(text, *unit)),
            (data_type, Some(text))
                if data_type.is_decimal()
                    || matches!(data_type, DataType::Time32(_) | DataType::Time64(_)) =>
            {
                json!(trimmed(text))
            }
            _ => value,
        }
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned()]
    }

    fn debug_texts(&self) -> Vec<String> {
        let config: SinkConfig = serde_json::from_value(self.options(&json!({}))).unwrap();
        vec![format!("{config:?}")]
    }
}

/// Without zeros at the end of a fraction.
fn trimmed(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

/// How many units an ISO 8601 duration of seconds has, as Arrow prints it.
fn count(text: &str, unit: arrow_schema::TimeUnit) -> i64 {
    let per_second = match unit {
        arrow_schema::TimeUnit::Second => 1,
        arrow_schema::TimeUnit::Millisecond => 1_000,
        arrow_schema::TimeUnit::Microsecond => 1_000_000,
        arrow_schema::TimeUnit::Nanosecond => 1_000_000_000,
    };
    if text == "P0D" {
        return 0;
    }
    let negative = text.starts_with('-');
    let digits = text.trim_start_matches('-').trim_start_matches("PT").trim_end_matches('S');
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction: i64 = format!("{fraction:0<9}").parse().unwrap();
    let total = whole.parse::<i64>().unwrap() * per_second + fraction / (1_000_000_000 / per_second);
    if negative { -total } else { total }
}

/// The rows of a table, as the server tells them in words.
pub(crate) async fn rows(database: &Database, table: &str) -> Vec<Json> {
    let columns = database
        .texts(&format!(
            "SELECT COLUMN_NAME, COLUMN_TYPE, (SELECT COUNT(*) FROM information_schema.CHECK_CONSTRAINTS c \
             WHERE c.CONSTRAINT_SCHEMA = DATABASE() AND c.TABLE_NAME = '{table}' \
             AND CHECK_CLAUSE = CONCAT('json_valid(`', COLUMN_NAME, '`)')) \
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' \
             ORDER BY ORDINAL_POSITION"
        ))
        .await;
    if columns.is_empty() {
        return Vec::new();
    }
    let list: Vec<String> = columns.iter().map(|column| expression(&column[0], &column[1])).collect();
    let rows = database.texts(&format!("SELECT {} FROM `{table}`", list.join(", "))).await;
    let row = |row: Vec<String>| {
        let values = columns.iter().zip(row);
        Json::Object(
            values
                .map(|(column, text)| (column[0].clone(), value(&column[1], column[2] == "1", &text)))
                .collect::<Map<_, _>>(),
        )
    };
    rows.into_iter().map(row).collect()
}

/// A text that tells null from any other value, and says more than the server would by itself.
fn expression(name: &str, kind: &str) -> String {
    let shown = match kind {
        "float" => format!("CAST(`{name}` AS DOUBLE)"),
        _ if kind.contains("blob") || kind.contains("binary") => format!("LOWER(HEX(`{name}`))"),
        _ => format!("`{name}`"),
    };
    format!("IF(`{name}` IS NULL, 'null', CONCAT('=', {shown}))")
}

fn value(kind: &str, is_json: bool, text: &str) -> Json {
    let Some(text) = text.strip_prefix('=') else { return Json::Null };
    match kind {
        "tinyint(1)" => json!(text == "1"),
        _ if is_json => serde_json::from_str(text).unwrap(),
        _ if kind.contains("int") || kind == "float" || kind == "double" => {
            serde_json::from_str(text).unwrap()
        }
        _ if kind.starts_with("decimal") || kind.starts_with("time(") => json!(trimmed(text)),
        _ if kind.starts_with("datetime") || kind.starts_with("timestamp") => {
            json!(trimmed(&text.replace(' ', "T")))
        }
        _ => json!(text),
    }
}

mod load_data {
    towpath_testkit::sink_conformance! { case = super::Empty::new("load_data").await }
}

mod insert {
    towpath_testkit::sink_conformance! { case = super::Empty::new("insert").await }
}
