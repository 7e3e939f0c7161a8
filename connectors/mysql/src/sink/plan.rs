//! Which columns a table gets, and how one that is there is altered.

use std::collections::HashSet;

use arrow_schema::{DataType, Field, FieldRef, Schema};
use towpath_core::{ColumnType, Error, LoadSpec, Result, WriteDisposition};

use super::names::{DELETED_AT, RESERVED};
use super::table::{Column, Table};
use crate::client::Server;
use crate::config::{DeleteMissing, Index, SinkConfig};
use crate::errors::config;
use crate::sql::identifier;
use crate::types::fit::fit;
use crate::types::target::{Fit, Length, TargetType};

/// The bytes that an index may have, and a character.
const INDEX_BYTES: u32 = 3_072;
const CHARACTER: u32 = 4;
/// The most characters of a text in an index.
const INDEXED_TEXT: u32 = 255;
/// How many bytes a row may have outside of long texts, with room for what we do not count.
const ROW_BYTES: u64 = 60_000;

/// The columns that a stream needs.
pub(super) struct Plan<'a> {
    pub(super) config: &'a SinkConfig,
    pub(super) load: &'a LoadSpec,
    pub(super) server: Server,
    fields: Vec<FieldRef>,
    /// In lower case.
    indexed: HashSet<String>,
    /// The most characters of a text in an index.
    longest: u32,
}

impl<'a> Plan<'a> {
    /// # Errors
    /// `SchemaMismatch` when the columns cannot stand together in a table, or one that the options name is missing.
    pub(super) fn new(
        config: &'a SinkConfig,
        load: &'a LoadSpec,
        schema: &Schema,
        server: Server,
    ) -> Result<Self> {
        let operation = config.operation_column.as_deref();
        let fields: Vec<FieldRef> = schema
            .fields()
            .iter()
            .filter(|field| Some(field.name().as_str()) != operation)
            .cloned()
            .collect();
        let mut plan = Self { config, load, server, fields, indexed: HashSet::new(), longest: INDEXED_TEXT };
        plan.check_names(schema)?;
        let indexes: Vec<&[String]> = std::iter::once(plan.primary_key())
            .chain(config.indexes.iter().map(|index| index.columns.as_slice()))
            .collect();
        for columns in &indexes {
            let texts = columns.iter().filter(|name| plan.is_long(name)).count();
            let texts = u32::try_from(texts).unwrap_or(u32::MAX).max(1);
            plan.longest = plan.longest.min(INDEX_BYTES / CHARACTER / texts);
        }
        let names = indexes.into_iter().flatten().map(|name| name.to_lowercase()).collect();
        plan.indexed = names;
        Ok(plan)
    }

    /// The columns that are written, without the one that says what became of a row.
    pub(super) fn fields(&self) -> &[FieldRef] {
        &self.fields
    }

