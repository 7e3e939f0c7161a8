//! The promises of the contract, one test each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow_schema::{DataType, Field};
use async_trait::async_trait;
use serde_json::json;
use towpath_connector_http::CONNECTOR;
use towpath_core::{Context, DynSink, DynSource, ErrorKind, Json, Result};
use towpath_formats::chunks::{Cutter, File, batch};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::sink::SinkFixture;
use towpath_testkit::conformance::source::SourceFixture;
use towpath_testkit::http::{Request, Response, TestServer};

use crate::downloads::{content, ranged};
use crate::support::install_tls;

const SECRET: &str = "conformance-s3cret";

/// How many rows each URL has.
const ROWS: u64 = 25;

/// An API that is read in one way.
struct Api {
    server: TestServer,
    options: Json,
}

impl Api {
    async fn new(options: Json) -> Self {
        install_tls();
        let server = TestServer::start(|request: Request| async move { answer(&request) }).await;
        let mut all = json!({
            "base_url": server.url(""),
            "path": "/items/{group}",
            "params": {"group": [1, 2, 3]},
            "auth": {"type": "bearer", "token": SECRET},
        });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        Self { server, options: all }
    }

    fn changed(&self, changes: &[(&str, Json)]) -> Json {
        let mut options = self.options.clone();
        for (name, value) in changes {
            options[*name] = value.clone();
        }
        options
    }
}

fn row(group: u64, id: u64) -> Json {
    json!({"id": group * 1000 + id, "group": group, "name": format!("row {id}")})
}

/// Rows of `/items/GROUP`, as pages or lines.
fn answer(request: &Request) -> Response {
    if request.header("authorization") != Some(&format!("Bearer {SECRET}")) {
        return Response::text(format!("not {:?}", request.header("authorization"))).with_status(401);
    }
    let mut path = request.path.rsplit('/');
    let Some(group) = path.next().and_then(|group| group.parse::<u64>().ok()) else {
        return Response::status(404);
    };
    if request.path.starts_with("/jobs") {
        return Response::json(&json!({"id": group}));
    }
    if request.path.starts_with("/status") {
        return Response::json(&json!({"state": "done", "url": format!("/lines/{group}")}));
    }
    if request.path.starts_with("/lines") {
        if request.header("if-none-match") == Some("\"1\"") {
            return Response::status(304);
        }
        // So many that there are several batches.
        return Response::ndjson(&(0..40_000).map(|id| row(group, id)).collect::<Vec<_>>())
            .header("etag", "\"1\"");
    }
    let offset = request.number("offset").unwrap_or(0);
    let rows: Vec<Json> = (offset..ROWS.min(offset + 7)).map(|id| row(group, id)).collect();
    let next = (offset + 7 < ROWS).then(|| format!("{}?offset={}", request.path, offset + 7));
    Response::json(&json!({"total": ROWS, "data": rows, "next": next}))
}

#[async_trait]
impl SourceFixture for Api {
    async fn open(&self, cx: &Context) -> Result<Arc<dyn DynSource>> {
        CONNECTOR.source_entry().unwrap().open(self.options.clone(), cx).await
    }

    fn rows(&self) -> Vec<Json> {
        let rows = if self.options["path"] == "/items/{group}" { ROWS } else { 40_000 };
        (1..=3).flat_map(|group| (0..rows).map(move |id| row(group, id))).collect()
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let cx = self.context();
        let case = |name: &str, kind, changes: &[(&str, Json)]| {
            ErrorCase::source(name, kind, CONNECTOR, self.changed(changes), &cx)
        };
        vec![
            case(
                "wrong token",
                ErrorKind::Unauthenticated,
                &[("auth", json!({"type": "bearer", "token": "x"}))],
            )
            .mentions("/1"),
            case("no such path", ErrorKind::NotFound, &[("path", json!("/nothing/here/{group}/x"))])
                .mentions("404"),
            case(
                "no such records",
                ErrorKind::DataInvalid,
                &[("records", json!("$.rows")), ("format", json!("json"))],
            ),
            case("unknown parameter", ErrorKind::Config, &[("path", json!("/{nobody}"))]).mentions("nobody"),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        let left = self.server.in_flight();
        Ok((left > 0).then(|| format!("{left} requests")).into_iter().collect())
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }

    fn debug_texts(&self) -> Vec<String> {
        let config: towpath_connector_http::SourceConfig =
            serde_json::from_value(self.options.clone()).unwrap();
        vec![format!("{config:?}")]
    }
}

mod known_pages {
    towpath_testkit::source_conformance! {
        case = super::Api::new(serde_json::json!({
            "records": "$.data", "pagination": {"type": "offset", "limit": 7, "total": "$.total"},
        })).await
    }
}

mod linked_pages {
    towpath_testkit::source_conformance! {
        case = super::Api::new(serde_json::json!({
            "records": "$.data", "pagination": {"type": "next_url", "path": "$.next"},
        })).await
    }
}

mod documents_that_may_be_unchanged {
    towpath_testkit::source_conformance! {
        case = super::Api::new(serde_json::json!({"path": "/lines/{group}", "conditional": true})).await
    }
}

mod streamed_lines {
    towpath_testkit::source_conformance! {
        case = super::Api::new(serde_json::json!({"path": "/lines/{group}"})).await
    }
}

/// A server of files.
struct Files {
    server: TestServer,
    options: Json,
}

/// The length of the file of this number: one is read by two splits, of which the first has two chunks.
fn length(number: usize) -> usize {
    [5, (2 << 20) + 9, 0][number - 1]
}

impl Files {
    async fn new() -> Self {
        install_tls();
        let server = TestServer::start(|request: Request| async move {
            if request.header("authorization") != Some(&format!("Bearer {SECRET}")) {
                return Response::status(401);
            }
            match request.path.strip_prefix("/files/").and_then(|number| number.parse().ok()) {
                Some(number) => ranged(&request, &content(length(number)), "\"v1\""),
                None => Response::status(404),
            }
        })
        .await;
        let options = json!({
            "base_url": server.url(""),
            "path": "/files/{number}",
            "params": {"number": [1, 2, 3]},
            "format": "bytes",
            "download": {"part_bytes": "2MiB"},
            "auth": {"type": "bearer", "token": SECRET},
        });
        Self { server, options }
    }
}

#[async_trait]
impl SourceFixture for Files {
    async fn open(&self, cx: &Context) -> Result<Arc<dyn DynSource>> {
        CONNECTOR.source_entry().unwrap().open(self.options.clone(), cx).await
    }

