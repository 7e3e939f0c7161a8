//! Files that are downloaded: whole, in time, or not at all.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::Value;
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_tests::{Ended, Project, blocking, signal, until};

const MIB: usize = 1 << 20;

/// Bytes that tell where they stand.
fn content(length: usize) -> Bytes {
    (0..length.div_ceil(8)).flat_map(|index| (index as u64).to_be_bytes()).take(length).collect()
}

/// A file of which ranges are sent as they should be.
fn ranged(request: &Request, content: &Bytes, tag: &str) -> Response {
    let answer = |response: Response| response.header("etag", tag).header("accept-ranges", "bytes");
    if request.method == "HEAD" {
        return answer(Response::status(200)).header("content-length", content.len().to_string());
    }
    let is_same = request.header("if-range").is_none_or(|wanted| wanted == tag);
    let range = request.header("range").filter(|_| is_same).and_then(|range| range.strip_prefix("bytes="));
    let Some((from, to)) = range.and_then(|range| range.split_once('-')) else {
        return answer(Response::bytes("application/octet-stream", content.clone()));
    };
    let from: usize = from.parse().expect("a number");
    if from >= content.len() {
        return Response::status(416).header("content-range", format!("bytes */{}", content.len()));
    }
    let to = to.parse::<usize>().map_or(content.len(), |to| (to + 1).min(content.len()));
    answer(Response::bytes("application/octet-stream", content.slice(from..to)).with_status(206))
        .header("content-range", format!("bytes {from}-{}/{}", to - 1, content.len()))
}

