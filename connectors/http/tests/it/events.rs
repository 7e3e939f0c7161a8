//! Event streams: read until they are interrupted or a bound is reached, and gone on with behind the last event.

use serde_json::json;
use towpath_core::{ErrorKind, Json, Position};
use towpath_testkit::http::{RawReply, RawServer, Request, Response, TestServer};

use crate::support::{error, open, open_with, read, to_json, with};

fn stream(text: impl Into<String>) -> Response {
    Response::bytes("text/event-stream", text.into())
}

fn events(ids: std::ops::RangeInclusive<u64>) -> String {
    ids.map(|id| format!("id: {id}\nevent: tick\ndata: {{\"n\": {id}}}\n\n")).collect::<Vec<_>>().concat()
}

/// Gives two events on each connection, behind the one that is told; none behind the sixth.
async fn ticking() -> TestServer {
    TestServer::start(|request: Request| async move {
        let last: u64 = request.header("last-event-id").map_or(0, |id| id.parse().unwrap());
        if last >= 6 {
            return Response::status(204);
        }
        stream(format!("retry: 5\n\n{}", events(last + 1..=last + 2)))
    })
    .await
}

fn rows(ids: std::ops::RangeInclusive<u64>) -> Vec<Json> {
    ids.map(|id| json!({"id": id.to_string(), "event": "tick", "data": format!("{{\"n\": {id}}}")})).collect()
}

#[tokio::test]
async fn a_stream_goes_on_behind_its_last_event_until_the_server_wants_no_more() {
    let server = ticking().await;
    // By option, and by the type alone.
    for options in [json!({"format": "sse"}), json!({})] {
        server.clear();
        assert_eq!(read(with(server.url("/x"), options)).await.unwrap(), rows(1..=6));
        let told: Vec<_> = server
            .requests()
            .iter()
            .map(|recorded| recorded.request.header("last-event-id").map(str::to_owned))
            .collect();
        assert_eq!(told, [None, Some("2".to_owned()), Some("4".to_owned()), Some("6".to_owned())]);
    }
    let asked = read(with(server.url("/x"), json!({"format": "sse"}))).await;
    assert_eq!(asked.unwrap().len(), 6);
    let last = server.requests().last().unwrap().request.clone();
    assert_eq!(last.header("accept"), Some("text/event-stream"));
}

#[tokio::test]
async fn data_may_be_json_in_one_column_or_in_its_own() {
    let server = TestServer::start(|request: Request| async move {
        if request.attempt.is_multiple_of(2) {
            return Response::status(204);
        }
        stream(
            "retry: 1\nid: a\ndata: {\"id\": 1,\ndata: \"to\": {\"x\": 2}}\n\nevent: odd\ndata: no json\n\n",
        )
    })
    .await;
    let as_json = with(server.url("/x"), json!({"format": {"type": "sse", "data": "json"}}));
    let opened = open(as_json).await;
    let batches = opened.batches(&opened.only_split().await, Position::Start).await.unwrap();
    assert_eq!(
        to_json(&batches),
        [json!({"id": "a", "event": "message", "data": {"id": 1, "to": {"x": 2}}})]
    );
    assert!(batches[0].rejected[0].reason.contains("invalid JSON"), "{:?}", batches[0].rejected);
    let columns = with(server.url("/x"), json!({"format": {"type": "sse", "data": "columns"}}));
    let opened = open(columns).await;
    let batches = opened.batches(&opened.only_split().await, Position::Start).await.unwrap();
    assert_eq!(to_json(&batches), [json!({"_id": "a", "_event": "message", "id": 1, "to": {"x": 2}})]);
    assert_eq!(batches[0].rejected.len(), 1);
}

#[tokio::test]
async fn what_breaks_off_comes_again() {
    let server = TestServer::start(|request: Request| async move {
        match request.header("last-event-id") {
            // The third event is not all there.
            None => stream(format!("retry: 1\n\n{}", events(1..=3))).cut_after(90),
            Some("2") => stream(events(3..=4)),
            _ => Response::status(204),
        }
    })
    .await;
    let found = read(with(server.url("/x"), json!({"format": "sse"}))).await.unwrap();
    assert_eq!(found, rows(1..=4));
}

#[tokio::test]
async fn reading_goes_on_behind_any_batch() {
    let server = ticking().await;
    let opened = open(with(server.url("/x"), json!({"format": "sse"}))).await;
    let split = opened.only_split().await;
    let batches = opened.batches(&split, Position::Start).await.unwrap();
    let found = to_json(&batches);
    let mut behind = 0;
    for batch in &batches {
        behind += batch.rows.num_rows();
        let rest = opened.batches(&split, batch.resume.clone()).await.unwrap();
        assert_eq!(to_json(&rest), found[behind..]);
    }
}

/// A stream that gives two events and then nothing, its connection open.
async fn silent() -> RawServer {
    RawServer::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        RawReply::hang(format!("{head}{}", events(1..=2)))
    })
    .await
}

#[tokio::test]
async fn a_run_ends_where_a_bound_is_reached() {
    let server = silent().await;
    for (bound, expected) in [
        (json!({"max_events": 1}), 1),
        (json!({"max_events": 2}), 2),
        (json!({"idle": "1s"}), 2),
        (json!({"max_duration": "2s"}), 2),
    ] {
        let mut format = json!({"type": "sse"});
        format.as_object_mut().unwrap().extend(bound.as_object().unwrap().clone());
        let opened = open(with(server.url("/x"), json!({"format": format}))).await;
        let batches = opened.batches(&opened.only_split().await, Position::Start).await.unwrap();
        assert_eq!(to_json(&batches), rows(1..=expected), "{bound}");
        // The next run goes on behind.
        let Position::At(at) = &batches.last().unwrap().resume else { panic!("it never ends") };
        assert_eq!(at["events"]["last_event_id"], json!(expected.to_string()));
    }
}

#[tokio::test]
async fn it_says_that_it_never_ends() {
    let opened = open(with("http://127.0.0.1:9/x", json!({"format": "sse"}))).await;
    assert!(!opened.source.capabilities().bounded);
    let opened = open(with("http://127.0.0.1:9/x", json!({"format": "ndjson"}))).await;
    assert!(opened.source.capabilities().bounded);
}

#[tokio::test]
async fn what_is_no_event_stream_is_an_error() {
    let server = crate::support::always(Response::json(&json!([]))).await;
    let refused = error(with(server.url("/x"), json!({"format": "sse"}))).await;
    assert_eq!(refused.kind(), ErrorKind::DataInvalid);
    assert_eq!(refused.message(), "the server answered with something else than an event stream");
    let (cx, _) = crate::support::context();
    let paged = with("http://a/", json!({"format": "sse", "pagination": {"type": "link_header"}}));
    let refused = open_with(paged, &cx).await.err().unwrap();
    assert_eq!(refused.message(), "an event stream has no `pagination`");
}
