//! What was filled into the pipeline file from outside, under names that tell nothing.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use towpath_core::{Connection, Json, Outside, Result, Traffic};
use towpath_layers::{FileRecorder, FileRecording};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{Opened, Recorder, install_tls, open_with};

fn outside(values: &[(&str, &str)]) -> Outside {
    Outside::new(values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

/// All rows that a run with these values reads.
async fn read(options: Json, values: &[(&str, &str)], traffic: Traffic) -> Result<Vec<Json>> {
    install_tls();
    let recorder = Arc::new(Recorder::default());
    let connection = Arc::new(Connection::new("api", recorder.clone()));
    let cx = towpath_testkit::context_with(|builder| {
        builder.stream("items").connection(connection).traffic(traffic).outside(outside(values))
    });
    let source = open_with(options, &cx).await?;
    Opened { source, cx, recorder }.rows().await
}

/// Pages that lead to each other by whole URLs and repeat what they are asked with.
async fn echo() -> TestServer {
    TestServer::start(|request: Request| async move {
        let page = request.number("page").unwrap_or(1);
        let (host, tenant) = (request.header("host").unwrap(), request.param("of").unwrap());
        let next = (page < 3)
            .then(|| format!("http://{host}{}?of={}&page={}", request.path, tenant.replace(' ', "%20"), page + 1));
        let row = json!({
            "page": page, "of": tenant, "language": request.header("accept-language"), "plan": request.header("x-plan"),
        });
        Response::json(&json!({"rows": [row], "next": next})).header("x-of", tenant)
    })
    .await
}

fn options(url: &str, tenant: &str, language: &str) -> Json {
    json!({
        "base_url": url, "path": "/items", "query": {"of": tenant},
        "headers": {"accept-language": language, "x-plan": format!("plan of {tenant}")},
        "records": "$.rows", "pagination": {"type": "next_url", "path": "$.next"},
        "metadata": {"header": "header:x-of"},
    })
}

fn replayed(path: &Path) -> Traffic {
    Traffic::Replayed(Arc::new(FileRecording::open(path).unwrap()))
}

#[tokio::test]
async fn a_recording_holds_nothing_that_came_from_outside_and_is_replayed_all_the_same() {
    let server = echo().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traffic.ndjson");
    let url = server.url("/v2");
    let values = [("API", &*url), ("TENANT", "acme 4711"), ("LANGUAGE", "de-hush")];
    let recorder = Arc::new(FileRecorder::create(&path).unwrap());
    let traffic = Traffic::Recorded(recorder.clone());
    let rows = read(options(&url, "acme 4711", "de-hush"), &values, traffic).await.unwrap();
    recorder.finish().unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(
        (&rows[2]["of"], &rows[2]["language"], &rows[2]["header"]),
        (&json!("acme 4711"), &json!("de-hush"), &json!("acme 4711"))
    );
    let text = std::fs::read_to_string(&path).unwrap();
    for secret in ["acme", "4711", "de-hush", "127.0.0.1"] {
        assert!(!text.contains(secret), "{text}");
    }
    drop(server);

    let again = read(options(&url, "acme 4711", "de-hush"), &values, replayed(&path)).await.unwrap();
    // What is a credential stays hidden, as ever.
    let shown: Vec<_> = rows.iter().cloned().map(|row| with_plan(row, "***")).collect();
    assert_eq!(again, shown);

    // Somebody else has other values, and no server.
    let values = [("API", "http://elsewhere.invalid"), ("TENANT", "other"), ("LANGUAGE", "en")];
    let options = options("http://elsewhere.invalid", "other", "en");
    let again = read(options, &values, replayed(&path)).await.unwrap();
    assert_eq!(again.len(), 3);
    assert!(again.iter().all(|row| row["of"] == "other"), "{again:?}");
}

fn with_plan(mut row: Json, plan: &str) -> Json {
    row["plan"] = json!(plan);
    row
}

#[tokio::test]
async fn an_error_shows_nothing_that_came_from_outside() {
    let server = TestServer::start(|request: Request| async move {
        let tenant = request.param("of").unwrap();
        Response::text(format!("{tenant} may not see {}", request.header("accept-language").unwrap()))
            .with_status(403)
    })
    .await;
    let values = [("TENANT", "acme 4711"), ("LANGUAGE", "de-hush")];
    let error =
        read(options(&server.url(""), "acme 4711", "de-hush"), &values, Traffic::Live).await.unwrap_err();
    assert_eq!(error.detail_value("body"), Some("*** may not see ***"));
    assert_eq!(error.detail_value("url"), Some(&*server.url("/items?of=***")));
}
