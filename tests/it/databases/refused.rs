//! Rows that a constraint of the target refuses.

use std::sync::Arc;

use serde_json::Value;
use towpath_tests::{Ended, Project, blocking};

use super::mysql::Mysql;
use super::postgres::Postgres;

fn pipeline(source: &str, sink: &str, more: &str) -> String {
    format!(
        "name: refused\nstreams:\n  orders:\n    source: {source}\n    sink: {sink}\n    \
         write_disposition: append\n{more}"
    )
}

async fn run(project: &Arc<Project>) -> (Ended, Value) {
    let project = project.clone();
    blocking(move || project.run()).await
}

const LETTERS: &str = "    dead_letter: \"dead/{part}.ndjson\"\n";

/// The letters: one for each row that was refused, with its reason.
fn assert_letters(project: &Project, ids: &[u64], reason: &str) {
    let letters = project.rows("dead");
    let text = format!("{letters:?}");
    assert_eq!(letters.len(), ids.len(), "{text}");
    for id in ids {
        assert!(
            letters.iter().any(|letter| letter["row"].to_string().contains(&id.to_string())),
            "{id}: {text}"
        );
    }
    assert!(letters.iter().all(|letter| letter.to_string().contains(reason)), "{text}");
}

#[tokio::test]
async fn rows_that_a_check_of_postgres_refuses_go_to_the_dead_letter_and_the_rest_lands() {
    let (mysql, postgres) = (Mysql::new().await, Postgres::new().await);
    mysql.run("CREATE TABLE orders (id int PRIMARY KEY, price int)").await;
    mysql.run("INSERT INTO orders SELECT seq, if(seq IN (17, 423), -1, 5) FROM seq_1_to_1000").await;
    postgres
        .run("CREATE TABLE orders (id integer, price integer CONSTRAINT positive CHECK (price > 0))")
        .await;
    let source = format!("{{ connector: mysql, url: \"{}\", table: orders }}", mysql.url());
    let sink = format!("{{ connector: postgres, url: \"{}\", table: orders }}", postgres.url());
    let project = Arc::new(Project::new());
    project.write("pipeline.yaml", pipeline(&source, &sink, LETTERS));
    let (ended, report) = run(&project).await;
    assert_eq!(ended.code, Some(1), "{}\n{report:#}", ended.stderr);
    assert_eq!(report["streams"][0]["rows_rejected"], 2, "{report:#}");
    assert_eq!(postgres.count("orders").await, 998);
    assert_letters(&project, &[17, 423], "positive");
}

#[tokio::test]
async fn rows_that_a_key_of_mysql_refuses_go_to_the_dead_letter_and_the_rest_lands() {
    let (postgres, mysql) = (Postgres::new().await, Mysql::new().await);
    postgres
        .run("CREATE TABLE orders (id integer); INSERT INTO orders SELECT generate_series(1, 1000)")
        .await;
    mysql.run("CREATE TABLE orders (id int PRIMARY KEY)").await;
    mysql.run("INSERT INTO orders VALUES (17), (423)").await;
    let source = format!("{{ connector: postgres, url: \"{}\", table: orders }}", postgres.url());
    let sink = format!("{{ connector: mysql, url: \"{}\", table: orders }}", mysql.url());
    let project = Arc::new(Project::new());
    project.write("pipeline.yaml", pipeline(&source, &sink, LETTERS));
    let (ended, report) = run(&project).await;
    assert_eq!(ended.code, Some(1), "{}\n{report:#}", ended.stderr);
    assert_eq!(report["streams"][0]["rows_rejected"], 2, "{report:#}");
    assert_eq!(mysql.count("orders").await, 1000);
    assert_letters(&project, &[17, 423], "PRIMARY");
}

#[tokio::test]
async fn without_a_dead_letter_a_refused_row_fails_the_stream_and_is_named() {
    let (mysql, postgres) = (Mysql::new().await, Postgres::new().await);
    mysql.run("CREATE TABLE orders (id int PRIMARY KEY, price int)").await;
    mysql.run("INSERT INTO orders VALUES (1, 5), (4711, -1)").await;
    postgres
        .run("CREATE TABLE orders (id integer, price integer CONSTRAINT positive CHECK (price > 0))")
        .await;
    let source = format!("{{ connector: mysql, url: \"{}\", table: orders }}", mysql.url());
    let sink = format!("{{ connector: postgres, url: \"{}\", table: orders }}", postgres.url());
    let project = Arc::new(Project::new());
    project.write("pipeline.yaml", pipeline(&source, &sink, ""));
    let (ended, report) = run(&project).await;
    assert_eq!(ended.code, Some(1), "{}\n{report:#}", ended.stderr);
    let report = report.to_string();
    assert!(report.contains("positive") && report.contains("4711"), "{report}");
}
