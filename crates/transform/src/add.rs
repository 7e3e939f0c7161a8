//! Columns that are the same in every row.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray, UInt32Array,
    UInt64Array, new_null_array,
};
use arrow::compute::take;
use arrow_schema::Field;
use towpath_core::{Error, Json, Result, conform_array};

use crate::transform::{Needed, Operation};
use crate::work::{Named, Work, check_names};
use crate::{AddColumn, TransformContext};

pub(crate) struct AddColumns {
    /// Names and arrays of one value.
    columns: Vec<(String, ArrayRef)>,
}

impl AddColumns {
    pub(crate) fn new(columns: &BTreeMap<String, AddColumn>, context: &TransformContext) -> Result<Self> {
        if columns.is_empty() {
            return Err(Error::config("no column is named"));
        }
        let columns = columns.iter().map(|(name, column)| {
            let array = array(column, context).map_err(|error| error.detail("column", name))?;
            Ok((name.clone(), array))
        });
        Ok(Self { columns: columns.collect::<Result<_>>()? })
    }
}

impl Operation for AddColumns {
    fn apply(&self, work: &mut Work<'_>) -> Result<()> {
        let mut fields = work.batch.schema_ref().fields().to_vec();
        let mut columns = work.batch.columns().to_vec();
        let repeated = UInt32Array::from_value(0, work.batch.num_rows());
        for (name, value) in &self.columns {
            fields.push(Arc::new(Field::new(name, value.data_type().clone(), true)));
            columns.push(take(value, &repeated, None)?);
        }
        check_names(&fields, "drop the column first, or choose another name")?;
        work.set_all(fields, columns)
    }

    fn columns_needed(&self, after: Option<Needed>) -> Option<Needed> {
        let mut needed = after?;
        for (name, _) in &self.columns {
            needed.remove(name);
        }
        Some(needed)
    }

    fn named(&self) -> Vec<&Named> {
        Vec::new()
    }
}

/// The one value of a column, in its type.
fn array(column: &AddColumn, context: &TransformContext) -> Result<ArrayRef> {
    let array = match (&column.value, column.run_id, column.load_time, column.source_name) {
        (Some(value), false, false, false) => constant(value, column)?,
        (None, true, false, false) => Arc::new(StringArray::from(vec![context.run.as_str()])),
        (None, false, true, false) => Arc::new(load_time(context)?),
        (None, false, false, true) => Arc::new(StringArray::from(vec![context.source.as_str()])),
        _ => {
            return Err(Error::config(
                "write exactly one of `value: ...`, `run_id: true`, `load_time: true` and `source_name: true`",
            ));
        }
    };
    match &column.r#type {
        None => Ok(array),
        Some(to) => conform_array(&array, to.data_type())
            .map_err(|error| Error::config(format!("the value does not fit {to}")).source(error)),
    }
}

fn constant(value: &Json, column: &AddColumn) -> Result<ArrayRef> {
    Ok(match value {
        Json::Bool(value) => Arc::new(BooleanArray::from(vec![*value])),
        Json::String(text) => Arc::new(StringArray::from(vec![text.as_str()])),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => Arc::new(Int64Array::from(vec![number])),
            (None, Some(number), _) => Arc::new(UInt64Array::from(vec![number])),
            (None, None, Some(number)) => Arc::new(Float64Array::from(vec![number])),
            (None, None, None) => return Err(Error::config(format!("{number} is out of range"))),
        },
        Json::Null => match &column.r#type {
            Some(to) => new_null_array(to.data_type(), 1),
            None => return Err(Error::config("null needs a type: write `{value: null, type: string}`")),
        },
        Json::Array(_) | Json::Object(_) => {
            return Err(Error::config("a constant is a text, a number, true, false or null"));
        }
    })
}

fn load_time(context: &TransformContext) -> Result<TimestampMicrosecondArray> {
    let out_of_range = || Error::unexpected("the clock of this machine is out of range");
    let since = context.load_time.duration_since(UNIX_EPOCH).map_err(|_| out_of_range())?;
    let microseconds = i64::try_from(since.as_micros()).map_err(|_| out_of_range())?;
    Ok(TimestampMicrosecondArray::from(vec![microseconds]).with_timezone("UTC"))
}
