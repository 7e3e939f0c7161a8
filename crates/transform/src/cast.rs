//! Columns to other types, and the rows whose values do not fit.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt64Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::neq;
use arrow::compute::{CastOptions, can_cast_types, cast, cast_with_options, concat, filter, take};
use arrow_schema::DataType;
use towpath_core::{ColumnType, Error, ErrorKind, Json, Result, conform_array, json_value};

use crate::CastTo;
use crate::cast_format::TextFormat;
use crate::columns::with_named;
use crate::expression::positive_zeros;
use crate::transform::{Needed, Operation};
use crate::work::{Named, Work};

pub(crate) struct CastColumns {
    columns: Vec<Named>,
    targets: Vec<Target>,
}

struct Target {
    to: DataType,
    format: Option<TextFormat>,
}

/// A column in its new type, and the rows whose values did not fit: null now, and not null before.
pub(crate) struct Converted {
    pub(crate) array: ArrayRef,
    pub(crate) bad: Option<BooleanBuffer>,
}

impl CastColumns {
    pub(crate) fn new(types: &BTreeMap<String, CastTo>) -> Result<Self> {
        if types.is_empty() {
            return Err(Error::config("no column is named"));
        }
        let targets = types.iter().map(|(column, cast)| {
            let to = cast.to.data_type().clone();
            let format = cast.format.as_deref().map(|format| TextFormat::new(format, &to)).transpose();
            Ok(Target { format: format.map_err(|error| error.detail("column", column))?, to })
        });
        let targets = targets.collect::<Result<_>>()?;
        Ok(Self { columns: types.keys().map(|column| Named::column(column)).collect(), targets })
    }
}

impl Operation for CastColumns {
    fn apply(&self, work: &mut Work<'_>) -> Result<()> {
        let mut converted = Vec::new();
        for (column, target) in self.columns.iter().zip(&self.targets) {
            if let Some(index) = column.index(&work.batch) {
                let column_converted = target
                    .convert(work.batch.column(index))
                    .map_err(|error| error.detail("column", column.name()))?;
                converted.push((index, column_converted));
            }
        }
        // In the order of the columns, so that a row is rejected for the first wrong value that a reader meets.
        converted.sort_by_key(|(index, _)| *index);
        let bad = converted.iter().filter_map(|(_, converted)| converted.bad.clone()).reduce(|a, b| &a | &b);
        let mut columns: Vec<_> =
            converted.iter().map(|(index, converted)| (*index, converted.array.clone())).collect();
        if let Some(bad) = bad {
            for row in bad.set_indices() {
                reject(work, row, &converted)?;
            }
            let keep = BooleanArray::new(!&bad, None);
            work.filter(&keep)?;
            for (_, array) in &mut columns {
                *array = filter(array, &keep)?;
            }
        }
        work.set_columns(columns)
    }

    fn columns_needed(&self, after: Option<Needed>) -> Option<Needed> {
        with_named(after, &self.columns)
    }

    fn named(&self) -> Vec<&Named> {
        self.columns.iter().collect()
    }

    fn rejects(&self) -> bool {
        true
    }
}

fn reject(work: &mut Work<'_>, row: usize, converted: &[(usize, Converted)]) -> Result<()> {
    let culprit = converted.iter().find(|(_, one)| one.bad.as_ref().is_some_and(|bad| bad.value(row)));
    let (index, culprit) = culprit.expect("the row is bad because one of its values is");
    let value = match json_value(work.batch.column(*index), row)? {
        Json::String(text) => text,
        other => other.to_string(),
    };
    let column = work.batch.schema_ref().field(*index).name().clone();
    work.reject(row, &column, value, culprit.array.data_type())
}

impl Target {
    fn convert(&self, array: &ArrayRef) -> Result<Converted> {
        let from = array.data_type();
        if *from == self.to {
            return Ok(Converted { array: array.clone(), bad: None });
        }
        if let Some(format) = self.format.as_ref().filter(|_| TextFormat::reads(from)) {
            return format.convert(array);
        }
        if from.is_nested() || self.to.is_nested() {
            return convert_nested(array, &self.to);
        }
        if !can_cast_types(from, &self.to) {
            let (from, to) = (ColumnType::from(from.clone()), ColumnType::from(self.to.clone()));
            return Err(Error::schema(format!("{from} cannot become {to}")));
        }
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let converted = cast_with_options(array, &self.to, &options)?;
        let bad = union(newly_null(array, &converted), lost_fractions(array, &converted)?);
        Ok(Converted { array: converted, bad })
    }
}

/// Rows that became null.
pub(crate) fn newly_null(before: &ArrayRef, after: &ArrayRef) -> Option<BooleanBuffer> {
    let nulls_after = after.logical_nulls()?;
    let bad = match before.logical_nulls() {
        None => !nulls_after.inner(),
        Some(nulls_before) => nulls_before.inner() & &!nulls_after.inner(),
    };
    Some(bad).filter(|bad| bad.count_set_bits() > 0)
}

/// Rows in which a fraction was cut off to make an integer.
fn lost_fractions(before: &ArrayRef, after: &ArrayRef) -> Result<Option<BooleanBuffer>> {
    let from = before.data_type();
    if !after.data_type().is_integer() || !(from.is_floating() || from.is_decimal()) {
        return Ok(None);
    }
    let differs = neq(&positive_zeros(before.clone())?, &positive_zeros(cast(after, from)?)?)?;
    let lost = match differs.nulls() {
        None => differs.values().clone(),
        Some(nulls) => differs.values() & nulls.inner(),
    };
    Ok(Some(lost).filter(|lost| lost.count_set_bits() > 0))
}

fn union(one: Option<BooleanBuffer>, other: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (one, other) {
        (Some(one), Some(other)) => Some(&one | &other),
        (one, other) => one.or(other),
    }
}

/// Nested values convert as a whole or not at all.
fn convert_nested(array: &ArrayRef, to: &DataType) -> Result<Converted> {
    match conform_array(array, to) {
        Ok(array) => Ok(Converted { array, bad: None }),
        Err(error) if error.kind() == ErrorKind::SchemaMismatch || array.is_empty() => Err(error),
        Err(_) => salvage(&copy(array, 0..array.len())?, to),
    }
}

/// Finds the values that do not convert by halving.
fn salvage(array: &ArrayRef, to: &DataType) -> Result<Converted> {
    if let Ok(array) = conform_array(array, to) {
        return Ok(Converted { array, bad: None });
    }
    if array.len() == 1 {
        return Ok(Converted { array: new_null_array(to, 1), bad: Some(BooleanBuffer::new_set(1)) });
    }
    let middle = array.len() / 2;
    let left = salvage(&copy(array, 0..middle)?, to)?;
    let right = salvage(&copy(array, middle..array.len())?, to)?;
    let bits =
        |half: &Converted| half.bad.clone().unwrap_or_else(|| BooleanBuffer::new_unset(half.array.len()));
    let bad = bits(&left).iter().chain(bits(&right).iter()).collect();
    Ok(Converted { array: concat(&[&left.array, &right.array])?, bad: Some(bad) })
}

/// Rows of an array in memory of their own, because a slice of a list still holds the items of the other rows.
fn copy(array: &ArrayRef, rows: Range<usize>) -> Result<ArrayRef> {
    let rows = UInt64Array::from_iter_values(rows.map(|row| row as u64));
    Ok(take(array, &rows, None)?)
}
