//! What bad input gets: a text that says what, where and what to do, the exit code, and the other streams in full.

use std::sync::Arc;

use serde_json::Value;
use towpath_testkit::http::{Response, TestServer};
use towpath_tests::{Project, blocking, lines};

/// A pipeline of a stream with this source, and one that is fine.
fn beside_a_good_one(source: &str) -> Project {
    let project = Project::new();
    project.write("good.csv", "id\n1\n2\n");
    project.write(
        "pipeline.yaml",
        format!(
            "name: both\nstreams:\n  bad:\n    source: {source}\n    sink: {{ connector: file, path: bad.ndjson }}\n  \
             good:\n    source: {{ connector: file, path: good.csv }}\n    sink: {{ connector: file, path: good.ndjson }}\n"
        ),
    );
    project
}

/// Runs it, and gives the bad stream's first failure.
async fn failure(project: Project) -> (Arc<Project>, String) {
    let project = Arc::new(project);
    let running = project.clone();
    let (ended, report) = blocking(move || running.run()).await;
    assert_eq!(ended.code, Some(1), "{report:#}");
    let stream = |name: &str| -> Value {
        let streams = report["streams"].as_array().expect("a report has streams");
        streams.iter().find(|stream| stream["name"] == name).expect("both are told of").clone()
    };
    assert_eq!(stream("good")["status"], "done", "{report:#}");
    assert_eq!(project.read("good.ndjson"), "{\"id\":1}\n{\"id\":2}\n");
    let message = stream("bad")["failures"][0]["message"].as_str().expect("it says why").to_owned();
    (project, message)
}

/// The failure of a stream that reads from a server which always answers like this.
async fn failure_of(answer: fn() -> Response) -> String {
    let server = TestServer::start(move |_| async move { answer() }).await;
    let source = format!(
        "{{ connector: http, url: \"{}\", retry: {{ attempts: 2, base: 1ms }} }}",
        server.url("/rows")
    );
    let (project, message) = failure(beside_a_good_one(&source)).await;
    assert!(!project.path("bad.ndjson").exists(), "nothing half is visible");
    assert!(message.contains(&server.url("/rows")), "it names the URL: {message}");
    message
}

fn assert_tells(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
}

/// What the command says to a pipeline that is wrong, before it moves anything.
fn refusal(pipeline: &str) -> String {
    let project = Project::new();
    project.write("pipeline.yaml", pipeline);
    let ended = project.towpath(&["run", "pipeline.yaml"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    ended.stderr
}

#[test]
fn an_unknown_field() {
    let said = refusal(
        "name: wrong\nstreams:\n  a:\n    source: { connector: http, url: \"http://x/\", recrods: $.data }\n    \
         sink: { connector: file, path: a.csv }\n",
    );
    assert_tells(&said, &["pipeline.yaml:4:", "recrods: $.data", "^^^^^^^", "`records`"]);
    let said = refusal(
        "name: wrong\nstreams:\n  a:\n    sorce: { connector: file, path: b.csv }\n    \
         sink: { connector: file, path: a.csv }\n",
    );
    assert_tells(&said, &["pipeline.yaml:4:5", "sorce", "`source`"]);
}

#[test]
fn a_wrong_type_a_missing_variable_and_an_unknown_connector_are_shown_together() {
    let said = refusal(
        "name: wrong\nmax_in_flight: many\nstreams:\n  a:\n    \
         source: { connector: file, path: \"${NOT_SET_ANYWHERE}\" }\n    sink: { connector: postgrse, url: x }\n",
    );
    assert_tells(&said, &["pipeline.yaml:2:16", "pipeline.yaml:5:", "`NOT_SET_ANYWHERE` is not set"]);
    assert_tells(&said, &["pipeline.yaml:6:", "there is no connector `postgrse`", "file, http"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_be_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    drop(listener);
    let source =
        format!("{{ connector: http, url: \"http://{address}/x\", retry: {{ attempts: 2, base: 1ms }} }}");
    let (_, message) = failure(beside_a_good_one(&source)).await;
    assert_tells(&message, &["connect", &address.to_string(), "every retry failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password() {
    assert_tells(&failure_of(|| Response::status(401)).await, &["401", "`auth`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_does_not_exist() {
    assert_tells(&failure_of(|| Response::status(404)).await, &["404"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn html_instead_of_json() {
    let page = || Response::bytes("application/json", "<!doctype html><title>Log in</title>");
    assert_tells(&failure_of(page).await, &["HTML", "<!doctype html"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_json_on_a_line() {
    let source = "{ connector: file, path: in/rows.ndjson }";
    let project = beside_a_good_one(source);
    project.write("in/rows.ndjson", "{\"id\": 1}\n{\"id\": 2}\n{\"id\": oops}\n");
    let (_, message) = failure(project).await;
    assert_tells(&message, &["in/rows.ndjson:3", "dead_letter"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csv_row_with_too_many_fields() {
    let project = beside_a_good_one("{ connector: file, path: in/rows.csv }");
    project.write("in/rows.csv", "id,name\n1,a\n2,b,too much\n");
    let (_, message) = failure(project).await;
    assert_tells(&message, &["in/rows.csv:3", "expected 2 fields, found 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_file_that_ends_in_the_middle() {
    let project = beside_a_good_one("{ connector: file, path: in/rows.ndjson.gz }");
    let whole = Project::new();
    let rows = lines((0..20_000).map(|id| format!("{{\"id\":{id},\"text\":\"{}\"}}", id * 7919 % 104_729)));
    whole.write("rows.ndjson", rows);
    assert_eq!(whole.towpath(&["copy", "rows.ndjson", "rows.ndjson.gz"]).code, Some(0));
    let bytes = std::fs::read(whole.path("rows.ndjson.gz")).expect("it was written");
    project.write("in/rows.ndjson.gz", &bytes[..bytes.len() / 2]);
    let (project, message) = failure(project).await;
    assert_tells(&message, &["rows.ndjson.gz", "ends in the middle"]);
    assert!(!project.path("bad.ndjson").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_go_to_the_dead_letter_and_the_rest_goes_on() {
    let project = Project::new();
    project.write("in/rows.csv", "id,amount\n1,1.50\n2,much\n3,2.25,too,many\n4,4.00\n");
    project.write(
        "pipeline.yaml",
        "name: letters\ndead_letter: \"dead/{stream}-{run}-{part}.ndjson\"\nstreams:\n  rows:\n    \
         source: { connector: file, path: in/rows.csv, columns: { amount: \"decimal(5,2)\" } }\n    \
         sink: { connector: file, path: out/rows.ndjson }\n",
    );
    let (ended, report) = project.run();
    assert_eq!(ended.code, Some(1), "{report:#}");
    assert_eq!(project.ids("out"), [1, 4]);
    let letters = project.rows("dead");
    assert_eq!(letters.len(), 2, "{letters:?}");
    let of = |line: &str| {
        letters.iter().find(|letter| letter["place"] == format!("in/rows.csv:{line}")).expect(line)
    };
    assert_eq!((&of("3")["column"], &of("3")["value"]), (&"amount".into(), &"much".into()));
    assert_eq!(of("4")["row"], "3,2.25,too,many");
    assert_eq!(of("4")["stream"], "rows");
}
