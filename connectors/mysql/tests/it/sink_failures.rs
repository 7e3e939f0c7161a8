//! Connections that break and runs that die, at every step: no row is lost, doubled, or seen without its checkpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use serde_json::json;
use towpath_connector_mysql::CONNECTOR;
use towpath_core::WriteDisposition::{self, Append, Merge, Replace};
use towpath_core::{CommitToken, Committed, DynSink, Error, ErrorKind, Json, Staged};
use towpath_testkit::proxy::Proxy;
use towpath_testkit::rows::batch;
use towpath_testkit::steps::Load;
use towpath_testkit::{context, rows};

use crate::conformance_sink::rows as rows_of;
use crate::sink_support::{STREAM, begin, begin_with, left, spec};
use crate::support::{Database, PASSWORD, User, connect, server};

const COLUMNS: &str = "id: int64, name: string";
/// About how many bytes the server sends until a session is set up.
const CONNECTED: u64 = 200;

/// A network that can be cut, between a user and the database.
struct Wire {
    database: Database,
    user: User,
    proxy: Proxy,
}

impl Wire {
    async fn new() -> Self {
        let database = Database::new().await;
        let user = User::new(&database, &[&format!("ALL PRIVILEGES ON `{}`.*", database.name)]).await;
        let url = server();
        let host = url.host_str().unwrap();
        let mut addresses = tokio::net::lookup_host((host, url.port().unwrap_or(3306))).await.unwrap();
        let upstream: SocketAddr = addresses.find(SocketAddr::is_ipv4).unwrap();
        Self { database, user, proxy: Proxy::start(upstream).await }
    }

    /// Options of a sink that writes through the proxy.
    fn options(&self) -> Json {
        let address = self.proxy.address();
        json!({
            "host": address.ip().to_string(), "port": address.port(), "database": self.database.name,
            "user": self.user.name, "password": PASSWORD, "tls": { "mode": "disabled" },
        })
    }

    async fn begin(&self, run: u32, disposition: WriteDisposition) -> Load {
        begin_with(self.options(), spec(run, disposition)).await.unwrap()
    }

    /// A sink of a new process, on a good network.
    async fn other_process(&self) -> Arc<dyn DynSink> {
        CONNECTOR.sink_entry().unwrap().open(self.database.options(&json!({})), &context()).await.unwrap()
    }

    /// Cuts what is open, and each new connection behind so many bytes of the server's.
    fn break_behind(&self, bytes: u64) {
        self.proxy.cut();
        self.proxy.cut_after(Some(bytes));
    }

