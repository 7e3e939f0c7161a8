//! Stores of objects: runs that are killed anywhere, runs at the same time, and whole files there, within and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use towpath_testkit::http::TestServer;
use towpath_tests::{Project, blocking, signal};

use super::servers::{numbered, pages};
use super::stores::{Azure, Google, Place, S3};

/// One test for each promise in each store.
macro_rules! in_each_store {
    ($($promise:ident)*) => {
        in_each_store! { @store s3: S3, $($promise)* }
        in_each_store! { @store azure: Azure, $($promise)* }
        in_each_store! { @store google: Google, $($promise)* }
    };
    (@store $store:ident: $place:ident, $($promise:ident)*) => {
        mod $store {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $promise() {
                    super::$promise::<super::$place>().await;
                }
            )*
        }
    };
}

in_each_store! {
    a_load_that_is_killed_twenty_times_is_complete_in_the_end_and_leaves_nothing_behind
    a_second_run_fences_the_first
    whole_files_are_copied_there_within_and_back
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

/// What a sweep finds to throw away.
async fn swept(project: &Arc<Project>) -> Value {
    let project = project.clone();
    let swept = blocking(move || project.towpath(&["state", "sweep", "pipeline.yaml", "--json"])).await;
    let swept: Value =
        serde_json::from_str(&swept.stdout).unwrap_or_else(|error| panic!("{error}: {swept:?}"));
    swept["swept"][0]["removed"].clone()
}

async fn a_load_that_is_killed_twenty_times_is_complete_in_the_end_and_leaves_nothing_behind<P: Place>() {
    const PAGES: u64 = 70;
    let place = P::new().await;
    let api = Growing::start(PAGES).await;
    let project = Arc::new(Project::new());
    project.write("pipeline.yaml", api.pipeline(&place.sink("{run}-{part}-{sequence}.ndjson")));
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
    let rows = report["streams"][0]["rows_committed"].as_u64();
    assert!(rows.is_some_and(|rows| rows < PAGES * 10), "the runs before were killed too early: {report:#}");
    assert_eq!(place.ids().await, (0..PAGES * 10).collect::<Vec<_>>());
    let committed = place.committed().await;
    assert_eq!(place.visible().await, committed, "every object stands in the manifest, and no other");
    assert_eq!(swept(&project).await, serde_json::json!([]));
}

async fn a_second_run_fences_the_first<P: Place>() {
    for path in ["{run}-{part}-{sequence}.ndjson", "all.ndjson"] {
        let place = P::new().await;
        let api = Growing::start(5).await;
        let project = Arc::new(Project::new());
        let pipeline = api.pipeline(&place.sink(path)).replace("rows: 10", "rows: 1000");
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
        assert_eq!(place.ids().await, (0..50).collect::<Vec<_>>());
    }
}

async fn whole_files_are_copied_there_within_and_back<P: Place>() {
    let place = P::new().await;
    let project = Arc::new(Project::new());
    let large: Vec<u8> =
        (0..20_000_003_u32).map(|at| u8::try_from((at / 7 + at % 251) % 256).unwrap_or(0)).collect();
    project.write("in/large.bin", &large);
    project.write("in/deep/small.txt", "hello");
    project.write("in/empty", "");
    let copy = async |from: &str, to: &str, more: Vec<String>| {
        let project = project.clone();
        let arguments = ["copy", "--json", from, to].map(str::to_owned).into_iter().chain(more);
        let arguments = arguments.collect::<Vec<_>>();
        let ended =
            blocking(move || project.towpath(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
        let ended = ended.await;
        assert_eq!(ended.code, Some(0), "{from} to {to}: {ended:?}");
        let report: Value = serde_json::from_str(&ended.stdout).expect("the report is JSON");
        let stream = &report["streams"][0];
        ["bytes_read", "bytes_copied"].map(|counter| stream[counter].as_u64().expect("it is a number"))
    };
    copy("in/", &place.uri("one/"), place.arguments("--sink")).await;
    let both = [place.arguments("--source"), place.arguments("--sink")].concat();
    let moved = copy(&place.uri("one/"), &place.uri("two/"), both.clone()).await;
    let all = large.len() as u64 + 5;
    assert_eq!(moved, if P::COPIES { [0, all] } else { [all, 0] }, "read, and copied by the service");
    // Who wants to see the rows reads them.
    let looked = [both, ["--transform", "filter: size > 5"].map(str::to_owned).into()].concat();
    assert_eq!(copy(&place.uri("one/"), &place.uri("three/"), looked).await, [all, 0]);
    copy(&place.uri("two/"), "out/", place.arguments("--source")).await;
    assert!(std::fs::read(project.path("out/large.bin")).expect("it is there") == large, "the bytes differ");
    assert_eq!(project.read("out/deep/small.txt"), "hello");
    assert_eq!(project.read("out/empty"), "");
    assert_eq!(project.files("out").len(), 3, "nothing that the target remembers is copied");
}
