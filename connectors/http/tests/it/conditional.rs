//! Only what has changed is read: validators in the checkpoint, one 304 for the rest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::TryStreamExt;
use serde_json::json;
use towpath_core::{ErrorKind, Json, Planned, Position, ScanRequest};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{Opened, error, ids, open, to_json, with};

/// Documents `/1`, `/2` ..., with a version each, by which they tell whether they have changed.
#[derive(Clone)]
struct Site {
    versions: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Whether versions are told by `ETag`, else by `Last-Modified`.
    tags: bool,
}

impl Site {
    fn new(tags: bool) -> Self {
        let versions = (1..=3).map(|n| (format!("/{n}"), 1)).collect();
        Self { versions: Arc::new(Mutex::new(versions)), tags }
    }

    fn change(&self, path: &str) {
        *self.versions.lock().unwrap().get_mut(path).unwrap() += 1;
    }

    async fn serve(&self) -> TestServer {
        let site = self.clone();
        TestServer::start(move |request| {
            let answer = site.answer(&request);
            async move { answer }
        })
        .await
    }

    fn answer(&self, request: &Request) -> Response {
        let version = self.versions.lock().unwrap()[&request.path];
        let (told, name, validator) = if self.tags {
            (request.header("if-none-match"), "etag", format!("W/\"v{version}\""))
        } else {
            let time = format!("Fri, 27 Nov 2020 08:00:{version:02} GMT");
            (request.header("if-modified-since"), "last-modified", time)
        };
        if told == Some(&validator) {
            return Response::status(304).header(name, validator);
        }
        let row = json!({"path": request.path, "version": version});
        Response::json(&json!([row])).header(name, validator)
    }
}

fn options(server: &TestServer) -> Json {
    with(server.url("/{n}"), json!({"params": {"n": {"from": 1, "to": 3}}, "conditional": true}))
}

/// A run: the rows that it reads, and what it leaves for the next one.
async fn run(opened: &Opened, since: Position) -> (Vec<Json>, Position) {
    let mut request = ScanRequest::default();
    request.since = since;
    run_from(opened, &request).await
}

async fn run_from(opened: &Opened, request: &ScanRequest) -> (Vec<Json>, Position) {
    let (mut rows, mut since) = (Vec::new(), None);
    for step in steps(opened, request).await {
        match step {
            Planned::Split { split, .. } => {
                rows.extend(to_json(&opened.batches(&split, Position::Start).await.unwrap()));
            }
            Planned::Complete { since: next } => since = Some(next),
        }
    }
    (rows, since.unwrap_or_default())
}

async fn steps(opened: &Opened, request: &ScanRequest) -> Vec<Planned> {
    opened.source.plan(&opened.cx, request).await.unwrap().splits.try_collect().await.unwrap()
}

fn row(n: u64, version: u64) -> Json {
    json!({"path": format!("/{n}"), "version": version})
}

#[tokio::test]
async fn what_has_not_changed_costs_one_304() {
    for tags in [true, false] {
        let site = Site::new(tags);
        let server = site.serve().await;
        let opened = open(options(&server)).await;
        let (rows, since) = run(&opened, Position::Start).await;
        assert_eq!(rows, [row(1, 1), row(2, 1), row(3, 1)]);
        // Small bodies come with the plan.
        assert_eq!(server.requests().len(), 3);

        server.clear();
        // In another process.
        let opened = open(options(&server)).await;
        let (rows, since) = run(&opened, since).await;
        assert_eq!((rows, server.requests().len()), (vec![], 3));

        site.change("/2");
        let (rows, since) = run(&opened, since).await;
        assert_eq!(rows, [row(2, 2)]);
        assert_eq!(run(&opened, since).await.0, ids(0..0));
    }
}

#[tokio::test]
async fn what_all_rows_are_needed_for_is_asked_without_conditions() {
    let site = Site::new(true);
    let server = site.serve().await;
    let opened = open(options(&server)).await;
    let (_, since) = run(&opened, Position::Start).await;
    server.clear();
    let mut request = ScanRequest::default();
    request.since = since;
    request.one_snapshot = true;
    let (rows, since) = run_from(&opened, &request).await;
    assert_eq!((rows.len(), since), (3, Position::Start));
    assert!(server.requests().iter().all(|received| received.request.header("if-none-match").is_none()));
}

#[tokio::test]
async fn without_the_option_nothing_is_kept() {
    let site = Site::new(true);
    let server = site.serve().await;
    let mut options = options(&server);
    options["conditional"] = json!(false);
    let opened = open(options).await;
    let (rows, since) = run(&opened, Position::Start).await;
    assert_eq!((rows.len(), since), (3, Position::Start));
}

