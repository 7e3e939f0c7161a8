//! What `replace` keeps of the table that it replaces.

use serde_json::json;
use towpath_core::WriteDisposition::Replace;
use towpath_testkit::rows::batch;

use crate::load::{Load, load};
use crate::support::Database;

const COLUMNS: &str = "id: int64, name: string";

fn rows() -> arrow::array::RecordBatch {
    batch(COLUMNS, &json!([[2, "two"], [3, "three"]]))
}

/// A table with two rows and whatever else these statements make.
async fn database(statements: &[&str]) -> Database {
    let mut all = vec![
        "CREATE TABLE orders (id bigint, name text)",
        "INSERT INTO orders VALUES (1, 'one'), (2, 'old')",
    ];
    all.extend(statements);
    Database::with(&all).await
}

async fn replace(database: &Database) {
    let rejected = load(database, &json!({}), Replace, 1, &rows()).await.unwrap();
    assert!(rejected.is_empty(), "{rejected:?}");
    let held = "SELECT string_agg(id || ' ' || name, ', ' ORDER BY id) FROM orders";
    assert_eq!(database.text(held).await, "2 two, 3 three");
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE '\\_towpath\\_%' AND relkind = 'r' \
                AND relname <> '_towpath_checkpoints'";
    assert_eq!(database.text(left).await, "0");
}

#[tokio::test]
async fn views_show_the_new_rows() {
    let database = database(&["CREATE VIEW seen AS SELECT id, upper(name) AS name FROM orders"]).await;
    replace(&database).await;
    assert_eq!(database.text("SELECT string_agg(name, ' ' ORDER BY id) FROM seen").await, "TWO THREE");
}

#[tokio::test]
async fn own_keys_checks_indexes_defaults_and_comments_stay() {
    let database = database(&[
        "CREATE TABLE customers (id bigint PRIMARY KEY)",
        "INSERT INTO customers VALUES (7)",
        "ALTER TABLE orders ADD PRIMARY KEY (id), ADD CONSTRAINT short CHECK (length(name) < 50), \
         ADD customer bigint NOT NULL DEFAULT 7 REFERENCES customers, ADD UNIQUE (name) DEFERRABLE INITIALLY DEFERRED",
        "CREATE INDEX \"by Name USING x\" ON orders (lower(name)) WHERE id > 0",
        "CREATE UNIQUE INDEX pair ON orders (id, name)",
        "COMMENT ON TABLE orders IS 'what was ordered'",
        "COMMENT ON COLUMN orders.name IS 'its name'",
    ])
    .await;
    let shape = "SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'orders'::regclass \
                 UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'orders'::regclass \
                 UNION ALL SELECT attname || ' ' || attnotnull || coalesce(' ' || col_description(attrelid, attnum), '') \
                   FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0 \
                 UNION ALL SELECT obj_description('orders'::regclass) ORDER BY 1";
    let before = database.texts(shape).await;
    replace(&database).await;
    assert_eq!(database.texts(shape).await, before);
    assert_eq!(database.text("SELECT DISTINCT customer FROM orders").await, "7");
}

#[tokio::test]
async fn indexes_are_made_while_others_still_read_the_old_rows() {
    let database = database(&[
        "CREATE UNIQUE INDEX by_name ON orders (name)",
        "ALTER TABLE orders ADD PRIMARY KEY (id)",
    ])
    .await;
    // Holds what it has read, as a long report would, so that the tables cannot be exchanged yet.
    let reader = database.client().await;
    reader.batch_execute("BEGIN; SELECT FROM orders").await.unwrap();
    let mut run = Load::begin(&database, &json!({}), Replace, 1).await.unwrap();
    let staged = run.stage(&rows()).await.unwrap();
    let committing = run.commit(vec![staged], true);
    tokio::pin!(committing);
    let waits = "SELECT count(*) FROM pg_locks l WHERE l.relation = 'orders'::regclass AND NOT l.granted \
                 AND l.mode = 'AccessExclusiveLock'";
    let holds = "SELECT string_agg(DISTINCT mode, ' ') FROM pg_locks WHERE relation = 'orders'::regclass AND granted \
                 AND pid IN (SELECT pid FROM pg_stat_activity WHERE application_name = 'towpath')";
    loop {
        tokio::select! {
            outcome = &mut committing => panic!("it did not wait: {outcome:?}"),
            waiting = database.text(waits) => if waiting == "1" { break },
        }
    }
    // All that is left to do is the exchange: the statement that waits is the lock of it, and indexes are there.
    assert!(database.text(holds).await.contains("ShareUpdateExclusiveLock"));
    let waiting =
        "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    assert!(database.text(waiting).await.starts_with("LOCK TABLE"));
    reader.batch_execute("COMMIT").await.unwrap();
    committing.await.unwrap();
    let names = "SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY indexrelid::regclass::text) FROM pg_index \
                 WHERE indrelid = 'orders'::regclass";
    assert_eq!(database.text(names).await, "by_name orders_pkey");
}

