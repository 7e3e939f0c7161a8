//! Fields of structs to columns.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow_schema::{DataType, Field, FieldRef};
use towpath_core::{ColumnType, Error, Result};

use crate::Flatten;
use crate::transform::{Needed, Operation, named_once};
use crate::work::{Named, Work, check_names, child};

pub(crate) struct FlattenColumns {
    /// None means every struct.
    columns: Option<Vec<Named>>,
    separator: String,
    depth: usize,
}

impl FlattenColumns {
    pub(crate) fn new(flatten: &Flatten) -> Result<Self> {
        let columns = flatten.columns.as_ref().map(|columns| named_once(&columns.0)).transpose()?;
        let depth = flatten.depth.map_or(usize::MAX, usize::from);
        Ok(Self { columns, separator: flatten.separator.clone(), depth })
    }

    /// Adds the fields of a struct, named behind the column; anything else is added as it is.
    fn expand(
        &self,
        field: &FieldRef,
        array: &ArrayRef,
        levels: usize,
        flat: &mut (Vec<FieldRef>, Vec<ArrayRef>),
    ) -> Result<()> {
        let children = match field.data_type() {
            DataType::Struct(children) if levels > 0 => children,
            _ => {
                flat.0.push(field.clone());
                flat.1.push(array.clone());
                return Ok(());
            }
        };
        for (index, inner) in children.iter().enumerate() {
            let name = format!("{}{}{}", field.name(), self.separator, inner.name());
            let nullable = field.is_nullable() || inner.is_nullable();
            let inner = Arc::new(inner.as_ref().clone().with_name(name).with_nullable(nullable));
            self.expand(&inner, &child(array, index)?, levels - 1, flat)?;
        }
        Ok(())
    }
}

/// Whether to flatten a column, and an error if it cannot be. Without a choice, every struct is.
fn flattens(chosen: Option<&[usize]>, index: usize, field: &Field) -> Result<bool> {
    let is_struct = matches!(field.data_type(), DataType::Struct(_));
    let Some(chosen) = chosen else { return Ok(is_struct) };
    let named = chosen.contains(&index);
    if named && !is_struct && !field.data_type().is_null() {
        let kind = ColumnType::from(field.data_type().clone());
        return Err(Error::schema(format!("`{}` is {kind} and not a struct", field.name())));
    }
    Ok(named)
}

impl Operation for FlattenColumns {
    fn apply(&self, work: &mut Work<'_>) -> Result<()> {
        let chosen: Option<Vec<usize>> = self
            .columns
            .as_ref()
            .map(|columns| columns.iter().filter_map(|column| column.index(&work.batch)).collect());
        let mut flat = (Vec::new(), Vec::new());
        for (index, field) in work.batch.schema_ref().fields().iter().enumerate() {
            let array = work.batch.column(index);
            if !flattens(chosen.as_deref(), index, field)? {
                self.expand(field, array, 0, &mut flat)?;
            } else if !field.data_type().is_null() {
                self.expand(field, array, self.depth, &mut flat)?;
            }
        }
        check_names(&flat.0, "rename that column first, or choose another `separator`")?;
        work.set_all(flat.0, flat.1)
    }

    fn columns_needed(&self, after: Option<Needed>) -> Option<Needed> {
        let columns = self.columns.as_ref()?;
        let mut needed = after?;
        // `address_city` may be a column of its own, or come out of `address`.
        let unclear = |name: &String| columns.iter().any(|column| name.starts_with(column.name()));
        if needed.iter().any(unclear) {
            return None;
        }
        needed.extend(columns.iter().map(|column| column.name().to_owned()));
        Some(needed)
    }

    fn named(&self) -> Vec<&Named> {
        self.columns.iter().flatten().collect()
    }
}
