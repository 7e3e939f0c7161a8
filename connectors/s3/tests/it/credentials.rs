//! Credentials from where the tools of AWS find them. The environment that says so is one of another process: this test
//! binary again, for one test.

use std::process::Command;

use serde_json::json;
use towpath_testkit::http::{Response, TestServer};
use towpath_testkit::objects::ObjectSiteTools;

use crate::support::{Prefix, secret};

/// Set in the other process.
const INSIDE: &str = "TOWPATH_TEST_INSIDE";

pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs one test of this binary with these variables.
pub(crate) async fn run(test: &'static str, variables: Vec<(&'static str, String)>) {
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_PROFILE").envs(variables).output().unwrap()
    })
    .await
    .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn keys_of_the_environment_are_found() {
    if !is_inside() {
        let keys = vec![("AWS_ACCESS_KEY_ID", "towpath".to_owned()), ("AWS_SECRET_ACCESS_KEY", secret())];
        return run("credentials::keys_of_the_environment_are_found", keys).await;
    }
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let none = json!({"access_key_id": null, "secret_access_key": null});
    assert_eq!(prefix.read("*.csv", &none).await.unwrap(), [json!({"n": 1})]);
}

#[tokio::test]
async fn credentials_that_expire_during_a_run_are_renewed() {
    if !is_inside() {
        let folder = tempfile::tempdir().unwrap();
        let (config, process, count) =
            (folder.path().join("config"), folder.path().join("process.sh"), folder.path().join("count"));
        let script = format!(
            "echo asked >> '{}'\nprintf '{{\"Version\":1,\"AccessKeyId\":\"towpath\",\"SecretAccessKey\":\"%s\",\
             \"Expiration\":\"%s\"}}' '{}' \"$(date -u -d '+60 seconds' +%Y-%m-%dT%H:%M:%SZ)\"\n",
            count.display(),
            secret()
        );
        std::fs::write(&process, script).unwrap();
        let profile = format!("[profile short]\ncredential_process = sh {}\n", process.display());
        std::fs::write(&config, profile).unwrap();
        let variables = vec![("AWS_CONFIG_FILE", config.display().to_string())];
        run("credentials::credentials_that_expire_during_a_run_are_renewed", variables).await;
        assert!(std::fs::read_to_string(count).unwrap().lines().count() > 2);
        return;
    }
    let prefix = Prefix::with(&[("a.csv", "n\n1\n"), ("b.csv", "n\n2\n")]).await;
    let short = json!({"access_key_id": null, "secret_access_key": null, "profile": "short"});
    assert_eq!(prefix.read("*.csv", &short).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_role_is_assumed_with_what_its_owner_asks_for() {
    if !is_inside() {
        let answer = format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
             <AccessKeyId>towpath</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>t</SessionToken>\
             <Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>",
            secret()
        );
        let sts = TestServer::start(move |_| {
            let answer = answer.clone();
            async move { Response::status(200).header("content-type", "text/xml").body(answer) }
        })
        .await;
        let variables = vec![("AWS_ENDPOINT_URL_STS", sts.url(""))];
        run("credentials::a_role_is_assumed_with_what_its_owner_asks_for", variables).await;
        let body = String::from_utf8(sts.requests().remove(0).request.body.to_vec()).unwrap();
        for part in
            ["RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Freader", "ExternalId=ours", "RoleSessionName=nightly"]
        {
            assert!(body.contains(part), "{body}");
        }
        return;
    }
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let role = json!({"assume_role": {
        "role": "arn:aws:iam::1:role/reader", "external_id": "ours", "session_name": "nightly",
    }});
    // The server refuses the token of a role that it does not know: it was asked with it.
    let outcome = prefix.read("*.csv", &role).await;
    assert!(outcome.is_ok() || outcome.unwrap_err().kind() == towpath_core::ErrorKind::Unauthenticated);
}

/// The folder of somebody who has logged in for the session `ours` by a browser: with a token that lasts, or has just ended.
#[cfg(feature = "sso")]
fn home_after_login(expires_at: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join(".aws/sso/cache");
    std::fs::create_dir_all(&cache).unwrap();
    let profile = "[profile browser]\nsso_session = ours\nsso_account_id = 123456789012\nsso_role_name = Reader\n\n\
                   [sso-session ours]\nsso_region = eu-west-1\nsso_start_url = https://ours.awsapps.com/start\n";
    std::fs::write(home.path().join(".aws/config"), profile).unwrap();
    let token = json!({
        "accessToken": "of-the-login", "expiresAt": expires_at, "region": "eu-west-1",
        "startUrl": "https://ours.awsapps.com/start", "clientId": "towpath", "clientSecret": "client-hush",
        "refreshToken": "refresh-hush", "registrationExpiresAt": "2100-01-01T00:00:00Z",
    });
    // Its name is the SHA-1 of the session's.
    let file = cache.join("48537f613ab85111413f2369616ae97481429bd1.json");
    std::fs::write(file, token.to_string()).unwrap();
    home
}

#[cfg(feature = "sso")]
#[tokio::test]
async fn a_login_by_browser_gives_keys_and_is_renewed() {
    if !is_inside() {
        for (expires_at, token) in
            [("2100-01-01T00:00:00Z", "of-the-login"), ("2020-01-01T00:00:00Z", "renewed")]
        {
            let portal = TestServer::start(move |request| async move {
                match request.path.as_str() {
                    "/token" => Response::json(&json!({
                        "accessToken": "renewed", "expiresIn": 3600, "tokenType": "Bearer",
                        "refreshToken": "refresh-hush",
                    })),
                    "/federation/credentials" if request.header("x-amz-sso_bearer_token") == Some(token) => {
                        Response::json(&json!({"roleCredentials": {
                            "accessKeyId": "towpath", "secretAccessKey": secret(), "expiration": 4_102_444_800_000_i64,
                        }}))
                    }
                    _ => Response::status(401),
                }
            })
            .await;
            let home = home_after_login(expires_at);
            let variables = vec![
                ("HOME", home.path().display().to_string()),
                ("AWS_ENDPOINT_URL_SSO", portal.url("")),
                ("AWS_ENDPOINT_URL_SSO_OIDC", portal.url("")),
            ];
            run("credentials::a_login_by_browser_gives_keys_and_is_renewed", variables).await;
            let requests = portal.requests();
            let asked =
                requests.iter().find(|asked| asked.request.path == "/federation/credentials").unwrap();
            let parameter = |name: &str| asked.request.param(name);
            assert_eq!(parameter("role_name").as_deref(), Some("Reader"));
            assert_eq!(parameter("account_id").as_deref(), Some("123456789012"));
        }
        return;
    }
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let browser = json!({"access_key_id": null, "secret_access_key": null, "profile": "browser"});
    assert_eq!(prefix.read("*.csv", &browser).await.unwrap(), [json!({"n": 1})]);
}
