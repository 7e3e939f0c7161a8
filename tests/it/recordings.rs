//! Runs that are recorded, and replayed where there is no server.

use std::sync::Arc;

use serde_json::{Value, json};
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_tests::{Ended, Project, blocking};

/// An API of three pages that fails now and then, and repeats what it is sent.
async fn api() -> TestServer {
    TestServer::start(|request: Request| async move {
        if request.path == "/token" {
            return Response::json(&json!({"access_token": "granted-s3cret"}));
        }
        if request.attempt == 1 && request.number("page") == Some(2) {
            return Response::status(503);
        }
        let page = request.number("page").unwrap_or(1);
        let echo = request.header("authorization").unwrap_or_default().to_owned();
        let rows: Vec<_> = (page * 10 - 10..page * 10).map(|id| json!({"id": id, "echo": echo})).collect();
        let next = (page < 3).then(|| format!("{}?page={}", request.path, page + 1));
        Response::json(&json!({"rows": rows, "next": next}))
    })
    .await
}

fn project(server: &str, path: &str) -> Arc<Project> {
    let project = Project::new();
    project.write(
        "pipeline.yaml",
        format!(
            "name: taped\nconnections:\n  api:\n    connector: http\n    base_url: \"{server}\"\n    retry: {{ base: 1ms }}\n    \
             auth: {{ type: oauth2_client_credentials, token_url: \"{server}/token\", client_id: me, client_secret: \"${{CLIENT}}\" }}\n\
             streams:\n  rows:\n    source:\n      connection: api\n      path: {path}\n      records: $.rows\n      \
             pagination: {{ type: next_url, path: $.next }}\n    sink: {{ connector: file, path: out/rows.ndjson }}\n"
        ),
    );
    Arc::new(project)
}

async fn run(project: &Arc<Project>, arguments: &'static [&'static str]) -> (Ended, Value) {
    let project = project.clone();
    let mut all = vec!["run", "pipeline.yaml", "--json"];
    all.extend(arguments);
    let ended = blocking(move || {
        let output = project.command(&all).env("CLIENT", "own-s3cret").output().expect("it can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    })
    .await;
    let report = serde_json::from_str(&ended.stdout).unwrap_or_default();
    (ended, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_run_is_replayed_without_a_server() {
    for (record, replay, name) in [
        (&["--record", "traffic.ndjson"], &["--replay", "traffic.ndjson"], "traffic.ndjson"),
        (&["--record", "traffic.ndjson.gz"], &["--replay", "traffic.ndjson.gz"], "traffic.ndjson.gz"),
    ] {
        let server = api().await;
        let url = server.url("");
        let recorded = project(&url, "/rows");
        let (ended, report) = run(&recorded, record).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(report["streams"][0]["retries"], 1, "{report:#}");
        let tape = std::fs::read(recorded.path(name)).expect("it was written");
        if name == "traffic.ndjson" {
            let text = String::from_utf8(tape.clone()).expect("it is text");
            assert_eq!(text.lines().count(), 5, "{text}");
            assert!(!text.contains("s3cret") && !text.contains("/token"), "{text}");
        }
        drop(server);
        let replayed = project(&url, "/rows");
        replayed.write(name, tape);
        let (ended, report) = run(&replayed, replay).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(report["streams"][0]["retries"], 1, "{report:#}");
        assert_eq!(replayed.ids("out"), recorded.ids("out"));
        assert_eq!(replayed.rows("out")[0]["echo"], "***", "the token is hidden where the server repeats it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_names_what_its_recording_lacks() {
    let server = api().await;
    let recorded = project(&server.url(""), "/rows");
    assert_eq!(run(&recorded, &["--record", "t.ndjson"]).await.0.code, Some(0));
    let other = project(&server.url(""), "/others");
    other.write("t.ndjson", recorded.read("t.ndjson"));
    server.clear();
    let (ended, report) = run(&other, &["--replay", "t.ndjson"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let failure = report["streams"][0]["failures"][0].to_string();
    let expected = format!("the recording has no answer to `GET {}`", server.url("/others"));
    assert!(failure.contains(&expected), "{failure}");
    assert!(server.requests().is_empty(), "nothing went over the network");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_cannot_be_is_an_error_of_the_command() {
    let project = project("http://127.0.0.1:1", "/rows");
    for (arguments, expected) in [
        (&["--record", "a", "--replay", "b"][..], "cannot be used with"),
        (&["--replay", "nothing.ndjson"][..], "no such file"),
        (&["--replay", "pipeline.yaml"][..], "the file is no recording"),
        (&["--record", "no/folder/t.ndjson"][..], "cannot be written"),
    ] {
        let (ended, _) = run(&project, arguments).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(expected), "{ended:?}");
    }
}
