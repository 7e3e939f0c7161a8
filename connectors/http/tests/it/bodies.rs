//! Bodies: formats, codecs, sizes, and reading on after a cut.

use std::sync::Arc;

use serde_json::json;
use towpath_core::{ColumnType, ErrorKind, Json, Position};
use towpath_formats::{Compression, Encoder, MemoryOutput, WriteFormat, WriteOptions};
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_testkit::rows;

use crate::support::{error, ids, open, read, to_json, with};

async fn always(response: Response) -> TestServer {
    TestServer::start(move |_| {
        let response = response.clone();
        async move { response }
    })
    .await
}

async fn read_answer(path: &str, response: Response, more: Json) -> Vec<Json> {
    let server = always(response).await;
    read(with(server.url(path), more)).await.unwrap()
}

async fn encoded(format: WriteFormat, compression: Compression) -> Vec<u8> {
    let batch = rows::batch("id: int64", &json!([[0], [1], [2]]));
    let options = WriteOptions { format: Some(format), compression: Some(compression) };
    let cx = towpath_testkit::context();
    let output = MemoryOutput::default();
    let mut encoder = Encoder::new(&options, "rows", &batch.schema(), &cx, output).unwrap();
    encoder.write(batch).await.unwrap();
    encoder.finish().await.unwrap().1.into_bytes().to_vec()
}

#[tokio::test]
async fn the_format_is_told_by_the_content_type_or_the_name() {
    let csv = "id\n0\n1\n2\n";
    let lines = "{\"id\":0}\n{\"id\":1}\n{\"id\":2}\n";
    for (path, content_type, body) in [
        ("/x", "text/csv; charset=utf-8", csv),
        ("/x.csv?y=1", "application/octet-stream", csv),
        ("/x", "application/x-ndjson", lines),
        ("/x.ndjson", "text/plain", lines),
        ("/x", "application/json", "[{\"id\":0},{\"id\":1},{\"id\":2}]"),
        ("/x.json", "application/octet-stream", "[{\"id\":0},{\"id\":1},{\"id\":2}]"),
    ] {
        let found = read_answer(path, Response::bytes(content_type, body), json!({})).await;
        assert_eq!(found, ids(0..3), "{path} {content_type}");
    }
}

#[tokio::test]
async fn a_format_that_is_set_wins_over_what_the_server_says() {
    let csv = Response::bytes("application/json", "a;b\n1;2\n");
    let options = json!({"format": {"type": "csv", "delimiter": ";"}});
    assert_eq!(read_answer("/", csv, options).await, [json!({"a": 1, "b": 2})]);
    let json = Response::bytes("text/plain", "{\"id\":1}");
    assert_eq!(read_answer("/", json, json!({"format": "json"})).await, [json!({"id": 1})]);
}

#[tokio::test]
async fn a_format_that_cannot_be_told_is_asked_for() {
    let server = always(Response::bytes("application/octet-stream", "?")).await;
    let error = error(with(server.url("/x"), json!({}))).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.help_text().unwrap().contains("set `format`"), "{error}");
}

#[tokio::test]
async fn records_are_found_by_their_path() {
    let body = Response::json(&json!({"meta": 1, "data": {"items": [{"id": 0}, {"id": 1}]}}));
    assert_eq!(read_answer("/", body.clone(), json!({"records": "$.data.items"})).await, ids(0..2));
    let in_format = json!({"format": {"type": "json", "records": "$.data.items[*]"}});
    assert_eq!(read_answer("/", body, in_format).await, ids(0..2));
    let server = always(Response::json(&json!({"error": 1}))).await;
    let error = error(with(server.url("/"), json!({"records": "$.data"}))).await;
    assert_eq!(error.message(), "the body has nothing at `$.data`");
}

#[tokio::test]
async fn columns_may_be_declared() {
    let body = Response::json(&json!([{"id": 1, "price": "9.90"}]));
    let server = always(body).await;
    let opened = open(with(server.url("/"), json!({"columns": {"price": "decimal(12,2)"}}))).await;
    let batches = opened.batches(&opened.only_split().await, Position::Start).await.unwrap();
    let schema = batches[0].rows.schema();
    let expected: ColumnType = "decimal(12,2)".parse().unwrap();
    assert_eq!(schema.field_with_name("price").unwrap().data_type(), expected.data_type());
}

