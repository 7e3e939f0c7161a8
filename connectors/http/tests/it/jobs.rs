//! Answers that a server prepares: create a job, wait for it, download its result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::TryStreamExt;
use serde_json::json;
use towpath_core::{Batch, Error, ErrorKind, Json, Position, Result, ScanRequest};
use towpath_formats::{Compression, CsvWrite, Encoder, MemoryOutput, WriteFormat, WriteOptions};
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_testkit::rows;

use crate::support::{Opened, context, ids, open, open_with, to_json};

/// A server that prepares reports: a job is running for some polls, then done.
#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    created: u64,
    /// How often each job was asked for.
    polls: HashMap<String, u64>,
    /// Jobs that the server has forgotten.
    gone: Vec<String>,
    /// Jobs that have failed.
    failed: Vec<String>,
    /// Files that are refused, by the beginning of their path, with the status, and how often still.
    refused: Vec<(String, u16, u64)>,
}

impl Reports {
    pub(crate) fn created(&self) -> u64 {
        self.0.lock().unwrap().created
    }

    pub(crate) fn forget(&self, job: &str) {
        self.0.lock().unwrap().gone.push(job.to_owned());
    }

    pub(crate) fn fail(&self, job: &str) {
        self.0.lock().unwrap().failed.push(job.to_owned());
    }

    pub(crate) fn refuse(&self, path: &str, status: u16, times: u64) {
        self.0.lock().unwrap().refused.push((path.to_owned(), status, times));
    }

    fn answer(&self, request: &Request) -> Response {
        let mut log = self.0.lock().unwrap();
        let mut refused = log.refused.iter_mut().filter(|(_, _, times)| *times > 0);
        if let Some((_, status, times)) = refused.find(|(path, ..)| request.path.starts_with(path)) {
            *times -= 1;
            return Response::status(*status);
        }
        let path = request.path.trim_matches('/').split('/').collect::<Vec<_>>();
        match (request.method.as_str(), path.as_slice()) {
            ("POST", ["reports"]) => {
                log.created += 1;
                Response::json(&json!({"id": format!("j{}", log.created)})).with_status(201)
            }
            (_, ["reports", job]) if log.gone.iter().any(|gone| gone == job) => Response::status(404),
            (_, ["reports", job]) if log.failed.iter().any(|failed| failed == job) => {
                Response::json(&json!({"status": "FAILED", "error": {"message": "no such\n column"}}))
            }
            (_, ["reports", job]) => {
                let polls = log.polls.entry((*job).to_owned()).or_default();
                *polls += 1;
                let status = if *polls < 3 { "RUNNING" } else { "DONE" };
                let files = [1, 2].map(|part| json!({"url": format!("/files/{job}/{part}.ndjson")}));
                Response::json(
                    &json!({"status": status, "url": format!("/files/{job}/1.ndjson"), "files": files}),
                )
            }
            (_, ["files", _, "1.ndjson"]) => Response::ndjson(&ids(0..3)),
            (_, ["files", _, "2.ndjson"]) => Response::ndjson(&ids(3..5)),
            (_, ["reports", _, "rows"]) => {
                let page = request.number("page").unwrap_or(1);
                Response::json(&json!({"pages": 2, "data": ids((page - 1) * 2..page * 2)}))
            }
            _ => Response::status(404),
        }
    }

    pub(crate) async fn start(&self) -> TestServer {
        let reports = self.clone();
        TestServer::start(move |request: Request| {
            let reports = reports.clone();
            async move { reports.answer(&request) }
        })
        .await
    }
}

fn job() -> Json {
    json!({
        "id": "$.id",
        "status": {
            "path": "/reports/{job}",
            "poll_every": "1ms",
            "done": {"path": "$.status", "values": ["done"]},
            "failed": {"path": "$.status", "values": ["FAILED", "CANCELLED"]},
            "message": "$.error.message",
        },
        "result": {"url": "$.url"},
    })
}

