//! What goes wrong in the middle of a run: nothing is lost, and nothing comes twice.

use std::collections::BTreeSet;

use bson::{Document, doc};
use futures::TryStreamExt;
use serde_json::json;
use towpath_core::{Batch, Context, DynSource, ErrorKind, Position, Split};
use towpath_testkit::proxy::Proxy;

use crate::support::{Database, FailPoint, json_rows, plan, request, server};

const ROWS: i32 = 2_000;

async fn database() -> Database {
    Database::with("c", (0..ROWS).map(|n| doc! { "_id": n, "text": "x".repeat(200) })).await
}

/// The splits of a plan: of one moment those of records, else of ids.
async fn planned(source: &dyn DynSource, cx: &Context, one_snapshot: bool) -> Vec<Split> {
    let mut request = request();
    request.one_snapshot = one_snapshot;
    let splits = plan(source, cx, &request).await.unwrap().1;
    assert!(splits.iter().all(|split| split.payload.get("natural").is_some() == one_snapshot));
    splits
}

/// The server's URL through a proxy.
fn through(proxy: &Proxy) -> String {
    let url = server();
    let front = format!("mongodb://{}:{}@{}/", url.username(), url.password().unwrap(), proxy.address());
    format!("{front}?directConnection=true&authSource=admin")
}

/// Reads a split to its end, from the last position after each failure, as the retry layer does. How often it failed.
async fn read_on(
    source: &dyn DynSource,
    cx: &Context,
    split: &Split,
    mut between: impl AsyncFnMut(),
) -> (Vec<Batch>, usize) {
    let (mut all, mut position, mut failures) = (Vec::<Batch>::new(), Position::Start, 0);
    loop {
        let mut batches = source.read(cx, split, position.clone()).unwrap();
        loop {
            match batches.try_next().await {
                Ok(Some(batch)) => {
                    position = batch.resume.clone();
                    all.push(batch);
                    between().await;
                }
                Ok(None) => return (all, failures),
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    failures += 1;
                    assert!(failures < 20, "{error}");
                    break;
                }
            }
        }
    }
}

fn assert_complete(batches: &[Batch]) {
    let ids: Vec<i64> = json_rows(batches).iter().map(|row| row["_id"].as_i64().unwrap()).collect();
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (2_000, 2_000));
}

#[tokio::test]
async fn connections_that_are_cut_lose_and_double_nothing() {
    let database = database().await;
    let proxy = Proxy::start(format!("127.0.0.1:{}", server().port().unwrap()).parse().unwrap()).await;
    let cx = towpath_testkit::context();
    let options =
        json!({ "collection": "c", "url": through(&proxy), "batch_size": 100, "split_size": 10_000 });
    let source = database.source(&cx, &options).await.unwrap();
    let splits = planned(&*source, &cx, false).await;
    let mut count = 0;
    let cut = async || {
        count += 1;
        if count % 5 == 0 {
            proxy.cut();
        }
    };
    let (batches, failures) = read_on(&*source, &cx, &splits[0], cut).await;
    assert!(failures > 0);
    assert_complete(&batches);
}

#[tokio::test]
async fn cursors_that_the_server_has_forgotten_lose_and_double_nothing() {
    let database = database().await;
    let cx = towpath_testkit::context();
    let options = json!({ "collection": "c", "batch_size": 100, "split_size": 10_000 });
    let source = database.source(&cx, &options).await.unwrap();
    for one_snapshot in [false, true] {
        let splits = planned(&*source, &cx, one_snapshot).await;
        let mut count = 0;
        let kill = async || {
            count += 1;
            if count == 3 {
                kill_cursors(&database).await;
            }
        };
        let (batches, failures) = read_on(&*source, &cx, &splits[0], kill).await;
        assert!(failures > 0);
        assert_complete(&batches);
    }
}

/// Ends all idle cursors of a database, as the server does with those that nobody has asked for a while.
async fn kill_cursors(database: &Database) {
    let stages = [
        doc! { "$currentOp": { "allUsers": true, "idleCursors": true } },
        doc! { "$match": { "ns": format!("{}.c", database.name), "type": "idleCursor" } },
    ];
    let found = crate::support::client().await.database("admin").aggregate(stages).await.unwrap();
    let found: Vec<Document> = found.try_collect().await.unwrap();
    let ids: Vec<_> = found
        .iter()
        .filter_map(|found| found.get_document("cursor").ok()?.get("cursorId").cloned())
        .collect();
    assert!(!ids.is_empty());
    database.run(doc! { "killCursors": "c", "cursors": ids }).await;
}

#[tokio::test]
async fn a_primary_that_steps_down_loses_and_doubles_nothing() {
    const STEPPED_DOWN: i32 = 189;
    const INTERRUPTED: i32 = 11602;
    for (code, one_snapshot) in
        [(STEPPED_DOWN, false), (STEPPED_DOWN, true), (INTERRUPTED, false), (INTERRUPTED, true)]
    {
        let database = database().await;
        let fail_point = FailPoint::new().await;
        let cx = towpath_testkit::context();
        let options = json!({ "collection": "c", "url": fail_point.url.as_str(), "batch_size": 100, "split_size": 10_000 });
        let source = database.source(&cx, &options).await.unwrap();
        let splits = planned(&*source, &cx, one_snapshot).await;
        fail_point.set("getMore", 2, doc! { "errorCode": code }).await;
        let (batches, failures) = read_on(&*source, &cx, &splits[0], async || ()).await;
        assert!(failures > 0, "{code}");
        assert_complete(&batches);
    }
}

#[tokio::test]
async fn history_that_is_gone_ends_a_replace_and_nothing_else() {
    const TOO_OLD: i32 = 239;
    for (one_snapshot, kind) in [(true, Some(ErrorKind::Unavailable)), (false, None)] {
        let database = database().await;
        let fail_point = FailPoint::new().await;
        let cx = towpath_testkit::context();
        let options = json!({ "collection": "c", "url": fail_point.url.as_str(), "batch_size": 100, "split_size": 10_000 });
        let source = database.source(&cx, &options).await.unwrap();
        let splits = planned(&*source, &cx, one_snapshot).await;
        fail_point.set("getMore", 1, doc! { "errorCode": TOO_OLD }).await;
        if kind.is_some() {
            let read: towpath_core::Result<Vec<Batch>> =
                source.read(&cx, &splits[0], Position::Start).unwrap().try_collect().await;
            let error = read.expect_err("the snapshot is lost");
            assert!(!error.is_retryable() && error.to_string().contains("snapshot: off"), "{error}");
        } else {
            let (batches, failures) = read_on(&*source, &cx, &splits[0], async || ()).await;
            assert_eq!(failures, 1);
            assert_complete(&batches);
            let warnings = cx.metrics().warnings();
            assert!(warnings.iter().any(|warning| warning.contains("later moments")), "{warnings:?}");
        }
    }
}

#[tokio::test]
async fn a_query_that_takes_too_long_says_which_limit_it_met() {
    let database = database().await;
    let options = json!({
        "collection": "c", "max_time": "50ms", "split_by": "none", "sample_size": 1,
        "filter": { "$where": "sleep(30) || true" },
    });
    let error = crate::support::failure(database.options(&options)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.is_retryable() && error.to_string().contains("max_time"), "{error}");
}
