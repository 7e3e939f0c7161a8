//! Documents that are read from any place: Parquet, Arrow and Avro, by ranges or from memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::json;
use towpath_core::{ErrorKind, Json, Position, ScanRequest};
use towpath_formats::{Encoder, MemoryOutput, ParquetCompression, ParquetWrite, WriteFormat, WriteOptions};
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_testkit::rows;

use crate::support::{always, error, ids, open, read, to_json, with};

async fn encoded(format: WriteFormat, schema: &str, rows: &Json) -> Vec<u8> {
    let batch = rows::batch(schema, rows);
    let options = WriteOptions { format: Some(format), compression: None };
    let cx = towpath_testkit::context();
    let mut encoder = Encoder::new(&options, "rows", &batch.schema(), &cx, MemoryOutput::default()).unwrap();
    encoder.write(batch).await.unwrap();
    encoder.finish().await.unwrap().1.into_bytes().to_vec()
}

async fn small(format: WriteFormat) -> Vec<u8> {
    encoded(format, "id: int64", &json!([[0], [1], [2]])).await
}

/// Five row groups of a thousand rows, each of about 100 KB.
async fn large() -> (Vec<u8>, Vec<Json>) {
    let rows: Vec<Json> = (0..5_000_u64)
        .map(|id| json!([id, format!("{id:08x}{:08x}", id.wrapping_mul(2_654_435_761)).repeat(6)]))
        .collect();
    let format = WriteFormat::Parquet(ParquetWrite {
        row_group_rows: 1_000,
        compression: ParquetCompression::None,
        dictionary: false,
        ..ParquetWrite::default()
    });
    let body = encoded(format, "id: int64, text: string", &json!(rows)).await;
    let rows = rows.iter().map(|row| json!({"id": row[0], "text": row[1]})).collect();
    (body, rows)
}

/// Answers with a document, or with the range of it that is asked for.
fn answer(body: &[u8], request: &Request, content_type: &str) -> Response {
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
    let Some((start, end)) = range.and_then(|range| range.split_once('-')) else {
        return Response::bytes(content_type, body.to_vec()).header("accept-ranges", "bytes");
    };
    let start: usize = start.parse().unwrap();
    let end = end.parse().map_or(body.len(), |end: usize| body.len().min(end + 1));
    Response::bytes(content_type, body[start..end].to_vec())
        .with_status(206)
        .header("content-range", format!("bytes {start}-{}/{}", end - 1, body.len()))
}

async fn serve(
    body: Vec<u8>,
    change: impl Fn(&Request, Response) -> Response + Send + Sync + 'static,
) -> TestServer {
    let (body, change) = (Arc::new(body), Arc::new(change));
    TestServer::start(move |request| {
        let (body, change) = (body.clone(), change.clone());
        async move { change(&request, answer(&body, &request, "application/octet-stream")) }
    })
    .await
}

#[tokio::test]
async fn the_format_is_told_by_option_type_or_name() {
    for (format, name, extension, content_type) in [
        (
            WriteFormat::Parquet(ParquetWrite::default()),
            "parquet",
            "parquet",
            "application/vnd.apache.parquet",
        ),
        (WriteFormat::Arrow, "arrow", "feather", "application/vnd.apache.arrow.file"),
        (WriteFormat::Avro, "avro", "avro", "application/avro"),
    ] {
        let body = small(format).await;
        let vague = always(Response::bytes("application/octet-stream", body.clone())).await;
        assert_eq!(read(with(vague.url("/x"), json!({"format": name}))).await.unwrap(), ids(0..3), "{name}");
        let by_name = read(with(vague.url(&format!("/x.{extension}")), json!({}))).await;
        assert_eq!(by_name.unwrap(), ids(0..3), "{extension}");
        let told = always(Response::bytes(content_type, body)).await;
        assert_eq!(read(with(told.url("/x"), json!({}))).await.unwrap(), ids(0..3), "{content_type}");
    }
}