/// A server whose answers are given at once.
async fn serve(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> TestServer {
    let answer = Arc::new(answer);
    TestServer::start(move |request| {
        let answer = answer.clone();
        async move { answer(&request) }
    })
    .await
}

/// A pipeline of one stream that downloads into `out/`.
fn pipeline(source: &str, more: &str) -> String {
    format!(
        "name: files\nstreams:\n  files:\n    source:\n      connector: http\n      format: bytes\n      \
         retry: {{ attempts: 4, base: 1ms, max_delay: 5ms }}\n      {source}\n    \
         sink: {{ connector: file, path: out/, format: bytes }}\n    {more}\n"
    )
}

async fn run(project: &Arc<Project>) -> (Option<i32>, Value) {
    let project = project.clone();
    let (ended, report) = blocking(move || project.run()).await;
    (ended.code, report)
}

async fn towpath(project: &Arc<Project>, arguments: &[&str]) -> Ended {
    let project = project.clone();
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    blocking(move || project.towpath(&arguments.iter().map(String::as_str).collect::<Vec<_>>())).await
}

fn bytes(project: &Project, name: &str) -> Vec<u8> {
    std::fs::read(project.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn names(project: &Project, folder: &str) -> Vec<String> {
    let base = project.path(folder);
    let files = project.files(folder).into_iter();
    files.map(|path| path.strip_prefix(&base).expect("it is below").display().to_string()).collect()
}

fn message(report: &Value) -> &str {
    report["streams"][0]["failures"][0]["message"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_copies_a_large_file_by_many_ranges_at_once() {
    let content = content(40 * MIB + 123);
    let sent = content.clone();
    let server = serve(move |request| {
        ranged(request, &sent, "\"v1\"").chunk_delay(std::time::Duration::from_millis(50))
    })
    .await;
    let project = Arc::new(Project::new());
    let ended = towpath(
        &project,
        &["copy", &server.url("/x/big.iso"), "file:./downloads/", "--memory", "24MiB", "--json"],
    )
    .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(bytes(&project, "downloads/big.iso") == content);
    assert_eq!(names(&project, "downloads"), ["big.iso"]);
    assert!(server.peak() > 1, "{} at once", server.peak());
    let report: Value = serde_json::from_str(&ended.stdout).expect("a report");
    let peak = report["peak_budget"].as_u64().expect("a number");
    assert!(peak > 0 && peak <= 24 << 20, "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_arrive_whole_though_connections_are_cut() {
    let server = serve(|request| {
        let length = request.path[1..].parse::<usize>().expect("a number") * 40_000;
        let answer = ranged(request, &content(length), "\"v1\"");
        if request.method == "GET" && request.attempt == 1 && length > 0 {
            answer.cut_after(length / 2)
        } else {
            answer
        }
    })
    .await;
    let project = Arc::new(Project::new());
    let source = format!("url: \"{}/{{n}}\"\n      params: {{ n: {{ from: 0, to: 60 }} }}", server.url(""));
    project.write("pipeline.yaml", pipeline(&source, ""));
    let (code, report) = run(&project).await;
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(project.files("out").len(), 61);
    for number in 0..=60 {
        assert!(bytes(&project, &format!("out/{number}")) == content(number * 40_000), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_download_goes_on_where_it_was_and_asks_only_for_what_is_missing() {
    let content = content(12 * MIB + 7);
    let (stalls, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (does_stall, count, sent) = (stalls.clone(), asked.clone(), content.clone());
    let server = TestServer::start(move |request| {
        let answer = ranged(&request, &sent, "\"v1\"");
        let waits = request.method == "GET" && does_stall.load(SeqCst) && count.fetch_add(1, SeqCst) >= 5;
        async move { if waits { Response::never() } else { answer } }
    })
    .await;
    let project = Arc::new(Project::new());
    let source = format!("url: \"{}\"\n      download: {{ part_bytes: 1MiB }}", server.url("/big.iso"));
    project.write("pipeline.yaml", pipeline(&source, "commit: { rows: 1 }"));
    let mut child = project.start();
    let committed = || {
        let manifest = std::fs::read(project.path("out/.towpath/files/files/manifest.json")).ok()?;
        let manifest: Value = serde_json::from_slice(&manifest).ok()?;
        let file = manifest["partials"].as_object()?.values().next()?.clone();
        let ranges =
            file["ranges"].as_array()?.iter().map(|range| range[1].as_u64()?.checked_sub(range[0].as_u64()?));
        ranges.sum::<Option<u64>>()
    };
    // The last part is small; any five of the thirteen have come.
    until("what was served is committed", || {
        committed() >= Some(4 * MIB as u64 + 7) && asked.load(SeqCst) > 5
    })
    .await;
    signal(&child, "KILL");
    blocking(move || child.wait()).await.expect("it was killed");
    assert!(!project.path("out/big.iso").exists(), "nothing half is visible");
    let held = committed().expect("it was committed");
    stalls.store(false, SeqCst);
    server.clear();
    let (code, report) = run(&project).await;
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["streams"][0]["resumed"], true);
    assert!(bytes(&project, "out/big.iso") == content);
    let asked: u64 = server
        .requests()
        .iter()
        .filter_map(|recorded| recorded.request.header("range")?.strip_prefix("bytes=")?.split_once('-'))
        .map(|(from, to)| to.parse::<u64>().expect("a number") + 1 - from.parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(asked, content.len() as u64 - held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_in_the_middle_fails_and_is_not_there() {
    let (old, new) = (content(4 * MIB), Bytes::from(vec![7; 4 * MIB]));
    let gets = AtomicUsize::new(0);
    let server = serve(move |request| {
        let is_old = request.method == "HEAD" || gets.fetch_add(1, SeqCst) == 0;
        if is_old { ranged(request, &old, "\"v1\"") } else { ranged(request, &new, "\"v2\"") }
    })
    .await;
    let project = Arc::new(Project::new());
    let source = format!("url: \"{}\"\n      download: {{ part_bytes: 1MiB }}", server.url("/a.bin"));
    project.write("pipeline.yaml", pipeline(&source, ""));
    let (code, report) = run(&project).await;
    assert_eq!(code, Some(1), "{report:#}");
    assert!(message(&report).contains("the file has changed since its download began"), "{report:#}");
    assert!(project.files("out").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_fails_names_the_file_and_the_next_run_downloads_it_anew() {
    let is_good = Arc::new(AtomicBool::new(false));
    let good = is_good.clone();
    let server = serve(move |request| {
        let text = if request.path == "/bad" && !good.load(SeqCst) { "tost" } else { "test" };
        Response::text(text).header("repr-digest", "md5=:CY9rzUYh03PK3k6DJie09g==:")
    })
    .await;
    let project = Arc::new(Project::new());
    let urls = |names: &[&str]| {
        let urls: Vec<_> = names.iter().map(|name| format!("\"{}\"", server.url(name))).collect();
        format!("urls: [{}]", urls.join(", "))
    };
    project.write("pipeline.yaml", pipeline(&urls(&["/bad"]), ""));
    let (code, report) = run(&project).await;
    assert_eq!(code, Some(1), "{report:#}");
    let wanted = "bad: its digest is md5:e8ffe7459baa4a1b2b9f6b4f9f4d1a0e";
    assert!(message(&report).contains(&wanted[..wanted.len() - 32]), "{report:#}");
    assert!(message(&report).contains("and must be md5:098f6bcd4621d373cade4e832627b4f6"), "{report:#}");
    assert!(project.files("out").is_empty());
    is_good.store(true, SeqCst);
    let (code, report) = run(&project).await;
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(project.read("out/bad"), "test");

    is_good.store(false, SeqCst);
    let project = Arc::new(Project::new());
    let dead = "dead_letter: { connector: file, path: \"dead/{part}.ndjson\" }";
    project.write("pipeline.yaml", pipeline(&urls(&["/a", "/bad", "/c"]), dead));
    let (code, report) = run(&project).await;
    assert_eq!(names(&project, "out"), ["a", "c"], "{report:#}");
    assert_eq!(report["streams"][0]["rows_rejected"], 1, "{code:?} {report:#}");
    let rejected = project.rows("dead");
    assert_eq!((rejected.len(), rejected[0]["place"].as_str()), (1, Some("bad")));
}

#[tokio::test(flavor = "multi_thread")]
async fn evil_names_stay_in_their_folder() {
    let evil = [
        "../../evil",
        "/etc/cron.d/evil",
        "..\\..\\evil",
        "evil\u{202e}txt.exe",
        ".ssh",
        "..",
        ".",
        "nul",
        "a\tb",
        ".towpath",
    ];
    let disposition: Arc<Mutex<Vec<String>>> = Arc::new(Mutex::new(
        evil.iter().map(|name| format!("attachment; filename=\"{}\"", name.replace('\\', "\\\\"))).collect(),
    ));
    let told = disposition.clone();
    let server = serve(move |request| {
        let number: usize = request.path[1..].parse().expect("a number");
        Response::text("x")
            .header("content-disposition", told.lock().expect("no test panicked")[number].clone())
    })
    .await;
    let project = Arc::new(Project::new());
    let source = format!(
        "url: \"{}/{{n}}\"\n      params: {{ n: {{ from: 0, to: {} }} }}\n      download: {{ same_name: number }}",
        server.url(""),
        evil.len() - 1
    );
    project.write("deep/er/pipeline.yaml", "");
    project.write("pipeline.yaml", pipeline(&source, "").replace("out/", "deep/er/out/"));
    let (code, report) = run(&project).await;
    assert_eq!(code, Some(0), "{report:#}");
    let mut found = names(&project, "deep/er/out");
    found.sort();
    assert_eq!(found.len(), evil.len(), "{found:?}");
    assert!(found.iter().all(|name| !name.contains('/') && !name.starts_with('.')), "{found:?}");
    assert_eq!(names(&project, "").len(), evil.len() + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_rows_are_not_taken_for_each_other() {
    let server = serve(|_| Response::json(&serde_json::json!([{ "id": 1 }]))).await;
    let project = Arc::new(Project::new());
    let text = pipeline(&format!("url: \"{}\"", server.url("/a.json")), "");
    project.write("pipeline.yaml", text.replace("path: out/, format: bytes", "path: out.parquet"));
    let (code, report) = run(&project).await;
    assert_eq!(code, Some(1), "{report:#}");
    let said = message(&report);
    assert!(said.contains("the source gives whole files as bytes, and the sink takes rows"), "{said}");
    project.write("pipeline.yaml", text.replace("      format: bytes\n", ""));
    let (code, report) = run(&project).await;
    assert_eq!(code, Some(1), "{report:#}");
    let said = message(&report);
    assert!(said.contains("the sink takes whole files as bytes, and the source gives rows"), "{said}");
    assert!(project.files("out").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replace_swaps_all_files_at_once() {
    let server = serve(|request| Response::text(request.path.clone())).await;
    let project = Arc::new(Project::new());
    let load = |names: &[&str]| {
        let urls: Vec<_> = names.iter().map(|name| format!("\"{}\"", server.url(name))).collect();
        pipeline(&format!("urls: [{}]", urls.join(", ")), "write_disposition: replace")
    };
    project.write("out/mine.txt", "mine");
    for (urls, expected) in [(["/a", "/b"], ["a", "b", "mine.txt"]), (["/b", "/c"], ["b", "c", "mine.txt"])] {
        project.write("pipeline.yaml", load(&urls));
        let (code, report) = run(&project).await;
        assert_eq!(code, Some(0), "{report:#}");
        assert_eq!(names(&project, "out"), expected);
    }
    assert_eq!(project.read("out/c"), "/c");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_copied_as_it_is() {
    let project = Arc::new(Project::new());
    let large = content(3 * MIB + 1);
    project.write("in/deep/large.bin", &large);
    project.write("in/a.csv", "id\n1\n");
    let ended = towpath(&project, &["copy", "in/", "out/"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(names(&project, "out"), ["a.csv", "deep/large.bin"]);
    assert!(bytes(&project, "out/deep/large.bin") == large);
}
