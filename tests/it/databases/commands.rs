//! The commands beside `run`, and their exit codes.

use std::sync::Arc;

use bson::doc;
use towpath_tests::{Ended, Project, blocking};

use super::mongodb::Mongodb;
use super::mysql::Mysql;
use super::postgres::Postgres;

const PASSWORD: &str = "of-a-test";

async fn towpath(arguments: &[&str]) -> Ended {
    let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
    let arguments = move || {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        Project::new().towpath(&arguments)
    };
    blocking(arguments).await
}

async fn check(pipeline: String) -> Ended {
    let project = Project::new();
    project.write("pipeline.yaml", pipeline);
    blocking(move || project.towpath(&["check", "pipeline.yaml"])).await
}

async fn postgres_with_orders() -> Postgres {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE orders (id integer PRIMARY KEY, price numeric(8,2), note text, placed timestamptz);
             INSERT INTO orders SELECT i, i * 1.25, 'no ' || i, '2026-01-01Z'::timestamptz + i * interval '1 hour'
             FROM generate_series(1, 1000) i",
        )
        .await;
    postgres
}

/// A setting that names the authority of the test servers.
fn authority(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("run this by `cargo xtask test`, which sets {variable}"))
}

#[tokio::test]
async fn one_line_copies_a_table_to_the_other_database_over_verified_tls() {
    let (postgres, mysql) = (postgres_with_orders().await, Mysql::new().await);
    let (mut from, mut to) = (postgres.url(), mysql.url());
    from.set_host(Some("localhost")).unwrap();
    from.set_query(Some(&format!(
        "sslmode=verify-full&sslrootcert={}&table=orders",
        authority("TOWPATH_TEST_POSTGRES_CA")
    )));
    to.set_host(Some("localhost")).unwrap();
    to.set_query(Some(&format!(
        "ssl-mode=verify_identity&ssl-ca={}&table=copied",
        authority("TOWPATH_TEST_MYSQL_CA")
    )));
    let ended = towpath(&["copy", from.as_str(), to.as_str()]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(mysql.count("copied").await, 1000);
    let rows = "SELECT concat_ws('|', id, price, note) FROM orders ORDER BY id";
    let copied = mysql.lines(&rows.replace("orders", "copied")).await;
    assert_eq!(copied, postgres.lines(rows).await);
}

#[tokio::test]
async fn a_copy_lands_in_a_table_of_the_same_name() {
    let (postgres, mysql) = (postgres_with_orders().await, Mysql::new().await);
    let ended =
        towpath(&["copy", &format!("{}?table=public.orders", postgres.url()), mysql.url().as_str()]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(mysql.count("orders").await, 1000);
}

#[tokio::test]
async fn no_output_shows_a_password() {
    let (postgres, mysql) = (postgres_with_orders().await, Mysql::new().await);
    let secrets: Vec<_> = [postgres.url(), mysql.url()]
        .iter()
        .filter_map(|url| url.password().map(ToOwned::to_owned))
        .collect();
    let (from, to) = (format!("{}?table=orders", postgres.url()), format!("{}?table=orders", mysql.url()));
    for arguments in [
        &["-v", "copy", &from, &to, "--json"][..],
        &["discover", &from, "--json"],
        &["discover", &to, "--pipeline"],
        &["copy", &from.replace("table=orders", "table=nothing"), &to],
    ] {
        let ended = towpath(arguments).await;
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(secrets.iter().all(|secret| !said.contains(secret)), "{}", arguments[0]);
    }
}

/// `discover --pipeline` writes a pipeline that runs as it is.
async fn discovers_and_runs(url: String) {
    let project = Arc::new(Project::new());
    let draft = towpath(&["discover", &url, "--pipeline"]).await;
    assert_eq!(draft.code, Some(0), "{}", draft.stderr);
    project.write("pipeline.yaml", &draft.stdout);
    let place = project.clone();
    let output = blocking(move || {
        let mut command = place.command(&["run", "pipeline.yaml", "--stream", "orders", "--json"]);
        command.env("SOURCE_URL", url).output().expect("the command can be started")
    })
    .await;
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}\n{}",
        draft.stdout,
        String::from_utf8_lossy(&output.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["streams"][0]["rows_committed"], 1000, "{report:#}");
    assert_eq!(project.files("out").len(), 1);
}

#[tokio::test]
async fn the_pipeline_that_discover_writes_loads_a_postgres_database() {
    discovers_and_runs(postgres_with_orders().await.url().into()).await;
}

#[tokio::test]
async fn the_pipeline_that_discover_writes_loads_a_mysql_database() {
    let mysql = Mysql::new().await;
    mysql.run("CREATE TABLE orders (id int PRIMARY KEY, note text)").await;
    mysql.run("INSERT INTO orders SELECT seq, concat('no ', seq) FROM seq_1_to_1000").await;
    discovers_and_runs(mysql.url().into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pipeline_that_discover_writes_loads_a_database_of_mongodb() {
    let orders: Vec<_> = (0..1000).map(|n| doc! { "_id": n, "items": [{ "article": n }] }).collect();
    let mongodb = Mongodb::with("orders", &orders).await;
    discovers_and_runs(mongodb.url().into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_makes_a_stream_of_each_collection_that_fits() {
    let mongodb = Mongodb::with("orders", &[doc! { "_id": 1 }, doc! { "_id": 2 }]).await;
    for name in ["items", "items_old"] {
        mongodb.collection(name).insert_one(doc! { "_id": 3 }).await.unwrap();
    }
    let project = Arc::new(Project::new());
    project.write(
        "pipeline.yaml",
        format!(
            "name: all\nstreams:\n  \"shop_{{dataset}}\":\n    source: {{ connector: mongodb, url: \"{}\" }}\n    \
             datasets: [\"*\", \"!*_old\"]\n    sink: {{ connector: file, path: \"out/{{stream}}.ndjson\" }}\n",
            mongodb.url()
        ),
    );
    let place = project.clone();
    let (ended, report) = blocking(move || place.run()).await;
    assert_eq!(ended.code, Some(0), "{}\n{report:#}", ended.stderr);
    let names: Vec<_> = report["streams"].as_array().unwrap().iter().map(|stream| &stream["name"]).collect();
    assert_eq!(names, ["shop_items", "shop_orders"]);
    assert_eq!(project.rows("out").len(), 3);
}

#[tokio::test]
async fn check_names_the_grant_that_postgres_lacks() {
    let postgres = postgres_with_orders().await;
    let user = &postgres.name;
    postgres.run(&format!("CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'")).await;
    let mut url = postgres.url();
    url.set_username(user).unwrap();
    url.set_password(Some(PASSWORD)).unwrap();
    let pipeline = format!(
        "name: check\nstreams:\n  orders:\n    source: {{ connector: postgres, url: \"{url}\", table: orders }}\n    \
         sink: {{ connector: file, path: out.ndjson }}\n"
    );
    let ended = check(pipeline.clone()).await;
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert_ne!(ended.code, Some(0), "{said}");
    assert!(said.contains("GRANT SELECT ON"), "{said}");
    postgres.run(&format!("GRANT SELECT ON orders TO {user}")).await;
    let ended = check(pipeline).await;
    postgres.run(&format!("DROP OWNED BY {user}; DROP ROLE {user}")).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}

#[tokio::test]
async fn check_names_the_grant_that_mysql_lacks() {
    let mysql = Mysql::new().await;
    mysql.run("CREATE TABLE orders (id int PRIMARY KEY)").await;
    let user = &mysql.name;
    mysql.run(&format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{PASSWORD}'")).await;
    mysql.run(&format!("GRANT SELECT ON `{user}`.* TO '{user}'@'%'")).await;
    let mut url = mysql.url();
    url.set_username(user).unwrap();
    url.set_password(Some(PASSWORD)).unwrap();
    let pipeline = format!(
        "name: check\nstreams:\n  orders:\n    source: {{ connector: file, path: in.csv }}\n    \
         sink: {{ connector: mysql, url: \"{url}\" }}\n"
    );
    let checked = |pipeline: String| async move {
        let project = Project::new();
        project.write("pipeline.yaml", pipeline);
        project.write("in.csv", "id\n1\n");
        blocking(move || project.towpath(&["check", "pipeline.yaml"])).await
    };
    let ended = checked(pipeline.clone()).await;
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert_ne!(ended.code, Some(0), "{said}");
    assert!(said.contains("GRANT "), "{said}");
    mysql.run(&format!("GRANT ALL PRIVILEGES ON `{user}`.* TO '{user}'@'%'")).await;
    let ended = checked(pipeline).await;
    mysql.run(&format!("DROP USER '{user}'@'%'")).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}

#[tokio::test]
async fn exit_codes_tell_wrong_commands_from_failed_work() {
    let (postgres, mysql) = (postgres_with_orders().await, Mysql::new().await);
    let (from, to) = (format!("{}?table=orders", postgres.url()), format!("{}?table=orders", mysql.url()));
    let unknown = towpath(&["copy", &from, &to, "--sink", "tabel=x"]).await;
    assert_eq!(unknown.code, Some(2), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("table"), "{}", unknown.stderr);

    let missing = towpath(&["copy", &from.replace("table=orders", "table=nothing"), &to]).await;
    assert_eq!(missing.code, Some(1), "{}", missing.stderr);
    assert!(missing.stderr.contains("nothing"), "{}", missing.stderr);

    let mut wrong = mysql.url();
    wrong.set_password(Some("wrong")).unwrap();
    let wrong = format!("{wrong}?table=orders");
    let denied = towpath(&["copy", &from, &wrong]).await;
    assert_eq!(denied.code, Some(1), "{}", denied.stderr);
    assert!(!mysql.tables().await.contains(&"orders".to_owned()), "no table was made");
}
