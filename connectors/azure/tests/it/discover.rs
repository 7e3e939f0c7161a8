//! What could be streams.

use serde_json::{Value, json};
use towpath_connector_azure::CONNECTOR;
use towpath_core::{Dataset, Json};

use crate::support::Prefix;

async fn discover(prefix: &Prefix, options: Json) -> Vec<Dataset> {
    let source = CONNECTOR.source_entry().unwrap().open(options, &prefix.cx).await.unwrap();
    source.discover(&prefix.cx).await.unwrap()
}

#[tokio::test]
async fn blobs_that_differ_in_digits_are_one_data_set_with_its_columns() {
    let prefix = Prefix::with(&[
        ("sales/2026-01.csv", "id,day\n1,2026-01-01\n"),
        ("sales/2026-02.csv", "id,day\n2,2026-02-01\n"),
        ("orders.ndjson", "{\"n\":1}\n"),
    ])
    .await;
    let found = discover(&prefix, prefix.options("", &json!({}))).await;
    let paths: Vec<&Value> = found.iter().map(|dataset| &dataset.source["path"]).collect();
    let whole = |path: &str| json!(format!("az://{}/{}", prefix.container, prefix.key(path)));
    assert_eq!(paths, [&whole("orders.ndjson"), &whole("sales/*-*.csv")]);
    let columns = found[1].schema.as_ref().unwrap();
    assert_eq!(columns.fields().iter().map(|field| field.name()).collect::<Vec<_>>(), ["id", "day"]);
}

#[tokio::test]
async fn without_a_container_there_are_containers() {
    let prefix = Prefix::new();
    let found = discover(&prefix, prefix.options("", &json!({"container": null, "path": ""}))).await;
    let landing = found.iter().find(|dataset| dataset.name == prefix.container).unwrap();
    assert_eq!(landing.source, json!({"path": format!("az://{}/", prefix.container)}));
}
