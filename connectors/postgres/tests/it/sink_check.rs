//! `check` asks for what a load needs, for all of it at once, and for no more.

use serde_json::json;
use towpath_core::WriteDisposition::{self, Append, Merge, Replace};
use towpath_core::{ErrorKind, Json, LoadSpec, Result};
use towpath_testkit::context;
use towpath_testkit::rows::batch;

use crate::support::{Database, User, error_of};

/// A database with a table that belongs to somebody else, and a user.
struct Place {
    database: Database,
    user: User,
}

impl Place {
    async fn new(statements: &[&str]) -> Self {
        let all = [
            &["CREATE SCHEMA kept", "CREATE TABLE kept.orders (id bigint PRIMARY KEY, name text)"],
            statements,
        ];
        let database = Database::with(&all.concat()).await;
        let user = User::new(&database).await;
        Self { database, user }
    }

    async fn check(&self, options: &Json, disposition: WriteDisposition) -> Result<()> {
        let cx = context();
        let entry = towpath_connector_postgres::CONNECTOR;
        let sink = entry.sink_entry().unwrap().open(self.user.options(options), &cx).await?;
        sink.check(&cx, &spec(disposition)).await
    }

    /// What an administrator is told to run.
    async fn missing(&self, options: &Json, disposition: WriteDisposition) -> String {
        let error = error_of(self.check(options, disposition).await);
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        let text = error.to_string();
        let start = text.find('`').unwrap() + 1;
        text[start..text.rfind('`').unwrap()]
            .replace(&self.user.name, "me")
            .replace(&self.database.name, "db")
    }

    /// Runs what an administrator is told to run.
    async fn run_as_told(&self, told: &str) {
        self.database
            .run(&told.replace("\"me\"", &self.user.name).replace("\"db\"", &self.database.name))
            .await;
    }

    /// A whole run as the user.
    async fn load(&self, options: &Json, disposition: WriteDisposition) {
        let cx = context();
        let entry = towpath_connector_postgres::CONNECTOR;
        let sink = entry.sink_entry().unwrap().open(self.user.options(options), &cx).await.unwrap();
        let begun = sink.begin(&cx, &spec(disposition)).await.unwrap();
        let rows = batch("id: int64, name: string", &json!([[1, "one"]]));
        let begun = sink.evolve(&cx, &begun, rows.schema_ref()).await.unwrap();
        let mut writer = sink.writer(&cx, &begun, 0).await.unwrap();
        writer.write(rows).await.unwrap();
        let staged = writer.finish().await.unwrap();
        let mut token = towpath_core::CommitToken::default();
        (token.version, token.epoch, token.sequence) = (1, begun.checkpoint.epoch, 1);
        token.run.clone_from(&begun.checkpoint.run);
        token.finished = Some(towpath_core::Finished::default());
        sink.commit(&cx, &begun, &token, vec![staged]).await.unwrap();
        assert_eq!(self.database.text("SELECT name FROM kept.orders WHERE id = 1").await, "one");
    }
}

fn spec(disposition: WriteDisposition) -> LoadSpec {
    LoadSpec::new("shop", "orders", "run-1", disposition).key(vec!["id".to_owned()])
}

#[tokio::test]
async fn check_names_every_grant_that_is_missing_at_once_and_leaves_nothing() {
    let place = Place::new(&[]).await;
    let relations = "SELECT relname FROM pg_class ORDER BY 1";
    let before = place.database.texts(relations).await;
    assert_eq!(
        place.missing(&json!({ "table": "new.orders" }), Append).await,
        "GRANT CREATE ON DATABASE \"db\" TO \"me\""
    );
    let options = json!({ "table": "kept.{stream}" });
    let told = place.missing(&options, Merge).await;
    assert_eq!(
        told,
        "GRANT USAGE, CREATE ON SCHEMA \"kept\" TO \"me\"; \
         GRANT SELECT, INSERT, UPDATE ON \"kept\".\"orders\" TO \"me\""
    );
    place.run_as_told(&told).await;
    place.check(&options, Merge).await.unwrap();
    assert_eq!(place.database.texts(relations).await, before);
    place.load(&options, Merge).await;
}

