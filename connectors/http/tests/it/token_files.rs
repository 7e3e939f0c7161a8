//! Refresh tokens that are kept from one run to the next, and tokens without an end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use serde_json::json;
use towpath_core::{ErrorKind, Json};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::auth::{form, text};
use crate::support::{error, ids, open, read, with};

/// A server on which each refresh token is good once.
async fn server() -> TestServer {
    let count = Arc::new(AtomicU64::new(0));
    TestServer::start(move |request: Request| {
        let count = count.clone();
        async move {
            if request.path != "/token" {
                return Response::json(&json!([{"id": 0}]));
            }
            let form = form(&request);
            let refresh = if form.contains("refresh_token=agreed-again") {
                "other-1".to_owned()
            } else if form.contains(&format!("refresh_token=refresh-{}&", count.load(SeqCst))) {
                format!("refresh-{}", count.fetch_add(1, SeqCst) + 1)
            } else {
                return Response::json(&json!({"error": "invalid_grant"})).with_status(400);
            };
            Response::json(&json!({"access_token": "access", "refresh_token": refresh}))
        }
    })
    .await
}

fn options(server: &TestServer, file: &Path, refresh_token: &str) -> Json {
    let auth = json!({
        "type": "oauth2_refresh_token",
        "token_url": server.url("/token"),
        "client_id": "ann",
        "refresh_token": refresh_token,
        "token_file": file,
    });
    with(server.url("/items"), json!({ "auth": auth }))
}

#[tokio::test]
async fn the_last_refresh_token_is_kept_for_the_next_run() {
    let (server, folder) = (server().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("token.json");
    for _ in 0..3 {
        assert_eq!(read(options(&server, &file, "refresh-0")).await.unwrap(), ids(0..1));
    }
    // Nothing else than what is locked is left behind, and nobody else may read it.
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let lock = folder.path().join("token.json.lock");
    assert!(left.len() == 2 && left.contains(&file) && left.contains(&lock), "{left:?}");
    #[cfg(unix)]
    for path in [&file, &lock] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains("refresh-3") && !kept.contains("refresh-0"), "{kept}");
    // Somebody has agreed anew: what the pipeline says is newer.
    read(options(&server, &file, "agreed-again")).await.unwrap();
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains("other-1"), "{kept}");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_noticed_before_a_token_is_spent() {
    let (server, folder) = (server().await, tempfile::tempdir().unwrap());
    let missing = folder.path().join("nowhere").join("token.json");
    let found = error(options(&server, &missing, "refresh-0")).await;
    assert_eq!(found.kind(), ErrorKind::NotFound);
    assert!(found.to_string().contains("nowhere"), "{found}");
    let odd = folder.path().join("odd.json");
    std::fs::write(&odd, "{\"hush\": 1}").unwrap();
    let found = error(options(&server, &odd, "refresh-0")).await;
    assert_eq!(
        (found.kind(), found.message()),
        (ErrorKind::DataInvalid, "`token_file` holds no refresh token")
    );
    assert!(!text(&found).contains("hush"), "{found:?}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_new_token_that_cannot_be_kept_is_used_and_the_report_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sub").join("token.json");
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    let gone = folder.path().join("sub");
    let server = TestServer::start(move |request: Request| {
        let gone = gone.clone();
        async move {
            if request.path != "/token" {
                return Response::json(&json!([{"id": 0}]));
            }
            // The folder goes while the token is on its way.
            std::fs::remove_dir_all(gone).unwrap();
            Response::json(&json!({"access_token": "access", "refresh_token": "hush-1"}))
        }
    })
    .await;
    let opened = open(options(&server, &file, "refresh-0")).await;
    assert_eq!(opened.rows().await.unwrap(), ids(0..1));
    let warnings = opened.cx.metrics().warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("the next run needs another one"), "{warnings:?}");
    assert!(!warnings[0].contains("hush") && warnings[0].contains("token.json"), "{warnings:?}");
}

