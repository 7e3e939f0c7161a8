//! Files as they are: by ranges and without, cut, changed, named, digested.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use towpath_core::{Batch, ErrorKind, Json, Position, ScanRequest, Split};
use towpath_formats::chunks::{Algorithm, Chunks, Hasher};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{Opened, error, open, with};

/// Bytes that tell where they stand.
pub(crate) fn content(length: usize) -> Bytes {
    (0..length.div_ceil(8)).flat_map(|index| (index as u64).to_be_bytes()).take(length).collect()
}

/// A file with a tag, of which ranges are sent as they should be.
pub(crate) fn ranged(request: &Request, content: &Bytes, tag: &str) -> Response {
    let answer = |response: Response| response.header("etag", tag).header("accept-ranges", "bytes");
    if request.method == "HEAD" {
        return answer(Response::status(200)).header("content-length", content.len().to_string());
    }
    let is_same = request.header("if-range").is_none_or(|wanted| wanted == tag);
    let range = request.header("range").filter(|_| is_same).and_then(|range| range.strip_prefix("bytes="));
    let Some((from, to)) = range.and_then(|range| range.split_once('-')) else {
        return answer(Response::bytes("application/octet-stream", content.clone()));
    };
    let from: usize = from.parse().unwrap();
    let to = to.parse::<usize>().map_or(content.len(), |to| (to + 1).min(content.len()));
    if from >= content.len() {
        return Response::status(416).header("content-range", format!("bytes */{}", content.len()));
    }
    let total = content.len();
    answer(Response::bytes("application/octet-stream", content.slice(from..to)).with_status(206))
        .header("content-range", format!("bytes {from}-{}/{total}", to - 1))
}

async fn ranges_of(content: Bytes) -> TestServer {
    TestServer::start(move |request| {
        let content = content.clone();
        async move { ranged(&request, &content, "\"v1\"") }
    })
    .await
}

async fn always(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> TestServer {
    let answer = Arc::new(answer);
    TestServer::start(move |request| {
        let answer = answer.clone();
        async move { answer(&request) }
    })
    .await
}

fn bytes(url: impl Into<String>, more: Json) -> Json {
    let mut options = with(url, more);
    options["format"] = json!("bytes");
    options
}

/// A file as its chunks tell it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Found {
    content: Vec<u8>,
    size: Option<u64>,
    version: Option<String>,
    digest: Option<String>,
}

/// Puts the chunks together.
fn files(batches: &[Batch]) -> BTreeMap<String, Found> {
    let mut files = BTreeMap::<String, Found>::new();
    for batch in batches {
        let chunks = Chunks::of(&batch.rows).unwrap();
        for chunk in chunks.iter().map(|chunk| chunk.unwrap()) {
            let file = files.entry(chunk.name.to_owned()).or_default();
            let from = usize::try_from(chunk.offset).unwrap();
            let to = from + chunk.data.len();
            file.content.resize(file.content.len().max(to), 0);
            file.content[from..to].copy_from_slice(&chunk.data);
            file.size = file.size.or(chunk.size);
            file.version = chunk.version.map(str::to_owned);
            file.digest = chunk.digest.map(str::to_owned);
        }
    }
    files
}

async fn all(opened: &Opened) -> BTreeMap<String, Found> {
    let mut batches = Vec::new();
    for split in opened.splits(&ScanRequest::default()).await.unwrap() {
        batches.extend(opened.batches(&split, Position::Start).await.unwrap());
    }
    files(&batches)
}

/// The only file at these options.
async fn only(options: Json) -> (String, Found) {
    let files = all(&open(options).await).await;
    assert_eq!(files.len(), 1, "{:?}", files.keys());
    files.into_iter().next().unwrap()
}

