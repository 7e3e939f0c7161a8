//! The tables of one stream: the one that rows go to, and those that are kept beside it for a while.

use towpath_core::{LoadSpec, Result};
use towpath_sql::{CHECKPOINTS, Dialect, StagingNames, TableName};

use crate::errors::config;

/// The number of a row in what a writer has staged.
pub(super) const ROW: &str = "_towpath_row";
/// Whether a staged row says that its key was deleted.
pub(super) const DELETE: &str = "_towpath_delete";
/// The part of a row, in a table that several writers fill.
pub(super) const PART: &str = "_towpath_part";
/// What names of our own columns begin with.
pub(super) const RESERVED: &str = "_towpath_";
/// When a row whose key did not come any more was seen to be missing.
pub(super) const DELETED_AT: &str = "deleted_at";

/// The tables of a stream, all in the database of its target.
#[derive(Debug, Clone)]
pub(super) struct Names {
    staging: StagingNames,
    target: TableName,
    database: String,
}

impl Names {
    /// The names of a stream whose table is given by a template.
    pub(super) fn new(load: &LoadSpec, template: &str, database: Option<&str>) -> Result<Self> {
        let template: TableName = template.parse().map_err(|error: towpath_core::Error| {
            error.connector(crate::NAME).help("check `table`: write `table` or `database.table`")
        })?;
        let filled =
            |part: &str| part.replace("{stream}", &load.stream).replace("{pipeline}", &load.pipeline);
        let database = match &template.schema {
            Some(database) => filled(database),
            None => database.map(str::to_owned).ok_or_else(|| {
                config("no database").help("set `database`, or write `table: database.table`")
            })?,
        };
        let target = TableName::new(&database, filled(&template.name));
        Ok(Self { staging: StagingNames::new(&load.pipeline, &load.stream), target, database })
    }

    pub(super) fn database(&self) -> &str {
        &self.database
    }

    pub(super) fn target(&self) -> &TableName {
        &self.target
    }

    pub(super) fn checkpoints(&self) -> TableName {
        self.target.sibling(CHECKPOINTS)
    }

    /// What the names of all tables begin with that are kept for a while.
    pub(super) fn prefix(&self) -> &str {
        self.staging.prefix()
    }

    /// The rows of one writer.
    pub(super) fn stage(&self, epoch: u64, part: u32) -> TableName {
        self.target.sibling(self.staging.part(epoch, part))
    }

    /// The table that is filled beside the target, to take its place.
    pub(super) fn beside(&self, epoch: u64) -> TableName {
        self.target.sibling(self.staging.beside(epoch))
    }

    /// The same when it is full. Under this name no writer finds it any more.
    pub(super) fn full(&self, epoch: u64) -> TableName {
        self.target.sibling(format!("{}{epoch}_full", self.prefix()))
    }

    /// The table whose place was taken.
    pub(super) fn old(&self, epoch: u64) -> TableName {
        self.target.sibling(format!("{}{epoch}_old", self.prefix()))
    }

    /// Which writers there are, and how far each has got.
    pub(super) fn parts(&self, epoch: u64) -> TableName {
        self.target.sibling(format!("{}{epoch}_parts", self.prefix()))
    }

    /// The keys that came in this run.
    pub(super) fn keys(&self) -> TableName {
        self.target.sibling(self.staging.keys())
    }
}

/// A table's name as it stands in a statement.
pub(super) fn sql(table: &TableName) -> String {
    table.sql(Dialect::MySql)
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_core::WriteDisposition;

    fn names(stream: &str, template: &str) -> Result<Names> {
        let load = LoadSpec::new("retail", stream, "run", WriteDisposition::Append);
        Names::new(&load, template, Some("shop"))
    }

    #[test]
    fn the_table_is_made_of_stream_and_pipeline() {
        assert_eq!(sql(names("orders", "{stream}").unwrap().target()), "`shop`.`orders`");
        assert_eq!(
            sql(names("orders", "raw.{pipeline}_{stream}").unwrap().target()),
            "`raw`.`retail_orders`"
        );
        assert_eq!(sql(&names("orders", "raw.x").unwrap().checkpoints()), "`raw`.`_towpath_checkpoints`");
    }

    #[test]
    fn a_stream_whose_name_holds_sql_or_dots_is_one_table() {
        let target = names("a.b`; drop table x", "{stream}").unwrap();
        assert_eq!(sql(target.target()), "`shop`.`a.b``; drop table x`");
    }
}