#[tokio::test]
async fn a_small_document_takes_one_request() {
    let server = serve(small(WriteFormat::Avro).await, |_, response| response).await;
    assert_eq!(read(with(server.url("/x.avro"), json!({}))).await.unwrap(), ids(0..3));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn only_the_columns_that_are_needed_are_fetched() {
    let (body, rows) = large().await;
    let length = body.len() as u64;
    let server = serve(body, |_, response| response.header("etag", "\"v1\"")).await;
    let opened = open(with(server.url("/x.parquet"), json!({}))).await;
    assert!(opened.rows().await.unwrap() == rows);

    let opened = open(with(server.url("/x.parquet"), json!({}))).await;
    let mut request = ScanRequest::default();
    request.columns = Some(vec!["id".to_owned()]);
    assert!(opened.rows_of(&request).await.unwrap() == ids(0..5_000));
    let metrics = opened.cx.metrics().snapshot();
    // Columns that are close to each other are fetched as one, so the gaps between them count.
    assert!(metrics.bytes_read < length, "{} of {length} bytes", metrics.bytes_read);
    let requests = server.requests();
    assert_eq!(requests[0].request.header("range"), Some("bytes=0-65535"));
    assert!(requests[1..].iter().all(|recorded| recorded.request.header("range").is_some()));
    let pinned = requests.iter().filter(|recorded| recorded.request.header("if-range") == Some("\"v1\""));
    assert!(pinned.count() >= 4);
}

#[tokio::test]
async fn reading_goes_on_behind_any_batch() {
    let (body, rows) = large().await;
    let with_ranges = serve(body.clone(), |_, response| response.header("etag", "\"v1\"")).await;
    let without = always(Response::bytes("application/vnd.apache.parquet", body)).await;
    for server in [with_ranges, without] {
        let opened = open(with(server.url("/x.parquet"), json!({}))).await;
        let split = opened.only_split().await;
        let batches = opened.batches(&split, Position::Start).await.unwrap();
        assert!(to_json(&batches) == rows);
        assert_eq!(batches.len(), 5);
        for (index, batch) in batches.iter().enumerate() {
            let rest = opened.batches(&split, batch.resume.clone()).await.unwrap();
            assert!(to_json(&rest) == rows[(index + 1) * 1_000..], "behind batch {index}");
        }
    }
}

#[tokio::test]
async fn a_range_that_breaks_off_is_asked_for_again() {
    let (body, rows) = large().await;
    let server = serve(body, |request, response| {
        // A range of the second row group or so, whose first answer is cut.
        let is_first = request.header("range") != Some("bytes=0-65535") && request.attempt == 3;
        if is_first { response.cut_after(10) } else { response }
    })
    .await;
    let opened = open(with(server.url("/x.parquet"), json!({}))).await;
    let (found, errors) = opened.rows_with_resumes(&opened.only_split().await).await.unwrap();
    assert_eq!(errors, 1);
    assert!(found == rows);
}

#[tokio::test]
async fn a_document_that_changes_in_the_middle_is_an_error() {
    let (body, _) = large().await;
    // As a server does that obeys `If-Range`, and as one that does not.
    for obeys in [true, false] {
        let whole = body.clone();
        let server = serve(body.clone(), move |request, response| {
            if request.attempt < 4 {
                return response.header("etag", "\"old\"");
            }
            let response =
                if obeys { Response::bytes("application/octet-stream", whole.clone()) } else { response };
            response.header("etag", "\"new\"")
        })
        .await;
        let opened = open(with(server.url("/x.parquet"), json!({}))).await;
        let error = opened.rows_with_resumes(&opened.only_split().await).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataInvalid);
        assert_eq!(error.message(), "the document has changed since a part of it was read");
    }
}

#[tokio::test]
async fn a_document_that_changed_between_two_runs_is_an_error() {
    let (body, _) = large().await;
    let old = always(Response::bytes("application/vnd.apache.parquet", body.clone())).await;
    let opened = open(with(old.url("/x"), json!({}))).await;
    let split = opened.only_split().await;
    let resume = opened.batches(&split, Position::Start).await.unwrap()[0].resume.clone();
    // Nothing but its length tells that this is another.
    let now = encoded(WriteFormat::Parquet(ParquetWrite::default()), "id: int64", &json!([[1]])).await;
    let new = always(Response::bytes("application/vnd.apache.parquet", now)).await;
    let opened = open(with(new.url("/x"), json!({}))).await;
    let error = opened.batches(&opened.only_split().await, resume).await.unwrap_err();
    assert_eq!(error.message(), "the document has changed since a part of it was read");
}

