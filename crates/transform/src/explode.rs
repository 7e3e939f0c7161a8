//! Items of lists to rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, UInt64Array, UInt64Builder, new_null_array,
};
use arrow::compute::{cast, take};
use arrow_schema::{DataType, Field};
use towpath_core::{ColumnType, Error, Result};

use crate::Explode;
use crate::columns::with_named;
use crate::transform::{Needed, Operation};
use crate::work::{Named, Work, batch_of};

pub(crate) struct ExplodeColumn {
    columns: [Named; 1],
    keep_empty: bool,
}

/// The row that each new row comes from, and its item.
struct Exploded {
    rows: UInt64Array,
    items: ArrayRef,
}

impl ExplodeColumn {
    pub(crate) fn new(explode: &Explode) -> Self {
        Self { columns: [Named::column(&explode.column)], keep_empty: explode.keep_empty }
    }

    fn explode(&self, lists: &ArrayRef) -> Result<Exploded> {
        match lists.data_type() {
            DataType::List(_) => self.items(lists.as_list::<i32>()),
            DataType::LargeList(_) => self.items(lists.as_list::<i64>()),
            DataType::ListView(item) | DataType::FixedSizeList(item, _) => {
                self.explode(&cast(lists, &DataType::List(item.clone()))?)
            }
            DataType::LargeListView(item) => self.explode(&cast(lists, &DataType::LargeList(item.clone()))?),
            // A batch in which every list is null.
            DataType::Null => {
                let rows = if self.keep_empty { lists.len() } else { 0 };
                let items = new_null_array(&DataType::Null, rows);
                Ok(Exploded { rows: UInt64Array::from_iter_values(0..rows as u64), items })
            }
            other => {
                let kind = ColumnType::from(other.clone());
                Err(Error::schema(format!("`{}` is {kind} and not a list", self.columns[0].name())))
            }
        }
    }

    fn items<O: OffsetSizeTrait>(&self, lists: &GenericListArray<O>) -> Result<Exploded> {
        let mut rows = Vec::with_capacity(lists.values().len());
        let mut indices = UInt64Builder::with_capacity(lists.values().len());
        for (row, ends) in lists.offsets().windows(2).enumerate() {
            let (start, end) = (ends[0].as_usize() as u64, ends[1].as_usize() as u64);
            if start == end || lists.is_null(row) {
                if self.keep_empty {
                    rows.push(row as u64);
                    indices.append_null();
                }
                continue;
            }
            rows.extend(std::iter::repeat_n(row as u64, ends[1].as_usize() - ends[0].as_usize()));
            indices.extend((start..end).map(Some));
        }
        let items = take(lists.values(), &indices.finish(), None)?;
        Ok(Exploded { rows: rows.into(), items })
    }
}

impl Operation for ExplodeColumn {
    fn apply(&self, work: &mut Work<'_>) -> Result<()> {
        let Some(exploded_index) = self.columns[0].index(&work.batch) else { return Ok(()) };
        let Exploded { rows, items } = self.explode(work.batch.column(exploded_index))?;
        let mut fields = work.batch.schema_ref().fields().to_vec();
        let name = fields[exploded_index].name().clone();
        fields[exploded_index] = Arc::new(Field::new(name, items.data_type().clone(), true));
        let columns = work.batch.columns().iter().enumerate().map(|(index, column)| {
            if index == exploded_index { Ok(items.clone()) } else { take(column, &rows, None) }
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let batch = batch_of(&work.batch, fields, columns, rows.len())?;
        work.replace(batch, &rows)
    }

    fn columns_needed(&self, after: Option<Needed>) -> Option<Needed> {
        with_named(after, &self.columns)
    }

    fn named(&self) -> Vec<&Named> {
        self.columns.iter().collect()
    }
}