/// All batches of a split, read on at the last position after each transient error, and how many errors there were.
async fn with_resumes(opened: &Opened, split: &Split) -> (Vec<Batch>, usize) {
    use futures::StreamExt;
    let (mut found, mut position, mut errors) = (Vec::new(), Position::Start, 0);
    loop {
        let mut stream = opened.source.read(&opened.cx, split, position.clone()).unwrap();
        loop {
            match stream.next().await {
                Some(Ok(batch)) => {
                    position = batch.resume.clone();
                    found.push(batch);
                }
                None => return (found, errors),
                Some(Err(error)) => {
                    assert!(error.is_retryable() && errors < 5, "{error}");
                    errors += 1;
                    break;
                }
            }
        }
    }
}

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_large_file_is_cut_into_ranges_of_one_version() {
    let content = content(3 * MIB + 5);
    let server = ranges_of(content.clone()).await;
    let opened = open(bytes(server.url("/x/big.iso"), json!({"download": {"part_bytes": "1MiB"}}))).await;
    let splits = opened.splits(&ScanRequest::default()).await.unwrap();
    assert_eq!(splits.len(), 4);
    assert!(splits[1].id.0.ends_with("/x/big.iso bytes 1048576-2097152"), "{}", splits[1].id);
    assert_eq!(splits[3].estimate.unwrap().bytes, Some(5));
    let files = all(&opened).await;
    let expected = Found {
        content: content.to_vec(),
        size: Some(3 * MIB as u64 + 5),
        version: Some("\"v1\"".into()),
        digest: None,
    };
    assert!(files["big.iso"] == expected);
    let gets = server.requests().into_iter().filter(|recorded| recorded.request.method == "GET");
    let ranges: Vec<_> = gets
        .map(|recorded| {
            assert_eq!(recorded.request.header("if-range"), Some("\"v1\""));
            assert_eq!(recorded.request.header("accept-encoding"), Some("identity"));
            recorded.request.header("range").unwrap().to_owned()
        })
        .collect();
    let expected = ["0-1048575", "1048576-2097151", "2097152-3145727", "3145728-3145732"];
    assert_eq!(ranges, expected.map(|range| format!("bytes={range}")));
}

#[tokio::test]
async fn a_file_that_is_cut_off_goes_on_behind_the_last_chunk() {
    let content = content(3 * MIB);
    let sent = content.clone();
    let server = always(move |request| {
        let answer = ranged(request, &sent, "\"v1\"");
        if request.method == "GET" && request.attempt == 1 { answer.cut_after(2 * MIB + 9) } else { answer }
    })
    .await;
    let opened = open(bytes(server.url("/big.iso"), json!({}))).await;
    let split = opened.only_split().await;
    let (batches, errors) = with_resumes(&opened, &split).await;
    assert_eq!(errors, 1);
    assert!(files(&batches)["big.iso"].content == content);
    let last = server.requests().pop().unwrap().request;
    assert_eq!(last.header("range"), Some("bytes=2097152-3145727"));
}

#[tokio::test]
async fn a_server_without_ranges_sends_all_again_and_what_is_known_is_left_out() {
    let content = content(3 * MIB);
    let sent = content.clone();
    let server = always(move |request| {
        let answer =
            Response::bytes("application/octet-stream", sent.clone()).header("accept-ranges", "none");
        if request.method == "GET" && request.attempt == 1 { answer.cut_after(2 * MIB + 9) } else { answer }
    })
    .await;
    let opened = open(bytes(server.url("/big.iso"), json!({"download": {"part_bytes": "1MiB"}}))).await;
    let split = opened.only_split().await;
    let (batches, errors) = with_resumes(&opened, &split).await;
    assert_eq!((errors, batches.len()), (1, 3));
    assert!(files(&batches)["big.iso"].content == content);
}

#[tokio::test]
async fn a_url_that_refuses_head_is_asked_for_its_first_byte() {
    let content = content(2 * MIB);
    for status in [403, 405, 501] {
        let sent = content.clone();
        let server = always(move |request| {
            if request.method == "HEAD" { Response::status(status) } else { ranged(request, &sent, "\"v1\"") }
        })
        .await;
        let opened = open(bytes(server.url("/a.bin"), json!({"download": {"part_bytes": "1MiB"}}))).await;
        assert_eq!(opened.splits(&ScanRequest::default()).await.unwrap().len(), 2);
        assert_eq!(server.requests()[1].request.header("range"), Some("bytes=0-0"));
        assert!(all(&opened).await["a.bin"].content == content);
    }
}