/// Options for a server, with other options of the job.
pub(crate) fn options(server: &TestServer, changes: &[(&str, Json)]) -> Json {
    let mut job = job();
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        job.pointer_mut(parent).unwrap()[name] = value.clone();
    }
    json!({"base_url": server.url(""), "path": "/reports", "body": {"json": {"table": "t"}}, "job": job})
}

pub(crate) fn targets(server: &TestServer) -> Vec<String> {
    server
        .requests()
        .iter()
        .map(|recorded| format!("{} {}", recorded.request.method, recorded.target()))
        .collect()
}

pub(crate) async fn rows_of(options: Json) -> Result<Vec<Json>> {
    crate::support::read(options).await
}

#[tokio::test]
async fn a_job_is_created_waited_for_and_downloaded() {
    let reports = Reports::default();
    let server = reports.start().await;
    assert_eq!(rows_of(options(&server, &[])).await.unwrap(), ids(0..3));
    assert_eq!(
        targets(&server),
        ["POST /reports", "GET /reports/j1", "GET /reports/j1", "GET /reports/j1", "GET /files/j1/1.ndjson"]
    );
    assert_eq!(server.requests()[0].request.body, json!({"table": "t"}).to_string());
    assert_eq!(server.requests()[1].request.header("accept"), Some("application/json"));
}

#[tokio::test]
async fn a_result_of_several_files_is_read_in_order() {
    let server = Reports::default().start().await;
    let several = options(&server, &[("/result/url", json!("$.files[*].url"))]);
    assert_eq!(rows_of(several).await.unwrap(), ids(0..5));
}

#[tokio::test]
async fn a_result_at_a_path_may_have_pages() {
    let server = Reports::default().start().await;
    let mut options = options(&server, &[("/result", json!({"path": "/reports/{job}/rows"}))]);
    options["records"] = json!("$.data");
    options["pagination"] = json!({"type": "page_number", "total_pages": "$.pages"});
    assert_eq!(rows_of(options).await.unwrap(), ids(0..4));
    assert_eq!(targets(&server)[4..], ["GET /reports/j1/rows?page=1", "GET /reports/j1/rows?page=2"]);
}

#[tokio::test]
async fn a_result_with_an_id_of_its_own_is_looked_up() {
    let server = TestServer::start(|request: Request| async move {
        match request.path.as_str() {
            "/reports" => Response::json(&json!({"reportId": 7})),
            "/reports/7" => Response::json(&json!({"state": true, "document": "d/1"})),
            "/documents/d%2F1" => Response::json(&json!({"url": "/rows"})),
            "/rows" => Response::json(&json!(ids(0..2))),
            _ => Response::status(404),
        }
    })
    .await;
    let options = options(
        &server,
        &[
            ("/id", json!("$.reportId")),
            ("/status/done", json!({"path": "$.state", "values": true})),
            ("/status/failed", Json::Null),
            ("/result", json!({"id": "$.document", "path": "/documents/{result}", "url": "$.url"})),
        ],
    );
    assert_eq!(rows_of(options).await.unwrap(), ids(0..2));
}

#[tokio::test]
async fn a_status_may_be_at_a_url_of_the_answer_and_told_by_its_code() {
    for (place, in_body) in
        [(json!({"url_header": "Location"}), false), (json!({"url": "$.status_url"}), true)]
    {
        let server = TestServer::start(move |request: Request| async move {
            match (request.path.as_str(), request.attempt) {
                ("/reports", _) if in_body => Response::json(&json!({"status_url": "/wait?job=1"})),
                ("/reports", _) => {
                    Response::text("accepted").with_status(202).header("location", "/wait?job=1")
                }
                ("/wait", 1 | 2) => Response::text("not yet").with_status(202),
                ("/wait", _) => Response::json(&json!({"files": ["/a", "/b"]})),
                ("/a", _) => Response::json(&json!(ids(0..1))),
                ("/b", _) => Response::json(&json!(ids(1..2))),
                _ => Response::status(404),
            }
        })
        .await;
        let mut status = json!({"poll_every": "1ms"});
        status.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
        let options = json!({
            "url": server.url("/reports"), "method": "POST",
            "job": {"status": status, "result": {"url": "$.files"}},
        });
        assert_eq!(rows_of(options).await.unwrap(), ids(0..2));
        assert_eq!(targets(&server)[1..4], ["GET /wait?job=1"; 3]);
    }
}

