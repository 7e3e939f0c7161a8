//! The promises of a source, one test each, for ids of one type and of several, for increments,
//! for ranges of a field, and along the records.

use std::sync::Arc;

use async_trait::async_trait;
use bson::{Bson, Document, doc};
use serde_json::json;
use towpath_connector_mongodb::{CONNECTOR, MongodbSourceConfig};
use towpath_core::{Context, DynSource, ErrorKind, Json, Result, ScanRequest};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::source::SourceFixture;

use crate::support::{Database, PASSWORD};

const ROWS: i32 = 60;

/// A collection with some documents, and a user who may read it.
struct Seeded {
    database: Database,
    options: Json,
    rows: Vec<Json>,
    cursor: Option<&'static str>,
    /// Whether it is read for a `replace`, and so along its records.
    one_snapshot: bool,
}

impl Seeded {
    async fn new(row: impl Fn(i32) -> (Document, Json), options: Json, cursor: Option<&'static str>) -> Self {
        let (documents, rows): (Vec<_>, Vec<_>) = (0..ROWS).map(row).unzip();
        let database = Database::with("seeded", documents).await;
        database.user("reader", &["read"]).await;
        let mut all = database.options(&json!({
            "user": "reader", "password": PASSWORD, "auth_source": database.name, "collection": "seeded",
            "split_size": 20, "batch_size": 7, "server_timeout": "2s",
        }));
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        Self { database, options: all, rows, cursor, one_snapshot: false }
    }

    /// Ids of the server's own type, and a date to read what is new by.
    async fn by_object_id() -> Self {
        let row = |n: i32| {
            let mut id = [0; 12];
            id[8..].copy_from_slice(&n.to_be_bytes());
            let id = bson::oid::ObjectId::from_bytes(id);
            let at = bson::DateTime::from_millis(1_700_000_000_000 + 1_000 * i64::from(n));
            let text = at.try_to_rfc3339_string().unwrap();
            (
                doc! { "_id": id, "at": at, "name": format!("name {n}"), "nested": { "tags": ["a", n.to_string()] } },
                json!({
                    "_id": id.to_hex(), "at": text, "name": format!("name {n}"),
                    "nested": { "tags": ["a", n.to_string()] },
                }),
            )
        };
        Self::new(row, json!({}), Some("at")).await
    }

    /// Ids that are the cursor themselves.
    async fn by_number() -> Self {
        let row = |n: i32| (doc! { "_id": n, "n": i64::from(n) }, json!({ "_id": n, "n": n }));
        Self::new(row, json!({ "snapshot": "off" }), Some("_id")).await
    }

    /// Ids of every type that one can have.
    async fn by_mixed_types() -> Self {
        let row = |n: i32| {
            let id: Bson = match n % 8 {
                0 => n.into(),
                1 => (f64::from(n) + 0.5).into(),
                2 => format!("id {n}").into(),
                3 => bson::oid::ObjectId::from_bytes([u8::try_from(n).unwrap(); 12]).into(),
                4 => bson::Uuid::from_bytes([u8::try_from(n).unwrap(); 16]).into(),
                5 => bson::DateTime::from_millis(n.into()).into(),
                6 => (i64::MAX - i64::from(n)).into(),
                _ => doc! { "a": n, "b": "x" }.into(),
            };
            // Documents among the ids make the column JSON.
            let text = match &id {
                Bson::Int64(number) => number.to_string(),
                other => other.clone().into_relaxed_extjson().to_string(),
            };
            (doc! { "_id": id, "n": n }, json!({ "_id": text, "n": n }))
        };
        Self::new(row, json!({}), None).await
    }

    /// Ranges of a field of a pipeline's collection.
    async fn by_field() -> Self {
        let row = |n: i32| {
            let kind = n % 10;
            (doc! { "_id": n, "kind": kind, "n": n }, json!({ "_id": n, "kind": kind, "twice": 2 * n }))
        };
        let pipeline = json!([{ "$project": { "kind": 1, "twice": { "$multiply": ["$n", 2] } } }]);
        Self::new(row, json!({ "pipeline": pipeline, "split_by": "kind" }), None).await
    }

    /// Along the records of documents whose ids have no order.
    async fn along_records() -> Self {
        let row = |n: i32| {
            let id = format!("{:03}", (n * 37) % 101);
            (doc! { "_id": &id, "n": n }, json!({ "_id": id, "n": n }))
        };
        Self { one_snapshot: true, ..Self::new(row, json!({}), None).await }
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
        let nobody = json!("mongodb://127.0.0.1:1/?directConnection=true");
        vec![
            case("wrong password", ErrorKind::Unauthenticated, &[("password", json!("x"))])
                .mentions("password"),
            case(
                "nobody listens",
                ErrorKind::Unavailable,
                &[("url", nobody), ("server_timeout", json!("300ms"))],
            )
            .mentions("127.0.0.1:1"),
            case("no URL", ErrorKind::Config, &[("url", json!("mongo://x"))]).mentions("mongodb://"),
            case("no such collection", ErrorKind::NotFound, &[("collection", json!("nothing"))])
                .mentions("nothing"),
            case("not ours", ErrorKind::PermissionDenied, &[("database", json!("config"))])
                .mentions("config"),
            case("no stage", ErrorKind::Config, &[("pipeline", json!([{ "$nonsense": 1 }]))])
                .mentions("$nonsense"),
            case(
                "both",
                ErrorKind::Config,
                &[("pipeline", json!([{ "$limit": 1 }])), ("filter", json!({ "a": 1 }))],
            )
            .mentions("exclude"),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        Ok(self.database.activity().await)
    }

    fn request(&self) -> ScanRequest {
        let mut request = crate::support::request();
        request.one_snapshot = self.one_snapshot;
        request
    }

    fn cursor(&self) -> Option<String> {
        self.cursor.map(str::to_owned)
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned(), crate::support::server().password().unwrap().to_owned()]
    }

    fn debug_texts(&self) -> Vec<String> {
        let config: MongodbSourceConfig = serde_json::from_value(self.options.clone()).unwrap();
        vec![format!("{config:?}")]
    }
}

mod object_id {
    towpath_testkit::source_conformance! { case = super::Seeded::by_object_id().await }
}

mod number {
    towpath_testkit::source_conformance! { case = super::Seeded::by_number().await }
}

mod mixed_types {
    towpath_testkit::source_conformance! { case = super::Seeded::by_mixed_types().await }
}

mod ranges_of_a_field {
    towpath_testkit::source_conformance! { case = super::Seeded::by_field().await }
}

mod records {
    towpath_testkit::source_conformance! { case = super::Seeded::along_records().await }
}
