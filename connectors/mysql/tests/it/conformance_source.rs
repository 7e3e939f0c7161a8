//! The promises of a source, one test each, for tables with every kind of key and for queries.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use towpath_connector_mysql::{CONNECTOR, SourceConfig};
use towpath_core::{Context, DynSource, ErrorKind, Json, Result};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::source::SourceFixture;

use crate::support::{Database, PASSWORD, User, server};

const ROWS: i64 = 60;

/// A table with some rows, and a user who may read it.
struct Seeded {
    database: Database,
    user: User,
    options: Json,
    rows: Vec<Json>,
    cursor: Option<&'static str>,
}

impl Seeded {
    async fn new(columns: &str, row: impl Fn(i64) -> (String, Json), options: Json) -> Self {
        let database = Database::with(&[&format!("CREATE TABLE seeded ({columns})")]).await;
        let rows: Vec<(String, Json)> = (0..ROWS).map(row).collect();
        let values: Vec<String> = rows.iter().map(|(values, _)| format!("({values})")).collect();
        database.run(&format!("INSERT INTO seeded VALUES {}", values.join(", "))).await;
        let select = format!("SELECT ON `{}`.*", database.name);
        let user = User::new(&database, &[&select, "RELOAD ON *.*"]).await;
        let mut all = json!({
            "url": server().as_str(), "database": database.name, "user": user.name, "password": PASSWORD,
            "table": "seeded", "split_size": 20, "batch_rows": 7, "max_connections": 4,
        });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        if all.get("query").is_some() {
            all.as_object_mut().unwrap().remove("table");
        }
        Self {
            database,
            user,
            options: all,
            rows: rows.into_iter().map(|(_, row)| row).collect(),
            cursor: None,
        }
    }

    /// Numbers as keys, which are cut by arithmetic.
    async fn by_number() -> Self {
        let row = |id: i64| {
            let at = format!("2024-01-01 00:00:{id:02}");
            (
                format!("{id}, 'name {id}', '{at}'"),
                json!({"id": id, "name": format!("name {id}"), "at": at.replace(' ', "T")}),
            )
        };
        let columns = "id BIGINT PRIMARY KEY, name TEXT NOT NULL, at DATETIME NOT NULL";
        Self { cursor: Some("at"), ..Self::new(columns, row, json!({})).await }
    }

    /// Two columns as key, which are walked along.
    async fn by_two_columns() -> Self {
        let row = |id: i64| {
            let (tenant, code) = (if id % 2 == 0 { "Bär" } else { "it's" }, format!("c{id:03}"));
            (
                format!("'{}', '{code}', {id}", tenant.replace('\'', "''")),
                json!({"tenant": tenant, "code": code, "n": id}),
            )
        };
        let columns = "tenant VARCHAR(20), code CHAR(8), n INT NOT NULL, PRIMARY KEY (tenant, code)";
        Self { cursor: Some("n"), ..Self::new(columns, row, json!({})).await }
    }

    /// A query, which is cut by a column.
    async fn by_query() -> Self {
        let row = |id: i64| (format!("{id}, {}", id % 5), json!({"id": id, "twice": id * 2}));
        let query = "SELECT id, id * 2 AS twice FROM seeded -- a comment";
        let options = json!({ "query": query, "split_by": "id", "snapshot": "off" });
        Self::new("id INT NOT NULL, n INT NOT NULL", row, options).await
    }

    fn changed(&self, changes: &[(&str, Json)]) -> Json {
        let mut options = self.options.clone();
        for (name, value) in changes {
            options[*name] = value.clone();
        }
        options
    }
}

#[async_trait]
impl SourceFixture for Seeded {
    async fn open(&self, cx: &Context) -> Result<Arc<dyn DynSource>> {
        CONNECTOR.source_entry().unwrap().open(self.options.clone(), cx).await
    }

    fn rows(&self) -> Vec<Json> {
        self.rows.clone()
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let cx = self.context();
        let case = |name: &str, kind, changes: &[(&str, Json)]| {
            ErrorCase::source(name, kind, CONNECTOR, self.changed(changes), &cx)
        };
        let user = &self.user.name;
        let mut cases = vec![
            case("wrong password", ErrorKind::Unauthenticated, &[("password", json!("x"))]).mentions(user),
            case("nobody listens", ErrorKind::Unavailable, &[("port", json!(1))]).mentions(":1"),
            case("no database", ErrorKind::PermissionDenied, &[("database", json!("nowhere"))])
                .mentions("nowhere"),
            case("no such column", ErrorKind::Config, &[("split_by", json!("colour"))]).mentions("colour"),
        ];
        if self.options.get("table").is_some() {
            cases.push(
                case("no such table", ErrorKind::NotFound, &[("table", json!("nothing"))])
                    .mentions("nothing"),
            );
            cases.push(case("both", ErrorKind::Config, &[("query", json!("SELECT 1"))]).mentions("exclude"));
        } else {
            cases.push(case("no SQL", ErrorKind::Config, &[("query", json!("SELEKT 1"))]).mentions("SELEKT"));
        }
        cases
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        let user = &self.user.name;
        let sql = format!("SELECT INFO, ID FROM information_schema.PROCESSLIST WHERE USER = '{user}'");
        let left = self.database.texts(&sql).await;
        Ok(left.into_iter().map(|row| format!("a connection: {}", row.join(" "))).collect())
    }

    fn cursor(&self) -> Option<String> {
        self.cursor.map(str::to_owned)
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned()]
    }

    fn debug_texts(&self) -> Vec<String> {
        let config: SourceConfig = serde_json::from_value(self.options.clone()).unwrap();
        vec![format!("{config:?}")]
    }
}

mod number_key {
    towpath_testkit::source_conformance! { case = super::Seeded::by_number().await }
}

mod key_of_two_columns {
    towpath_testkit::source_conformance! { case = super::Seeded::by_two_columns().await }
}

mod query {
    towpath_testkit::source_conformance! { case = super::Seeded::by_query().await }
}
