//! Rows that are posted: at least once, and the report says so.

use std::sync::Arc;

use serde_json::Value;
use towpath_testkit::http::{Response, TestServer};
use towpath_tests::{Project, blocking, lines};

fn ids(server: &TestServer) -> Vec<u64> {
    let bodies = server.requests().into_iter().map(|recorded| recorded.request.body);
    let mut ids: Vec<_> = bodies
        .flat_map(|body| serde_json::from_slice::<Vec<Value>>(&body).unwrap_or_default())
        .filter_map(|row| row["id"].as_u64())
        .collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_posted_in_batches_and_progress_is_kept_in_a_local_file() {
    let server = TestServer::start(|request| async move {
        assert_eq!(request.method, "POST");
        Response::status(204)
    })
    .await;
    let project = Arc::new(Project::new());
    let rows = lines((0..25).map(|id| format!("{{\"id\":{id}}}")));
    project.write("rows.ndjson", rows);
    project.write(
        "pipeline.yaml",
        format!(
            "name: posts\nstreams:\n  rows:\n    source: {{ connector: file, path: rows.ndjson }}\n    cursor: id\n    \
             sink: {{ connector: http, url: \"{}\", batch_rows: 10 }}\n",
            server.url("/rows")
        ),
    );
    let running = project.clone();
    let (ended, report) = blocking(move || running.run()).await;
    assert_eq!(ended.code, Some(0), "{report:#}");
    assert_eq!(report["streams"][0]["delivery"], "at_least_once");
    assert_eq!(ids(&server), (0..25).collect::<Vec<_>>());
    assert_eq!(server.requests().len(), 3);
    assert!(server.requests().iter().all(|recorded| recorded.request.header("idempotency-key").is_some()));
    assert!(project.path(".towpath/posts/rows.json").is_file());

    server.clear();
    let running = project.clone();
    let (_, report) = blocking(move || running.run()).await;
    assert_eq!(report["streams"][0]["rows_committed"], 0, "the local file remembers: {report:#}");
    assert!(server.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_fails_is_sent_again_with_the_same_key() {
    let server =
        TestServer::start(
            |request| async move { Response::status(if request.attempt == 1 { 503 } else { 204 }) },
        )
        .await;
    let project = Arc::new(Project::new());
    project.write("rows.ndjson", "{\"id\":1}\n");
    project.write(
        "pipeline.yaml",
        format!(
            "name: posts\nstreams:\n  rows:\n    source: {{ connector: file, path: rows.ndjson }}\n    \
             sink: {{ connector: http, url: \"{}\", retry: {{ base: 1ms }} }}\n",
            server.url("/rows")
        ),
    );
    let running = project.clone();
    let (ended, report) = blocking(move || running.run()).await;
    assert_eq!(ended.code, Some(0), "{report:#}");
    let keys: Vec<_> = server
        .requests()
        .iter()
        .map(|recorded| recorded.request.header("idempotency-key").map(str::to_owned))
        .collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn single_rows_that_the_server_refuses_go_to_the_dead_letter() {
    let server = TestServer::start(|request| async move {
        match request.path.as_str() {
            "/rows/3" => Response::text("`id` is taken").with_status(422),
            "/rows/5" => Response::status(409),
            _ => Response::status(204),
        }
    })
    .await;
    let project = Arc::new(Project::new());
    project.write("rows.ndjson", lines((0..10).map(|id| format!("{{\"id\":{id}}}"))));
    project.write(
        "pipeline.yaml",
        format!(
            "name: puts\ndead_letter: \"dead/{{stream}}-{{part}}.ndjson\"\nstreams:\n  rows:\n    \
             source: {{ connector: file, path: rows.ndjson }}\n    sink:\n      connector: http\n      \
             url: \"{}/{{id}}\"\n      method: PUT\n      rows: single\n      accept: [409]\n",
            server.url("/rows")
        ),
    );
    let running = project.clone();
    let (ended, report) = blocking(move || running.run()).await;
    assert_eq!(ended.code, Some(1), "{report:#}");
    let stream = &report["streams"][0];
    assert_eq!((&stream["rows_committed"], &stream["rows_rejected"]), (&9.into(), &1.into()), "{report:#}");
    let dead = project.rows("dead");
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert_eq!(dead[0]["reason"], "the server answered 422 Unprocessable Entity: `id` is taken");
    assert_eq!(
        (dead[0]["row"].as_str(), dead[0]["place"].as_str()),
        (Some("{\"id\":3}"), Some(&*server.url("/rows/3")))
    );
}
