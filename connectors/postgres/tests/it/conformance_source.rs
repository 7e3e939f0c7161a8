//! The promises of a source, one test each, for each way to cut a table.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use towpath_connector_postgres::{CONNECTOR, PostgresSourceConfig};
use towpath_core::{Context, DynSource, ErrorKind, Json, Result};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::source::SourceFixture;

use crate::support::{Database, PASSWORD, User};

const ROWS: u64 = 3_000;

/// A table with rows, read in one way.
struct Table {
    database: Database,
    user: User,
    options: Json,
}

impl Table {
    async fn new(options: Json) -> Self {
        let database = Database::with(&[
            "CREATE TABLE items (id bigint PRIMARY KEY, at timestamptz NOT NULL, name text, price numeric(12,2))",
            &format!(
                "INSERT INTO items SELECT i, '2026-01-01 00:00:00Z'::timestamptz + i * interval '1 minute', \
                 'item ' || i || repeat('.', 40), i::numeric / 4 FROM generate_series(1, {ROWS}) AS i"
            ),
            "CREATE VIEW seen AS SELECT * FROM items",
            "ANALYZE items",
        ])
        .await;
        let user = User::new(&database).await;
        database.run(&format!("GRANT SELECT ON items, seen TO {}", user.name)).await;
        let mut all = json!({ "table": "items", "split_size": "64KiB", "batch_size": "16KiB" });
        for (name, value) in options.as_object().unwrap() {
            all[name] = value.clone();
        }
        if all.get("query").is_some() {
            all.as_object_mut().unwrap().remove("table");
        }
        let options = user.options(&all);
        Self { database, user, options }
    }

    fn changed(&self, changes: &Json) -> Json {
        let mut options = self.options.clone();
        for (name, value) in changes.as_object().unwrap() {
            options[name] = value.clone();
        }
        options
    }
}

#[async_trait]
impl SourceFixture for Table {
    async fn open(&self, cx: &Context) -> Result<Arc<dyn DynSource>> {
        CONNECTOR.source_entry().unwrap().open(self.options.clone(), cx).await
    }

    fn rows(&self) -> Vec<Json> {
        let row = |i: u64| {
            json!({
                "id": i,
                "at": format!("2026-01-{:02}T{:02}:{:02}:00Z", 1 + i / 1440, i / 60 % 24, i % 60),
                "name": format!("item {i}{}", ".".repeat(40)),
                "price": format!("{}.{:02}", i / 4, i % 4 * 25),
            })
        };
        (1..=ROWS).map(row).collect()
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let cx = self.context();
        let case =
            |name: &str, kind, changes| ErrorCase::source(name, kind, CONNECTOR, self.changed(&changes), &cx);
        let mut cases = vec![
            case("wrong password", ErrorKind::Unauthenticated, json!({ "password": "wrong" }))
                .mentions("password"),
            case("no such database", ErrorKind::NotFound, json!({ "database": "nowhere" }))
                .mentions("nowhere"),
            case("unreachable", ErrorKind::Unavailable, json!({ "host": "127.0.0.1", "port": 1 }))
                .mentions("127.0.0.1:1"),
        ];
        if self.options.get("table").is_some() {
            cases.push(
                case("no such table", ErrorKind::NotFound, json!({ "table": "no.such" })).mentions("no.such"),
            );
        } else {
            cases.push(
                case("wrong query", ErrorKind::Config, json!({ "query": "SELEC 1" }))
                    .mentions("syntax error"),
            );
        }
        cases
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        Ok(self.database.sessions().await)
    }

    fn cursor(&self) -> Option<String> {
        Some("at".to_owned())
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned()]
    }

    fn debug_texts(&self) -> Vec<String> {
        let config: PostgresSourceConfig = serde_json::from_value(self.options.clone()).unwrap();
        let _ = &self.user;
        vec![format!("{config:?}")]
    }
}

mod by_ctid {
    use super::*;
    towpath_testkit::source_conformance! { case = Table::new(json!({})).await }
}

mod by_key {
    use super::*;
    towpath_testkit::source_conformance! { case = Table::new(json!({ "split_by": "id" })).await }
}

mod query_by_key {
    use super::*;
    towpath_testkit::source_conformance! {
        case = Table::new(json!({ "query": "SELECT * FROM seen", "split_by": "id" })).await
    }
}
