//! Ways to the server: encryption, certificates, several hosts.

use std::fs;

use bson::doc;
use serde_json::json;
use towpath_core::{ErrorKind, Json};
use url::Url;

use crate::support::{Database, authority, failure, read_all, server};

async fn database() -> Database {
    Database::with("c", [doc! { "_id": 1 }]).await
}

/// The server's URL without anybody's name in it.
fn nobody() -> Url {
    let mut url = server();
    url.set_username("").unwrap();
    url.set_password(None).unwrap();
    url
}

#[tokio::test]
async fn encryption_trusts_the_named_authority_and_no_other() {
    let database = database().await;
    let options = json!({ "collection": "c", "tls_ca_file": authority() });
    assert_eq!(read_all(&database, &options).await.unwrap(), [json!({ "_id": 1 })]);

    let mut url = server();
    url.query_pairs_mut().append_pair("tls", "true");
    let options = json!({ "collection": "c", "url": url.as_str(), "server_timeout": "1s" });
    let error = failure(database.options(&options)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.help_text().unwrap().contains("tls_ca_file"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    for option in ["tls_ca_file", "tls_certificate_key_file"] {
        let error = failure(json!({ "url": server().as_str(), option: "/nowhere/x.pem" })).await;
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error.to_string().contains(option) && error.to_string().contains("/nowhere/x.pem"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_certificate_is_who_we_are() {
    const WHO: &str = "CN=towpath_client";
    let database = database().await;
    let external = crate::support::client().await.database("$external");
    let roles = vec![doc! { "role": "read", "db": &database.name }];
    // Other runs of this test may have made the user.
    let made = external.run_command(doc! { "createUser": WHO, "roles": roles.clone() }).await;
    if made.is_err() {
        external.run_command(doc! { "grantRolesToUser": WHO, "roles": roles }).await.unwrap();
    }
    let folder = authority().parent().unwrap().to_owned();
    let both = fs::read_to_string(folder.join("client.pem")).unwrap()
        + &fs::read_to_string(folder.join("client.key")).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), both).unwrap();
    let mut url = nobody();
    url.set_query(Some("replicaSet=towpath"));
    let options = json!({
        "url": url.as_str(), "collection": "c", "tls_ca_file": authority(), "tls_certificate_key_file": file.path(),
    });
    assert_eq!(read_all(&database, &options).await.unwrap(), [json!({ "_id": 1 })]);
}

#[tokio::test]
async fn a_host_that_is_down_does_not_matter_where_there_are_several() {
    let database = database().await;
    let url = server().to_string().replace("127.0.0.1:", "127.0.0.1:1,127.0.0.1:");
    assert_eq!(read_all(&database, &json!({ "collection": "c", "url": url })).await.unwrap().len(), 1);
}

#[tokio::test]
async fn user_and_password_win_over_those_of_the_url() {
    let database = database().await;
    database.user("reader", &["read"]).await;
    let options = |password: &str| json!({ "collection": "c", "user": "reader", "password": password, "auth_source": database.name });
    assert_eq!(read_all(&database, &options(crate::support::PASSWORD)).await.unwrap().len(), 1);
    let error = failure(database.options(&options("wrong"))).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
}

#[tokio::test]
async fn a_user_without_privileges_is_told_so() {
    let database = database().await;
    database.user("stranger", &[]).await;
    let who = json!({
        "collection": "c", "user": "stranger", "password": crate::support::PASSWORD, "auth_source": database.name,
    });
    let error = failure(database.options(&who)).await;
    assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied), "{error}");
    assert!(error.to_string().contains('c'), "{error}");
}

#[tokio::test]
async fn what_does_not_fit_together_is_a_wrong_option() {
    for (option, value, mentions) in [
        ("max_connections", json!(1), "max_connections"),
        ("url", json!("mongodb://h:1/?replicaSet=x&tls=perhaps"), "mongodb://host"),
        ("batch_size", json!(0), "batch_size"),
        ("split_size", json!(0), "split_size"),
        ("sample_size", json!(0), "sample_size"),
        ("hint", json!(7), "hint"),
        ("filter", json!({ "a": { "$oid": "short" } }), "filter"),
    ] {
        let error =
            failure(json!({ "url": server().as_str(), "database": "d", "collection": "c", option: value }))
                .await;
        assert_eq!(error.kind(), ErrorKind::Config, "{option}: {error}");
        assert!(error.to_string().contains(mentions), "{option}: {error}");
    }
    let error = failure(json!({ "url": "mongodb://127.0.0.1/", "password": "x" })).await;
    assert!(error.to_string().contains("`user`"), "{error}");
    let error = failure(json!({ "url": "mongodb://127.0.0.1/", "collection": "c" })).await;
    assert!(error.to_string().contains("`database`"), "{error}");
}

#[cfg(not(feature = "srv"))]
#[tokio::test]
async fn a_build_without_the_feature_says_which_one_looks_hosts_up() {
    let error = failure(json!({ "url": "mongodb+srv://cluster.example/x" })).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("mongodb-srv"), "{error}");
}

#[tokio::test]
async fn discovery_lists_collections_views_and_time_series_with_options_that_read_them() {
    let database = Database::with("orders", [doc! { "_id": 1, "total": 1.5 }, doc! { "_id": 2 }]).await;
    database.run(doc! { "create": "paid", "viewOn": "orders", "pipeline": [{ "$match": { "total": { "$gt": 0 } } }] }).await;
    database.run(doc! { "create": "loads", "timeseries": { "timeField": "at" } }).await;
    database.collection("loads").insert_one(doc! { "at": bson::DateTime::now(), "v": 1 }).await.unwrap();
    let cx = towpath_testkit::context();
    let datasets = database.source(&cx, &json!({})).await.unwrap().discover(&cx).await.unwrap();
    let names: Vec<_> = datasets.iter().map(|dataset| dataset.name.as_str()).collect();
    assert_eq!(names, ["loads", "orders", "paid"]);
    let orders = &datasets[1];
    assert_eq!((orders.estimate.rows, orders.key.as_slice()), (Some(2), &["_id".to_owned()][..]));
    assert!(
        orders.estimate.bytes > Some(0) && orders.schema.as_ref().unwrap().field_with_name("total").is_ok()
    );
    for dataset in &datasets {
        let rows = read_all(&database, &dataset.source).await.unwrap();
        assert!(!rows.is_empty(), "{}", dataset.name);
    }
    let all = json!({ "url": server().as_str() });
    let source = towpath_connector_mongodb::CONNECTOR.source_entry().unwrap().open(all, &cx).await.unwrap();
    source.check(&cx).await.unwrap();
    let name = format!("{}.orders", database.name);
    let found = source.discover(&cx).await.unwrap();
    let found = found.iter().find(|dataset| dataset.name == name).unwrap();
    assert_eq!(found.source["database"], Json::from(database.name.as_str()));
}
