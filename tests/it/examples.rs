//! The example pipelines of the documentation, each against a server that answers in the documented shape of its API.

mod commerce;
mod open;
mod scraped;
mod work;

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_tests::{Project, blocking};

/// An example, ready to run against a server of the test.
struct Example {
    project: Arc<Project>,
    variables: Vec<(&'static str, String)>,
}

impl Example {
    /// The pipeline of this name, with its variables.
    fn new<const N: usize>(name: &str, variables: [(&'static str, String); N]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
        let path = folder.join(name);
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let project = Project::new();
        project.write("pipeline.yaml", text);
        Self { project: Arc::new(project), variables: variables.into() }
    }

    /// Runs it; everything must make it.
    async fn run(&self) -> Value {
        let (project, variables) = (self.project.clone(), self.variables.clone());
        let output = blocking(move || {
            let mut command = project.command(&["run", "pipeline.yaml", "--json"]);
            command.envs(variables).output().expect("the command can be started")
        })
        .await;
        let said = String::from_utf8_lossy(&output.stderr);
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert_eq!(output.status.code(), Some(0), "{said}\n{report:#}");
        report
    }

    /// The rows of a folder of the lake.
    fn rows(&self, folder: &str) -> Vec<Value> {
        self.project.rows(&format!("lake/{folder}"))
    }
}

/// How many rows a stream committed.
#[track_caller]
fn committed(report: &Value, stream: &str) -> u64 {
    let streams = report["streams"].as_array().expect("a report has streams");
    let found = streams.iter().find(|found| found["name"] == stream);
    found.and_then(|found| found["rows_committed"].as_u64()).unwrap_or_else(|| panic!("{stream}: {report:#}"))
}

/// One value of each row, sorted as text.
fn column(rows: &[Value], pointer: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut found: Vec<_> =
        rows.iter().map(|row| text(row.pointer(pointer).unwrap_or(&Value::Null))).collect();
    found.sort();
    found
}

/// A server that asks for this header and otherwise answers 401.
async fn guarded(
    header: &'static str,
    value: &'static str,
    answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
) -> TestServer {
    TestServer::start(move |request: Request| {
        let known = request.header(header) == Some(value);
        let response = if known { answer(&request) } else { Response::status(401) };
        async move { response }
    })
    .await
}

/// The part of a list that a page holds, and whether there is more behind it.
fn page<T: Clone>(all: &[T], start: u64, length: u64) -> (Vec<T>, bool) {
    let [start, length] = [start, length].map(|number| usize::try_from(number).expect("it is small"));
    let end = (start + length).min(all.len());
    (all[start.min(end)..end].to_vec(), end < all.len())
}