    /// Waits until the server has noticed that connections were cut, and has ended what they asked for.
    async fn heal(&self) {
        self.proxy.cut();
        self.proxy.cut_after(None);
        let mut client = connect(None).await;
        let sessions =
            format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = '{}'", self.user.name);
        while client.query_first::<u64, _>(&sessions).await.unwrap() != Some(0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Errors of a broken network are to be tried again.
#[track_caller]
fn is_of_the_network(error: &Error) {
    assert!(error.is_retryable() && error.kind() == ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn a_write_that_breaks_off_anywhere_and_is_tried_again_lands_once() {
    for disposition in [Append, Replace] {
        let wire = Wire::new().await;
        let mut load = wire.begin(1, disposition).await;
        let schema = rows::schema(COLUMNS);
        load.begun = load.sink.evolve(&load.cx, &load.begun, &schema).await.unwrap();
        let mut writer = load.sink.writer(&load.cx, &load.begun, 0).await.unwrap();
        let (mut id, mut broken, mut unbroken) = (0, 0, 0);
        for bytes in (0..).step_by(9) {
            id += 2;
            let rows = batch(COLUMNS, &json!([[id, "x"], [id + 1, "y"]]));
            wire.break_behind(bytes);
            if let Err(error) = writer.write(rows.clone()).await {
                is_of_the_network(&error);
                broken += 1;
                wire.proxy.cut_after(None);
                writer.write(rows).await.unwrap();
            } else {
                unbroken += 1;
            }
            wire.proxy.cut_after(None);
            if unbroken > 2 {
                break;
            }
        }
        assert!(broken > 20, "{broken}");
        let staged = writer.finish().await.unwrap();
        assert_eq!(staged.rows, u64::try_from(id).unwrap());
        let token = load.last_token();
        load.commit(&token, vec![staged]).await.unwrap();
        let counts = wire.database.texts("SELECT COUNT(*), COUNT(DISTINCT id) FROM orders").await;
        assert_eq!(counts, [[id.to_string(), id.to_string()]], "{disposition:?}");
    }
}

#[tokio::test]
async fn a_write_that_is_given_up_in_the_middle_and_tried_again_lands_once() {
    let wire = Wire::new().await;
    let mut load = wire.begin(1, Append).await;
    let schema = rows::schema(COLUMNS);
    load.begun = load.sink.evolve(&load.cx, &load.begun, &schema).await.unwrap();
    let mut writer = load.sink.writer(&load.cx, &load.begun, 0).await.unwrap();
    for step in 0..40_u32 {
        let rows = batch(COLUMNS, &json!([[step, "x"]]));
        let patience = tokio::time::sleep(Duration::from_micros(50) * step);
        tokio::select! {
            written = writer.write(rows.clone()) => written.unwrap(),
            () = patience => writer.write(rows).await.unwrap(),
        }
    }
    let staged = writer.finish().await.unwrap();
    let token = load.last_token();
    load.commit(&token, vec![staged]).await.unwrap();
    let counts = wire.database.texts("SELECT COUNT(*), COUNT(DISTINCT id) FROM orders").await;
    assert_eq!(counts, [["40", "40"]]);
}

#[tokio::test]
async fn a_commit_that_breaks_off_anywhere_and_is_tried_again_is_applied_once() {
    for disposition in [Append, Merge, Replace] {
        let wire = Wire::new().await;
        let mut all = Vec::new();
        let mut broken = 0;
        for (run, bytes) in (1..).zip((CONNECTED..).step_by(229)) {
            let mut load = wire.begin(run, disposition).await;
            let new = batch(COLUMNS, &json!([[run, "x"], [1000 + run, "y"]]));
            let staged = load.stage(std::slice::from_ref(&new)).await.unwrap();
            let token = load.last_token();
            if disposition == Replace {
                all.clear();
            }
            all.extend(rows::to_json([&new]));
            wire.break_behind(bytes);
            let committed = load.commit(&token, vec![staged.clone()]).await;
            wire.heal().await;
            match committed {
                Ok(committed) => {
                    assert_eq!(committed, Committed::Applied);
                    break;
                }
                Err(error) => is_of_the_network(&error),
            }
            broken += 1;
            load.commit(&token, vec![staged]).await.unwrap();
            rows::assert_same(&all, &rows_of(&wire.database, STREAM).await);
            assert!(left(&wire.database).await.is_empty());
        }
        rows::assert_same(&all, &rows_of(&wire.database, STREAM).await);
        assert!(broken > 2, "{broken}");
    }
}

/// What both the rows and the checkpoint say of a `replace` that died.
async fn look_at_a_dead_replace(wire: &Wire, old: &[Json], new: &[Json], run: u32) -> bool {
    let found = rows_of(&wire.database, STREAM).await;
    let is_new = rows::difference(new, &found).is_none();
    if !is_new {
        rows::assert_same(old, &found);
    }
    let sink = wire.other_process().await;
    let held = sink.checkpoint(&context(), &spec(run, Replace)).await.unwrap().unwrap();
    assert_eq!(held.run, format!("run-{run:04}"));
    assert_eq!(held.sequence == 1, is_new, "rows and checkpoint disagree: {held:?}");
    is_new
}

#[tokio::test]
async fn a_run_that_dies_anywhere_in_a_swap_leaves_the_old_rows_or_the_new_ones_with_their_checkpoint() {
    let wire = Wire::new().await;
    let mut old: Vec<Json> = Vec::new();
    let (mut were_old, mut were_new) = (0, 0);
    let mut dead: Option<(Load, CommitToken, Staged)> = None;
    for (run, bytes) in (1..).zip((CONNECTED..).step_by(127)) {
        // The next run neither undoes nor repeats what the dead one has done, and fences it: its last step may come late.
        let mut dying = wire.begin(run, Replace).await;
        rows::assert_same(&old, &rows_of(&wire.database, STREAM).await);
        assert!(left(&wire.database).await.is_empty());
        if let Some((mut dead, token, staged)) = dead {
            assert_eq!(dying.begun.checkpoint.epoch, dead.begun.checkpoint.epoch + 1);
            let error = dead.commit(&token, vec![staged]).await.unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, false), "{error}");
            rows::assert_same(&old, &rows_of(&wire.database, STREAM).await);
        }
        let rows = batch(COLUMNS, &json!([[run, "x"], [1000 + run, "y"]]));
        let new = rows::to_json([&rows]);
        let staged = dying.stage(&[rows]).await.unwrap();
        let token = dying.last_token();
        wire.break_behind(bytes);
        let committed = dying.commit(&token, vec![staged.clone()]).await;
        wire.heal().await;
        let is_new = look_at_a_dead_replace(&wire, &old, &new, run).await;
        if committed.is_ok() {
            assert!(is_new);
            break;
        }
        if is_new {
            were_new += 1;
            old = new;
        } else {
            were_old += 1;
        }
        dead = Some((dying, token, staged));
    }
    assert!(were_old > 5 && were_new > 0, "{were_old} old, {were_new} new");
}

#[tokio::test]
async fn a_lock_that_is_held_too_long_fails_a_commit_that_can_be_made_again() {
    let database = Database::new().await;
    let options = json!({ "lock_timeout": "1s" });
    let mut load = begin(&database, &options, 1, Merge).await.unwrap();
    load.finish(&[batch(COLUMNS, &json!([[1, "a"]]))]).await.unwrap();
    let mut other = connect(Some(&database.name)).await;
    other.query_drop("START TRANSACTION").await.unwrap();
    other.query_drop("UPDATE orders SET name = 'theirs' WHERE id = 1").await.unwrap();

    let mut load = begin(&database, &options, 2, Merge).await.unwrap();
    let staged = load.stage(&[batch(COLUMNS, &json!([[1, "b"], [2, "c"]]))]).await.unwrap();
    let token = load.last_token();
    let error = load.commit(&token, vec![staged.clone()]).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    other.query_drop("COMMIT").await.unwrap();
    assert_eq!(database.texts("SELECT * FROM orders").await, [["1", "theirs"]]);
    assert_eq!(load.commit(&token, vec![staged]).await.unwrap(), Committed::Applied);
    assert_eq!(database.texts("SELECT * FROM orders ORDER BY id").await, [["1", "b"], ["2", "c"]]);
}

#[tokio::test]
async fn a_deadlock_fails_a_commit_that_can_be_made_again() {
    let database = Database::new().await;
    let mut load = begin(&database, &json!({}), 1, Merge).await.unwrap();
    load.finish(&[batch(COLUMNS, &json!([[1, "a"], [2, "b"]]))]).await.unwrap();
    // The server ends the transaction that has changed less.
    database.run("CREATE TABLE weight (i INT)").await;
    let mut other = connect(Some(&database.name)).await;
    other.query_drop("START TRANSACTION").await.unwrap();
    let many = vec!["(1)"; 500].join(",");
    other.query_drop(format!("INSERT INTO weight VALUES {many}")).await.unwrap();
    other.query_drop("UPDATE orders SET name = 'theirs' WHERE id = 2").await.unwrap();

    let mut load = begin(&database, &json!({}), 2, Merge).await.unwrap();
    let staged = load.stage(&[batch(COLUMNS, &json!([[1, "ours"], [2, "ours"]]))]).await.unwrap();
    let token = load.last_token();
    let name = database.name.clone();
    let crossing = async {
        let waits = format!(
            "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE '%{name}%'"
        );
        let mut watching = connect(None).await;
        while watching.query_first::<u64, _>(&waits).await.unwrap() == Some(0) {
            // The server only looks anew when nobody has looked for a tenth of a second.
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        other.query_drop("UPDATE orders SET name = 'theirs' WHERE id = 1").await.unwrap();
        other.query_drop("COMMIT").await.unwrap();
    };
    let (committed, ()) = tokio::join!(load.commit(&token, vec![staged.clone()]), crossing);
    let error = committed.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("1213"), "{error:?}");
    assert_eq!(load.commit(&token, vec![staged]).await.unwrap(), Committed::Applied);
    assert_eq!(database.texts("SELECT * FROM orders ORDER BY id").await, [["1", "ours"], ["2", "ours"]]);
}

#[tokio::test]
async fn a_writer_of_a_fenced_run_gets_a_conflict() {
    for disposition in [Append, Replace] {
        let database = Database::new().await;
        let mut first = begin(&database, &json!({}), 1, disposition).await.unwrap();
        let schema = rows::schema(COLUMNS);
        first.begun = first.sink.evolve(&first.cx, &first.begun, &schema).await.unwrap();
        let mut writer = first.sink.writer(&first.cx, &first.begun, 0).await.unwrap();
        writer.write(batch(COLUMNS, &json!([[1, "a"]]))).await.unwrap();
        let _second = begin(&database, &json!({}), 2, disposition).await.unwrap();
        let error = writer.write(batch(COLUMNS, &json!([[2, "b"]]))).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, false), "{error}");
    }
}

#[tokio::test]
async fn rows_of_a_writer_that_another_process_gave_up_do_not_land() {
    let database = Database::new().await;
    let mut load = begin(&database, &json!({}), 1, Replace).await.unwrap();
    let kept = load.stage(&[batch(COLUMNS, &json!([[1, "kept"]]))]).await.unwrap();
    // Its receipt is lost: nobody aborts it.
    load.stage(&[batch(COLUMNS, &json!([[2, "lost"]]))]).await.unwrap();
    let token = load.last_token();
    let sink = CONNECTOR.sink_entry().unwrap().open(database.options(&json!({})), &context()).await.unwrap();
    assert_eq!(sink.commit(&context(), &load.begun, &token, vec![kept]).await.unwrap(), Committed::Applied);
    assert_eq!(database.texts("SELECT id FROM orders").await, [["1"]]);
}

#[tokio::test]
async fn a_replace_goes_on_when_all_that_was_staged_is_given_up() {
    for privileges in ["ALL PRIVILEGES", "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX"] {
        let database = Database::new().await;
        let user = User::new(&database, &[&format!("{privileges} ON `{}`.*", database.name)]).await;
        let options = database.options(&json!({ "user": user.name, "password": PASSWORD }));
        let mut load = begin_with(options, spec(1, Replace)).await.unwrap();
        let first = load.stage(&[batch(COLUMNS, &json!([[1, "a"]]))]).await.unwrap();
        let second = load.stage(&[batch(COLUMNS, &json!([[2, "b"]]))]).await.unwrap();
        load.sink.abort(&load.cx, &load.begun, vec![first, second]).await.unwrap();
        let beside = left(&database).await.into_iter().find(|name| name.ends_with("_new")).unwrap();
        assert!(database.texts(&format!("SELECT * FROM `{beside}`")).await.is_empty(), "{privileges}");
        load.finish(&[batch(COLUMNS, &json!([[3, "c"]]))]).await.unwrap();
        assert_eq!(database.texts("SELECT id FROM orders").await, [["3"]]);
        assert!(left(&database).await.is_empty());
    }
}