#[tokio::test]
async fn a_token_that_is_said_to_end_at_once_is_used_until_it_is_refused() {
    let server = TestServer::start(|request: Request| async move {
        match request.path.as_str() {
            "/token" => Response::json(&json!({"access_token": "access", "expires_in": 0})),
            _ => Response::json(&json!([{"id": 0}])),
        }
    })
    .await;
    let auth = json!({
        "type": "oauth2_client_credentials",
        "token_url": server.url("/token"),
        "client_id": "ann",
        "client_secret": "hush-secret",
    });
    let opened = open(with(server.url("/items"), json!({ "auth": auth }))).await;
    for _ in 0..2 {
        assert_eq!(opened.rows().await.unwrap(), ids(0..1));
    }
    assert_eq!(server.targets(), ["/token", "/items", "/items"]);
}

/// A server on which each refresh token is good once, and only the access token that came last.
async fn strict_server(expires_in: Option<u64>) -> (TestServer, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let shared = count.clone();
    let server = TestServer::start(move |request: Request| {
        let count = shared.clone();
        async move {
            let now = count.load(SeqCst);
            if request.path != "/token" {
                let is_last = request.header("authorization") == Some(&*format!("Bearer access-{now}"));
                return if is_last { Response::json(&json!([{"id": 0}])) } else { Response::status(401) };
            }
            if !form(&request).contains(&format!("refresh_token=refresh-{now}&")) {
                return Response::json(&json!({"error": "invalid_grant"})).with_status(400);
            }
            let next = count.fetch_add(1, SeqCst) + 1;
            let mut answer = json!({
                "access_token": format!("access-{next}"),
                "refresh_token": format!("refresh-{next}"),
            });
            if let Some(seconds) = expires_in {
                answer["expires_in"] = json!(seconds);
            }
            Response::json(&answer).delay(Duration::from_millis(100))
        }
    })
    .await;
    (server, count)
}

#[tokio::test]
async fn clients_that_refresh_at_once_spend_one_refresh_token() {
    let ((server, count), folder) = (strict_server(Some(3600)).await, tempfile::tempdir().unwrap());
    let file = folder.path().join("token.json");
    let all = (0..6).map(|_| read(options(&server, &file, "refresh-0")));
    for rows in futures::future::join_all(all).await {
        assert_eq!(rows.unwrap(), ids(0..1));
    }
    assert_eq!(count.load(SeqCst), 1);
    // With other options it would be another token.
    let mut other = options(&server, &file, "refresh-0");
    other["auth"]["scopes"] = json!(["more"]);
    assert_eq!(read(other).await.unwrap(), ids(0..1));
    assert_eq!(count.load(SeqCst), 2);
}

#[tokio::test]
async fn tokens_without_an_end_are_fetched_by_one_client_after_the_other() {
    let (server, folder) = (server().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("token.json");
    let all = (0..6).map(|_| read(options(&server, &file, "refresh-0")));
    for rows in futures::future::join_all(all).await {
        assert_eq!(rows.unwrap(), ids(0..1));
    }
    assert!(std::fs::read_to_string(&file).unwrap().contains("refresh-6"));
}

#[tokio::test]
async fn a_token_that_is_refused_is_fetched_anew_once_for_all_clients() {
    let ((server, count), folder) = (strict_server(Some(3600)).await, tempfile::tempdir().unwrap());
    let file = folder.path().join("token.json");
    let (one, other) =
        (open(options(&server, &file, "refresh-0")).await, open(options(&server, &file, "refresh-0")).await);
    assert_eq!((one.rows().await.unwrap(), other.rows().await.unwrap()), (ids(0..1), ids(0..1)));
    // The server takes the token back, without another one.
    count.store(2, SeqCst);
    let kept = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, kept.replace("refresh-1", "refresh-2")).unwrap();
    assert_eq!((one.rows().await.unwrap(), other.rows().await.unwrap()), (ids(0..1), ids(0..1)));
    assert_eq!(count.load(SeqCst), 3);
}

#[tokio::test]
async fn a_lock_that_cannot_be_had_is_told_before_a_token_is_spent() {
    let (server, folder) = (server().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("token.json");
    std::fs::create_dir(folder.path().join("token.json.lock")).unwrap();
    let found = error(options(&server, &file, "refresh-0")).await.to_string();
    assert!(found.contains("lock `token_file`") && found.contains("token.json.lock"), "{found}");
    assert!(server.requests().is_empty());
}
