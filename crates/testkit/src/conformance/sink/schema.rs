//! Columns that change.

use arrow::array::RecordBatch;
use serde_json::json;
use towpath_core::{ErrorKind, WriteDisposition};

use super::{
    Broken, Kept, Load, STREAM, SinkFixture, Verdict, adding, capabilities, ensure, expected,
    first_disposition, people, run_id, same_rows,
};
use crate::rows;

/// New columns come within a run before its first commit, and, where the sink evolves, behind committed rows.
pub async fn new_columns_evolve(fixture: &dyn SinkFixture) -> Verdict {
    let old = people(1..4);
    let new =
        rows::batch("id: int64, name: string, extra: string", &json!([[4, "four", "more"], [5, null, null]]));
    evolves(fixture, &[old, new], "extra").await
}

/// Columns become wider within a run before its first commit, and, where the sink evolves, behind committed rows.
pub async fn wider_types_evolve(fixture: &dyn SinkFixture) -> Verdict {
    let batches = [
        rows::batch("id: int64, measure: int32", &json!([[1, 1], [2, i32::MAX], [3, null]])),
        rows::batch("id: int64, measure: int64", &json!([[4, 4_000_000_000_i64], [5, -1]])),
        rows::batch("id: int64, measure: float64", &json!([[6, 0.5], [7, -1e300]])),
    ];
    evolves(fixture, &batches, "measure").await
}

async fn evolves(fixture: &dyn SinkFixture, batches: &[RecordBatch], column: &str) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    within_a_run(fixture, batches, first_disposition(&capabilities)).await?;
    let Some(disposition) = adding(&capabilities) else { return Ok(Kept::Proven) };
    if capabilities.evolves {
        behind_committed_rows(fixture, batches, disposition).await?;
    } else {
        is_refused(fixture, batches, disposition, column).await?;
    }
    Ok(Kept::Proven)
}

async fn within_a_run(
    fixture: &dyn SinkFixture,
    batches: &[RecordBatch],
    disposition: WriteDisposition,
) -> Result<(), Broken> {
    let mut load = Load::begin(fixture, STREAM, &run_id(1), disposition).await?;
    let mut staged = Vec::new();
    for batch in batches {
        staged.push(load.stage(std::slice::from_ref(batch)).await?);
    }
    load.commit(&load.last_token(), staged).await?;
    same_rows(&expected(fixture, batches), &fixture.rows(STREAM).await?, "columns that changed within a run")
}

async fn behind_committed_rows(
    fixture: &dyn SinkFixture,
    batches: &[RecordBatch],
    disposition: WriteDisposition,
) -> Result<(), Broken> {
    let stream = "evolving";
    for (run, batch) in (1..).zip(batches) {
        Load::begin(fixture, stream, &run_id(run), disposition)
            .await?
            .finish(std::slice::from_ref(batch))
            .await?;
    }
    same_rows(
        &expected(fixture, batches),
        &fixture.rows(stream).await?,
        "columns that changed from run to run",
    )
}

async fn is_refused(
    fixture: &dyn SinkFixture,
    batches: &[RecordBatch],
    disposition: WriteDisposition,
    column: &str,
) -> Result<(), Broken> {
    let stream = "fixed";
    Load::begin(fixture, stream, &run_id(1), disposition).await?.finish(&batches[..1]).await?;
    let mut load = Load::begin(fixture, stream, &run_id(2), disposition).await?;
    let Err(error) = load.evolve(&batches[1].schema()).await else {
        return Err(Broken::new("the sink is said not to evolve, and takes other columns"));
    };
    let kind = error.kind();
    ensure!(
        matches!(kind, ErrorKind::SchemaMismatch | ErrorKind::Unsupported),
        "other columns must be refused with `SchemaMismatch`, and were with {kind:?}: {error}"
    );
    ensure!(error.to_string().contains(column), "the refusal of column `{column}` does not name it: {error}");
    Ok(())
}
