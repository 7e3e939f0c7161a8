//! Credentials from tokens, connection strings and the environment. The environment that says so is one of another process:
//! this test binary again, for one test.

use std::process::Command;

use serde_json::json;
use towpath_core::{ErrorKind, Json};
use towpath_testkit::http::{Response, TestServer};
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, error};

use crate::account::{account, endpoint, key, sas, token};
use crate::support::Prefix;

/// Set in the other process.
const INSIDE: &str = "TOWPATH_TEST_INSIDE";

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs one test of this binary with these variables.
async fn run(test: &'static str, variables: Vec<(&'static str, String)>) {
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([test, "--exact", "--nocapture"]).env(INSIDE, "1").envs(variables).output().unwrap()
    })
    .await
    .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Reads with these credentials.
async fn reads(more: Json) {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let mut options = json!({"access_key": null});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_eq!(prefix.read("*.csv", &options).await.unwrap(), [json!({"n": 1})], "{more}");
}

/// A server that gives out tokens.
async fn directory(lifetime: u64) -> TestServer {
    TestServer::start(move |_| async move {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let until = (now + lifetime).to_string();
        Response::json(&json!({"access_token": token(3600), "expires_in": lifetime, "expires_on": until}))
    })
    .await
}

/// What a server was sent by its first request.
fn asked(server: &TestServer) -> String {
    String::from_utf8(server.requests().remove(0).request.body.to_vec()).unwrap()
}

#[tokio::test]
async fn an_application_signs_in_with_its_secret() {
    let directory = directory(3600).await;
    reads(json!({
        "tenant_id": "ours", "client_id": "reader", "client_secret": "hush", "authority": directory.url(""),
    }))
    .await;
    let requests = directory.requests();
    assert_eq!(requests.len(), 1, "the token serves all requests");
    assert_eq!(requests[0].request.path, "/ours/oauth2/v2.0/token");
    let asked = asked(&directory);
    assert!(asked.contains("client_id=reader") && asked.contains("client_secret=hush"), "{asked}");
}

#[tokio::test]
async fn tokens_that_expire_during_a_run_are_renewed() {
    let directory = directory(30).await;
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let options = json!({
        "access_key": null, "tenant_id": "ours", "client_id": "reader", "client_secret": "hush",
        "authority": directory.url(""),
    });
    // One connection; a token is not asked for twice within a tenth of a second.
    for _ in 0..2 {
        assert_eq!(prefix.read("*.csv", &options).await.unwrap(), [json!({"n": 1})]);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert!(directory.requests().len() > 1);
}

#[tokio::test]
async fn an_application_is_vouched_for_by_the_token_of_a_file() {
    let directory = directory(3600).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "vouched").unwrap();
    reads(json!({
        "tenant_id": "ours", "client_id": "reader", "federated_token_file": file, "authority": directory.url(""),
    }))
    .await;
    assert!(asked(&directory).contains("client_assertion=vouched"));
}

#[tokio::test]
async fn a_secret_that_is_refused_is_told_and_not_shown() {
    let refusing = TestServer::start(|_| async {
        Response::json(
            &json!({"error": "invalid_client", "error_description": "AADSTS7000215: Invalid secret"}),
        )
        .with_status(401)
    })
    .await;
    let prefix = Prefix::new().await;
    let options = json!({
        "access_key": null, "tenant_id": "ours", "client_id": "reader", "client_secret": "hush",
        "authority": refusing.url(""),
    });
    let refused = error(prefix.read("*.csv", &options).await);
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    let refused = refused.to_string();
    assert!(refused.contains("AADSTS7000215") && !refused.contains("hush"), "{refused}");
}

#[tokio::test]
async fn a_signature_reads_what_it_permits() {
    let prefix = Prefix::with(&[("a b/ä.csv", "n\n1\n")]).await;
    let options = json!({"access_key": null, "sas_token": format!("?{}", sas(prefix.container, "rl"))});
    assert_eq!(prefix.read("a b/*.csv", &options).await.unwrap(), [json!({"n": 1})]);
}

#[tokio::test]
async fn a_connection_string_names_account_key_and_endpoint() {
    let text = format!("AccountName={};AccountKey={};BlobEndpoint={};", account(), key(), endpoint());
    reads(json!({"account": null, "endpoint": null, "connection_string": text})).await;
}

#[tokio::test]
async fn the_environment_may_hold_a_connection_string() {
    if is_inside() {
        return reads(json!({"account": null, "endpoint": null})).await;
    }
    let text = format!("AccountName={};AccountKey={};BlobEndpoint={};", account(), key(), endpoint());
    let variables = vec![("AZURE_STORAGE_CONNECTION_STRING", text)];
    run("credentials::the_environment_may_hold_a_connection_string", variables).await;
}

#[tokio::test]
async fn the_environment_may_hold_account_and_key() {
    if is_inside() {
        return reads(json!({"account": null, "endpoint": null})).await;
    }
    let variables = vec![
        ("AZURE_STORAGE_ACCOUNT_NAME", account()),
        ("AZURE_STORAGE_ACCOUNT_KEY", key()),
        ("AZURE_STORAGE_ENDPOINT", endpoint()),
    ];
    run("credentials::the_environment_may_hold_account_and_key", variables).await;
}

#[tokio::test]
async fn options_go_before_the_environment() {
    if is_inside() {
        return reads(json!({"access_key": key()})).await;
    }
    let variables = vec![
        ("AZURE_STORAGE_ACCOUNT_NAME", "elsewhere".to_owned()),
        ("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:1".to_owned()),
        ("AZURE_STORAGE_SAS_TOKEN", "sig=hush".to_owned()),
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=elsewhere;AccountKey=aHVzaA==".to_owned()),
    ];
    run("credentials::options_go_before_the_environment", variables).await;
}

#[tokio::test]
async fn the_identity_of_the_machine_is_used_when_nothing_else_is_there_or_when_it_is_asked_for() {
    if is_inside() {
        reads(json!({})).await;
        return reads(json!({"managed_identity": true, "client_id": "assigned"})).await;
    }
    let identity = directory(3600).await;
    let variables =
        vec![("IDENTITY_ENDPOINT", identity.url("/token")), ("IDENTITY_HEADER", "header-of-mine".to_owned())];
    let name =
        "credentials::the_identity_of_the_machine_is_used_when_nothing_else_is_there_or_when_it_is_asked_for";
    run(name, variables).await;
    let requests = identity.requests();
    assert_eq!(requests.len(), 2, "{:?}", identity.targets());
    assert_eq!(requests[0].request.header("x-identity-header"), Some("header-of-mine"));
    assert_eq!(requests[0].request.param("client_id"), None);
    assert_eq!(requests[1].request.param("client_id").as_deref(), Some("assigned"));
}

#[cfg(unix)]
#[tokio::test]
async fn the_login_of_the_command_is_used_when_it_is_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    if is_inside() {
        return reads(json!({"azure_cli": true})).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("az");
    let said =
        json!({"accessToken": token(3600), "expiresOn": "2100-01-01 00:00:00.000000", "tokenType": "Bearer"});
    std::fs::write(&program, format!("#!/bin/sh\necho '{said}'\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    run("credentials::the_login_of_the_command_is_used_when_it_is_asked_for", vec![("PATH", path)]).await;
}