#[tokio::test]
async fn a_status_may_need_a_body_with_the_jobs_id() {
    let server = TestServer::start(|request: Request| async move {
        let body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
        match request.path.as_str() {
            "/acme/jobs" => Response::json(&json!({"id": 7})),
            "/status" if body == json!({"variables": {"id": 7, "of": "acme"}, "query": "q"}) => {
                Response::json(&json!({"data": {"node": {"status": "COMPLETED", "url": "/rows"}}}))
            }
            "/rows" => Response::ndjson(&ids(0..2)),
            _ => Response::text(body.to_string()).with_status(400),
        }
    })
    .await;
    let mut options = options(
        &server,
        &[
            ("/status/path", json!("/status")),
            (
                "/status/body",
                json!({"graphql": {"query": "q", "variables": {"id": "{job}", "of": "{account}"}}}),
            ),
            ("/status/done", json!({"path": "$.data.node.status", "values": ["COMPLETED"]})),
            ("/status/failed", json!({"path": "$.data.node.status", "values": ["FAILED"]})),
            ("/result/url", json!("$.data.node.url")),
        ],
    );
    options["path"] = json!("/{account}/jobs");
    options["params"] = json!({"account": ["acme"]});
    assert_eq!(rows_of(options).await.unwrap(), ids(0..2));
}

#[tokio::test]
async fn a_result_on_another_host_may_be_compressed_and_gets_no_credentials() {
    let batch = rows::batch("id: int64", &json!([[0], [1], [2]]));
    let write = WriteOptions {
        format: Some(WriteFormat::Csv(CsvWrite::default())),
        compression: Some(Compression::Gzip),
    };
    let cx = towpath_testkit::context();
    let mut encoder = Encoder::new(&write, "rows", &batch.schema(), &cx, MemoryOutput::default()).unwrap();
    encoder.write(batch).await.unwrap();
    let zipped = encoder.finish().await.unwrap().1.into_bytes().to_vec();
    // Another port is another host as far as credentials are concerned.
    let bucket = crate::support::always(Response::bytes("binary/octet-stream", zipped)).await;
    let url = bucket.url("/rows.csv.gz?X-Amz-Signature=s3cret");
    let server = TestServer::start(move |request: Request| {
        let url = url.clone();
        async move {
            match request.path.as_str() {
                "/reports" => Response::json(&json!({"id": "j1"})),
                _ => Response::json(&json!({"status": "DONE", "url": url})),
            }
        }
    })
    .await;
    let mut options = options(&server, &[]);
    options["auth"] = json!({"type": "bearer", "token": "t0ken"});
    options["headers"] = json!({"x-tenant": "blue"});
    assert_eq!(rows_of(options).await.unwrap(), ids(0..3));
    for recorded in server.requests() {
        assert_eq!(recorded.request.header("authorization"), Some("Bearer t0ken"));
        assert_eq!(recorded.request.header("x-tenant"), Some("blue"));
    }
    let at_bucket = &bucket.requests()[0].request;
    assert_eq!((at_bucket.header("authorization"), at_bucket.header("x-tenant")), (None, None));
}

