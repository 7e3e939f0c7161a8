//! A load as the engine would run it, step by step.

use arrow::array::RecordBatch;
use bson::{Bson, Document};
use serde_json::{Map, json};
use std::fmt::Write as _;
use towpath_connector_mongodb::CONNECTOR;
use towpath_core::{Committed, Json, LoadSpec, Result, WriteDisposition};
use towpath_testkit::context;
use towpath_testkit::steps::Load;

use crate::support::Database;

/// The stream of most tests, and its collection.
pub(crate) const STREAM: &str = "orders";

/// What a run wants: the number of the run, how rows land, and `id` as the key of a `merge`.
pub(crate) fn spec(run: u32, disposition: WriteDisposition) -> LoadSpec {
    let spec = LoadSpec::new("retail", STREAM, format!("run-{run:04}"), disposition);
    if disposition == WriteDisposition::Merge { spec.key(vec!["id".to_owned()]) } else { spec }
}

/// Begins a run in a database, with these options.
pub(crate) async fn begin(
    database: &Database,
    options: &Json,
    run: u32,
    disposition: WriteDisposition,
) -> Result<Load> {
    begin_with(database.options(options), spec(run, disposition)).await
}

/// Begins the run that `spec` says.
pub(crate) async fn begin_with(options: Json, spec: LoadSpec) -> Result<Load> {
    let cx = context();
    let sink = CONNECTOR.sink_entry().unwrap().open(options, &cx).await?;
    Load::begin(cx, sink, spec).await
}

/// A whole run of one batch.
pub(crate) async fn run(
    database: &Database,
    options: &Json,
    number: u32,
    disposition: WriteDisposition,
    batch: RecordBatch,
) -> Result<Committed> {
    begin(database, options, number, disposition).await?.finish(&[batch]).await
}

/// The documents of a collection as rows, without the ids that were made for them.
pub(crate) async fn rows(database: &Database, collection: &str) -> Vec<Json> {
    let documents = database.documents(collection).await;
    documents
        .into_iter()
        .map(|mut document| {
            if document.get_object_id("_id").is_ok() {
                document.remove("_id");
            }
            object(document)
        })
        .collect()
}

fn object(document: Document) -> Json {
    Json::Object(document.into_iter().map(|(name, value)| (name, json_of(value))).collect::<Map<_, _>>())
}

/// A value in the form in which rows are compared.
fn json_of(value: Bson) -> Json {
    match value {
        Bson::Document(document) => object(document),
        Bson::Array(items) => items.into_iter().map(json_of).collect(),
        Bson::Double(number) if !number.is_finite() => json!(number.to_string()),
        Bson::Int64(number) => json!(number),
        Bson::Binary(binary) => {
            json!(hexadecimal(&binary.bytes))
        }
        Bson::Decimal128(decimal) => json!(decimal.to_string()),
        Bson::DateTime(moment) => json!(moment.timestamp_millis()),
        other => other.into_relaxed_extjson(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// What there is of the sink's own, the checkpoints excepted.
pub(crate) async fn left(database: &Database) -> Vec<String> {
    let names = database.collections().await;
    names.into_iter().filter(|name| name.starts_with("_towpath_") && name != "_towpath_checkpoints").collect()
}
