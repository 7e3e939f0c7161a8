//! The examples of the documentation, run against servers.

use std::sync::Arc;

use serde_json::Value;
use towpath_tests::{Ended, Project, blocking};

use super::mysql::Mysql;
use super::postgres::Postgres;

const POSTGRES: &str = include_str!("../../../docs/connectors/postgres.md");
const MYSQL: &str = include_str!("../../../docs/connectors/mysql.md");

/// The pipeline on a page, with lines that name a server replaced by those of a test.
pub(super) fn example(page: &str, replaced: &[(&str, String)]) -> String {
    let (_, rest) = page.split_once("```yaml\n").expect("the page has an example");
    let (pipeline, _) = rest.split_once("```").expect("the example ends");
    replaced.iter().fold(pipeline.to_owned(), |pipeline, (lines, instead)| {
        assert!(pipeline.contains(lines), "the example does not say {lines}:\n{pipeline}");
        pipeline.replace(lines, instead)
    })
}

async fn run(project: &Arc<Project>) -> (Ended, Value) {
    let project = project.clone();
    blocking(move || project.run()).await
}

#[tokio::test]
async fn the_example_of_postgres_loads_and_merges() {
    let (shop, warehouse) = (Postgres::new().await, Postgres::new().await);
    shop.run(
        "CREATE TABLE orders (id integer PRIMARY KEY, price numeric(8,2), updated_at timestamptz);
         INSERT INTO orders SELECT i, i, '2026-01-01Z'::timestamptz + i * interval '1 s' FROM generate_series(1, 100) i;
         CREATE TABLE customers (id integer PRIMARY KEY, email text);
         INSERT INTO customers VALUES (1, 'Ann@Example.COM'), (2, NULL)",
    )
    .await;
    let reader = "url: ${SHOP_URL:-postgres://reader@shop.example/shop}\n    password: ${SHOP_PASSWORD:-}";
    let loader = "host: warehouse.example\n    database: warehouse\n    user: loader\n    \
                  password: ${WAREHOUSE_PASSWORD:-}";
    let at = |database: &Postgres| format!("url: \"{}\"", database.url());
    let pipeline = example(POSTGRES, &[(reader, at(&shop)), (loader, at(&warehouse))]);
    let project = Arc::new(Project::new());
    project.write("pipeline.yaml", pipeline);
    let (ended, report) = run(&project).await;
    assert_eq!(ended.code, Some(0), "{}\n{report:#}", ended.stderr);
    assert_eq!(warehouse.count("shop.orders").await, 100);
    assert_eq!(
        warehouse.lines("SELECT id, email FROM shop.customers ORDER BY id").await,
        ["1\tann@example.com", "2\t\\N"]
    );

    shop.run("UPDATE orders SET price = 7, updated_at = '2026-02-01Z' WHERE id = 5").await;
    let (ended, report) = run(&project).await;
    assert_eq!(ended.code, Some(0), "{}\n{report:#}", ended.stderr);
    assert_eq!(report["streams"][0]["rows_read"], 1, "{report:#}");
    assert_eq!(warehouse.lines("SELECT price FROM shop.orders WHERE id = 5").await, ["7.00"]);
    assert_eq!(warehouse.count("shop.orders").await, 100);
}

#[tokio::test]
async fn the_example_of_mysql_fills_a_lake() {
    let shop = Mysql::new().await;
    shop.run("CREATE TABLE customers (id int PRIMARY KEY, name text)").await;
    shop.run("INSERT INTO customers VALUES (1, 'Ann'), (2, 'Bob')").await;
    shop.run(
        "CREATE TABLE orders (id int PRIMARY KEY, day date, price decimal(8,2), updated_at datetime(6), INDEX (day))",
    )
    .await;
    shop.run(
        "INSERT INTO orders SELECT seq, date '2026-01-01' + interval seq % 7 day, 1.5, \
         '2026-01-01' + interval seq second FROM seq_1_to_70",
    )
    .await;
    let server =
        "host: db.shop.example\n    user: towpath\n    password: \"${SHOP_PASSWORD}\"\n    database: shop";
    let pipeline = example(MYSQL, &[(server, format!("url: \"{}\"", shop.url()))]);
    let project = Arc::new(Project::new());
    project.write("pipeline.yaml", pipeline);
    let (ended, report) = run(&project).await;
    assert_eq!(ended.code, Some(0), "{}\n{report:#}", ended.stderr);
    let rows = |stream: &str| {
        let streams = report["streams"].as_array().expect("a report has streams");
        streams.iter().find(|found| found["name"] == stream).map(|found| found["rows_committed"].clone())
    };
    assert_eq!(rows("customers"), Some(2.into()));
    assert_eq!(rows("orders"), Some(70.into()));
    assert_eq!(rows("revenue"), Some(7.into()));
    for stream in ["customers", "orders", "revenue"] {
        assert!(project.path("lake").join(stream).is_dir(), "{stream} has files");
    }
}