#[tokio::test]
async fn types_are_inferred_from_so_many_rows() {
    let server = always(Response::bytes("text/csv", "a\n1\nx\n")).await;
    let mut types = Vec::new();
    for options in [json!({}), json!({"sample_rows": 1})] {
        let opened = open(with(server.url("/"), options)).await;
        let batches = opened.batches(&opened.only_split().await, Position::Start).await.unwrap();
        types.push(batches[0].rows.schema().field(0).data_type().to_string());
        assert_eq!(to_json(&batches).len(), 2);
    }
    // With a look at one row the column begins as a number, and the second row widens it.
    assert_eq!(types[0], "Utf8");
}

#[tokio::test]
async fn transfer_compressions_are_decoded() {
    for (codec, name) in [
        (Compression::Gzip, "gzip"),
        (Compression::Zstd, "zstd"),
        (Compression::Brotli, "br"),
        (Compression::Zlib, "deflate"),
    ] {
        let page = Response::encoded("application/json", name, encoded(WriteFormat::Json, codec).await);
        assert_eq!(read_answer("/", page, json!({})).await, ids(0..3), "{name}");
        let lines =
            Response::encoded("application/x-ndjson", name, encoded(WriteFormat::Ndjson, codec).await);
        assert_eq!(read_answer("/", lines, json!({})).await, ids(0..3), "{name}");
    }
}

#[tokio::test]
async fn documents_that_are_compressed_themselves_are_decoded() {
    let gzip = encoded(WriteFormat::Ndjson, Compression::Gzip).await;
    let answer = |content_type| Response::bytes(content_type, gzip.clone());
    assert_eq!(read_answer("/x.ndjson.gz", answer("application/octet-stream"), json!({})).await, ids(0..3));
    assert_eq!(read_answer("/x.ndjson.gz", answer("application/gzip"), json!({})).await, ids(0..3));
    let options = json!({"format": "ndjson", "compression": "gzip"});
    assert_eq!(read_answer("/x", answer("application/octet-stream"), options).await, ids(0..3));
}

#[tokio::test]
async fn a_gzip_of_several_members_is_read_to_its_end() {
    let mut twice = encoded(WriteFormat::Ndjson, Compression::Gzip).await;
    twice.extend(twice.clone());
    let found = read_answer("/", Response::encoded("application/x-ndjson", "gzip", twice), json!({})).await;
    assert_eq!(found, [ids(0..3), ids(0..3)].concat());
}

#[tokio::test]
async fn an_encoding_that_nobody_knows_is_named() {
    let server = always(Response::encoded("application/json", "sdch", "?")).await;
    let error = error(with(server.url("/"), json!({}))).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.message(), "the server answered with the `Content-Encoding` `sdch`");
}

#[tokio::test]
async fn a_gz_file_that_is_called_encoded_is_decoded_once() {
    let gzip = encoded(WriteFormat::Ndjson, Compression::Gzip).await;
    let response = Response::encoded("application/x-ndjson", "gzip", gzip);
    assert_eq!(read_answer("/x.ndjson.gz", response, json!({})).await, ids(0..3));
}

#[tokio::test]
async fn a_gzip_that_is_none_is_invalid_data() {
    let server = always(Response::encoded("application/json", "gzip", "[{\"id\":1}]")).await;
    let error = error(with(server.url("/"), json!({}))).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::DataInvalid, false));
    assert_eq!(error.message(), "the body is not what its `Content-Encoding` says");
    assert_eq!(error.detail_value("url"), Some(&*server.url("/")));
}

#[tokio::test]
async fn pages_have_a_largest_size() {
    let server = always(Response::json(&json!(ids(0..1000)))).await;
    let options =
        |most: &str| with(server.url("/"), json!({"max_body": most, "pagination": {"type": "link_header"}}));
    assert_eq!(read(options("1MiB")).await.unwrap().len(), 1000);
    let error = error(options("1KiB")).await;
    assert_eq!((error.kind(), error.message()), (ErrorKind::DataInvalid, "the body has more than 1KiB"));
    // Nobody told the length of these.
    let server = always(Response::chunks("application/json", vec!["[{\"id\":1}", ",{\"id\":2}]"])).await;
    let options =
        |most: u64| with(server.url("/"), json!({"max_body": most, "pagination": {"type": "link_header"}}));
    assert!(read(options(18)).await.is_err());
    assert_eq!(read(options(19)).await.unwrap().len(), 2);
}

