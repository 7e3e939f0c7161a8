//! Recordings: what is kept of exchanges, and what they give back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tempfile::TempDir;
use towpath_core::{Connection, Error, ErrorKind, Json, Result, Traffic};
use towpath_layers::{FileRecorder, FileRecording};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{Opened, Recorder, always, ids, install_tls, open_with, with};

/// A file for a recording.
struct Tape {
    folder: TempDir,
}

impl Tape {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("traffic.ndjson")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    fn lines(&self) -> Vec<Json> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A recording by hand.
    fn write(&self, lines: &[Json]) {
        let lines: Vec<_> = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(self.path(), lines.concat()).unwrap();
    }

    /// Reads with these options, and records it.
    async fn record(&self, options: Json) -> Result<Vec<Json>> {
        let recorder = Arc::new(FileRecorder::create(&self.path()).unwrap());
        let rows = read(options, Traffic::Recorded(recorder.clone())).await.map(|(rows, _)| rows);
        recorder.finish().unwrap();
        rows
    }

    async fn replay(&self, options: Json) -> Result<Vec<Json>> {
        self.replay_with_pauses(options).await.map(|(rows, _)| rows)
    }

    async fn replay_with_pauses(&self, options: Json) -> Result<(Vec<Json>, usize)> {
        read(options, replayed(&self.path())).await
    }
}

fn replayed(path: &Path) -> Traffic {
    Traffic::Replayed(Arc::new(FileRecording::open(path).unwrap()))
}

/// All rows, read on after transient errors, and how often the server was given a pause.
async fn read(options: Json, traffic: Traffic) -> Result<(Vec<Json>, usize)> {
    install_tls();
    let recorder = Arc::new(Recorder::default());
    let connection = Arc::new(Connection::new("api", recorder.clone()));
    let cx = towpath_testkit::context_with(|builder| {
        builder.stream("items").connection(connection).traffic(traffic)
    });
    let source = open_with(options, &cx).await?;
    let opened = Opened { source, cx, recorder: recorder.clone() };
    let mut rows = Vec::new();
    for split in opened.splits(&towpath_core::ScanRequest::default()).await? {
        rows.extend(opened.rows_with_resumes(&split).await?.0);
    }
    Ok((rows, recorder.record().pauses.len()))
}

fn header(began: &str) -> Json {
    json!({"towpath_recording": 1, "began": began})
}

fn exchange(asked: &str, body: &Json) -> Json {
    let answer = json!({"status": 200, "headers": [["content-type", "application/json"]]});
    json!({"n": 1, "asked": asked, "answer": answer, "body": body.to_string()})
}

async fn paged() -> TestServer {
    TestServer::start(|request: Request| async move {
        let page = request.number("page").unwrap_or(1);
        let answer =
            Response::json(&json!((page * 2 - 2..page * 2).map(|id| json!({"id": id})).collect::<Vec<_>>()));
        if page == 3 {
            return answer;
        }
        answer.header("link", format!("</items?page={}&key=k3y-s3cret>; rel=\"next\"", page + 1))
    })
    .await
}

#[tokio::test]
async fn a_replay_gives_the_same_rows_without_a_server() {
    let server = paged().await;
    let tape = Tape::new();
    let options = with(server.url("/items?key=k3y-s3cret"), json!({"pagination": {"type": "link_header"}}));
    assert_eq!(tape.record(options.clone()).await.unwrap(), ids(0..6));
    let asked: Vec<_> =
        tape.lines().iter().filter_map(|line| line["asked"].as_str().map(str::to_owned)).collect();
    assert_eq!(
        asked,
        ["/items?key=***", "/items?page=2&key=***", "/items?page=3&key=***"]
            .map(|path| format!("GET {}", server.url(path)))
    );
    drop(server);
    assert_eq!(tape.replay(options.clone()).await.unwrap(), ids(0..6));
    // With another key too: it is not part of what is asked.
    let other = json!(options.to_string().replace("k3y-s3cret", "another"));
    let other = serde_json::from_str(other.as_str().unwrap()).unwrap();
    assert_eq!(tape.replay(other).await.unwrap(), ids(0..6));
}