    fn rows(&self) -> Vec<Json> {
        let mut rows = Vec::new();
        for number in 1..=3 {
            let content = content(length(number));
            let file = File {
                name: number.to_string(),
                size: Some(content.len() as u64),
                version: Some("\"v1\"".to_owned()),
                digest: None,
            };
            let mut cutter = Cutter::new(0);
            cutter.push(&content);
            let full = std::iter::from_fn(|| cutter.full()).collect::<Vec<_>>();
            for (offset, data) in full.into_iter().chain([cutter.rest()]) {
                rows.extend(towpath_testkit::rows::to_json([&batch(&file, offset, data).unwrap()]));
            }
        }
        rows
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let cx = self.context();
        let mut wrong = self.options.clone();
        wrong["auth"]["token"] = json!("x");
        let mut nowhere = self.options.clone();
        nowhere["path"] = json!("/nothing/{number}");
        vec![
            ErrorCase::source("wrong token", ErrorKind::Unauthenticated, CONNECTOR, wrong, &cx)
                .mentions("/1"),
            ErrorCase::source("no such file", ErrorKind::NotFound, CONNECTOR, nowhere, &cx).mentions("404"),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        let left = self.server.in_flight();
        Ok((left > 0).then(|| format!("{left} requests")).into_iter().collect())
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }
}

mod downloads {
    towpath_testkit::source_conformance! { case = super::Files::new().await }
}

mod detected_pages {
    towpath_testkit::source_conformance! {
        case = super::Api::new(serde_json::json!({"records": "$.data", "pagination": {"type": "auto"}})).await
    }
}

mod jobs {
    towpath_testkit::source_conformance! {
        case = super::Api::new(serde_json::json!({
            "path": "/jobs/{group}",
            "method": "POST",
            "job": {
                "id": "$.id",
                "status": {"path": "/status/{job}", "done": {"path": "$.state", "values": ["done"]}},
                "result": {"url": "$.url"},
            },
        })).await
    }
}

/// An endpoint that keeps what it gets.
struct Endpoint {
    server: TestServer,
    rows: Arc<Mutex<BTreeMap<String, Vec<Json>>>>,
}

impl Endpoint {
    async fn new() -> Self {
        install_tls();
        let rows = Arc::new(Mutex::new(BTreeMap::<String, Vec<Json>>::new()));
        let kept = rows.clone();
        let server = TestServer::start(move |request: Request| {
            let kept = kept.clone();
            async move {
                if request.header("authorization") != Some(&format!("Bearer {SECRET}")) {
                    return Response::status(401);
                }
                if request.method == "POST" {
                    let rows: Vec<Json> = serde_json::from_slice(&request.body).unwrap();
                    kept.lock().unwrap().entry(request.path).or_default().extend(rows);
                }
                Response::status(200)
            }
        })
        .await;
        Self { server, rows }
    }

    fn options(&self, path: &str) -> Json {
        json!({"base_url": self.server.url(""), "path": path, "auth": {"type": "bearer", "token": SECRET}})
    }
}

#[async_trait]
impl SinkFixture for Endpoint {
    async fn open(&self, cx: &Context, stream: &str) -> Result<Arc<dyn DynSink>> {
        CONNECTOR.sink_entry().unwrap().open(self.options(stream), cx).await
    }

    async fn rows(&self, stream: &str) -> Result<Vec<Json>> {
        Ok(self.rows.lock().unwrap().get(&format!("/{stream}")).cloned().unwrap_or_default())
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let cx = self.context();
        let mut wrong = self.options("x");
        wrong["auth"]["token"] = json!("wrong");
        vec![
            ErrorCase::sink("wrong token", ErrorKind::Unauthenticated, CONNECTOR, wrong, &cx).mentions("/x"),
            ErrorCase::sink("nowhere", ErrorKind::Config, CONNECTOR, json!({}), &cx),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        let left = self.server.in_flight();
        Ok((left > 0).then(|| format!("{left} requests")).into_iter().collect())
    }

    fn reads_back(&self, field: &Field, value: Json) -> Json {
        match (field.data_type(), value) {
            // JSON has no such numbers.
            (DataType::Float16 | DataType::Float32 | DataType::Float64, Json::String(_)) => Json::Null,
            (decimal, Json::String(digits)) if decimal.is_decimal() => serde_json::from_str(&digits).unwrap(),
            (_, other) => other,
        }
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }

    fn debug_texts(&self) -> Vec<String> {
        let config: towpath_connector_http::SinkConfig = serde_json::from_value(self.options("x")).unwrap();
        vec![format!("{config:?}")]
    }
}

mod sink {
    towpath_testkit::sink_conformance! { case = super::Endpoint::new().await }
}