    fn primary_key(&self) -> &'a [String] {
        let has_key = self.load.disposition == WriteDisposition::Merge || self.config.primary_key;
        if has_key { &self.load.key } else { &[] }
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().map(AsRef::as_ref).find(|field| field.name() == name)
    }

    fn is_long(&self, name: &str) -> bool {
        let target = self.field(name).map(|field| TargetType::for_field(field, self.server, None));
        matches!(target, Some(TargetType::Text(_) | TargetType::Bytes(_)))
    }

    fn check_names(&self, schema: &Schema) -> Result<()> {
        let mut seen = HashSet::new();
        for field in &self.fields {
            let name = field.name();
            if name.to_lowercase().starts_with(RESERVED) {
                return Err(schema_error(format!("a column cannot be called `{name}`"))
                    .help("names with `_towpath_` are the sink's own; rename it under `transform`"));
            }
            if !seen.insert(name.to_lowercase()) {
                return Err(schema_error(format!(
                    "two columns are called `{name}`, apart from upper and lower case"
                ))
                .help("rename one under `transform`; MySQL takes them for the same"));
            }
        }
        let named = |what: &str, columns: &[String]| {
            let missing = columns.iter().find(|name| schema.field_with_name(name).is_err());
            missing.map_or(Ok(()), |name| {
                Err(schema_error(format!("the stream has no column `{name}`, which `{what}` names"))
                    .help(format!("check `{what}`")))
            })
        };
        named("key", self.primary_key())?;
        for index in &self.config.indexes {
            named("indexes", &index.columns)?;
        }
        named("operation_column", self.config.operation_column.as_slice())?;
        if self.config.delete_missing == DeleteMissing::Soft && seen.contains(DELETED_AT) {
            return Err(schema_error(format!("the stream has a column `{DELETED_AT}` of its own"))
                .help("rename it under `transform`, or set `delete_missing: hard`"));
        }
        Ok(())
    }

    /// The type that a column gets when it is made.
    fn wanted(&self, field: &Field) -> TargetType {
        let indexed = self.indexed.contains(&field.name().to_lowercase()).then_some(self.longest);
        TargetType::for_field(field, self.server, indexed)
    }

    /// The definitions of a new table.
    pub(super) fn definitions(&self) -> Vec<String> {
        let mut targets: Vec<TargetType> = self.fields.iter().map(|field| self.wanted(field)).collect();
        self.shrink(&mut targets);
        let mut definitions: Vec<String> = self
            .fields
            .iter()
            .zip(&targets)
            .map(|(field, target)| self.definition(field.name(), target))
            .collect();
        definitions.extend(self.more_columns().map(str::to_owned));
        let columns =
            |names: &[String]| names.iter().map(|name| identifier(name)).collect::<Vec<_>>().join(", ");
        if !self.primary_key().is_empty() {
            definitions.push(format!("PRIMARY KEY ({})", columns(self.primary_key())));
        }
        for Index { columns: names, unique } in &self.config.indexes {
            let unique = if *unique { "UNIQUE " } else { "" };
            definitions.push(format!("{unique}KEY ({})", columns(names)));
        }
        definitions
    }

    /// The column for what is missing.
    fn more_columns(&self) -> impl Iterator<Item = &'static str> {
        let is_soft = self.config.delete_missing == DeleteMissing::Soft;
        is_soft.then_some("`deleted_at` timestamp(6) NULL DEFAULT NULL").into_iter()
    }

    fn definition(&self, name: &str, target: &TargetType) -> String {
        let is_key = self.primary_key().iter().any(|key| key.eq_ignore_ascii_case(name));
        let is_indexed = self.indexed.contains(&name.to_lowercase());
        let collation = match target {
            // Upper case, accents and spaces at the end keep keys apart.
            TargetType::Text(_) if is_indexed => self.exact_collation(),
            _ => "",
        };
        let null = match target {
            TargetType::Timestamp(_) if is_key => "NOT NULL DEFAULT '1970-01-01 00:00:01'",
            _ if is_key => "NOT NULL",
            _ => "NULL DEFAULT NULL",
        };
        format!("{} {target}{collation} {null}", identifier(name))
    }

    fn exact_collation(&self) -> &'static str {
        if self.server.is_mariadb {
            " CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
        } else if self.server.version >= (8, 0, 17) {
            " CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin"
        } else {
            " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        }
    }

    /// Makes texts longer that do not fit a row together: only long texts are kept outside of it.
    fn shrink(&self, targets: &mut [TargetType]) {
        for least in [INDEXED_TEXT, 0] {
            let bytes = targets.iter().map(|target| match target {
                TargetType::Text(Length::Fixed(length) | Length::Varying(length)) => {
                    u64::from(length * CHARACTER)
                }
                TargetType::Bytes(Length::Fixed(length) | Length::Varying(length)) => u64::from(*length),
                _ => 16,
            });
            if bytes.sum::<u64>() <= ROW_BYTES {
                return;
            }
            for (field, target) in self.fields.iter().zip(targets.iter_mut()) {
                if self.indexed.contains(&field.name().to_lowercase()) {
                    continue;
                }
                match target {
                    TargetType::Text(Length::Varying(length)) if *length > least => {
                        *target = TargetType::Text(Length::Long);
                    }
                    TargetType::Bytes(Length::Varying(length)) if *length > least => {
                        *target = TargetType::Bytes(Length::Long);
                    }
                    _ => {}
                }
            }
        }
    }

    /// What has to be altered so that a table holds the columns. `stored` are the columns of the last run.
    ///
    /// # Errors
    /// `SchemaMismatch` names the column and the type that the table cannot hold.
    pub(super) fn alterations(
        &self,
        table: &Table,
        stored: Option<&Schema>,
        is_rebuilt: bool,
    ) -> Result<Vec<String>> {
        let mut alterations = Vec::new();
        for field in &self.fields {
            let wanted = self.wanted(field);
            let Some(column) = table.column(field.name()) else {
                alterations.push(format!("ADD COLUMN {}", self.definition(field.name(), &wanted)));
                continue;
            };
            if let Some(target) = self.altered(column, field, wanted, stored, is_rebuilt)? {
                let null = if column.is_nullable { "NULL DEFAULT NULL" } else { "NOT NULL" };
                alterations.push(format!("MODIFY COLUMN {} {target} {null}", identifier(&column.name)));
            }
        }
        if table.column(DELETED_AT).is_none() {
            alterations.extend(self.more_columns().map(|column| format!("ADD COLUMN {column}")));
        }
        self.check_left_out(table)?;
        Ok(alterations)
    }

    /// The type that a column must have instead, if it must.
    fn altered(
        &self,
        column: &Column,
        field: &Field,
        wanted: TargetType,
        stored: Option<&Schema>,
        is_rebuilt: bool,
    ) -> Result<Option<TargetType>> {
        let there = column.target();
        let last = stored.and_then(|stored| stored.field_with_name(field.name()).ok());
        let is_ours = last.is_some_and(|last| self.wanted(last) == there);
        // No row is in it yet, so the column may become what it would be in a new table.
        if is_rebuilt && is_ours {
            return Ok((wanted != there).then_some(wanted));
        }
        // A column of nothing but nulls.
        if last.is_some_and(|last| *last.data_type() == DataType::Null) && is_ours && wanted != there {
            return Ok(Some(wanted));
        }
        if matches!((field.data_type(), &there), (DataType::Duration(_), TargetType::Time(_))) {
            return Ok(None);
        }
        match fit(&there, &wanted, is_ours) {
            Fit::Keeps => Ok(None),
            Fit::Widens(target) => Ok(Some(target)),
            Fit::Never => {
                let column_type = ColumnType::from(field.data_type().clone());
                Err(schema_error(format!(
                    "column `{}` of type {column_type} does not fit the table, where it is {}",
                    field.name(),
                    column.type_name
                ))
                .help("cast or rename it under `transform`"))
            }
        }
    }

    /// Columns that no row will have, and that every row must have.
    fn check_left_out(&self, table: &Table) -> Result<()> {
        let left_out = table.columns.iter().find(|column| {
            !column.is_optional()
                && !column.name.starts_with(RESERVED)
                && !self.fields.iter().any(|field| field.name().to_lowercase() == column.name.to_lowercase())
        });
        left_out.map_or(Ok(()), |column| {
            Err(schema_error(format!(
                "the table's column `{}` must not be null, and the stream does not have it",
                column.name
            ))
            .help("give it a default in the table, or a value under `transform`"))
        })
    }
}

fn schema_error(message: String) -> Error {
    Error::schema(message).connector(crate::NAME)
}

/// Options that mean something for `merge` only, and what that needs.
///
/// # Errors
/// `Config`.
pub(super) fn check_options(config_: &SinkConfig, load: &LoadSpec) -> Result<()> {
    let is_merge = load.disposition == WriteDisposition::Merge;
    if !is_merge && (config_.operation_column.is_some() || config_.delete_missing != DeleteMissing::No) {
        return Err(config("`operation_column` and `delete_missing` have no effect without merge")
            .help("set `write_disposition: merge`"));
    }
    if is_merge && load.key.is_empty() {
        return Err(config("`merge` needs a key").help("set `key` on the stream"));
    }
    if config_.primary_key && load.key.is_empty() {
        return Err(config("`primary_key` needs a key").help("set `key` on the stream"));
    }
    let is_key = |column: &String| load.key.contains(column);
    if config_.operation_column.as_ref().is_some_and(is_key) {
        return Err(config("`operation_column` cannot be a part of the key"));
    }
    Ok(())
}
