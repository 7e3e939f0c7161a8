//! The promises of the sink, one test each.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use async_trait::async_trait;
use serde_json::json;
use towpath_connector_postgres::{CONNECTOR, PostgresSinkConfig};
use towpath_core::{Context, DynSink, ErrorKind, Json, Result};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::sink::SinkFixture;
use towpath_testkit::context;

use crate::support::{Database, PASSWORD, User, connect, json_rows, read_all, request, server};

/// A database without tables.
struct Empty {
    database: Database,
    user: User,
}

impl Empty {
    async fn new() -> Self {
        let database = Database::new().await;
        let user = User::new(&database).await;
        let grants = format!(
            "GRANT CREATE ON DATABASE {} TO {}; GRANT CREATE ON SCHEMA public TO {1}",
            database.name, user.name
        );
        database.run(&grants).await;
        Self { database, user }
    }

    fn options(&self, more: &Json) -> Json {
        let mut options = self.user.options(&json!({ "table": "landing.{stream}" }));
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
        let sql = format!("SELECT to_regclass('landing.{stream}') IS NULL");
        if self.database.text(&sql).await == "t" {
            return Ok(Vec::new());
        }
        // Whatever its type in Postgres is, JSON is compared as JSON.
        let cx = context();
        let source = self.database.source(&cx, &json!({ "table": format!("landing.{stream}") })).await?;
        let batches = read_all(&*source, &cx, &request()).await?;
        let is_json = |field: &Field| field.extension_type_name() == Some("arrow.json");
        let json: Vec<String> = batches
            .iter()
            .flat_map(|batch| batch.rows.schema().fields().iter().cloned().collect::<Vec<_>>())
            .filter(|field| is_json(field))
            .map(|field| field.name().clone())
            .collect();
        let mut rows = json_rows(&batches);
        for row in &mut rows {
            for name in &json {
                if let Some(text) = row[name.as_str()].as_str() {
                    row[name.as_str()] = serde_json::from_str(text).unwrap();
                }
            }
        }
        Ok(rows)
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let cx = self.context();
        let case = |name: &str, kind, more| ErrorCase::sink(name, kind, CONNECTOR, self.options(&more), &cx);
        vec![
            case("wrong password", ErrorKind::Unauthenticated, json!({ "password": "wrong" }))
                .mentions("password"),
            case("no such database", ErrorKind::NotFound, json!({ "database": "nowhere" }))
                .mentions("nowhere"),
            case("not ours", ErrorKind::PermissionDenied, json!({ "table": "pg_catalog.x" }))
                .mentions("GRANT"),
            case("no name", ErrorKind::Config, json!({ "table": "a.b.c" })).mentions("a.b.c"),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        // The table beside that a `replace` under way builds is no leftover, nor is its ledger; that of an earlier run is.
        let tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE '\\_towpath\\_%' \
                      AND relname <> '_towpath_checkpoints' AND NOT EXISTS (SELECT FROM landing._towpath_checkpoints \
                      WHERE relname ~ ('_' || (checkpoint->>'epoch') || '_(new|ledger)$') AND checkpoint->>'sequence' = '0')";
        let made = self.database.text("SELECT to_regclass('landing._towpath_checkpoints') IS NOT NULL").await;
        let left = if made == "t" { self.database.texts(tables).await } else { Vec::new() };
        let mut left: Vec<_> = left.into_iter().map(|mut row| row.remove(0)).collect();
        left.extend(self.database.sessions().await);
        Ok(left)
    }

    fn reads_back(&self, field: &Field, value: Json) -> Json {
        match (field.data_type(), value.as_str()) {
            // Postgres has no integers so large but decimals, which JSON shows as text.
            (DataType::UInt64, None) if value.is_u64() => value.to_string().into(),
            // Postgres writes intervals in a form of its own.
            (DataType::Interval(_) | DataType::Duration(_), Some(text)) => interval(text).into(),
            (DataType::Union(..), Some(_)) => value.to_string().into(),
            // An instant is the same in every zone.
            (DataType::Timestamp(_, Some(_)), Some(text)) => match chrono::DateTime::parse_from_rfc3339(text)
            {
                Ok(instant) => {
                    let text = instant.to_utc().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
                    text.into()
                }
                Err(_) => value,
            },
            _ => value,
        }
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned()]
    }

    fn debug_texts(&self) -> Vec<String> {
        let config: PostgresSinkConfig = serde_json::from_value(self.options(&json!({}))).unwrap();
        vec![format!("{config:?}")]
    }
}

towpath_testkit::sink_conformance! { case = Empty::new().await }

/// An interval as our source reads it; as it is where Postgres does not know it.
fn interval(text: &str) -> String {
    let asked = text.to_owned();
    let asking = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async {
            let client = connect(&server()).await;
            client.batch_execute("SET IntervalStyle = iso_8601").await.ok()?;
            let row = client.query_one("SELECT $1::text::interval::text", &[&asked]).await.ok()?;
            Some(row.get(0))
        })
    });
    asking.join().ok().flatten().unwrap_or_else(|| text.to_owned())
}
