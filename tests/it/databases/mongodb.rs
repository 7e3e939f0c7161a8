//! Nested documents: from MongoDB to Postgres and back, and through Parquet and back.

use std::sync::Arc;

use bson::{Bson, Document, doc};
use futures::TryStreamExt;
use mongodb::{Client, Collection};
use towpath_tests::{Project, blocking};
use url::Url;

use super::examples::example;
use super::postgres::Postgres;
use super::{server, unique_name};

const VARIABLE: &str = "TOWPATH_TEST_MONGODB_URL";

/// A database that is dropped at the end.
pub(crate) struct Mongodb {
    name: String,
    server: Url,
    client: Client,
}

impl Mongodb {
    pub(crate) async fn with(collection: &str, documents: &[Document]) -> Self {
        Self::at(VARIABLE, collection, documents).await
    }

    /// In the server whose address this variable holds.
    pub(crate) async fn at(variable: &str, collection: &str, documents: &[Document]) -> Self {
        let server = server(variable);
        let client = Client::with_uri_str(server.as_str()).await.expect("the test server answers");
        let mongodb = Self { name: unique_name(), server, client };
        mongodb.collection(collection).insert_many(documents).await.unwrap();
        mongodb
    }

    pub(crate) fn url(&self) -> Url {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.client.database(&self.name).collection(name)
    }

    pub(crate) async fn documents(&self, collection: &str) -> Vec<Document> {
        let found = self.collection(collection).find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
        found.try_collect().await.unwrap()
    }

    /// Collections of a sink's own: where it stages rows.
    pub(crate) async fn left_by_sink(&self) -> Vec<String> {
        let listing = self.client.database(&self.name).list_collection_names().await;
        let names = listing.expect("the server lists its collections");
        let is_own = |name: &String| name.starts_with("_towpath_") && name != "_towpath_checkpoints";
        names.into_iter().filter(is_own).collect()
    }

    /// How many documents a sink has staged, or put into this collection.
    pub(crate) async fn rows_of_sink(&self, collection: &str) -> u64 {
        let mut names = self.left_by_sink().await;
        names.push(collection.to_owned());
        let mut rows = 0;
        for name in names {
            // A server that steps down tells nothing.
            rows += self.collection(&name).estimated_document_count().await.unwrap_or(0);
        }
        rows
    }
}

impl Drop for Mongodb {
    fn drop(&mut self) {
        let (url, name) = (self.server.clone(), self.name.clone());
        // A drop cannot wait, and the runtime of the test may be at its end.
        let dropping = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async { Client::with_uri_str(url.as_str()).await?.database(&name).drop().await })
        });
        if let Ok(Err(error)) = dropping.join() {
            println!("a database of a test is left behind: {error}");
        }
    }
}

/// Orders with addresses, items and lists in them. All of them have every field.
fn orders() -> Vec<Document> {
    let order = |number: u8| {
        let mut id = [0; 12];
        id[11] = number;
        let items: Vec<Bson> = (0..number % 4)
            .map(|item| {
                doc! { "article": format!("a{item}"), "count": i32::from(item) + 1, "tags": ["x", "y"] }
                    .into()
            })
            .collect();
        doc! {
            "_id": bson::oid::ObjectId::from_bytes(id),
            "placed": bson::DateTime::from_millis(1_700_000_000_000 + 60_000 * i64::from(number)),
            "customer": { "name": format!("Ann {number}"), "address": { "city": "Bergen", "geo": [5.3, 60.4] } },
            "items": items, "paid": number.is_multiple_of(2), "total": f64::from(number) * 1.5,
        }
    };
    (1..=200).map(order).collect()
}

async fn run(project: &Arc<Project>, pipeline: String) {
    project.write("pipeline.yaml", pipeline);
    let running = project.clone();
    let (ended, report) = blocking(move || running.run()).await;
    assert_eq!(ended.code, Some(0), "{}\n{report:#}", ended.stderr);
}

