//! Refresh tokens that are kept from one run to the next, and tokens without an end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

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
    // Nothing else is left behind, and nobody else may read it.
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, std::slice::from_ref(&file));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
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