#[tokio::test]
async fn without_ranges_a_document_has_a_largest_size() {
    let (body, rows) = large().await;
    let server = always(Response::bytes("application/vnd.apache.parquet", body.clone())).await;
    let options = |most: &str| with(server.url("/x"), json!({"max_body": most}));
    assert!(read(options("1MiB")).await.unwrap() == rows);
    let refused = error(options("100KiB")).await;
    assert_eq!(
        (refused.kind(), refused.message()),
        (ErrorKind::DataInvalid, "the body has more than 100KiB")
    );
    assert_eq!(
        refused.help_text(),
        Some("raise `max_body`, or read it from a server that has ranges"),
        "{refused}"
    );
    // With ranges it is never held as a whole.
    let server = serve(body, |_, response| response).await;
    assert!(read(with(server.url("/x.parquet"), json!({"max_body": "100KiB"}))).await.unwrap() == rows);
}

#[tokio::test]
async fn a_large_document_that_only_its_type_tells_is_read_by_ranges_too() {
    // The answer to the first request is left where it is: nobody knew before.
    let rows: Vec<Json> = (0..3_000_u64).map(|id| json!([id, format!("{id:08}").repeat(250)])).collect();
    let format = WriteFormat::Parquet(ParquetWrite {
        row_group_rows: 1_000,
        compression: ParquetCompression::None,
        dictionary: false,
        ..ParquetWrite::default()
    });
    let body = Arc::new(encoded(format, "id: int64, text: string", &json!(rows)).await);
    let server = TestServer::start(move |request| {
        let body = body.clone();
        async move { answer(&body, &request, "application/vnd.apache.parquet") }
    })
    .await;
    let found = read(with(server.url("/x"), json!({}))).await.unwrap();
    assert_eq!(found.len(), 3_000);
    assert_eq!(found[2_999]["id"], json!(2_999));
    let ranges = server.requests().iter().filter(|one| one.request.header("range").is_some()).count();
    assert!(ranges > 1, "{ranges}");
}

#[tokio::test]
async fn a_page_for_people_is_no_parquet() {
    let server = always(Response::bytes("text/html", "<html>Sign in</html>")).await;
    let refused = error(with(server.url("/x"), json!({"format": "parquet"}))).await;
    assert_eq!(refused.message(), "the server answered with HTML, not data");
}

#[tokio::test]
async fn pages_may_be_of_any_format() {
    let server = TestServer::start(|request| async move {
        let page = request.number("page").unwrap();
        let rows = if page < 3 { json!([[page * 2 - 2], [page * 2 - 1]]) } else { json!([]) };
        Response::bytes("application/avro", encoded(WriteFormat::Avro, "id: int64", &rows).await)
    })
    .await;
    let options = json!({"format": "avro", "pagination": {"type": "page_number"}});
    assert_eq!(read(with(server.url("/x"), options)).await.unwrap(), ids(0..4));
}

#[tokio::test]
async fn rules_and_columns_about_answers_hold_for_them_too() {
    let metadata = json!({"_status": "status", "_range": "header:content-range"});
    let rules = json!([{"status": 404, "action": "skip"}, {"contains": "not ready", "action": "stop"}]);
    let more = json!({"metadata": metadata, "responses": rules});

    let (body, rows) = large().await;
    let size = body.len();
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = gone.clone();
    let change =
        move |_: &Request, answer| if is_gone.load(Relaxed) { Response::status(404) } else { answer };
    let server = serve(body, change).await;
    let opened = open(with(server.url("/x.parquet"), more.clone())).await;
    let mut request = ScanRequest::default();
    request.columns = Some(vec!["id".to_owned(), "_status".to_owned()]);
    let found = opened.rows_of(&request).await.unwrap();
    let range = format!("bytes 0-65535/{size}");
    assert_eq!(found.len(), rows.len());
    assert_eq!(found[0], json!({"id": 0, "_status": 206, "_range": range}));
    // What is read on later tells the answer with which it began.
    let split = opened.only_split().await;
    let batches = opened.batches(&split, Position::Start).await.unwrap();
    let rest = opened.batches(&split, batches[0].resume.clone()).await.unwrap();
    assert_eq!(to_json(&rest), to_json(&batches[1..]));
    gone.store(true, Relaxed);
    let found = opened.batches(&split, batches[0].resume.clone()).await.unwrap_err();
    assert_eq!(found.message(), "a rule of `responses` leaves out a document of which a part was read");

    let missing = always(Response::status(404)).await;
    let opened = open(with(missing.url("/x.parquet"), more.clone())).await;
    assert_eq!(opened.rows().await.unwrap(), ids(0..0));
    assert_eq!(opened.cx.metrics().warnings().len(), 1);

    let early = always(Response::text("not ready")).await;
    assert_eq!(read(with(early.url("/x.parquet"), more)).await.unwrap(), ids(0..0));
}