#[tokio::test]
async fn a_length_that_nobody_knows_is_told_by_the_last_chunk() {
    let content = content(MIB + 7);
    let sent = content.clone();
    let server = always(move |_| {
        Response::chunks("application/octet-stream", sent.chunks(9999).map(Bytes::copy_from_slice))
    })
    .await;
    let (_, found) = only(bytes(server.url("/a.bin"), json!({}))).await;
    assert!(found.content == content);
    assert_eq!(found.size, Some(MIB as u64 + 7));
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let server = ranges_of(Bytes::new()).await;
    let (name, found) = only(bytes(server.url("/empty.txt"), json!({}))).await;
    assert_eq!((name.as_str(), found.content.len(), found.size), ("empty.txt", 0, Some(0)));
}

#[tokio::test]
async fn content_encoding_is_left_as_it_is() {
    let server = always(|_| Response::encoded("application/gzip", "gzip", &b"not even gzip"[..])).await;
    let (_, found) = only(bytes(server.url("/a.gz"), json!({}))).await;
    assert_eq!(found.content, b"not even gzip");
}

#[tokio::test]
async fn a_file_that_changes_in_the_middle_is_an_error_and_no_mixture() {
    for tag in ["\"v2\"", "\"v1\""] {
        let (old, new) = (content(3 * MIB), content(3 * MIB + usize::from(tag == "\"v1\"")));
        let server = always(move |request| {
            let is_new = request.header("range").is_some_and(|range| range.starts_with("bytes=2"));
            if is_new { ranged(request, &new, tag) } else { ranged(request, &old, "\"v1\"") }
        })
        .await;
        let opened = open(bytes(server.url("/a.bin"), json!({"download": {"part_bytes": "1MiB"}}))).await;
        let splits = opened.splits(&ScanRequest::default()).await.unwrap();
        opened.batches(&splits[0], Position::Start).await.unwrap();
        let error = opened.batches(&splits[2], Position::Start).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataInvalid);
        assert!(error.to_string().contains("the file has changed since its download began"), "{error}");
        assert!(error.to_string().contains("/a.bin"), "{error}");
    }
}

#[tokio::test]
async fn the_digest_comes_from_the_server_the_option_or_a_checksum_file() {
    const SUM: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let server = always(|request| match request.path.as_str() {
        "/a.bin.sha256" => Response::text(format!("{SUM}  a.bin\n")),
        "/no.bin.sha256" => Response::text("<html>hello</html>"),
        _ => Response::text("test").header("content-md5", "CY9rzUYh03PK3k6DJie09g=="),
    })
    .await;
    let digest = async |path: &str, download: Json| {
        only(bytes(server.url(path), json!({"download": download}))).await.1.digest.unwrap()
    };
    assert_eq!(digest("/a.bin", json!({})).await, "md5:098f6bcd4621d373cade4e832627b4f6");
    let mut hasher = Hasher::new(Algorithm::Md5);
    hasher.update(b"test");
    assert_eq!(hasher.finish().to_string(), digest("/a.bin", json!({})).await);
    let option = format!("sha256:{SUM}");
    assert_eq!(digest("/a.bin", json!({"digest": option})).await, option);
    assert_eq!(digest("/a.bin", json!({"digest_url": "{url}.sha256"})).await, option);
    let error =
        error(bytes(server.url("/no.bin"), json!({"download": {"digest_url": "{url}.sha256"}}))).await;
    assert!(error.to_string().contains("the checksum file holds no digest of the file"), "{error}");
}

#[tokio::test]
async fn files_are_named_by_the_server_the_url_or_a_template() {
    let server = always(|request| {
        let answer = Response::text("x");
        if request.path == "/told" {
            answer.header("content-disposition", "attachment; filename=\"../../evil name.txt\"")
        } else {
            answer
        }
    })
    .await;
    let name = async |path: &str, download: Json| {
        only(bytes(server.url(path), json!({"download": download}))).await.0
    };
    assert_eq!(name("/told", json!({})).await, "evil name.txt");
    assert_eq!(name("/x/a%20b.txt?c=d", json!({})).await, "a b.txt");
    assert_eq!(name("/x/..%2F..%2Fetc%2Fpasswd", json!({})).await, "_._.._etc_passwd");
    assert_eq!(name("/told", json!({"name": "{path}.bin"})).await, "told.bin");
    assert_eq!(name("/x/y?id=7", json!({"name": "by-id/{query.id}"})).await, "by-id/7");
}

