//! Runs that are interrupted or killed, and go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use serde_json::Value;
use tokio::sync::watch;
use towpath_testkit::http::TestServer;
use towpath_tests::{Project, assert_a_kill_is_survived, blocking, numbered_csv, signal, until};

use super::servers::{numbered, pages};

const TEMPLATE: &str = "{ connector: file, path: \"out/{run}-{part}-{sequence}.ndjson\" }";

/// A server of `total` pages that answers `before` requests, and lets others wait while it stalls.
struct Stalling {
    server: TestServer,
    asked: Arc<AtomicUsize>,
    stalls: Arc<AtomicBool>,
    released: watch::Sender<bool>,
}

impl Stalling {
    async fn start(total: u64, before: usize) -> Self {
        let (stalls, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let released = watch::Sender::new(false);
        let (does_stall, count, release) = (stalls.clone(), asked.clone(), released.clone());
        let server = TestServer::start(move |request| {
            let waits = count.fetch_add(1, SeqCst) >= before && does_stall.load(SeqCst);
            let mut release = release.subscribe();
            async move {
                if waits {
                    let _ = release.wait_for(|released| *released).await;
                }
                numbered(&request, total)
            }
        })
        .await;
        Self { server, asked, stalls, released }
    }

    /// Requests that come from now on are answered; those that wait go on waiting.
    fn heal(&self) {
        self.stalls.store(false, SeqCst);
    }

    async fn until_stalled(&self, before: usize) {
        until("the server stalls", || self.asked.load(SeqCst) > before).await;
    }

    /// A pipeline over its pages, one after the other, so that some are committed while a later one stalls.
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
async fn a_run_that_is_killed_anywhere_is_finished_by_the_next_without_a_lost_or_doubled_row() {
    for before in [1, 4, 9] {
        let api = Stalling::start(12, before).await;
        let project = Arc::new(Project::new());
        project.write("pipeline.yaml", api.pipeline(TEMPLATE));
        let mut child = project.start();
        api.until_stalled(before).await;
        if before > 4 {
            until("rows are committed", || !project.files("out").is_empty()).await;
        }
        signal(&child, "KILL");
        blocking(move || child.wait()).await.expect("it was killed");
        api.heal();
        let (code, report) = run(&project).await;
        assert_eq!(code, Some(0), "{report:#}");
        assert_eq!(project.ids("out"), (0..120).collect::<Vec<_>>(), "killed after {before} requests");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_interrupted_commits_what_it_read_and_exits_130() {
    let api = Stalling::start(12, 5).await;
    let project = Arc::new(Project::new());
    project.write("pipeline.yaml", api.pipeline(TEMPLATE));
    let mut child = project.start();
    api.until_stalled(5).await;
    until("rows are committed", || !project.files("out").is_empty()).await;
    signal(&child, "INT");
    let ended = blocking(move || child.wait()).await.expect("it ends");
    assert_eq!(ended.code(), Some(130));
    let committed = project.ids("out").len();
    assert!(committed > 0 && committed < 120, "{committed}");
    api.heal();
    let (code, report) = run(&project).await;
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["streams"][0]["resumed"], true);
    assert_eq!(project.ids("out"), (0..120).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replace_that_is_killed_keeps_the_old_rows_until_one_is_complete() {
    let api = Stalling::start(6, 3).await;
    let project = Arc::new(Project::new());
    project.write("out/rows.ndjson", "{\"id\":7}\n");
    project.write("pipeline.yaml", api.pipeline("{ connector: file, path: out/rows.ndjson }"));
    let mut child = project.start();
    api.until_stalled(3).await;
    signal(&child, "KILL");
    blocking(move || child.wait()).await.expect("it was killed");
    assert_eq!(project.ids("out"), [7]);
    api.heal();
    let (code, report) = run(&project).await;
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["streams"][0]["resumed"], false);
    assert_eq!(project.ids("out"), (0..60).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_fences_the_first() {
    for sink in [TEMPLATE, "{ connector: file, path: out/rows.ndjson }"] {
        // The first run has committed nothing yet, so both would load everything.
        let api = Stalling::start(5, 1).await;
        let project = Arc::new(Project::new());
        project.write("pipeline.yaml", api.pipeline(sink).replace("rows: 10", "rows: 1000"));
        let running = project.clone();
        let first = tokio::task::spawn_blocking(move || running.run());
        api.until_stalled(1).await;
        api.heal();
        let (code, report) = run(&project).await;
        assert_eq!(code, Some(0), "{report:#}");
        api.released.send_replace(true);
        let (first, report) = first.await.expect("it ends");
        assert_eq!(first.code, Some(1), "{report:#}");
        assert_eq!(report["streams"][0]["failures"][0]["kind"], "conflict", "{report:#}");
        assert_eq!(project.ids("out"), (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_that_is_killed_in_the_middle_goes_on_behind_what_was_committed() {
    let project = Project::new();
    project.write("in/rows.csv", numbered_csv(400_000));
    let source = "{ connector: file, path: in/rows.csv, split_size: 1MiB }";
    assert_a_kill_is_survived(project, source, 400_000).await;
}
