//! Which columns there are and what they are called: select, drop, rename.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use arrow_schema::FieldRef;
use towpath_core::{Error, Result};

use crate::transform::{Needed, Operation, named_once};
use crate::work::{Named, Work, check_names};
use crate::{Columns, Missing, Select};

pub(crate) struct SelectColumns {
    columns: Vec<Named>,
    missing: Missing,
}

impl SelectColumns {
    pub(crate) fn new(select: &Select) -> Result<Self> {
        Ok(Self { columns: named_once(&select.columns.0)?, missing: select.missing })
    }
}

/// Where a column is, by the step's policy for one that is not there.
pub(crate) fn find(column: &Named, missing: Missing, batch: &RecordBatch) -> Result<Option<usize>> {
    match missing {
        Missing::Error => column.required(batch),
        Missing::Skip => Ok(column.index(batch)),
    }
}

impl Operation for SelectColumns {
    fn apply(&self, work: &mut Work<'_>) -> Result<()> {
        let mut indices = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            indices.extend(find(column, self.missing, &work.batch)?);
        }
        work.batch = work.batch.project(&indices)?;
        Ok(())
    }

    fn columns_needed(&self, _: Option<Needed>) -> Option<Needed> {
        Some(self.columns.iter().map(|column| column.name().to_owned()).collect())
    }

    fn named(&self) -> Vec<&Named> {
        self.columns.iter().collect()
    }
}

/// What was needed and what the step names. Columns that are named and not needed are asked for as well, because
/// [`crate::Transform::unused_columns`] would otherwise call them missing.
pub(crate) fn with_named(after: Option<Needed>, columns: &[Named]) -> Option<Needed> {
    let mut needed = after?;
    needed.extend(columns.iter().map(|column| column.name().to_owned()));
    Some(needed)
}

pub(crate) struct DropColumns {
    columns: Vec<Named>,
}

impl DropColumns {
    pub(crate) fn new(columns: &Columns) -> Result<Self> {
        Ok(Self { columns: named_once(&columns.0)? })
    }
}

impl Operation for DropColumns {
    fn apply(&self, work: &mut Work<'_>) -> Result<()> {
        let dropped: Vec<usize> =
            self.columns.iter().filter_map(|column| column.index(&work.batch)).collect();
        let kept: Vec<usize> =
            (0..work.batch.num_columns()).filter(|index| !dropped.contains(index)).collect();
        work.batch = work.batch.project(&kept)?;
        Ok(())
    }

    fn columns_needed(&self, after: Option<Needed>) -> Option<Needed> {
        with_named(after, &self.columns)
    }

    fn named(&self) -> Vec<&Named> {
        self.columns.iter().collect()
    }
}

pub(crate) struct RenameColumns {
    names: Vec<(Named, String)>,
}

impl RenameColumns {
    pub(crate) fn new(names: &BTreeMap<String, String>) -> Result<Self> {
        if names.is_empty() {
            return Err(Error::config("no column is named"));
        }
        let mut targets = BTreeSet::new();
        if let Some(twice) = names.values().find(|target| !targets.insert(target.as_str())) {
            return Err(Error::config(format!("two columns would be called `{twice}`")));
        }
        Ok(Self { names: names.iter().map(|(from, to)| (Named::column(from), to.clone())).collect() })
    }
}

impl Operation for RenameColumns {
    fn apply(&self, work: &mut Work<'_>) -> Result<()> {
        let mut fields: Vec<FieldRef> = work.batch.schema_ref().fields().to_vec();
        for (from, to) in &self.names {
            if let Some(index) = from.index(&work.batch) {
                fields[index] = fields[index].as_ref().clone().with_name(to).into();
            }
        }
        check_names(&fields, "drop or rename the other one first")?;
        let columns = work.batch.columns().to_vec();
        work.set_all(fields, columns)
    }

    fn columns_needed(&self, after: Option<Needed>) -> Option<Needed> {
        let mut needed = after?;
        for (_, to) in &self.names {
            needed.remove(to);
        }
        needed.extend(self.names.iter().map(|(from, _)| from.name().to_owned()));
        Some(needed)
    }

    fn named(&self) -> Vec<&Named> {
        self.names.iter().map(|(from, _)| from).collect()
    }
}
