//! `MongoDB` whose primary steps down, connections that are cut, and runs that are killed, always in the middle.

use std::sync::Arc;
use std::time::Duration;

use bson::{Document, doc};
use fastrand::Rng;
use mongodb::Client;
use tokio::time::sleep;
use towpath_testkit::proxy::Proxy;
use towpath_tests::{Project, blocking, signal};

use super::mongodb::Mongodb;
use super::round_trip::finish;
use super::{address, at};

const STEPPING: &str = "TOWPATH_TEST_MONGODB_STEPPING_URL";
const DOCUMENTS: i64 = 20_000;
/// Where random choices begin.
const SEED: u64 = 20;
/// How often a run is troubled.
const TIMES: u64 = 3;
/// The longest pause before the next blow.
const PAUSE_MS: u64 = 50;
/// How often a run is killed.
const KILLS: u64 = 10;

fn documents() -> Vec<Document> {
    (0..DOCUMENTS).map(|n| doc! { "_id": n, "text": "x".repeat(100), "nested": { "n": n } }).collect()
}

/// From one collection to another, in many pieces, batches and commits.
fn pipeline(url: &str, disposition: &str) -> String {
    format!(
        "name: trouble\nconnections:\n  there: {{ connector: mongodb, url: \"{url}\", server_timeout: 30s }}\n\
         streams:\n  documents:\n    \
         source: {{ connection: there, collection: documents, batch_size: 200, split_size: 2500 }}\n    \
         sink: {{ connection: there, collection: {disposition} }}\n    key: [_id]\n    \
         write_disposition: {disposition}\n    commit: {{ rows: 4000 }}\n"
    )
}

/// Waits until the sink has so many documents, staged or in place, or the run has ended. How many there are.
async fn wait_for(
    mongodb: &Mongodb,
    disposition: &str,
    goal: u64,
    mut has_ended: impl FnMut() -> bool,
) -> u64 {
    loop {
        let rows = mongodb.rows_of_sink(disposition).await;
        if rows >= goal || has_ended() {
            return rows;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// How many documents there must be before a blow.
fn goal(time: u64, times: u64) -> u64 {
    u64::try_from(DOCUMENTS).expect("it is positive") * time / times
}

/// Runs all dispositions, each with so many blows, all of which meet a run that has not ended.
async fn run_in_trouble(mongodb: &Mongodb, url: &str, mut blow: impl AsyncFnMut()) {
    let mut random = Rng::with_seed(SEED);
    for disposition in ["append", "replace", "merge"] {
        let project = Arc::new(Project::new());
        project.write("pipeline.yaml", pipeline(url, disposition));
        let running = tokio::spawn({
            let project = project.clone();
            async move { finish(&project).await }
        });
        for time in 0..TIMES {
            let rows =
                wait_for(mongodb, disposition, goal(time, TIMES).max(1), || running.is_finished()).await;
            sleep(Duration::from_millis(random.u64(..PAUSE_MS))).await;
            blow().await;
            assert!(
                !running.is_finished(),
                "{disposition}: the run was over before blow {time}, at {rows} rows"
            );
        }
        running.await.expect("the run succeeds");
        assert_complete(mongodb, disposition).await;
    }
}

/// With their ids, a document that came twice would have been refused, or be there twice.
async fn assert_complete(mongodb: &Mongodb, collection: &str) {
    assert!(mongodb.documents(collection).await == mongodb.documents("documents").await, "{collection}");
}

/// Which election made the primary.
async fn term(client: &Client) -> i64 {
    let status = client.database("admin").run_command(doc! { "replSetGetStatus": 1 }).await.unwrap();
    status.get_i64("term").expect("a member knows its term")
}

/// Makes the primary step down for a second. It is the only member, and comes back by an election.
async fn step_down(client: &Client) {
    let admin = client.database("admin");
    let stepping = doc! { "replSetStepDown": 1, "secondaryCatchUpPeriodSecs": 0, "force": true };
    // It may not be back yet from the last time.
    while admin.run_command(stepping.clone()).await.is_err() {
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_steps_down_loses_and_doubles_no_document() {
    let mongodb = Mongodb::at(STEPPING, "documents", &documents()).await;
    let client = mongodb.client();
    let mut terms = vec![term(&client).await];
    run_in_trouble(&mongodb, mongodb.url().as_str(), async || {
        step_down(&client).await;
        terms.push(term(&client).await);
    })
    .await;
    terms.push(term(&client).await);
    // Each step down was followed by an election, before the next one or before the end of its run.
    assert_eq!(terms.last().unwrap() - terms[0], i64::try_from(terms.len() - 2).unwrap(), "{terms:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_lose_and_double_no_document() {
    let mongodb = Mongodb::with("documents", &documents()).await;
    let proxy = Proxy::start(address(&mongodb.url())).await;
    let mut url = mongodb.url();
    // The members of a set would be asked for by the address that they know of each other.
    url.set_query(Some("directConnection=true&authSource=admin"));
    run_in_trouble(&mongodb, &at(url, proxy.address()), async || proxy.cut()).await;
}

/// The same with a cursor, without which a finished stream would be appended once more.
fn pipeline_to_kill(url: &str, disposition: &str) -> String {
    let text = pipeline(url, disposition);
    if disposition == "append" { text + "    cursor: _id\n" } else { text }
}

/// Starts a run again and again, and kills it each time when the sink has got some more documents and a moment has passed.
async fn kill_again_and_again(mongodb: &Mongodb, disposition: &str) {
    let project = Arc::new(Project::new());
    project.write("pipeline.yaml", pipeline_to_kill(mongodb.url().as_str(), disposition));
    let mut random = Rng::with_seed(SEED);
    let mut kills = 0;
    for time in 0..KILLS {
        let mut child = project.start();
        let has_ended = || child.try_wait().expect("it can be asked").is_some();
        // A `replace` begins anew each time.
        let goal = if disposition == "replace" { random.u64(..goal(1, 1)) } else { goal(time, KILLS) };
        wait_for(mongodb, disposition, goal, has_ended).await;
        sleep(Duration::from_millis(random.u64(..PAUSE_MS))).await;
        if child.try_wait().expect("it can be asked").is_none() {
            signal(&child, "KILL");
            kills += 1;
        }
        blocking(move || child.wait()).await.expect("it ended");
    }
    assert!(kills >= KILLS / 2, "{disposition} was killed {kills} times only");
    finish(&project).await;
    assert_complete(mongodb, disposition).await;
    assert_eq!(mongodb.left_by_sink().await, Vec::<String>::new(), "{disposition}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_killed_append_every_document_once() {
    let mongodb = Mongodb::with("documents", &documents()).await;
    kill_again_and_again(&mongodb, "append").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_killed_merge_every_document() {
    let mongodb = Mongodb::with("documents", &documents()).await;
    kill_again_and_again(&mongodb, "merge").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_killed_replace_nothing_until_one_is_done() {
    let mongodb = Mongodb::with("documents", &documents()).await;
    mongodb.collection("replace").insert_one(doc! { "_id": -1_i64 }).await.unwrap();
    kill_again_and_again(&mongodb, "replace").await;
}