#[tokio::test]
async fn a_view_that_is_made_while_the_exchange_waits_goes_on_showing_the_table() {
    let database = database(&["ALTER TABLE orders ADD PRIMARY KEY (id)"]).await;
    let other = database.client().await;
    other.batch_execute("BEGIN; CREATE VIEW seen AS SELECT * FROM orders").await.unwrap();
    let mut run = Load::begin(&database, &json!({}), Replace, 1).await.unwrap();
    let staged = run.stage(&rows()).await.unwrap();
    let committing = run.commit(vec![staged], true);
    tokio::pin!(committing);
    let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND NOT granted";
    loop {
        tokio::select! {
            outcome = &mut committing => panic!("it did not wait: {outcome:?}"),
            waiting = database.text(waits) => if waiting == "1" { break },
        }
    }
    other.batch_execute("COMMIT").await.unwrap();
    committing.await.unwrap();
    assert_eq!(database.text("SELECT string_agg(name, ' ' ORDER BY id) FROM seen").await, "two three");
}

#[tokio::test]
async fn rows_that_an_index_with_a_strange_name_refuses_are_told() {
    let database = database(&["CREATE UNIQUE INDEX \"a ON b USING c\" ON orders (name)"]).await;
    let mut run = Load::begin(&database, &json!({}), Replace, 1).await.unwrap();
    let staged = run.stage(&batch(COLUMNS, &json!([[1, "same"], [2, "same"]]))).await.unwrap();
    let refused = run.commit(vec![staged], true).await.unwrap();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(database.text("SELECT count(*) FROM orders").await, "1");
}

#[tokio::test]
async fn grants_and_the_owner_stay() {
    let database = database(&[]).await;
    let role = format!("{}_reader", database.name);
    database.run(&format!("CREATE ROLE {role}; GRANT SELECT, UPDATE (name) ON orders TO {role}")).await;
    let may = format!(
        "SELECT has_table_privilege('{role}', 'orders', 'SELECT'), has_column_privilege('{role}', 'orders', 'name', \
         'UPDATE'), has_table_privilege('{role}', 'orders', 'DELETE')"
    );
    let owner = "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'orders'::regclass";
    let before = (database.texts(&may).await, database.text(owner).await);
    replace(&database).await;
    let after = (database.texts(&may).await, database.text(owner).await);
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    assert_eq!(after, before);
    assert_eq!(after.0, [["t", "t", "f"]]);
}

#[tokio::test]
async fn serial_columns_triggers_and_policies_stay() {
    let database = Database::with(&[
        "CREATE TABLE orders (number serial, id bigint, name text)",
        "CREATE TABLE log (name text)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO log VALUES (NEW.name); RETURN NEW; END $$",
        "INSERT INTO orders (id, name) VALUES (1, 'one')",
        "CREATE TRIGGER noting AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note()",
        "CREATE POLICY mine ON orders USING (id > 0)",
    ])
    .await;
    replace(&database).await;
    assert_eq!(database.text("SELECT string_agg(name, ' ' ORDER BY name) FROM log").await, "three two");
    assert_eq!(
        database.text("SELECT count(*) FROM pg_policy WHERE polrelid = 'orders'::regclass").await,
        "1"
    );
    database.run("INSERT INTO orders (id) VALUES (9)").await;
    let numbers = "SELECT count(DISTINCT number) || ' ' || bool_and(number > 1) FROM orders";
    assert_eq!(database.text(numbers).await, "3 true");
}

#[tokio::test]
async fn partitions_of_a_table_take_the_new_rows() {
    let database = Database::with(&[
        "CREATE TABLE orders (id bigint, name text) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF orders FOR VALUES FROM (0) TO (3)",
        "CREATE TABLE high PARTITION OF orders FOR VALUES FROM (3) TO (100)",
        "INSERT INTO orders VALUES (1, 'one'), (50, 'fifty')",
    ])
    .await;
    replace(&database).await;
    assert_eq!(database.text("SELECT name FROM high").await, "three");
}