#[tokio::test]
async fn a_plan_that_was_killed_goes_on_without_loss_or_doubling() {
    let site = Site::new(true);
    let server = site.serve().await;
    let opened = open(options(&server)).await;
    let all = steps(&opened, &ScanRequest::default()).await;
    let at = |step: &Planned| match step {
        Planned::Split { split, resume } => (split.clone(), resume.clone()),
        Planned::Complete { .. } => panic!("not a split"),
    };
    let ((first, behind), (second, _)) = (at(&all[0]), at(&all[1]));

    // The first split was planned and read. Its document changes before the plan goes on.
    site.change("/1");
    server.clear();
    let opened = open(options(&server)).await;
    let mut request = ScanRequest::default();
    request.planned = behind;
    let rest = steps(&opened, &request).await;
    assert_eq!(at(&rest[0]).0.id, second.id);
    assert_eq!(server.targets(), ["/2", "/3"]);
    let Some(Planned::Complete { since }) = rest.last().cloned() else { panic!("the plan is complete") };
    // The next run knows which version of the first was read.
    assert_eq!(run(&opened, since).await.0, [row(1, 2)]);

    // A split that was planned and not read is read without the body that the plan had.
    let rows = to_json(&opened.batches(&first, Position::Start).await.unwrap());
    assert_eq!(rows, [row(1, 2)]);
}

#[tokio::test]
async fn the_same_request_gives_the_same_plan() {
    let site = Site::new(false);
    let server = site.serve().await;
    let opened = open(options(&server)).await;
    let (_, since) = run(&opened, Position::Start).await;
    site.change("/3");
    let mut request = ScanRequest::default();
    request.since = since;
    assert_eq!(steps(&opened, &request).await, steps(&opened, &request).await);
    request.planned = Position::End;
    assert_eq!(steps(&opened, &request).await, []);
}

#[tokio::test]
async fn a_url_that_is_gone_from_the_pipeline_is_forgotten() {
    let site = Site::new(true);
    let server = site.serve().await;
    let opened = open(options(&server)).await;
    let (_, all) = run(&opened, Position::Start).await;
    let mut fewer = options(&server);
    fewer["params"] = json!({"n": [1]});
    let (rows, one) = run(&open(fewer).await, all.clone()).await;
    assert_eq!(rows, ids(0..0));
    let lines = |since: &Position| match since {
        Position::At(at) => at["validators"].as_str().unwrap().lines().count(),
        other => panic!("{other:?}"),
    };
    assert_eq!((lines(&all), lines(&one)), (3, 1));
    assert_eq!(run(&opened, one).await.0, [row(2, 1), row(3, 1)]);
}

#[tokio::test]
async fn other_rows_of_the_same_document_are_read() {
    let server = TestServer::start(|request: Request| async move {
        if request.header("if-none-match") == Some("\"1\"") {
            return Response::status(304);
        }
        Response::json(&json!({"a": [{"id": 1}], "b": [{"id": 2}]})).header("etag", "\"1\"")
    })
    .await;
    let records = |path: &str| with(server.url("/"), json!({"conditional": true, "records": path}));
    let (rows, since) = run(&open(records("$.a")).await, Position::Start).await;
    assert_eq!(rows, ids(1..2));
    assert_eq!(run(&open(records("$.a")).await, since.clone()).await.0, ids(0..0));
    assert_eq!(run(&open(records("$.b")).await, since).await.0, ids(2..3));
}

#[tokio::test]
async fn large_documents_are_asked_for_again_by_their_reader() {
    let lines: Vec<Json> = (0..50_000).map(|id| json!({"id": id, "text": "x".repeat(20)})).collect();
    let server = TestServer::start(move |request: Request| {
        let answer = match request.header("if-none-match") {
            Some("\"1\"") => Response::status(304),
            _ => Response::ndjson(&lines).header("etag", "\"1\""),
        };
        async move { answer }
    })
    .await;
    let opened = open(with(server.url("/x"), json!({"conditional": true}))).await;
    let (rows, since) = run(&opened, Position::Start).await;
    assert_eq!((rows.len(), server.requests().len()), (50_000, 2));
    assert_eq!(run(&opened, since).await.0, ids(0..0));
}

