//! Every Arrow type: carried, or refused with an error that names it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use serde_json::json;
use towpath_core::{ColumnType, Committed, Error, ErrorKind, Json, SinkCapabilities, Staged, TypeFamily};

use super::{
    Broken, Kept, Load, SinkFixture, Verdict, capabilities, ensure, expected, first_disposition, run_id,
    stages,
};
use crate::conformance::sink::nothing_left;
use crate::{rows, types};

/// The column in question. Its name is nothing that an error would say by chance.
const COLUMN: &str = "measured_thing";

/// A column of each Arrow type with edge values and nulls lands unchanged; or single rows of it are refused as rejected
/// rows; or the type is refused with an error that names column and type, exactly as the capabilities say.
pub async fn every_arrow_type_is_carried_or_refused(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    let mut broken = Vec::new();
    for sample in types::samples() {
        if let Err(how) = carried_or_refused(fixture, &capabilities, &sample).await {
            broken.push(format!("\n{}: {how}", sample.name));
        }
    }
    ensure!(broken.is_empty(), "{}", broken.concat());
    nothing_left(async || fixture.leftovers().await).await?;
    Ok(Kept::Proven)
}

async fn carried_or_refused(
    fixture: &dyn SinkFixture,
    capabilities: &SinkCapabilities,
    sample: &types::Sample,
) -> Result<(), Broken> {
    let stream = format!("type_{}", sample.name);
    let batch = with_ids(&sample.values);
    let families = TypeFamily::all_of(sample.values.data_type());
    let held = families.iter().all(|family| capabilities.types.contains(family));
    let mut load = Load::begin(fixture, &stream, &run_id(1), first_disposition(capabilities)).await?;
    match write(&mut load, &batch).await {
        Ok(staged) => {
            ensure!(held, "the capabilities leave {families:?} out, and the column was taken");
            landed(fixture, &stream, &batch, &staged).await
        }
        Err(error) => {
            ensure!(
                !held || sample.rare,
                "the capabilities hold {families:?}, and the column was refused: {error}"
            );
            named(&error, sample.values.data_type())?;
            if stages(capabilities) {
                let found = fixture.rows(&stream).await?;
                ensure!(found.is_empty(), "the column was refused, and rows of it landed: {found:?}");
            }
            Ok(())
        }
    }
}

async fn write(load: &mut Load, batch: &RecordBatch) -> Result<Staged, Error> {
    let mut staged = load.try_stage(std::slice::from_ref(batch)).await?;
    let (token, receipts) = (load.last_token(), vec![staged.clone()]);
    // The target may refuse rows as late as in the commit; the rest is committed then.
    while let Committed::Refused(rows) = load.try_commit(&token, receipts.clone()).await? {
        staged.rejected.extend(rows);
    }
    Ok(staged)
}

fn with_ids(values: &ArrayRef) -> RecordBatch {
    let ids: Int64Array = (0..).take(values.len()).collect();
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new(COLUMN, values.data_type().clone(), true),
    ]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), values.clone()])
        .expect("both columns are as long")
}

/// Every row landed unchanged or is in the receipt as rejected.
async fn landed(
    fixture: &dyn SinkFixture,
    stream: &str,
    batch: &RecordBatch,
    staged: &Staged,
) -> Result<(), Broken> {
    let found = fixture.rows(stream).await?;
    let by_id =
        |rows: &[Json], id: &Json| rows.iter().find(|row| rows::canonical(&row["id"]) == *id).cloned();
    let mut missing = 0;
    for row in expected(fixture, [batch]) {
        match by_id(&found, &rows::canonical(&row["id"])) {
            None => missing += 1,
            Some(came) => {
                let (sent, came) = (rows::canonical(&row), rows::canonical(&came));
                ensure!(sent == came, "{} came back as {}", shown(&sent), shown(&came));
            }
        }
    }
    ensure!(
        missing == staged.rejected.len() && found.len() + missing == batch.num_rows(),
        "of {} rows {} landed and {} are rejected: {:?}",
        batch.num_rows(),
        found.len(),
        staged.rejected.len(),
        staged.rejected
    );
    Ok(())
}

fn shown(row: &Json) -> Json {
    row.get(COLUMN).cloned().unwrap_or(json!(null))
}

fn named(error: &Error, data_type: &DataType) -> Result<(), Broken> {
    let (kind, text) = (error.kind(), error.to_string());
    ensure!(
        matches!(kind, ErrorKind::SchemaMismatch | ErrorKind::Unsupported),
        "a type must be refused with `SchemaMismatch` or `Unsupported`, and was with {kind:?}: {text}"
    );
    let column_type = ColumnType::from(data_type.clone()).to_string();
    ensure!(text.contains(COLUMN), "the refusal does not name the column: {text}");
    ensure!(text.contains(&column_type), "the refusal does not name the type `{column_type}`: {text}");
    Ok(())
}
