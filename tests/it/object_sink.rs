//! Object storage on a real server: runs that are killed anywhere, and runs at the same time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use towpath_testkit::http::TestServer;
use towpath_tests::{Project, blocking, signal};
use url::Url;

use super::servers::{numbered, pages};

/// Anybody may list and read it, so what was written is seen as a stranger sees it.
const BUCKET: &str = "public";

/// A prefix of the test's own.
struct Prefix {
    server: Url,
    name: String,
}

impl Prefix {
    fn new() -> Self {
        let url = std::env::var("TOWPATH_TEST_S3_URL")
            .expect("these tests need a server: run them by `cargo xtask test`, or set TOWPATH_TEST_S3_URL");
        let unique = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        Self {
            server: Url::parse(&url).expect("TOWPATH_TEST_S3_URL is a URL"),
            name: format!("test-{unique:016x}"),
        }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.server.port().expect("the URL has a port"))
    }

    /// A sink that writes below the prefix.
    fn sink(&self, path: &str, more: &str) -> String {
        let secret = self.server.password().expect("the URL has a password");
        format!(
            "{{ connector: s3, bucket: {BUCKET}, path: \"{}/{path}\", endpoint: \"http://{}\", \
             access_key_id: towpath, secret_access_key: \"{secret}\"{more} }}",
            self.name,
            self.address()
        )
    }

    /// The body of an answer.
    fn get(&self, target: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).expect("the server listens");
        let host = self.address();
        write!(stream, "GET /{BUCKET}{target} HTTP/1.0\r\nHost: {host}\r\n\r\n").expect("it takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers in text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        assert!(head.contains(" 200 "), "{target}: {answer}");
        body.to_owned()
    }

    /// All keys below the prefix.
    fn keys(&self) -> Vec<String> {
        let listing = self.get(&format!("?list-type=2&max-keys=1000&prefix={}/", self.name));
        assert!(listing.contains("<IsTruncated>false"), "more than a page: {listing}");
        let keys = listing.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap_or_default());
        keys.map(str::to_owned).collect()
    }

    /// The keys that a person would see.
    fn visible(&self) -> Vec<String> {
        self.keys().into_iter().filter(|key| !key.contains("/.towpath/")).collect()
    }

    /// The `id`s of all visible rows, sorted.
    fn ids(&self) -> Vec<u64> {
        let mut ids = Vec::new();
        for key in self.visible() {
            let text = self.get(&format!("/{key}"));
            ids.extend(text.lines().map(|line| {
                let row: Value = serde_json::from_str(line).expect("a line is JSON");
                row["id"].as_u64().expect("a row has an id")
            }));
        }
        ids.sort_unstable();
        ids
    }

    /// The keys of all objects that the manifest names.
    fn committed(&self) -> Vec<String> {
        let hidden = self.keys();
        let manifest =
            hidden.iter().find(|key| key.ends_with("/manifest.json")).expect("there is a manifest");
        let folder = manifest.trim_end_matches("manifest.json");
        let manifest: Value = serde_json::from_str(&self.get(&format!("/{manifest}"))).expect("it is JSON");
        let mut keys = Vec::new();
        for list in manifest["commits"].as_array().into_iter().flatten() {
            let list = self.get(&format!("/{folder}commits/{}", list.as_str().expect("a list has a name")));
            let list: Value = serde_json::from_str(&list).expect("it is JSON");
            for file in list["files"].as_array().into_iter().flatten() {
                keys.push(format!("{}/{}", self.name, file["path"].as_str().expect("a file has a path")));
            }
        }
        keys.sort();
        keys
    }
}

/// A server of pages that answers up to one of them, which grows.
struct Growing {
    server: TestServer,
    open: Arc<AtomicU64>,
    released: watch::Sender<bool>,
}

impl Growing {
    async fn start(total: u64) -> Self {
        let open = Arc::new(AtomicU64::new(0));
        let released = watch::Sender::new(false);
        let (most, release) = (open.clone(), released.clone());
        let server = TestServer::start(move |request| {
            let number = request.number("page").unwrap_or(0);
            let waits = number > most.load(SeqCst);
            let mut release = release.subscribe();
            async move {
                if waits {
                    let _ = release.wait_for(|released| *released).await;
                }
                numbered(&request, total)
            }
        })
        .await;
        Self { server, open, released }
    }

    fn pipeline(&self, sink: &str) -> String {
        pages(&self.server.url(""), sink).replace("path: /rows\n", "path: /rows\n      pages_in_flight: 1\n")
    }
}

