//! Pipelines that run again and again.

use std::sync::Arc;

use serde_json::json;
use towpath_testkit::http::{Response, TestServer};
use towpath_tests::{Project, blocking};

const OUT: &str = "sink: { connector: file, path: \"out/{run}-{part}.ndjson\" }";

#[test]
fn only_new_files_are_loaded() {
    let project = Project::new();
    project.write("in/a.csv", "id\n1\n");
    project.write(
        "pipeline.yaml",
        format!("name: files\nstreams:\n  rows:\n    source: {{ connector: file, path: \"in/*.csv\", incremental: true }}\n    {OUT}\n"),
    );
    assert_eq!(project.run().0.code, Some(0));
    project.write("in/b.csv", "id\n2\n3\n");
    let (_, report) = project.run();
    assert_eq!(report["streams"][0]["rows_committed"], 2, "{report:#}");
    let (_, report) = project.run();
    assert_eq!(report["streams"][0]["rows_committed"], 0, "{report:#}");
    assert_eq!(project.ids("out"), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_goes_to_the_server_and_filters_what_it_sends_all_the_same() {
    let server = TestServer::start(|request| async move {
        let since: u64 = request.number("since").unwrap_or(0);
        // A server that gives one row too many, as servers do.
        let rows: Vec<_> = (since.max(1)..=since + 3).map(|id| json!({ "id": id })).collect();
        Response::json(&json!(rows))
    })
    .await;
    let project = Arc::new(Project::new());
    project.write(
        "pipeline.yaml",
        format!(
            "name: cursor\nstreams:\n  rows:\n    source: {{ connector: http, url: \"{}\", cursor_param: since }}\n    \
             cursor: id\n    {OUT}\n",
            server.url("/rows")
        ),
    );
    for _ in 0..3 {
        let running = project.clone();
        let (ended, report) = blocking(move || running.run()).await;
        assert_eq!(ended.code, Some(0), "{report:#}");
    }
    assert_eq!(project.ids("out"), (1..=9).collect::<Vec<_>>());
    assert!(server.targets().iter().any(|target| target.contains("since=6")), "{:?}", server.targets());
}

#[test]
fn state_is_shown_and_resetting_it_loads_everything_again() {
    let project = Project::new();
    project.write("in/a.csv", "id\n1\n");
    project.write(
        "pipeline.yaml",
        format!("name: state\nstreams:\n  rows:\n    source: {{ connector: file, path: in/a.csv }}\n    cursor: id\n    {OUT}\n"),
    );
    project.run();
    let shown = project.towpath(&["state", "show", "pipeline.yaml", "--json"]);
    assert!(shown.code == Some(0) && shown.stdout.contains("\"cursor\": 1"), "{shown:?}");
    project.run();
    assert_eq!(project.ids("out"), [1]);
    assert_eq!(project.towpath(&["state", "reset", "pipeline.yaml"]).code, Some(0));
    project.run();
    assert_eq!(project.ids("out"), [1, 1], "the rows stay, and are loaded once more");
}

#[test]
fn the_schema_contract_holds_across_runs() {
    let project = Project::new();
    project.write("in/a.csv", "id\n1\n");
    let pipeline = |file: &str| {
        format!(
            "name: contract\nstreams:\n  rows:\n    source: {{ connector: file, path: in/{file} }}\n    schema_contract: freeze\n    {OUT}\n"
        )
    };
    project.write("pipeline.yaml", pipeline("a.csv"));
    assert_eq!(project.run().0.code, Some(0));
    project.write("in/b.csv", "id,extra\n2,x\n");
    project.write("pipeline.yaml", pipeline("b.csv"));
    let (ended, report) = project.run();
    assert_eq!(ended.code, Some(1));
    let message = report["streams"][0]["failures"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("`extra` is new (string)"), "{message}");
    assert_eq!(project.ids("out"), [1]);
}

#[test]
fn two_streams_cannot_overwrite_each_other() {
    let project = Project::new();
    project.write("a.csv", "id\n1\n");
    project.write(
        "pipeline.yaml",
        "name: clash\nsink: { connector: file, path: out/rows.ndjson }\nstreams:\n  a:\n    source: { connector: file, path: a.csv }\n  \
         b:\n    source: { connector: file, path: a.csv }\n",
    );
    let (ended, report) = project.run();
    assert_eq!(ended.code, Some(1), "{report:#}");
    assert!(report.to_string().contains("writes the same file"), "{report:#}");
}
