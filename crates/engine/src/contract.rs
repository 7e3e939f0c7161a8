//! The schema contract: what becomes of a batch whose columns are not those of the target.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, filter_record_batch, is_not_null, or};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use towpath_core::{
    ColumnType, Error, Rejected, Result, conform, conform_array, json_row, json_value, merge_schemas, widen,
};

use crate::SchemaContract;

/// What the contract says of a batch.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// These rows can be written; those cannot.
    Admitted { rows: RecordBatch, rejected: Vec<Rejected> },
    /// The target must first have these columns.
    Evolve(SchemaRef),
}

/// Holds a batch against the columns that the target had before this run, and those in which this run writes; `None` while
/// there are none. The run writes in the columns that it brings, and leaves others of the target alone. `place` names the
/// batch in messages.
///
/// # Errors
/// `SchemaMismatch` under `freeze`, naming the columns that changed.
pub(crate) fn admit(
    contract: SchemaContract,
    held: Option<&SchemaRef>,
    current: Option<&SchemaRef>,
    rows: RecordBatch,
    place: &str,
) -> Result<Verdict> {
    if Some(rows.schema_ref()) == current {
        return Ok(Verdict::Admitted { rows, rejected: Vec::new() });
    }
    let known = match (current, held) {
        (None, None) => return Ok(Verdict::Evolve(nullable(rows.schema_ref()))),
        (Some(known), None) | (None, Some(known)) => known.clone(),
        (Some(current), Some(held)) => Arc::new(merge_schemas(current, held)),
    };
    let changes = changes(&known, rows.schema_ref());
    let (rows, rejected) = match contract {
        _ if changes.is_empty() => (rows, Vec::new()),
        SchemaContract::Evolve => (rows, Vec::new()),
        SchemaContract::Freeze => {
            let changes: Vec<_> = changes.iter().map(Change::describe).collect();
            return Err(Error::schema(format!(
                "the columns changed, and `schema_contract: freeze` forbids it: {}",
                changes.join(", ")
            ))
            .detail("at", place)
            .help("set `schema_contract: evolve`, or drop or cast the columns under `transform`"));
        }
        SchemaContract::DiscardValue => (discard_values(&rows, &known)?, Vec::new()),
        SchemaContract::DiscardRow => discard_rows(&rows, &known, &changes, place)?,
    };
    let wanted = written(current, &known, rows.schema_ref());
    if current == Some(&wanted) {
        Ok(Verdict::Admitted { rows: conform(&rows, &wanted)?, rejected })
    } else {
        Ok(Verdict::Evolve(wanted))
    }
}

/// The columns in which the run writes with this batch: those that it wrote in before, and those of the batch.
fn written(current: Option<&SchemaRef>, known: &Schema, batch: &Schema) -> SchemaRef {
    let brings = |name: &str| {
        batch.index_of(name).is_ok() || current.is_some_and(|current| current.index_of(name).is_ok())
    };
    let merged = nullable(&merge_schemas(known, batch));
    let fields: Vec<_> = merged.fields().iter().filter(|field| brings(field.name())).cloned().collect();
    Arc::new(Schema::new_with_metadata(fields, merged.metadata().clone()))
}

/// The schema with every column nullable: a later batch may lack any of them.
fn nullable(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// A column that the target cannot hold as it is.
struct Change<'a> {
    index: usize,
    field: &'a Field,
    /// The target's type; `None` for a new column.
    target: Option<&'a DataType>,
}

impl Change<'_> {
    fn describe(&self) -> String {
        let new = ColumnType::from(self.field.data_type().clone());
        match self.target {
            None => format!("`{}` is new ({new})", self.field.name()),
            Some(old) => format!("`{}` was {}, now {new}", self.field.name(), ColumnType::from(old.clone())),
        }
    }
}

fn changes<'a>(target: &'a Schema, batch: &'a Schema) -> Vec<Change<'a>> {
    let fields = batch.fields().iter().enumerate();
    fields
        .filter_map(|(index, field)| match target.column_with_name(field.name()) {
            Some((_, known)) if widen(known.data_type(), field.data_type()) == *known.data_type() => None,
            known => Some(Change { index, field, target: known.map(|(_, known)| known.data_type()) }),
        })
        .collect()
}