#[tokio::test]
async fn check_asks_for_what_the_write_disposition_and_the_options_need() {
    let place = Place::new(&["ALTER TABLE kept.orders DROP CONSTRAINT orders_pkey"]).await;
    place.database.run(&format!("GRANT USAGE, CREATE ON SCHEMA kept TO {}", place.user.name)).await;
    let keyed = "ALTER TABLE kept.orders ADD PRIMARY KEY (id)";
    for (before, more, disposition, needed) in [
        ("", json!({}), Append, "GRANT INSERT ON #"),
        ("", json!({}), Replace, "GRANT SELECT, INSERT, DELETE ON #"),
        ("", json!({}), Merge, "GRANT SELECT, INSERT, DELETE ON #"),
        (keyed, json!({}), Merge, "GRANT SELECT, INSERT, UPDATE ON #"),
        ("", json!({ "operation_column": "name" }), Merge, "GRANT SELECT, INSERT, UPDATE, DELETE ON #"),
        ("", json!({ "delete_missing": "hard" }), Merge, "GRANT SELECT, INSERT, UPDATE, DELETE ON #"),
        (
            "",
            json!({ "delete_missing": "soft" }),
            Merge,
            "GRANT SELECT, INSERT, UPDATE ON #; ALTER TABLE \"kept\".\"orders\" OWNER TO \"me\"",
        ),
        (
            "ALTER TABLE kept.orders ADD deleted_at timestamptz",
            json!({ "delete_missing": "soft" }),
            Merge,
            "GRANT SELECT, INSERT, UPDATE ON #",
        ),
        (
            "CREATE TABLE kept.lines (order_id bigint REFERENCES kept.orders)",
            json!({}),
            Replace,
            "GRANT SELECT, INSERT, DELETE ON #; ALTER TABLE kept.lines OWNER TO \"me\"; \
             GRANT REFERENCES ON #",
        ),
    ] {
        place.database.run(before).await;
        let mut options = json!({ "table": "kept.orders" });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let needed = needed.replace('#', "\"kept\".\"orders\" TO \"me\"");
        assert_eq!(place.missing(&options, disposition).await, needed, "{options} {disposition:?}");
    }
}

#[tokio::test]
async fn what_check_asks_for_is_enough_for_a_run() {
    for (disposition, more) in [
        (Append, json!({})),
        (Replace, json!({})),
        (Merge, json!({})),
        (Merge, json!({ "delete_missing": "hard" })),
        (Merge, json!({ "delete_missing": "soft" })),
    ] {
        let place = Place::new(&[]).await;
        let mut options = json!({ "table": "kept.orders" });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        place.run_as_told(&place.missing(&options, disposition).await).await;
        place.check(&options, disposition).await.unwrap();
        place.load(&options, disposition).await;
        place.check(&options, disposition).await.unwrap();
    }
}

#[tokio::test]
async fn a_table_of_somebody_else_that_needs_a_column_says_who_must_own_it() {
    let place = Place::new(&["ALTER TABLE kept.orders DROP COLUMN name"]).await;
    let options = json!({ "table": "kept.orders" });
    place.run_as_told(&place.missing(&options, Append).await).await;
    let cx = context();
    let entry = towpath_connector_postgres::CONNECTOR;
    let sink = entry.sink_entry().unwrap().open(place.user.options(&options), &cx).await.unwrap();
    let begun = sink.begin(&cx, &spec(Append)).await.unwrap();
    let rows = batch("id: int64, name: string", &json!([[1, "one"]]));
    let error = error_of(sink.evolve(&cx, &begun, rows.schema_ref()).await);
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("ADD COLUMN \"name\" text"), "{error}");
}