#[tokio::test]
async fn several_urls_are_asked_for_at_once() {
    // Each is answered only when two have been asked for.
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let server = TestServer::start(move |_| {
        let both = both.clone();
        async move {
            both.wait().await;
            Response::json(&json!([{"id": 1}])).header("etag", "\"1\"")
        }
    })
    .await;
    let mut options = options(&server);
    options["params"] = json!({"n": {"from": 1, "to": 4}});
    let opened = open(options).await;
    assert_eq!(run(&opened, Position::Start).await.0.len(), 4);
    assert!(server.peak() >= 2);
}

#[tokio::test]
async fn a_refusal_is_left_to_the_split_and_a_failure_that_may_pass_to_the_plan() {
    let server = TestServer::start(|request: Request| async move {
        match (request.path.as_str(), request.attempt) {
            ("/1", _) => Response::status(404),
            ("/2", 1) => Response::status(503),
            _ => Response::json(&json!([{"id": 2}])).header("etag", "\"1\""),
        }
    })
    .await;
    let mut options = options(&server);
    options["params"] = json!({"n": [1, 2]});
    let opened = open(options).await;
    let mut plan = opened.source.plan(&opened.cx, &ScanRequest::default()).await.unwrap().splits;
    let first = plan.try_next().await.unwrap().unwrap();
    let Planned::Split { split, resume } = first else { panic!("a split") };
    let found = opened.batches(&split, Position::Start).await.unwrap_err();
    assert_eq!(found.kind(), ErrorKind::NotFound);
    let found = plan.try_next().await.unwrap_err();
    assert!(
        found.is_retryable() && found.to_string().starts_with("http: plan: the server answered 503"),
        "{found}"
    );
    // As the retry layer plans again.
    let mut request = ScanRequest::default();
    request.planned = resume;
    assert_eq!(run_from(&opened, &request).await.0, ids(2..3));
}

#[tokio::test]
async fn what_a_rule_leaves_out_is_read_by_the_next_run() {
    let server = TestServer::start(|request: Request| async move {
        match request.header("if-none-match") {
            Some(_) => Response::status(304),
            None if request.attempt == 1 => Response::json(&json!({"error": "busy"})).header("etag", "\"1\""),
            None => Response::json(&json!([{"id": 1}])).header("etag", "\"1\""),
        }
    })
    .await;
    let rule = json!({"json": "$.error", "action": "skip"});
    let opened = open(with(server.url("/"), json!({"conditional": true, "responses": [rule]}))).await;
    let (rows, since) = run(&opened, Position::Start).await;
    assert_eq!((rows, server.requests().len()), (vec![], 1));
    let (rows, since) = run(&opened, since).await;
    assert_eq!(rows, ids(1..2));
    assert_eq!(run(&opened, since).await.0, ids(0..0));
}

#[tokio::test]
async fn more_urls_than_are_kept_are_told() {
    let server = TestServer::start(|request: Request| async move {
        match request.header("if-none-match") {
            Some(_) => Response::status(304),
            None => Response::json(&json!([{"id": 1}])).header("etag", "\"1\""),
        }
    })
    .await;
    let mut options = options(&server);
    options["params"] = json!({"n": {"from": 1, "to": 4100}});
    let opened = open(options).await;
    let (rows, since) = run(&opened, Position::Start).await;
    assert_eq!(rows.len(), 4100);
    assert_eq!(
        opened.cx.metrics().warnings(),
        ["`conditional` keeps the versions of 4096 URLs; those beyond are read in every run"]
    );
    let (rows, since) = run(&opened, since).await;
    assert_eq!(rows.len(), 4);
    assert_eq!(run(&opened, since).await.0.len(), 4);
}

#[tokio::test]
async fn what_cannot_be_conditional_is_refused() {
    for (more, message) in [
        (
            json!({"pagination": {"type": "link_header"}}),
            "`conditional` cannot go with `pagination`: a first page without changes says nothing about those behind it",
        ),
        (
            json!({"body": {"json": {}}}),
            "`conditional` cannot go with a `body` or `method`: only GET can be conditional",
        ),
        (
            json!({"cursor_param": "since"}),
            "`conditional` cannot go with `cursor_param`: the cursor makes another URL of it in each run",
        ),
    ] {
        let mut options = with("http://localhost/", more);
        options["conditional"] = json!(true);
        let found = error(options).await;
        assert_eq!((found.kind(), found.message()), (ErrorKind::Config, message));
    }
}

#[tokio::test]
async fn versions_of_another_build_are_not_guessed_at() {
    let opened = open(with("http://localhost/", json!({"conditional": true}))).await;
    let mut request = ScanRequest::default();
    request.since = Position::At(json!({"validators": "?"}));
    let found = opened.source.plan(&opened.cx, &request).await.err().unwrap();
    assert_eq!(found.kind(), ErrorKind::Unsupported);
}