#[tokio::test]
async fn a_result_without_rows_is_none() {
    for url in [Json::Null, json!([])] {
        let server = TestServer::start(move |request: Request| {
            let url = url.clone();
            async move {
                match request.path.as_str() {
                    "/reports" => Response::json(&json!({"id": "j1"})),
                    _ => Response::json(&json!({"status": "DONE", "url": url})),
                }
            }
        })
        .await;
        assert!(rows_of(options(&server, &[])).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_retry_after_counts_instead_of_the_interval() {
    let server = TestServer::start(|request: Request| async move {
        match (request.path.as_str(), request.attempt) {
            ("/reports", _) => Response::json(&json!({"id": "j1"})),
            ("/reports/j1", 1) => Response::json(&json!({"status": "RUNNING"})).header("retry-after", "0"),
            ("/reports/j1", _) => Response::json(&json!({"status": "DONE", "url": "/rows"})),
            _ => Response::json(&json!(ids(0..1))),
        }
    })
    .await;
    // The interval alone would be beyond what a job may take.
    let patient = [("/status/poll_every", json!("5m")), ("/status/timeout", json!("1m"))];
    assert_eq!(rows_of(options(&server, &patient)).await.unwrap(), ids(0..1));
}

/// The batches up to one with rows, or the first error.
pub(crate) async fn first_rows(opened: &Opened, from: Position) -> std::result::Result<Batch, Error> {
    let split = opened.only_split().await;
    let mut batches = opened.source.read(&opened.cx, &split, from)?;
    loop {
        let batch = batches.try_next().await?.expect("there are rows");
        if batch.rows.num_rows() > 0 {
            return Ok(batch);
        }
    }
}

/// The position of the first batch, which holds the job and no rows.
pub(crate) async fn created(opened: &Opened) -> Position {
    let split = opened.only_split().await;
    let mut batches = opened.source.read(&opened.cx, &split, Position::Start).unwrap();
    let first = batches.try_next().await.unwrap().unwrap();
    assert_eq!((first.rows.num_rows(), first.rows.num_columns()), (0, 0));
    serde_json::from_value(json!(first.resume)).unwrap()
}

/// What another process reads from here on.
pub(crate) async fn later(options: &Json, from: Position) -> Result<Vec<Json>> {
    let (cx, recorder) = context();
    let opened = Opened { source: open_with(options.clone(), &cx).await?, cx, recorder };
    let split = opened.only_split().await;
    Ok(to_json(&opened.batches(&split, from).await?))
}

#[tokio::test]
async fn a_run_that_goes_on_asks_for_the_same_job() {
    let reports = Reports::default();
    let server = reports.start().await;
    let options = options(&server, &[("/result/url", json!("$.files[*].url"))]);
    let opened = open(options.clone()).await;
    let waiting = created(&opened).await;
    assert_eq!(later(&options, waiting).await.unwrap(), ids(0..5));
    // With the first of two files behind it.
    let opened = open(options.clone()).await;
    let first = first_rows(&opened, Position::Start).await.unwrap();
    assert_eq!(to_json(std::slice::from_ref(&first)), ids(0..3));
    server.clear();
    assert_eq!(later(&options, first.resume).await.unwrap(), ids(3..5));
    assert!(targets(&server).contains(&"GET /reports/j2".to_owned()), "{:?}", server.targets());
    assert_eq!(reports.created(), 2);
}

#[tokio::test]
async fn a_status_that_cannot_be_had_for_a_moment_costs_no_other_job() {
    let server = TestServer::start(|request: Request| async move {
        match (request.path.as_str(), request.attempt) {
            ("/reports", _) => Response::json(&json!({"id": "j1"})),
            ("/reports/j1", 2) => Response::status(503),
            ("/reports/j1", 1) => Response::json(&json!({"status": "RUNNING"})),
            ("/reports/j1", _) => Response::json(&json!({"status": "DONE", "url": "/rows"})),
            _ => Response::json(&json!(ids(0..2))),
        }
    })
    .await;
    let opened = open(options(&server, &[])).await;
    let split = opened.only_split().await;
    let (rows, errors) = opened.rows_with_resumes(&split).await.unwrap();
    assert_eq!((rows, errors), (ids(0..2), 1));
    assert_eq!(targets(&server).iter().filter(|target| target.starts_with("POST")).count(), 1);
}

#[tokio::test]
async fn another_job_is_created_where_the_one_of_the_interrupted_run_is_lost() {
    for lose in [Reports::forget, Reports::fail] {
        let reports = Reports::default();
        let server = reports.start().await;
        let options = options(&server, &[]);
        let waiting = created(&open(options.clone()).await).await;
        lose(&reports, "j1");
        assert_eq!(later(&options, waiting).await.unwrap(), ids(0..3));
        assert_eq!(reports.created(), 2);
    }
}

#[tokio::test]
async fn each_combination_of_parameters_has_a_job_of_its_own() {
    let reports = Reports::default();
    let server = reports.start().await;
    let mut options = options(&server, &[]);
    options["params"] = json!({"day": ["2024-01-01", "2024-01-02"]});
    options["body"] = json!({"json": {"day": "{day}"}});
    let opened = open(options).await;
    let splits = opened.splits(&ScanRequest::default()).await.unwrap();
    assert_eq!(splits.len(), 2);
    assert_eq!(opened.rows().await.unwrap().len(), 6);
    assert_eq!(reports.created(), 2);
}

#[tokio::test]
async fn looking_creates_no_job() {
    let reports = Reports::default();
    let server = reports.start().await;
    let opened = open(options(&server, &[])).await;
    opened.source.check(&opened.cx).await.unwrap();
    assert_eq!(targets(&server), ["HEAD /reports"]);
    let notes = opened.cx.metrics().warnings();
    assert!(notes[0].starts_with("no job was created to test this"), "{notes:?}");
    assert!(notes[0].contains("POST") && notes[0].contains("404 Not Found to HEAD"), "{notes:?}");
    let found = opened.source.discover(&opened.cx).await.unwrap();
    assert!(found[0].schema.is_none());
    let splits = opened.splits(&ScanRequest::default()).await.unwrap();
    assert!(splits[0].has_effects);
    assert_eq!((reports.created(), server.requests().len()), (0, 1));
}

#[tokio::test]
async fn looking_where_a_get_creates_the_job_asks_for_options() {
    let server = TestServer::start(|request: Request| async move {
        match request.method.as_str() {
            "OPTIONS" => Response::status(204),
            _ => Response::json(&json!({"id": "j1"})),
        }
    })
    .await;
    let mut by_get = options(&server, &[]);
    by_get["body"] = Json::Null;
    let opened = open(by_get).await;
    opened.source.check(&opened.cx).await.unwrap();
    assert_eq!(targets(&server), ["OPTIONS /reports"]);
}

#[tokio::test]
async fn a_check_finds_wrong_credentials_and_servers_that_are_not_there() {
    let server = TestServer::start(|request: Request| async move {
        match (request.path.as_str(), request.header("authorization")) {
            ("/token", _) => Response::json(&json!({"error": "invalid_client"})).with_status(401),
            (_, Some("Bearer right")) => Response::status(405),
            _ => Response::status(401),
        }
    })
    .await;
    let check = async |auth: Json, url: &str| {
        let mut options = options(&server, &[]);
        (options["auth"], options["base_url"]) = (auth, json!(url));
        let opened = open(options).await;
        opened.source.check(&opened.cx).await.map_err(|error| error.kind())
    };
    let url = server.url("");
    assert_eq!(check(json!({"type": "bearer", "token": "right"}), &url).await, Ok(()));
    assert_eq!(
        check(json!({"type": "bearer", "token": "wrong"}), &url).await,
        Err(ErrorKind::Unauthenticated)
    );
    let grant = json!({
        "type": "oauth2_client_credentials", "token_url": server.url("/token"), "client_id": "ann", "client_secret": "x",
    });
    assert_eq!(check(grant, &url).await, Err(ErrorKind::Unauthenticated));
    assert_eq!(check(json!(null), "http://127.0.0.1:1").await, Err(ErrorKind::Unavailable));
}
