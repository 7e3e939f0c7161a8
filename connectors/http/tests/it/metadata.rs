//! Columns that tell of the answer with which rows came.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use towpath_core::{ErrorKind, Json, Position};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{always, error, ids, open, read, to_json, with};

fn all() -> Json {
    json!({
        "_status": "status", "_url": "url", "_page": "page", "_etag": "header:ETag", "_none": "header:x-none",
        "_fetched_at": "fetched_at",
    })
}

#[tokio::test]
async fn each_row_tells_the_answer_that_it_came_with() {
    let server = TestServer::start(|request: Request| async move {
        let page = request.number("page").unwrap();
        let rows = if page > 2 { ids(0..0) } else { ids(page * 10..page * 10 + 2) };
        Response::json(&json!(rows)).header("etag", format!("\"{page}\""))
    })
    .await;
    let options =
        with(server.url("/x?token=hush"), json!({"pagination": {"type": "page_number"}, "metadata": all()}));
    let rows = read(options).await.unwrap();
    let url = |page: u64| server.url(&format!("/x?token=***&page={page}"));
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["id"].clone(),
                row["_status"].clone(),
                row["_url"].clone(),
                row["_page"].clone(),
                row["_etag"].clone(),
            )
        })
        .collect();
    let expected = |id: u64, page: u64| {
        (json!(id), json!(200), json!(url(page)), json!(page), json!(format!("\"{page}\"")))
    };
    assert_eq!(told, [expected(10, 1), expected(11, 1), expected(20, 2), expected(21, 2)]);
    assert!(rows.iter().all(|row| row["_none"].is_null()));
}

#[tokio::test]
async fn the_time_is_that_of_the_answer() {
    let server = always(Response::json(&json!([{"id": 1}]))).await;
    let opened = open(with(server.url("/"), json!({"metadata": {"at": "fetched_at"}}))).await;
    let split = opened.only_split().await;
    let batches = opened.batches(&split, Position::Start).await.unwrap();
    let column = batches[0].rows.column_by_name("at").unwrap();
    let times = column.as_any().downcast_ref::<arrow::array::TimestampMicrosecondArray>().unwrap();
    let micros =
        |time: SystemTime| i64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap();
    assert!(times.value(0) <= micros(opened.cx.clock().now()));
    assert!(times.value(0) > micros(opened.cx.clock().now()) - 600_000_000);
}

#[tokio::test]
async fn a_stream_that_is_read_on_tells_the_answer_with_which_it_began() {
    let lines: Vec<Json> = (0..60_000).map(|id| json!({"id": id, "text": "x".repeat(50)})).collect();
    let server = TestServer::start(move |request: Request| {
        let answer = Response::ndjson(&lines).header("x-attempt", request.attempt.to_string());
        async move { answer }
    })
    .await;
    let metadata =
        json!({"status": "status", "attempt": "header:x-attempt", "page": "page", "at": "fetched_at"});
    let opened = open(with(server.url("/x"), json!({"metadata": metadata}))).await;
    let split = opened.only_split().await;
    let batches = opened.batches(&split, Position::Start).await.unwrap();
    assert!(batches.len() > 1);
    let rest = opened.batches(&split, batches[0].resume.clone()).await.unwrap();
    assert_eq!(server.requests().len(), 2);
    assert_eq!(to_json(&rest), to_json(&batches[1..]));
    let last = to_json(&rest).pop().unwrap();
    assert_eq!((&last["status"], &last["attempt"], &last["page"]), (&json!(200), &json!("1"), &json!(1)));
}

#[tokio::test]
async fn a_field_of_the_records_is_not_overwritten() {
    for body in [Response::json(&json!([{"url": "x"}])), Response::bytes("text/csv", "url\nx\n")] {
        let server = always(body).await;
        let found = error(with(server.url("/x"), json!({"metadata": {"url": "url"}}))).await;
        assert_eq!(found.kind(), ErrorKind::DataInvalid);
        assert_eq!(found.message(), "the records have a field `url`, and so does `metadata`");
        assert_eq!(found.detail_value("url"), Some(&*server.url("/x")));
    }
    let declared = json!({"metadata": {"url": "url"}, "columns": {"url": "string"}});
    let found = error(with("http://localhost/", declared)).await;
    assert_eq!(
        (found.kind(), found.message()),
        (ErrorKind::Config, "`url` is both in `columns` and in `metadata`")
    );
}

#[tokio::test]
async fn events_tell_the_connection_that_they_came_over() {
    let server = TestServer::start(|request: Request| async move {
        let last: u64 = request.header("last-event-id").map_or(0, |id| id.parse().unwrap());
        if last >= 4 {
            return Response::status(204);
        }
        let events = [last + 1, last + 2].map(|id| format!("id: {id}\ndata: x\n\n")).concat();
        Response::bytes("text/event-stream", format!("retry: 5\n\n{events}"))
            .header("x-attempt", request.attempt.to_string())
    })
    .await;
    let mut columns = all();
    columns["_attempt"] = json!("header:x-attempt");
    let url = server.url("/x?token=hush");
    let opened = open(with(&url, json!({"format": "sse", "metadata": columns}))).await;
    let split = opened.only_split().await;
    let batches = opened.batches(&split, Position::Start).await.unwrap();
    let rows = to_json(&batches);
    let told: Vec<_> = rows.iter().map(|row| (&row["id"], &row["_attempt"])).collect();
    assert_eq!(
        told,
        [
            (&json!("1"), &json!("1")),
            (&json!("2"), &json!("1")),
            (&json!("3"), &json!("2")),
            (&json!("4"), &json!("2"))
        ]
    );
    for row in &rows {
        let shown = server.url("/x?token=***");
        assert_eq!((&row["_status"], &row["_url"], &row["_page"]), (&json!(200), &json!(shown), &json!(1)));
        assert!(row["_none"].is_null() && row["_fetched_at"].is_string(), "{row}");
    }
    // Going on is another connection, which tells for itself.
    let rest = opened.batches(&split, batches[0].resume.clone()).await.unwrap();
    let attempts: Vec<_> = to_json(&rest).iter().map(|row| row["_attempt"].clone()).collect();
    assert_eq!(attempts.len(), 2);
    assert!(attempts.iter().all(|attempt| *attempt != json!("2")), "{attempts:?}");
}

#[tokio::test]
async fn an_event_says_when_it_came_and_not_when_its_connection_began() {
    let server = TestServer::start(|_| async {
        let event = |id: u64| format!("id: {id}\ndata: x\n\n");
        Response::chunks("text/event-stream", [event(1), event(2)]).chunk_delay(Duration::from_millis(1200))
    })
    .await;
    let format = json!({"type": "sse", "max_events": 2});
    let options = json!({"format": format, "metadata": {"at": "fetched_at"}});
    let opened = open(with(server.url("/x"), options)).await;
    let batches = opened.batches(&opened.only_split().await, Position::Start).await.unwrap();
    let times: Vec<_> = batches
        .iter()
        .map(|batch| {
            let column = batch.rows.column_by_name("at").unwrap();
            column.as_any().downcast_ref::<arrow::array::TimestampMicrosecondArray>().unwrap().value(0)
        })
        .collect();
    assert_eq!((times.len(), server.requests().len()), (2, 1));
    assert!(times[1] - times[0] > 500_000, "{times:?}");
    // The columns of an event are taken.
    let options = json!({"format": format, "metadata": {"data": "status"}});
    let found = error(with(server.url("/x"), options)).await;
    assert_eq!(found.message(), "the records have a field `data`, and so does `metadata`");
}