#[tokio::test]
async fn who_reads_meanwhile_sees_all_old_rows_or_all_new_ones() {
    let database = database(&[]).await;
    let reader = database.client().await;
    let count =
        async || -> i64 { reader.query_one("SELECT count(*) FROM orders", &[]).await.unwrap().get(0) };
    let mut run = Load::begin(&database, &json!({}), Replace, 1).await.unwrap();
    let many: Vec<_> = (0..5_000).map(|i| json!([i, "new"])).collect();
    let staged = run.stage(&batch(COLUMNS, &json!(many))).await.unwrap();
    assert_eq!(count().await, 2);
    let committing = run.commit(vec![staged], true);
    tokio::pin!(committing);
    loop {
        tokio::select! {
            outcome = &mut committing => { outcome.unwrap(); break }
            seen = count() => assert!(seen == 2 || seen == 5_000, "{seen} rows were seen"),
        }
    }
    assert_eq!(count().await, 5_000);
}

#[tokio::test]
async fn columns_that_do_not_come_any_more_stay_and_are_empty() {
    let database = database(&["ALTER TABLE orders ADD note text", "UPDATE orders SET note = 'kept?'"]).await;
    replace(&database).await;
    assert_eq!(database.text("SELECT count(*) FROM orders WHERE note IS NULL").await, "2");
}

#[tokio::test]
async fn types_that_the_server_casts_are_replaced_too() {
    let database = Database::with(&[
        "CREATE TABLE orders (id bigint, address inet, span interval, during int4range)",
        "INSERT INTO orders VALUES (1, '10.0.0.1', '1 day', '[1,2)')",
    ])
    .await;
    let rows = batch(
        "id: int64, address: string, span: string, during: string",
        &json!([[1, "192.168.0.0/16", "P1DT2S", "[3,9)"], [2, null, null, "empty"]]),
    );
    assert!(load(&database, &json!({}), Replace, 1, &rows).await.unwrap().is_empty());
    assert_eq!(
        database.text("SELECT address || ' ' || span || ' ' || during FROM orders WHERE id = 1").await,
        "192.168.0.0/16 1 day 00:00:02 [3,9)"
    );
}

#[tokio::test]
async fn functions_over_rows_of_the_table_go_on_working() {
    let database =
        database(&["CREATE FUNCTION shout(orders) RETURNS text LANGUAGE sql AS $$ SELECT upper($1.name) $$"])
            .await;
    replace(&database).await;
    assert_eq!(database.text("SELECT shout(orders) FROM orders WHERE id = 3").await, "THREE");
}

#[tokio::test]
async fn foreign_keys_of_others_hold_and_their_rows_stay() {
    for action in ["NO ACTION", "CASCADE", "RESTRICT", "SET NULL"] {
        let database = database(&[
            "ALTER TABLE orders ADD PRIMARY KEY (id)",
            &format!("CREATE TABLE lines (line int, order_id bigint REFERENCES orders ON DELETE {action})"),
            "INSERT INTO lines VALUES (1, 2)",
        ])
        .await;
        replace(&database).await;
        assert_eq!(database.text("SELECT order_id FROM lines").await, "2", "{action}");
        let foreign =
            "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND confrelid = 'orders'::regclass";
        assert_eq!(database.text(foreign).await, "1", "{action}");
    }
}

#[tokio::test]
async fn identity_columns_go_on_counting() {
    for kind in ["GENERATED ALWAYS AS IDENTITY", "GENERATED BY DEFAULT AS IDENTITY"] {
        let database = Database::with(&[
            &format!("CREATE TABLE orders (number bigint {kind}, id bigint, name text)"),
            "INSERT INTO orders (id, name) VALUES (1, 'one'), (2, 'old')",
        ])
        .await;
        replace(&database).await;
        // There may be gaps, and no number twice.
        database.run("INSERT INTO orders (id, name) VALUES (9, 'x')").await;
        let numbers = "SELECT count(DISTINCT number) || ' ' || bool_and(number > 2) FROM orders";
        assert_eq!(database.text(numbers).await, "3 true", "{kind}");
    }
}

#[tokio::test]
async fn identity_columns_take_the_values_that_come() {
    for kind in ["GENERATED ALWAYS AS IDENTITY", "GENERATED BY DEFAULT AS IDENTITY"] {
        let database = Database::with(&[
            &format!("CREATE TABLE orders (id bigint {kind}, name text)"),
            "INSERT INTO orders (name) VALUES ('one'), ('old')",
        ])
        .await;
        replace(&database).await;
    }
}
