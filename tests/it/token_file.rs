//! Runs at the same time that share one `token_file`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use serde_json::json;
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_tests::{Project, blocking};

const RUNS: usize = 4;

/// A server on which each refresh token is good once. It remembers how often one was spent twice.
async fn server(expires_in: Option<u64>) -> (TestServer, Arc<[AtomicU64; 2]>) {
    let counts: Arc<[AtomicU64; 2]> = Arc::default();
    let shared = counts.clone();
    let server = TestServer::start(move |request: Request| {
        let counts = shared.clone();
        async move {
            let [given, twice] = &*counts;
            if request.path != "/token" {
                return Response::json(&json!([{ "id": 1 }]));
            }
            let spent = format!("refresh_token=refresh-{}&", given.load(SeqCst));
            if !String::from_utf8_lossy(&request.body).contains(&spent) {
                twice.fetch_add(1, SeqCst);
                return Response::json(&json!({ "error": "invalid_grant" })).with_status(400);
            }
            let next = given.fetch_add(1, SeqCst) + 1;
            let refresh = format!("refresh-{next}");
            let mut answer = json!({ "access_token": "access", "refresh_token": refresh });
            if let Some(seconds) = expires_in {
                answer["expires_in"] = json!(seconds);
            }
            Response::json(&answer).delay(Duration::from_millis(200))
        }
    })
    .await;
    (server, counts)
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_refresh_at_once_lose_no_refresh_token() {
    // With an end to its tokens, a server is asked once; without one, by each of them in turn.
    for (expires_in, asked) in [(Some(3600), 1), (None, RUNS as u64)] {
        let (server, counts) = server(expires_in).await;
        let shared = Project::new();
        let projects: Vec<_> = (0..RUNS).map(|_| Arc::new(Project::new())).collect();
        let text = format!(
            "name: shop\nstreams:\n  items:\n    source:\n      connector: http\n      url: \"{}\"\n      \
               auth: {{ type: oauth2_refresh_token, token_url: \"{}\", client_id: ann, refresh_token: refresh-0, \
                 token_file: \"{}\" }}\n    sink: {{ connector: file, path: out.ndjson }}\n",
            server.url("/items"),
            server.url("/token"),
            shared.path("token.json").display(),
        );
        let runs = projects.iter().map(|project| {
            project.write("pipeline.yaml", &text);
            let project = project.clone();
            blocking(move || project.run())
        });
        for (ended, report) in futures::future::join_all(runs).await {
            assert_eq!(ended.code, Some(0), "{report:#}");
        }
        let [given, twice] = [0, 1].map(|count| counts[count].load(SeqCst));
        assert_eq!((given, twice), (asked, 0));
        assert!(shared.read("token.json").contains(&format!("refresh-{asked}")));
    }
}