#[tokio::test]
async fn the_answers_to_the_same_request_come_in_their_order_and_no_more() {
    let server = TestServer::start(|request: Request| async move {
        match request.attempt {
            1 => Response::status(429).header("retry-after", "0"),
            2 => Response::json(&json!([{"id": 0}, {"id": 1}])).cut_after(5),
            3 => Response::status(503),
            _ => Response::json(&json!([{"id": 0}])),
        }
    })
    .await;
    let tape = Tape::new();
    let options = with(server.url("/"), json!({}));
    assert_eq!(tape.record(options.clone()).await.unwrap(), ids(0..1));
    assert_eq!(tape.lines().len(), 5);
    drop(server);
    assert_eq!(tape.replay(options.clone()).await.unwrap(), ids(0..1));
    let recording = replayed(&tape.path());
    read(options.clone(), recording.clone()).await.unwrap();
    let error = read(options, recording).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.message().starts_with("the recording has no further answer to `GET http://127.0.0.1"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_was_not_there_is_not_there_again() {
    let options = with("http://127.0.0.1:1/", json!({}));
    let tape = Tape::new();
    let recorded = tape.record(options.clone()).await.unwrap_err();
    let again: Error = tape.replay(options).await.unwrap_err();
    assert_eq!((again.kind(), again.message()), (ErrorKind::Unavailable, recorded.message()));
}

#[tokio::test]
async fn a_request_that_is_not_known_is_named() {
    let tape = Tape::new();
    tape.write(&[header("2024-01-04T12:00:00Z"), exchange("GET http://a.example/x", &json!([]))]);
    let error = tape.replay(with("http://a.example/y?token=t0ken", json!({}))).await.unwrap_err();
    assert_eq!(error.message(), "the recording has no answer to `GET http://a.example/y?token=***`");
    assert!(error.help_text().unwrap().contains("begin as the recorded run did"), "{error}");
}

#[tokio::test]
async fn windows_end_when_the_recorded_run_began() {
    let tape = Tape::new();
    let asked = "GET http://a.example/?from=1704326400&to=1704369600";
    tape.write(&[header("2024-01-04T12:00:00Z"), exchange(asked, &json!([{"id": 0}]))]);
    let windows = json!({"start": "2024-01-04", "end": "now", "step": "1d", "format": "unix"});
    let url = "http://a.example/?from={w.start}&to={w.end}";
    assert_eq!(tape.replay(with(url, json!({"params": {"w": windows}}))).await.unwrap(), ids(0..1));
}

#[tokio::test]
async fn nobody_is_waited_for_and_no_file_is_needed() {
    let tape = Tape::new();
    let busy = json!({"status": 429, "headers": [["retry-after", "3600"]]});
    let spent = json!({"status": 200, "headers": [
        ["content-type", "application/json"], ["x-ratelimit-remaining", "0"], ["x-ratelimit-reset", "3600"],
    ]});
    tape.write(&[
        header("2024-01-04T12:00:00Z"),
        json!({"n": 1, "asked": "GET https://a.example/x", "answer": busy}),
        json!({"n": 2, "asked": "GET https://a.example/x", "answer": spent, "body": "[{\"id\":", "more": true}),
        json!({"n": 2, "body": {"base64": "MH1d"}}),
    ]);
    let options = json!({
        "ca_certificate": "/no/such/file.pem", "client_certificate": "/no/such.pem", "client_key": "/no/such.pem",
    });
    let (rows, pauses) = tape.replay_with_pauses(with("https://a.example/x", options)).await.unwrap();
    assert_eq!((rows, pauses), (ids(0..1), 0));
}

/// A server that repeats all that it is sent: in rows, in headers, in links, and in a page that it redirects to.
async fn echoing() -> TestServer {
    TestServer::start(|request: Request| async move {
        match request.path.as_str() {
            "/token" => {
                let answer =
                    json!({"access_token": "granted-s3cret-token", "refresh_token": "granted-r3fresh"});
                return Response::json(&answer).header("set-cookie", "sid=granted-c00kie; Path=/");
            }
            "/start" => {
                return Response::status(302)
                    .header("location", format!("/?{}&signature=s1gnature", request.query));
            }
            _ => {}
        }
        let headers: Vec<_> =
            request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let words: Vec<_> = request.headers.iter().flat_map(|(_, value)| value.split([' ', '='])).collect();
        let link = format!("https://cdn.example/file?X-Amz-Signature=presigned-s1g&{}", request.query);
        let row = json!({
            "id": 0, "headers": headers, "words": words, "query": request.query, "link": link,
            "body": String::from_utf8_lossy(&request.body),
        });
        let all = headers.join(" ").replace(|c: char| c.is_control(), " ");
        Response::json(&json!([row]))
            .header("x-echo", all)
            .header("set-cookie", "session=set-c00kie")
            .header("x-csrf-token", "csrf-s3cret")
    })
    .await
}

/// Every way to say who we are, with secrets that all hold `s3cret`.
fn credentials() -> Vec<(&'static str, Json)> {
    vec![
        ("bearer", json!({"auth": {"type": "bearer", "token": "own-s3cret-token"}})),
        ("basic", json!({"auth": {"type": "basic", "username": "ann", "password": "own-s3cret-pass"}})),
        ("header key", json!({"auth": {"type": "api_key", "name": "X-Key", "value": "own-s3cret-key"}})),
        (
            "query key",
            json!({"auth": {"type": "api_key", "name": "k", "value": "own-s3cret/key+1", "in": "query"}}),
        ),
        (
            "cookie key",
            json!({"auth": {"type": "api_key", "name": "c", "value": "own-s3cret-key", "in": "cookie"}}),
        ),
        ("headers", json!({"headers": {"X-Tenant": "own-s3cret-\"tenant\""}})),
        (
            "headers with parameters",
            json!({"headers": {"X-Tenant": "own-s3cret-word {id}"}, "params": {"id": [1]}}),
        ),
        ("jwt", json!({"auth": {"type": "jwt", "secret": "own-s3cret-of-a-jwt", "claims": {"iss": "me"}}})),
        (
            "hmac in a header",
            json!({"auth": {
                "type": "hmac", "secret": "own-s3cret-of-hmac", "headers": {"X-Signature": "v1={signature}"},
            }}),
        ),
        (
            "hmac in the query",
            json!({"auth": {
                "type": "hmac", "secret": "own-s3cret-of-hmac", "query": {"digest": "{signature}"},
            }}),
        ),
        (
            "sigv4",
            json!({"auth": {
                "type": "aws_sigv4", "region": "eu-central-1", "service": "execute-api",
                "access_key_id": "AKIDEXAMPLE", "secret_access_key": "own-s3cret-of-aws",
                "session_token": "own-s3cret-of-session",
            }}),
        ),
        (
            "client credentials",
            json!({"auth": {
                "type": "oauth2_client_credentials", "token_url": "SERVER/token", "client_id": "ann",
                "client_secret": "own-s3cret-client",
            }}),
        ),
        (
            "refresh token",
            json!({"auth": {
                "type": "oauth2_refresh_token", "token_url": "SERVER/token", "client_id": "ann",
                "refresh_token": "own-s3cret-refresh",
            }}),
        ),
        (
            "session",
            json!({"auth": {
                "type": "session", "url": "SERVER/token", "json": {"password": "own-s3cret-password"},
                "token": {"cookie": "sid"},
            }}),
        ),
        ("url", json!({"url": "USER/?token=own-s3cret-query&sig=own-s3cret-sig"})),
        ("redirect", json!({"url": "SERVER/start?api_key=own-s3cret-query"})),
    ]
}

#[tokio::test]
async fn no_secret_is_in_a_recording() {
    for (name, more) in credentials() {
        let server = echoing().await;
        let user = server.url("").replace("http://", "http://ann:own-s3cret-user@");
        let options = with(server.url("/"), more).to_string();
        let options: Json =
            serde_json::from_str(&options.replace("SERVER", &server.url("")).replace("USER", &user)).unwrap();
        let tape = Tape::new();
        let recorded = tape.record(options.clone()).await.unwrap();
        assert_eq!(recorded.len(), 1, "{name}");
        let text = tape.text();
        // What is sent in its own spelling, and what a server makes of it.
        let sent: Vec<String> = server
            .requests()
            .iter()
            .flat_map(|recorded| recorded.request.headers.clone())
            .filter(|(name, _)| ["authorization", "x-key", "cookie", "x-signature"].contains(&name.as_str()))
            .flat_map(|(_, value)| value.split([' ', '=']).map(str::to_owned).collect::<Vec<_>>())
            .filter(|word| word.len() > 12)
            .collect();
        let fixed = ["s3cret", "granted", "c00kie", "s1gnature", "presigned-s1g"].map(str::to_owned);
        let queries: Vec<String> = server
            .requests()
            .iter()
            .flat_map(|recorded| recorded.request.query.split('&').map(str::to_owned).collect::<Vec<_>>())
            .filter_map(|pair| pair.strip_prefix("digest=").map(str::to_owned))
            .collect();
        for secret in fixed.iter().chain(&sent).chain(&queries) {
            let around = text.find(secret.as_str()).map(|at| &text[at.saturating_sub(60)..at + secret.len()]);
            assert!(around.is_none(), "{name}: `{secret}` in {around:?}");
        }
        drop(server);
        // It is replayed by whoever has no secrets, and what it says of them is hidden.
        let others: Json = serde_json::from_str(&options.to_string().replace("own-s3cret", "other")).unwrap();
        let rows = tape.replay(others).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((rows.len(), &rows[0]["id"]), (1, &json!(0)), "{name}");
    }
}

#[tokio::test]
async fn a_token_that_a_server_refuses_is_asked_for_again_without_a_network() {
    let server = TestServer::start(|request: Request| async move {
        match (request.path.as_str(), request.header("authorization")) {
            ("/token", _) => {
                Response::json(&json!({"access_token": format!("token-number-{}", request.attempt)}))
            }
            (_, Some("Bearer token-number-1")) => Response::status(401),
            _ => Response::json(&json!([{"id": 0}])),
        }
    })
    .await;
    let auth = json!({
        "type": "oauth2_client_credentials", "token_url": server.url("/token"), "client_id": "ann", "client_secret": "hush",
    });
    let options = with(server.url("/"), json!({ "auth": auth }));
    let tape = Tape::new();
    assert_eq!(tape.record(options.clone()).await.unwrap(), ids(0..1));
    assert!(!tape.text().contains("/token"), "{}", tape.text());
    drop(server);
    assert_eq!(tape.replay(options).await.unwrap(), ids(0..1));
}

#[tokio::test]
async fn requests_differ_by_body_and_by_headers_with_parameters() {
    let echo = |request: Request| async move {
        let tenant = request.header("x-tenant").unwrap_or_default().to_owned();
        Response::json(&json!([{"tenant": tenant, "body": String::from_utf8_lossy(&request.body)}]))
    };
    for more in [json!({"headers": {"X-Tenant": "tenant-{id}"}}), json!({"body": {"json": {"id": "{id}"}}})] {
        let server = TestServer::start(echo).await;
        let mut options = with(server.url("/"), more);
        options["params"] = json!({"id": [1, 2, 3]});
        let tape = Tape::new();
        let recorded = tape.record(options.clone()).await.unwrap();
        drop(server);
        // In another order, which says whether each got its own.
        let mut turned = options;
        turned["params"]["id"] = json!([3, 2, 1]);
        let mut replayed = tape.replay(turned).await.unwrap();
        replayed.reverse();
        assert_eq!(replayed, recorded);
    }
}

#[tokio::test]
async fn a_body_is_kept_decoded_and_without_secrets_as_it_streams() {
    let rows: Vec<Json> =
        (0..20_000).map(|id| json!({"id": id, "echo": "own-s3cret-token", "text": "ü"})).collect();
    let lines = rows.iter().map(Json::to_string).collect::<Vec<_>>().join("\n");
    let answers = [
        Response::chunks("application/x-ndjson", lines.as_bytes().chunks(1_021).map(Bytes::copy_from_slice)),
        Response::encoded("application/x-ndjson", "gzip", gzip(&lines).await),
    ];
    for answer in answers {
        let server = always(answer).await;
        let options = with(server.url("/"), json!({"auth": {"type": "bearer", "token": "own-s3cret-token"}}));
        let tape = Tape::new();
        assert_eq!(tape.record(options.clone()).await.unwrap().len(), 20_000);
        let text = tape.text();
        assert!(!text.contains("s3cret") && !text.contains("base64"));
        let longest = text.lines().map(str::len).max().unwrap();
        assert!(text.lines().count() > 10 && longest < 400_000, "{longest}");
        drop(server);
        let replayed = tape.replay(options).await.unwrap();
        let expected: Vec<_> =
            rows.iter().map(|row| json!({"id": row["id"], "echo": "***", "text": "ü"})).collect();
        assert!(replayed == expected);
    }
}

async fn gzip(text: &str) -> Bytes {
    use towpath_formats::{Compression, Encoder, MemoryOutput, WriteFormat, WriteOptions};
    let rows: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rows: Vec<Json> = rows.iter().map(|row| json!([row["id"], row["echo"], row["text"]])).collect();
    let batch = towpath_testkit::rows::batch("id: int64, echo: string, text: string", &json!(rows));
    let options = WriteOptions { format: Some(WriteFormat::Ndjson), compression: Some(Compression::Gzip) };
    let cx = towpath_testkit::context();
    let mut encoder = Encoder::new(&options, "x", &batch.schema(), &cx, MemoryOutput::default()).unwrap();
    encoder.write(batch).await.unwrap();
    encoder.finish().await.unwrap().1.into_bytes()
}