fn pipeline(from: &str, to: &str, source: &str, stream: &str) -> String {
    format!(
        "name: nested\nconnections:\n  from: {{ {from} }}\n  to: {{ {to} }}\nstreams:\n  orders:\n    \
         source: {{ connection: from, {source} }}\n    sink: {{ connection: to{stream} }}\n    write_disposition: replace\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_documents_go_to_postgres_and_come_back() {
    let mongodb = Mongodb::with("orders", &orders()).await;
    let postgres = Postgres::new().await;
    let project = Arc::new(Project::new());
    let mongo = format!("connector: mongodb, url: \"{}\"", mongodb.url());
    let sql = format!("connector: postgres, url: \"{}\"", postgres.url());
    let there = "collection: orders, split_size: 50, batch_size: 20";
    run(&project, pipeline(&mongo, &sql, there, ", table: orders")).await;
    run(&project, pipeline(&sql, &mongo, "table: orders", ", collection: back")).await;
    let back = mongodb.documents("back").await;
    assert_eq!(back.len(), 200);
    for (order, came) in orders().iter().zip(&back) {
        assert_eq!(came.get_str("_id").unwrap(), order.get_object_id("_id").unwrap().to_hex());
        for name in ["placed", "customer", "items", "paid", "total"] {
            assert_eq!(came.get(name), order.get(name), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_go_through_parquet_and_come_back_as_they_were() {
    let mut all = orders();
    let strange = doc! {
        "_id": "strange", "z": 1, "a": Bson::Null, "items": "none", "long": 5_i64, "decimal": "1.50".parse::<bson::Decimal128>().unwrap(),
        "uuid": bson::Uuid::from_bytes([7; 16]), "min": Bson::MinKey,
        "regex": bson::Regex { pattern: "a/b".try_into().unwrap(), options: "i".try_into().unwrap() },
    };
    all.push(strange);
    for (documents, expected) in [("columns", orders()), ("whole", all)] {
        let mongodb = Mongodb::with("orders", &expected).await;
        let project = Arc::new(Project::new());
        let mongo = format!("connector: mongodb, url: \"{}\"", mongodb.url());
        let there = format!("collection: orders, documents: {documents}");
        run(&project, pipeline(&mongo, "connector: file", &there, ", path: lake/orders.parquet")).await;
        run(&project, pipeline("connector: file", &mongo, "path: \"lake/*.parquet\"", ", collection: back"))
            .await;
        let sorted = mongodb.documents("orders").await;
        let back = mongodb.documents("back").await;
        assert_eq!(back, sorted, "{documents}");
        let order = |documents: &[Document]| -> Vec<Vec<String>> {
            documents.iter().map(|document| document.keys().cloned().collect()).collect()
        };
        assert_eq!(order(&back), order(&sorted), "{documents}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_on_the_page_loads_what_is_new() {
    let state = |number: i64| ["paid", "shipped", "open"][usize::try_from(number % 3).expect("it is small")];
    let orders: Vec<Document> = (0..90)
        .map(|number| {
            let at = bson::DateTime::from_millis(1_700_000_000_000 + 1_000 * number);
            doc! { "_id": number, "customer": number % 5, "state": state(number), "total": 1.25, "updated_at": at }
        })
        .collect();
    let mongodb = Mongodb::with("orders", &orders).await;
    let customers = (0..5).map(|number| doc! { "_id": number, "name": "x", "password": "secret" });
    mongodb.collection("customers").insert_many(customers).await.unwrap();
    let reader = "url: ${SHOP_URL:-mongodb://mongo.example/shop?replicaSet=rs0}\n    user: reader\n    \
                  password: \"${SHOP_PASSWORD:-}\"";
    let page = include_str!("../../../docs/connectors/mongodb.md");
    let url = format!("url: \"{}\"", mongodb.url());
    let text = example(page, &[(reader, url), (".parquet", ".ndjson".to_owned())]);
    let project = Arc::new(Project::new());
    run(&project, text.clone()).await;
    assert_eq!(project.rows("lake/orders").len(), 60);
    assert!(project.rows("lake/orders").iter().all(|row| row["total"] == "1.25" || row["total"] == 1.25));
    assert_eq!(project.rows("lake/revenue").len(), 5);
    assert!(project.rows("lake/customers").iter().all(|row| row.get("password").is_none()));

    let newer = bson::DateTime::from_millis(1_800_000_000_000);
    let change = doc! { "$set": { "updated_at": newer } };
    mongodb.collection("orders").update_one(doc! { "_id": 0_i64 }, change).await.unwrap();
    run(&project, text).await;
    assert_eq!(project.rows("lake/orders").len(), 61);
}