/// The rows with null where a value does not fit, in the columns that are known.
fn discard_values(rows: &RecordBatch, known: &SchemaRef) -> Result<RecordBatch> {
    let kept = known.fields().iter().filter_map(|field| Some((field, rows.column_by_name(field.name())?)));
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in kept {
        fields.push(field.as_ref().clone().with_nullable(true));
        columns.push(fit(column, field.data_type())?.0);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// The rows without those that have a value in a new column, or one that does not fit.
fn discard_rows(
    rows: &RecordBatch,
    target: &SchemaRef,
    changes: &[Change<'_>],
    place: &str,
) -> Result<(RecordBatch, Vec<Rejected>)> {
    let mut any_bad: Option<BooleanArray> = None;
    let mut bad_by_column = Vec::with_capacity(changes.len());
    for change in changes {
        let column = rows.column(change.index);
        let bad = match change.target {
            None => is_not_null(column)?,
            Some(data_type) => fit(column, data_type)?.1,
        };
        any_bad = Some(match any_bad {
            None => bad.clone(),
            Some(before) => or(&before, &bad)?,
        });
        bad_by_column.push(bad);
    }
    let any_bad = any_bad.unwrap_or_else(|| BooleanArray::from(vec![false; rows.num_rows()]));
    let mut rejected = Vec::with_capacity(any_bad.true_count());
    for row in any_bad.values().set_indices() {
        let (change, _) = changes
            .iter()
            .zip(&bad_by_column)
            .find(|(_, bad)| bad.value(row))
            .expect("a bad row has a bad column");
        let value = json_value(rows.column(change.index), row)?;
        let reason = format!(
            "the column changed, and `schema_contract: discard_row` rejects the row: {}",
            change.describe()
        );
        rejected.push(
            Rejected::new(format!("{place}#{row}"), reason)
                .column(change.field.name(), value.to_string())
                .row(json_row(rows, row)?),
        );
    }
    let good = BooleanArray::from(!any_bad.values());
    let kept = filter_record_batch(rows, &good)?;
    Ok((discard_values(&kept, target)?, rejected))
}

/// A column as another type, null where a value does not fit; and where those were.
fn fit(column: &ArrayRef, to: &DataType) -> Result<(ArrayRef, BooleanArray)> {
    let from = column.data_type();
    let none_bad = || BooleanArray::new(BooleanBuffer::new_unset(column.len()), None);
    if widen(to, from) == *to {
        return Ok((conform_array(column, to)?, none_bad()));
    }
    if from.is_nested() || !can_cast_types(from, to) {
        let bad = is_not_null(column)?;
        return Ok((arrow::array::new_null_array(to, column.len()), bad));
    }
    let safe = CastOptions { safe: true, ..CastOptions::default() };
    let cast = cast_with_options(column, to, &safe)?;
    // A cast may change a value without failing (1.5 to 1, "007" to 7): what does not come back as it was does not fit.
    let back = if can_cast_types(to, from) {
        cast_with_options(&cast, from, &safe)?
    } else {
        return Ok((cast, none_bad()));
    };
    let bad = distinct(&back, column)?;
    let fitted = arrow::compute::nullif(&cast, &bad)?;
    Ok((fitted, bad))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, record_batch};
    use arrow::datatypes::Int64Type;

    fn target() -> SchemaRef {
        let rows = record_batch!(("id", Int64, [1]), ("name", Utf8, ["a"])).unwrap();
        nullable(rows.schema_ref())
    }

    fn drifted() -> RecordBatch {
        record_batch!(
            ("id", Utf8, [Some("1"), Some("two"), Some("007")]),
            ("name", Utf8, [Some("a"), None, Some("c")]),
            ("extra", Int32, [None, None, Some(3)])
        )
        .unwrap()
    }

    fn admitted(contract: SchemaContract) -> (RecordBatch, Vec<Rejected>) {
        match admit(contract, None, Some(&target()), drifted(), "s").unwrap() {
            Verdict::Admitted { rows, rejected } => (rows, rejected),
            Verdict::Evolve(schema) => panic!("it wants {schema:?}"),
        }
    }

    #[test]
    fn the_first_batch_makes_the_columns() {
        let verdict = admit(SchemaContract::Freeze, None, None, drifted(), "s").unwrap();
        assert!(matches!(verdict, Verdict::Evolve(schema) if schema.fields().len() == 3));
    }

    #[test]
    fn a_batch_with_fewer_or_narrower_columns_fits_any_contract() {
        let rows = record_batch!(("id", Int32, [1, 2])).unwrap();
        let verdict = admit(SchemaContract::Freeze, None, Some(&target()), rows, "s").unwrap();
        let Verdict::Admitted { rows, rejected } = verdict else { panic!("it fits") };
        assert_eq!((rows.schema(), rejected.len()), (target(), 0));
    }

    #[test]
    fn a_run_writes_in_the_columns_that_it_brings_with_the_types_that_the_target_has() {
        let rows = record_batch!(("id", Int32, [1, 2])).unwrap();
        let verdict = admit(SchemaContract::Freeze, Some(&target()), None, rows.clone(), "s").unwrap();
        let Verdict::Evolve(wanted) = verdict else { panic!("the sink must be told") };
        assert_eq!(wanted.fields().len(), 1);
        assert_eq!(wanted.field(0).data_type(), &DataType::Int64);
        let verdict = admit(SchemaContract::Freeze, Some(&target()), Some(&wanted), rows, "s").unwrap();
        assert!(matches!(verdict, Verdict::Admitted { rows, .. } if rows.schema() == wanted));
        // A column that the target has is no change, whenever it comes.
        let rows = record_batch!(("name", Utf8, ["a"])).unwrap();
        let verdict = admit(SchemaContract::Freeze, Some(&target()), Some(&wanted), rows, "s").unwrap();
        assert!(matches!(verdict, Verdict::Evolve(wanted) if wanted.fields().len() == 2));
    }

    #[test]
    fn evolve_widens_and_adds() {
        let verdict = admit(SchemaContract::Evolve, None, Some(&target()), drifted(), "s").unwrap();
        let Verdict::Evolve(schema) = verdict else { panic!("it must evolve") };
        assert_eq!(schema.field(0).data_type(), &DataType::Utf8);
        assert_eq!(schema.field(2).name(), "extra");
    }

    #[test]
    fn freeze_names_every_change() {
        let error =
            admit(SchemaContract::Freeze, None, Some(&target()), drifted(), "s").unwrap_err().to_string();
        assert!(
            error.contains("`id` was int64, now string") && error.contains("`extra` is new (int32)"),
            "{error}"
        );
    }

    #[test]
    fn discard_value_keeps_rows_and_leaves_out_what_does_not_fit() {
        let (rows, rejected) = admitted(SchemaContract::DiscardValue);
        assert_eq!((rows.schema(), rows.num_rows(), rejected.len()), (target(), 3, 0));
        let ids: Vec<_> = rows.column(0).as_primitive::<Int64Type>().iter().collect();
        assert_eq!(ids, [Some(1), None, None], "007 is not what 7 came from");
    }

    #[test]
    fn discard_row_rejects_rows_with_column_value_and_row() {
        let (rows, rejected) = admitted(SchemaContract::DiscardRow);
        assert_eq!((rows.schema(), rows.num_rows()), (target(), 1));
        assert_eq!(rejected.len(), 2);
        assert_eq!(rejected[0].place, "s#1");
        assert_eq!(
            (rejected[0].column.as_deref(), rejected[0].value.as_deref()),
            (Some("id"), Some("\"two\""))
        );
        assert_eq!(rejected[1].row.as_ref().unwrap()["extra"], 3);
    }

    #[test]
    fn a_fraction_does_not_fit_an_integer() {
        let rows = record_batch!(("id", Float64, [1.0, 1.5])).unwrap();
        let verdict = admit(SchemaContract::DiscardRow, None, Some(&target()), rows, "s").unwrap();
        let Verdict::Admitted { rows, rejected } = verdict else { panic!("it fits") };
        assert_eq!((rows.num_rows(), rejected.len()), (1, 1));
    }
}