#[tokio::test]
async fn two_urls_with_one_name_are_an_error_or_numbered() {
    let server = always(|request| Response::text(request.path.clone())).await;
    let options = |download: Json| {
        let urls = ["/a/x.txt", "/b/x.txt", "/c/x.txt"].map(|path| server.url(path));
        json!({"urls": urls, "format": "bytes", "download": download})
    };
    let opened = open(options(json!({}))).await;
    let error = opened.splits(&ScanRequest::default()).await.unwrap_err().to_string();
    assert!(error.contains("two URLs have the name `x.txt`") && error.contains("/b/x.txt"), "{error}");
    let files = all(&open(options(json!({"same_name": "number"}))).await).await;
    let found: Vec<_> = files.iter().map(|(name, file)| (name.as_str(), file.content.as_slice())).collect();
    let expected: [(&str, &[u8]); 3] =
        [("x-2.txt", b"/b/x.txt"), ("x-3.txt", b"/c/x.txt"), ("x.txt", b"/a/x.txt")];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_file_that_is_not_there_fails_alone() {
    let server = always(|request| {
        if request.path == "/b" { Response::status(404) } else { Response::text(request.path.clone()) }
    })
    .await;
    let urls = ["/a", "/b", "/c"].map(|path| server.url(path));
    let opened = open(json!({"urls": urls, "format": "bytes"})).await;
    let splits = opened.splits(&ScanRequest::default()).await.unwrap();
    assert_eq!(splits.len(), 3);
    let error = opened.batches(&splits[1], Position::Start).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(files(&opened.batches(&splits[2], Position::Start).await.unwrap())["c"].content, b"/c");
}

#[tokio::test]
async fn options_that_do_not_go_together_are_refused() {
    let refused = async |options: Json| error(options).await.to_string();
    let url = "http://127.0.0.1:9/x";
    let message = refused(with(url, json!({"download": {}}))).await;
    assert!(message.contains("`download` needs `format: bytes`"), "{message}");
    let message = refused(bytes(url, json!({"pagination": {"type": "link_header"}}))).await;
    assert!(message.contains("`pagination` does not go with `format: bytes`"), "{message}");
    let message = refused(bytes(url, json!({"responses": [{"status": 404, "action": "skip"}]}))).await;
    assert!(message.contains("`responses` does not go with `format: bytes`"), "{message}");
    for (option, value) in [
        ("conditional", json!(true)),
        ("metadata", json!({"from": "url"})),
        ("job", json!({"status": {"url": "$.url"}, "result": {"url": "$.result"}})),
    ] {
        let message = refused(bytes(url, json!({ option: value }))).await;
        assert!(message.contains(&format!("`{option}` does not go with `format: bytes`")), "{message}");
    }
    let message = refused(bytes("http://127.0.0.1:9/{parent.id}", json!({}))).await;
    assert!(message.contains("`for_each` does not go with `format: bytes`"), "{message}");
    let message = refused(bytes(url, json!({"download": {"digest": "sha256:12"}}))).await;
    assert!(message.contains("sha256 has 64 hexadecimal digits"), "{message}");
    let digest = "md5:098f6bcd4621d373cade4e832627b4f6";
    let urls =
        json!({"urls": [url, "http://127.0.0.1:9/y"], "format": "bytes", "download": {"digest": digest}});
    let message = refused(urls).await;
    assert!(message.contains("`download.digest` is that of a single URL"), "{message}");
    let message = refused(bytes(url, json!({"download": {"part_bytes": 0}}))).await;
    assert!(message.contains("`download.part_bytes` must be above zero"), "{message}");
}

#[tokio::test]
async fn credentials_go_with_every_request_to_their_host() {
    let content = content(2 * MIB);
    let server = always(move |request| {
        if request.header("authorization") != Some("Bearer s3cret") {
            return Response::status(401);
        }
        if request.path == "/a.bin.md5" {
            return Response::text("00000000000000000000000000000000");
        }
        ranged(request, &content, "\"v1\"")
    })
    .await;
    let more = json!({
        "auth": {"type": "bearer", "token": "s3cret"},
        "download": {"part_bytes": "1MiB", "digest_url": "{url}.md5"},
    });
    let (_, found) = only(bytes(server.url("/a.bin"), more)).await;
    assert_eq!(found.content.len(), 2 * MIB);
    assert_eq!(found.digest.as_deref(), Some("md5:00000000000000000000000000000000"));
}
