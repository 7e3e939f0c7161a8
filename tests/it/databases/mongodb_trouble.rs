//! `MongoDB` whose primary steps down, and connections that are cut, in the middle of runs.

use std::sync::Arc;
use std::time::Duration;

use bson::{Document, doc};
use fastrand::Rng;
use mongodb::Client;
use tokio::time::sleep;
use towpath_testkit::proxy::Proxy;
use towpath_tests::Project;

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
const PAUSE_MS: u64 = 300;

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

/// Runs all dispositions, each with so many blows.
async fn run_in_trouble(mongodb: &Mongodb, url: &str, mut blow: impl AsyncFnMut()) {
    let mut random = Rng::with_seed(SEED);
    for disposition in ["append", "replace", "merge"] {
        let project = Arc::new(Project::new());
        project.write("pipeline.yaml", pipeline(url, disposition));
        let running = tokio::spawn({
            let project = project.clone();
            async move { finish(&project).await }
        });
        for _ in 0..TIMES {
            sleep(Duration::from_millis(random.u64(..PAUSE_MS))).await;
            blow().await;
        }
        running.await.expect("the run succeeds");
        // With their ids, a document that came twice would have been refused, or be there twice.
        assert!(
            mongodb.documents(disposition).await == mongodb.documents("documents").await,
            "{disposition}"
        );
    }
}

/// Makes the primary step down for a second. It is the only member, and comes back by an election.
async fn step_down(client: &Client) {
    let admin = client.database("admin");
    let stepping = doc! { "replSetStepDown": 1, "secondaryCatchUpPeriodSecs": 0, "force": true };
    // It may not be back yet from the last time.
    while admin.run_command(stepping.clone()).await.is_err() {
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_steps_down_loses_and_doubles_no_document() {
    let mongodb = Mongodb::at(STEPPING, "documents", &documents()).await;
    let client = mongodb.client();
    run_in_trouble(&mongodb, mongodb.url().as_str(), async || step_down(&client).await).await;
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
