//! Who is asking. What depends on the environment runs in a process of its own.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use towpath_core::ErrorKind;
use towpath_testkit::gcs::{Conduct, FEDERATED};
use towpath_testkit::http::Response;
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, error};

use crate::support::Site;

/// The variable that tells a test that it is the inner one.
const INSIDE: &str = "TOWPATH_GCS_INSIDE";

/// Runs a test of this file again with other variables, on this server, and no login of whoever runs the tests.
async fn inside(test: &str, site: &Site, variables: &[(&str, String)]) {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("credentials::{test}"), "--nocapture"]).env(INSIDE, site.server.url());
    for name in ["GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST", "GOOGLE_CLOUD_PROJECT"] {
        command.env_remove(name);
    }
    command.env("CLOUDSDK_CONFIG", "/nowhere").envs(variables.iter().map(|(name, value)| (name, value)));
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}

/// The outer server, for the inner test.
fn outer() -> Option<String> {
    std::env::var(INSIDE).ok()
}

/// Reads `*.csv` of the outer server with what the environment says.
async fn read_outer(endpoint: &str) -> towpath_core::Result<Vec<serde_json::Value>> {
    let site = Site::new().await;
    site.read("*.csv", &json!({"access_token": null, "endpoint": endpoint})).await
}

async fn seeded(conduct: Conduct) -> Site {
    let site = Site::behaving(conduct).await;
    for number in 1..=2 {
        site.put(&format!("{number}.csv"), format!("n\n{number}\n")).await;
    }
    site
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_service_account_signs_its_tokens_itself() {
    let site = seeded(Conduct::default()).await;
    let key = site.server.service_account();
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "key.json", &key);
    for more in [
        json!({"access_token": null, "credentials": key}),
        json!({"access_token": null, "credentials_file": file}),
    ] {
        assert_eq!(site.read("*.csv", &more).await.unwrap().len(), 2);
    }
    let stranger = key.replace("loader@towpath-test", "stranger@towpath-test");
    let refused = error(site.read("*.csv", &json!({"access_token": null, "credentials": stranger})).await);
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn a_key_that_signs_nothing_is_refused_and_not_shown() {
    let site = Site::new().await;
    let broken = json!({
        "type": "service_account", "client_email": "a", "private_key_id": "b", "private_key": "hush-hush",
    });
    let options = json!({"access_token": null, "credentials": broken.to_string()});
    let refused = error(site.read("*.csv", &options).await);
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(!format!("{refused} {refused:?}").contains("hush-hush"), "{refused:?}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let site = Site::new().await;
    let refused =
        error(site.read("*.csv", &json!({"access_token": null, "credentials_file": "/nowhere/key"})).await);
    assert!(refused.to_string().contains("/nowhere/key"), "{refused}");
}

#[tokio::test]
async fn a_login_is_refreshed_where_its_file_says() {
    let site = seeded(Conduct::default()).await;
    let user = site.server.authorized_user();
    let options = json!({"access_token": null, "credentials": user});
    assert_eq!(site.read("*.csv", &options).await.unwrap().len(), 2);
    let asked = site.server.requests();
    assert_eq!(
        asked.iter().filter(|asked| asked.request.path == "/token").count(),
        1,
        "once for all requests"
    );
    let over = json!({"access_token": null, "credentials": user.replace("refresh-hush", "another")});
    let refused = error(site.read("*.csv", &over).await);
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    let said = refused.to_string();
    assert!(said.contains("gcloud auth application-default login"), "{said}");
    assert!(said.contains("expired or revoked"), "what the issuer says: {said}");
}

#[tokio::test]
async fn the_token_of_somebody_else_is_exchanged() {
    let site = seeded(Conduct::answering(|request| {
        let is_given = request.path == "/oidc" && request.header("x-for") == Some("towpath");
        is_given.then(|| Response::json(&json!({"value": FEDERATED})))
    }))
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = json!({"file": write(folder.path(), "token", &format!("{FEDERATED}\n"))});
    let format = json!({"type": "json", "subject_token_field_name": "value"});
    let url = json!({
        "url": format!("{}/oidc", site.server.url()), "headers": {"x-for": "towpath"}, "format": format,
    });
    for (source, impersonates) in [(&file, false), (&file, true), (&url, true)] {
        site.server.clear();
        let credentials = site.server.external_account(source, impersonates);
        let options = json!({"access_token": null, "credentials": credentials});
        assert_eq!(site.read("*.csv", &options).await.unwrap().len(), 2, "{source} {impersonates}");
        let asked = site.server.requests();
        assert_eq!(asked.iter().any(|asked| asked.request.path == "/impersonate"), impersonates);
    }
    let other = json!({"file": write(folder.path(), "other", "hush-hush")});
    let options = json!({"access_token": null, "credentials": site.server.external_account(&other, false)});
    let refused = error(site.read("*.csv", &options).await).to_string();
    assert!(refused.contains("is not trusted") && !refused.contains("hush"), "{refused}");
}

#[tokio::test]
async fn the_environment_names_a_file() {
    if let Some(endpoint) = outer() {
        assert_eq!(read_outer(&endpoint).await.unwrap().len(), 2);
        return;
    }
    let site = seeded(Conduct::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "key.json", &site.server.service_account());
    inside("the_environment_names_a_file", &site, &[("GOOGLE_APPLICATION_CREDENTIALS", file)]).await;
}

#[tokio::test]
async fn the_login_of_gcloud_is_found() {
    if let Some(endpoint) = outer() {
        assert_eq!(read_outer(&endpoint).await.unwrap().len(), 2);
        return;
    }
    let site = seeded(Conduct::default()).await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "application_default_credentials.json", &site.server.authorized_user());
    let variables = [("CLOUDSDK_CONFIG", folder.path().display().to_string())];
    inside("the_login_of_gcloud_is_found", &site, &variables).await;
    assert!(site.server.requests().iter().any(|asked| asked.request.path == "/token"));
}

#[tokio::test]
async fn tokens_of_an_instance_that_end_during_a_run_are_renewed() {
    if let Some(endpoint) = outer() {
        let site = Site::new().await;
        let options = json!({"access_token": null, "endpoint": endpoint, "columns": {"n": "int64"}});
        assert_eq!(site.read("1.csv", &options).await.unwrap().len(), 1);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(site.read("2.csv", &options).await.unwrap().len(), 1);
        return;
    }
    let site = seeded(Conduct::tokens_for(Duration::from_secs(1))).await;
    let variables = [("GCE_METADATA_HOST", site.server.authority())];
    inside("tokens_of_an_instance_that_end_during_a_run_are_renewed", &site, &variables).await;
    let requests = site.server.requests();
    let asked = requests.iter().filter(|asked| asked.request.path.starts_with("/computeMetadata/")).count();
    assert!(asked > 1, "{asked}");
}

#[tokio::test]
async fn who_has_no_credentials_hears_what_to_do() {
    if let Some(endpoint) = outer() {
        let refused = error(read_outer(&endpoint).await);
        assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
        for way in ["`credentials_file`", "`anonymous: true`", "gcloud auth application-default login"] {
            assert!(refused.to_string().contains(way), "{refused}");
        }
        return;
    }
    let site = Site::new().await;
    let variables = [("GCE_METADATA_HOST", "127.0.0.1:1".to_owned())];
    inside("who_has_no_credentials_hears_what_to_do", &site, &variables).await;
}
