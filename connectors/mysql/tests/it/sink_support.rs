//! A load as the engine would run it, step by step.

use arrow::array::RecordBatch;
use towpath_connector_mysql::CONNECTOR;
use towpath_core::{Committed, Json, LoadSpec, Result, WriteDisposition};
use towpath_testkit::context;
use towpath_testkit::steps::Load;

use crate::support::Database;

/// The stream of most tests, and its table.
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

/// What there is of the sink's own, the checkpoints excepted.
pub(crate) async fn left(database: &Database) -> Vec<String> {
    let tables = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
                  AND TABLE_NAME LIKE '\\_towpath\\_%' AND TABLE_NAME <> '_towpath_checkpoints'";
    database.texts(tables).await.into_iter().flatten().collect()
}