/// Serves a document by ranges, if it can; its first answer is cut.
fn document(
    body: Arc<String>,
    ranges: bool,
    cut: usize,
    etag: impl Fn(usize) -> &'static str,
) -> impl Fn(Request) -> Response {
    move |request| {
        let requests = request.attempt;
        let from = request
            .header("range")
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let response = match from {
            Some(from) if ranges => {
                let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                Response::bytes("application/x-ndjson", body[from..].to_owned())
                    .with_status(206)
                    .header("content-range", range)
            }
            _ => Response::bytes("application/x-ndjson", body.as_str().to_owned()),
        };
        let response = response.header("etag", etag(requests));
        if requests == 1 { response.cut_after(cut) } else { response }
    }
}

fn lines(rows: &[Json]) -> Arc<String> {
    Arc::new(rows.iter().flat_map(|row| [row.to_string(), "\n".to_owned()]).collect())
}

#[tokio::test]
async fn a_stream_that_is_cut_goes_on_without_loss_or_doubling() {
    let rows = ids(0..300_000);
    let body = lines(&rows);
    for ranges in [true, false] {
        let answer = Arc::new(document(body.clone(), ranges, body.len() * 3 / 4, |_| "\"same\""));
        let server = TestServer::start(move |request| {
            let answer = answer.clone();
            async move { answer(request) }
        })
        .await;
        let opened = open(with(server.url("/"), json!({"format": "ndjson"}))).await;
        let split = opened.only_split().await;
        let (found, errors) = opened.rows_with_resumes(&split).await.unwrap();
        assert_eq!(errors, 1);
        assert!(found == rows, "{} rows of {}, ranges: {ranges}", found.len(), rows.len());
        let resumed = server.requests().last().unwrap().request.clone();
        assert!(resumed.header("range").is_some());
        assert_eq!(resumed.header("if-range"), Some("\"same\""));
    }
}

#[tokio::test]
async fn a_document_that_changes_while_it_is_read_is_an_error() {
    let body = lines(&ids(0..300_000));
    let etag = |requests| if requests == 1 { "\"old\"" } else { "\"new\"" };
    let answer = Arc::new(document(body.clone(), true, body.len() * 3 / 4, etag));
    let server = TestServer::start(move |request| {
        let answer = answer.clone();
        async move { answer(request) }
    })
    .await;
    let opened = open(with(server.url("/"), json!({"format": "ndjson"}))).await;
    let split = opened.only_split().await;
    let error = opened.rows_with_resumes(&split).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataInvalid);
    assert_eq!(error.message(), "the document has changed since a part of it was read");
}

#[tokio::test]
async fn a_large_json_document_comes_in_batches_and_goes_on_behind_each() {
    let rows: Vec<Json> = (0..6_000).map(|id| json!({"id": id, "text": "x".repeat(1_000)})).collect();
    let body = json!({"count": rows.len(), "data": rows}).to_string();
    let server = always(Response::bytes("application/json", body)).await;
    for pagination in [json!({"type": "none"}), json!({"type": "link_header"})] {
        let options = with(server.url("/"), json!({"records": "$.data", "pagination": pagination}));
        let opened = open(options).await;
        let split = opened.only_split().await;
        let batches = opened.batches(&split, Position::Start).await.unwrap();
        assert!(batches.len() > 2, "{}", batches.len());
        assert!(to_json(&batches) == rows);
        for index in [0, batches.len() / 2, batches.len() - 1] {
            let rest = opened.batches(&split, batches[index].resume.clone()).await.unwrap();
            assert!(to_json(&rest) == to_json(&batches[index + 1..]), "behind batch {index}");
        }
    }
}

#[tokio::test]
async fn bytes_are_counted() {
    let server = always(Response::json(&json!([{"id": 1}]))).await;
    let opened = open(with(server.url("/"), json!({}))).await;
    opened.rows().await.unwrap();
    let metrics = opened.cx.metrics().snapshot();
    assert_eq!((metrics.requests, metrics.bytes_read), (1, 10));
}
