//! Recorded traffic of GitHub's API, and the payloads of its webhooks, from packages of npm.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_tests::{Project, blocking};

/// A file of a package.
fn package(path: &str) -> Value {
    let folder = std::env::var("TOWPATH_TEST_PACKAGES").expect(
        "this test needs packages of npm: run it by `cargo xtask test`, or set TOWPATH_TEST_PACKAGES",
    );
    let path = PathBuf::from(folder).join(path);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What was recorded of a scenario: requests with their answers, in order.
fn scenario(name: &str) -> Vec<Value> {
    let path = format!("fixtures/scenarios/api.github.com/{name}/normalized-fixture.json");
    serde_json::from_value(package(&path)).expect("a scenario is a list")
}

/// Answers as was recorded. What was asked more than once gets its answers in order, and links lead back here.
async fn replay(recorded: Vec<Value>) -> TestServer {
    let mut answers: HashMap<String, Vec<Value>> = HashMap::new();
    for answer in recorded {
        let asked = format!(
            "{} {}",
            answer["method"].as_str().unwrap_or_default(),
            answer["path"].as_str().unwrap_or_default()
        );
        answers.entry(asked).or_default().push(answer);
    }
    let answers = Arc::new(answers);
    TestServer::start(move |request: Request| {
        let answers = answers.clone();
        async move {
            let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
            let asked = format!("{} {}{query}", request.method.to_lowercase(), request.path);
            let Some(known) = answers.get(&asked) else { return Response::status(404) };
            let here = format!("http://{}", request.header("host").expect("every request has one"));
            answer(&known[(request.attempt - 1).min(known.len() - 1)], &here)
        }
    })
    .await
}

fn answer(recorded: &Value, here: &str) -> Response {
    let status = recorded["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
    let response = match &recorded["response"] {
        Value::String(text) => Response::text(text.clone()),
        body => Response::json(body),
    };
    let mut response = response.with_status(status);
    for (name, value) in recorded["headers"].as_object().into_iter().flatten() {
        // Those of the connection are the test server's own.
        if ["connection", "content-length", "transfer-encoding", "content-encoding"].contains(&name.as_str())
        {
            continue;
        }
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        response = response.header(name, value.replace("https://api.github.com", here));
    }
    response
}

async fn load(server: &TestServer, path: &str, source: &str) -> (Arc<Project>, Value) {
    let project = Arc::new(Project::new());
    project.write(
        "pipeline.yaml",
        format!(
            "name: recorded\nstreams:\n  rows:\n    source:\n      connector: http\n      url: \"{}\"\n{source}\
             \n    sink: {{ connector: file, path: out/rows.ndjson }}\n    write_disposition: replace\n",
            server.url(path)
        ),
    );
    let running = project.clone();
    let (ended, report) = blocking(move || running.run()).await;
    assert_eq!(ended.code, Some(0), "{path}: {}\n{report:#}", ended.stderr);
    assert_eq!(report["streams"][0]["rows_rejected"], 0, "{path}: {report:#}");
    (project, report)
}

/// Whether a row holds everything that was served. A column that got values of several types holds them as text, and one
/// that a row has not is null.
fn holds(row: &Value, served: &Value) -> bool {
    match (row, served) {
        (row, Value::Null) => row.is_null(),
        (Value::Object(row), Value::Object(served)) => {
            served.iter().all(|(name, value)| holds(row.get(name).unwrap_or(&Value::Null), value))
        }
        (Value::Array(row), Value::Array(served)) => {
            row.len() == served.len() && row.iter().zip(served).all(|(row, served)| holds(row, served))
        }
        // An object without fields is no column.
        (Value::Null, Value::Object(served)) => served.values().all(Value::is_null),
        (Value::String(row), Value::Array(_) | Value::Object(_)) => {
            serde_json::from_str::<Value>(row).is_ok_and(|row| holds(&row, served))
        }
        (Value::String(row), Value::Number(served)) => *row == served.to_string(),
        (Value::String(row), Value::Bool(served)) => row.parse() == Ok(*served),
        (Value::String(row), Value::String(served)) => row == served || same_moment(row, served),
        (row, served) => row == served || row.as_f64().is_some_and(|row| Some(row) == served.as_f64()),
    }
}

/// Times are columns of their own type, and written in one way.
fn same_moment(row: &str, served: &str) -> bool {
    let plain = |text: &str| {
        let text = text.replace(' ', "T");
        text.trim_end_matches('Z')
            .trim_end_matches("+00:00")
            .trim_end_matches('0')
            .trim_end_matches(['.', '0'])
            .to_owned()
    };
    served.contains('T') && plain(row) == plain(served)
}

#[track_caller]
fn assert_holds(rows: &[Value], served: &[Value]) {
    assert_eq!(rows.len(), served.len());
    for (row, served) in rows.iter().zip(served) {
        assert!(holds(row, served), "{}", difference(row, served, ""));
    }
}

/// Where a row differs from what was served.
fn difference(row: &Value, served: &Value, path: &str) -> String {
    if let (Value::Object(_), Value::Object(fields)) = (row, served)
        && let Some((name, value)) = fields.iter().find(|(name, value)| !holds(&row[name.as_str()], value))
    {
        return difference(&row[name.as_str()], value, &format!("{path}.{name}"));
    }
    format!("{path}: {row} instead of {served}")
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_pages_are_followed_to_the_last() {
    let recorded = scenario("paginate-issues");
    let issues: Vec<Value> = recorded
        .iter()
        .flat_map(|answer| answer["response"].as_array().cloned().unwrap_or_default())
        .collect();
    let server = replay(recorded).await;
    let path = "/repos/octokit-fixture-org/paginate-issues/issues?per_page=3";
    let (project, _) = load(&server, path, "      pagination: { type: link_header }").await;
    assert_eq!(issues.len(), 13);
    assert_holds(&project.rows("out"), &issues);
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_list_and_document_loads() {
    let names = [
        ("add-and-remove-repository-collaborator", "invitations"),
        ("add-and-remove-repository-collaborator", "collaborators"),
        ("create-status", "statuses"),
        ("create-status", "status"),
        ("get-content", "contents/"),
        ("get-organization", "octokit-fixture-org"),
        ("get-repository", "hello-world"),
        ("get-root", "/"),
        ("git-refs", "refs/"),
        ("labels", "labels/labels"),
        ("project-cards", "columns/1000/cards"),
        ("release-assets", "v1.0.0"),
        ("release-assets", "1000/assets"),
        ("rename-repository", "rename-repository"),
    ];
    for (name, end) in names {
        let recorded = scenario(name);
        let is_asked = |answer: &&Value| {
            answer["method"] == "get" && answer["path"].as_str().is_some_and(|path| path.ends_with(end))
        };
        let asked = recorded.iter().find(is_asked).unwrap_or_else(|| panic!("{name} has no {end}")).clone();
        // What a redirect leads to.
        let mut last = recorded.iter().filter(|answer| answer["method"] == "get" && answer["status"] == 200);
        let served =
            if asked["status"] == 200 { asked.clone() } else { last.next_back().expect("an answer").clone() };
        let replayed = replay(recorded).await;
        let (project, _) = load(&replayed, asked["path"].as_str().expect("a path"), "").await;
        let rows = match &served["response"] {
            Value::Array(rows) => rows.clone(),
            document => vec![document.clone()],
        };
        assert_holds(&project.rows("out"), &rows);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_payload_of_a_webhook_loads_from_one_document() {
    let events = package("webhooks-examples/api.github.com/index.json");
    let payloads = payloads(&events);
    assert_eq!(payloads.len(), 329);
    let server = TestServer::start(move |_| {
        let response = Response::json(&events);
        async move { response }
    })
    .await;
    let (project, report) = load(&server, "/webhooks", "      records: $[*].examples[*]").await;
    assert_eq!(report["streams"][0]["rows_committed"], 329, "{report:#}");
    assert_holds(&project.rows("out"), &payloads);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_payload_of_a_webhook_loads_from_a_document_of_its_own() {
    let payloads = payloads(&package("webhooks-examples/api.github.com/index.json"));
    let (count, documents) = (payloads.len(), Arc::new(payloads.clone()));
    let server = TestServer::start(move |request: Request| {
        let documents = documents.clone();
        async move {
            let number = request.path.rsplit('/').next().and_then(|number| number.parse::<usize>().ok());
            Response::json(&documents[number.expect("a number")])
        }
    })
    .await;
    let project = Arc::new(Project::new());
    project.write(
        "pipeline.yaml",
        format!(
            "name: payloads\nsink: {{ connector: file, path: \"out/{{part}}.ndjson\" }}\nstreams:\n  payloads:\n    source:\n      \
             connector: http\n      url: \"{}\"\n      params: {{ number: {{ from: 0, to: {} }} }}\n    write_disposition: append\n",
            server.url("/payloads/{number}"),
            count - 1
        ),
    );
    let running = project.clone();
    let (ended, report) = blocking(move || running.run()).await;
    assert_eq!(ended.code, Some(0), "{}\n{report:#}", ended.stderr);
    assert_eq!(report["streams"][0]["rows_rejected"], 0, "{report:#}");
    assert_eq!(report["streams"][0]["rows_committed"], 329, "{report:#}");
    // Rows come in any order; each of those that were served is there once. One may hold a smaller one as well.
    let mut rows: BTreeMap<usize, Value> = project.rows("out").into_iter().enumerate().collect();
    assert_eq!(rows.len(), count);
    for payload in &payloads {
        let found = rows.iter().filter(|(_, row)| holds(row, payload)).min_by_key(|(_, row)| leaves(row));
        let index = *found.unwrap_or_else(|| panic!("not there: {payload}")).0;
        rows.remove(&index);
    }
}

/// How many values a row has.
fn leaves(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Array(values) => values.iter().map(leaves).sum(),
        Value::Object(fields) => fields.values().map(leaves).sum(),
        _ => 1,
    }
}

fn payloads(events: &Value) -> Vec<Value> {
    let events = events.as_array().expect("a list of events");
    events.iter().flat_map(|event| event["examples"].as_array().cloned().unwrap_or_default()).collect()
}
