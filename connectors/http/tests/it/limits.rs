//! What servers say about their limits, and how long is waited.

use std::time::Duration;

use futures::TryStreamExt;
use serde_json::json;
use towpath_core::{ErrorKind, Outcome, Position, Retry};
use towpath_testkit::http::{RawReply, RawServer, Request, Response, TestServer};

use crate::support::{always, error, eventually, ids, open, with};

#[tokio::test]
async fn a_429_pauses_its_origin_and_is_tried_again_then() {
    let server = always(Response::status(429).header("retry-after", "7")).await;
    let opened = open(with(server.url("/"), json!({}))).await;
    let error = opened.rows().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry_policy()),
        (ErrorKind::RateLimited, Retry::After(Duration::from_secs(7)))
    );
    let record = opened.recorder.record();
    let origin = server.url("");
    assert_eq!(record.outcomes, [Outcome::RateLimited(Some(Duration::from_secs(7)))]);
    assert_eq!(record.pauses, [(origin.clone(), Duration::from_secs(7))]);
    assert_eq!(record.origins, [origin]);
    assert_eq!(opened.cx.metrics().snapshot().throttled, 1);
}

#[tokio::test]
async fn a_503_is_overload_too() {
    let server = always(Response::status(503)).await;
    let opened = open(with(server.url("/"), json!({}))).await;
    let error = opened.rows().await.unwrap_err();
    assert_eq!((error.kind(), error.retry_policy()), (ErrorKind::Unavailable, Retry::Transient));
    assert_eq!(opened.recorder.record().outcomes, [Outcome::Overloaded(None)]);
    assert!(opened.recorder.record().pauses.is_empty());
}

#[tokio::test]
async fn a_date_to_come_back_is_held_against_the_clock_of_the_server() {
    let answer = Response::status(503)
        .header("date", "Fri, 27 Nov 2020 08:00:00 GMT")
        .header("retry-after", "Fri, 27 Nov 2020 08:00:42 GMT");
    let server = always(answer).await;
    let error = error(with(server.url("/"), json!({}))).await;
    assert_eq!(error.retry_policy(), Retry::After(Duration::from_secs(42)));
}

#[tokio::test]
async fn a_budget_that_a_success_uses_up_holds_the_next_requests_back() {
    for headers in [
        [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "30")],
        [("ratelimit", "\"hour\";r=0;t=30"), ("x-other", "")],
    ] {
        let response =
            headers.iter().fold(Response::json(&json!([])), |r, (name, value)| r.header(name, *value));
        let server = always(response).await;
        let opened = open(with(server.url("/"), json!({}))).await;
        opened.rows().await.unwrap();
        let record = opened.recorder.record();
        assert_eq!(record.pauses, [(server.url(""), Duration::from_secs(30))]);
        assert_eq!(record.outcomes, [Outcome::Success]);
    }
}

#[tokio::test]
async fn nobody_is_held_back_longer_than_an_hour() {
    let server = always(Response::status(429).header("retry-after", "86400")).await;
    let opened = open(with(server.url("/"), json!({}))).await;
    let error = opened.rows().await.unwrap_err();
    assert_eq!(error.retry_policy(), Retry::After(Duration::from_hours(24)));
    assert_eq!(opened.recorder.record().pauses[0].1, Duration::from_hours(1));
}

#[tokio::test]
async fn a_permit_is_held_to_the_last_byte() {
    let lines: String = ids(0..40_000).iter().flat_map(|row| [row.to_string(), "\n".to_owned()]).collect();
    let (first, rest) = (lines[..1 << 18].to_owned(), lines[1 << 18..].to_owned());
    let (sender, receiver) = tokio::sync::watch::channel(false);
    // The second half comes in an answer of its own chunk, held back by a delay that outlasts the look at the permit.
    let server = TestServer::start(move |_| {
        let chunks = [first.clone(), rest.clone()];
        let mut receiver = receiver.clone();
        async move {
            receiver.wait_for(|open| *open).await.unwrap();
            Response::chunks("application/x-ndjson", chunks)
        }
    })
    .await;
    let opened = open(with(server.url("/"), json!({}))).await;
    let split = opened.only_split().await;
    let reading = tokio::spawn({
        let (source, cx) = (opened.source.clone(), opened.cx.clone());
        async move { source.read(&cx, &split, Position::Start).unwrap().try_collect::<Vec<_>>().await.unwrap() }
    });
    eventually("the request holds its permit", || opened.recorder.record().held == 1).await;
    sender.send(true).unwrap();
    let batches = reading.await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.rows.num_rows()).sum::<usize>(), 40_000);
    let record = opened.recorder.record();
    assert_eq!((record.held, record.outcomes), (0, vec![Outcome::Success]));
}

#[tokio::test]
async fn a_read_that_is_dropped_gives_its_permit_back() {
    let server = TestServer::start(|_| async { Response::never() }).await;
    let opened = open(with(server.url("/"), json!({}))).await;
    let split = opened.only_split().await;
    {
        let mut stream = opened.source.read(&opened.cx, &split, Position::Start).unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(100), stream.try_next()).await;
        assert!(waiting.is_err());
    }
    assert_eq!(opened.recorder.record().outcomes, [Outcome::Abandoned]);
    eventually("the server sees it go", || server.in_flight() == 0).await;
}

#[tokio::test]
async fn a_slow_first_byte_is_a_timeout() {
    let server = TestServer::start(|_| async { Response::never() }).await;
    let opened = open(with(server.url("/"), json!({"timeout": {"first_byte": "50ms"}}))).await;
    let error = opened.rows().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert!(error.help_text().unwrap().contains("timeout.first_byte"), "{error}");
    assert_eq!(opened.recorder.record().outcomes, [Outcome::TimedOut]);
}

#[tokio::test]
async fn a_body_that_stalls_is_a_timeout() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[{\"id\"";
    let server = RawServer::start(move |_| RawReply::hang(head)).await;
    let opened = open(with(server.url("/"), json!({"timeout": {"idle": "50ms"}}))).await;
    let error = opened.rows().await.unwrap_err();
    assert!(error.is_retryable() && error.help_text().unwrap().contains("timeout.idle"), "{error}");
    assert_eq!(error.detail_value("received"), Some("6 bytes"));
    assert_eq!(opened.recorder.record().outcomes, [Outcome::TimedOut]);
}

#[tokio::test]
async fn a_body_that_drips_runs_into_the_total() {
    let server = TestServer::start(|_: Request| async {
        Response::chunks("application/json", vec!["[ "; 10_000]).chunk_delay(Duration::from_millis(10))
    })
    .await;
    let error = error(with(server.url("/"), json!({"timeout": {"total": "150ms"}}))).await;
    assert!(error.is_retryable() && error.help_text().unwrap().contains("timeout.total"), "{error}");
}

#[tokio::test]
async fn a_connection_that_is_never_made_is_a_timeout() {
    // It takes the connection and never says a word of TLS.
    let server = RawServer::start(|_| RawReply::hang("")).await;
    let url = server.url("/").replace("http://", "https://");
    let error = error(with(url, json!({"timeout": {"connect": "50ms"}}))).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert_eq!(error.message(), "the connection was not made in time");
}