async fn run(project: &Arc<Project>) -> (Option<i32>, Value) {
    let project = project.clone();
    let (ended, report) = blocking(move || project.run()).await;
    (ended.code, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_killed_twenty_times_is_complete_in_the_end_and_leaves_nothing_behind() {
    const PAGES: u64 = 70;
    let prefix = Prefix::new();
    let api = Growing::start(PAGES).await;
    let project = Arc::new(Project::new());
    let sink = prefix.sink("{run}-{part}-{sequence}.ndjson", "");
    project.write("pipeline.yaml", api.pipeline(&sink));
    let mut random = fastrand::Rng::with_seed(20);
    for killed in 1..=20 {
        api.open.store(killed * 3, SeqCst);
        let mut child = project.start();
        // Wherever it is by then.
        tokio::time::sleep(Duration::from_millis(random.u64(30..700))).await;
        signal(&child, "KILL");
        blocking(move || child.wait()).await.expect("it was killed");
    }
    api.open.store(PAGES, SeqCst);
    let (code, report) = run(&project).await;
    assert_eq!(code, Some(0), "{report:#}");
    let found = prefix;
    let (ids, visible, committed) = blocking(move || (found.ids(), found.visible(), found.committed())).await;
    assert_eq!(ids, (0..PAGES * 10).collect::<Vec<_>>());
    assert_eq!(visible, committed, "every object stands in the manifest, and no other");
    let swept = project.towpath(&["state", "sweep", "pipeline.yaml", "--json"]);
    let swept: Value =
        serde_json::from_str(&swept.stdout).unwrap_or_else(|error| panic!("{error}: {swept:?}"));
    assert_eq!(swept["swept"][0]["removed"], serde_json::json!([]), "{swept:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_fences_the_first() {
    for path in ["{run}-{part}-{sequence}.ndjson", "all.ndjson"] {
        let prefix = Prefix::new();
        let api = Growing::start(5).await;
        let project = Arc::new(Project::new());
        let pipeline = api.pipeline(&prefix.sink(path, "")).replace("rows: 10", "rows: 1000");
        project.write("pipeline.yaml", pipeline);
        api.open.store(1, SeqCst);
        let running = project.clone();
        let first = tokio::task::spawn_blocking(move || running.run());
        towpath_tests::until("the first run reads", || api.server.requests().len() > 1).await;
        api.open.store(5, SeqCst);
        let (code, report) = run(&project).await;
        assert_eq!(code, Some(0), "{report:#}");
        api.released.send_replace(true);
        let (first, report) = first.await.expect("it ends");
        assert_eq!(first.code, Some(1), "{report:#}");
        assert_eq!(report["streams"][0]["failures"][0]["kind"], "conflict", "{report:#}");
        assert_eq!(blocking(move || prefix.ids()).await, (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_files_are_copied_into_a_bucket_from_bucket_to_bucket_and_back() {
    let prefix = Prefix::new();
    let project = Project::new();
    let large: Vec<u8> =
        (0..20_000_003_u32).map(|at| u8::try_from((at / 7 + at % 251) % 256).unwrap_or(0)).collect();
    project.write("in/large.bin", &large);
    project.write("in/deep/small.txt", "hello");
    project.write("in/empty", "");
    let endpoint = format!("endpoint=http://{}", prefix.address());
    let secret = format!("secret_access_key={}", prefix.server.password().expect("the URL has a password"));
    let options = |side: &'static str| {
        let values = [endpoint.clone(), "access_key_id=towpath".to_owned(), secret.clone()];
        values.into_iter().flat_map(move |value| [side.to_owned(), value]).collect::<Vec<_>>()
    };
    let copy = |from: &str, to: &str, more: Vec<String>| {
        let mut arguments = vec!["copy".to_owned(), from.to_owned(), to.to_owned()];
        arguments.extend(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = project.towpath(&arguments);
        assert_eq!(ended.code, Some(0), "{from} to {to}: {ended:?}");
    };
    let place = |folder: &str| format!("s3://{BUCKET}/{}/{folder}/", prefix.name);
    copy("in/", &place("one"), options("--sink"));
    let both = [options("--source"), options("--sink")].concat();
    copy(&place("one"), &place("two"), both);
    copy(&place("two"), "out/", options("--source"));
    assert!(std::fs::read(project.path("out/large.bin")).expect("it is there") == large, "the bytes differ");
    assert_eq!(project.read("out/deep/small.txt"), "hello");
    assert_eq!(project.read("out/empty"), "");
    assert_eq!(project.files("out").len(), 3, "nothing that the target remembers is copied");
}
