//! What the server tells of its tables.

mod grants;
mod tables;

use std::collections::HashMap;

use towpath_core::{Error, ErrorKind, Result};
use towpath_sql::{Dialect, TableName};

use crate::client::Client;
use crate::sql::text;
use crate::types::source::Declaration;

pub(crate) use grants::{explain_missing_grant, grant_to_lock, grantee};
pub(crate) use tables::{Listed, tables};

/// A table or a view.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: TableName,
    pub(crate) is_view: bool,
    /// An estimate of the server's.
    pub(crate) rows: Option<u64>,
    /// In the order of the table.
    pub(crate) columns: Vec<TableColumn>,
    /// The primary key first; then unique keys without nulls, in the order of the table.
    pub(crate) keys: Vec<Key>,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(crate) struct TableColumn {
    pub(crate) name: String,
    pub(crate) declaration: Declaration,
}

/// Columns that identify a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: String,
    pub(crate) columns: Vec<String>,
}

impl Table {
    /// Looks a table up.
    ///
    /// # Errors
    /// `NotFound` when it is not there, or not shown to the user.
    pub(crate) async fn find(client: &mut Client, name: &TableName) -> Result<Self> {
        let condition = format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", schema(name), text(&name.name));
        let found = client
            .query(&format!("SELECT TABLE_TYPE, TABLE_ROWS FROM information_schema.TABLES WHERE {condition}"))
            .await?;
        let Some(row) = found.into_iter().next() else {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no table {}", name.sql(Dialect::MySql)))
                .connector(crate::NAME)
                .help("check `table` and `database`, and that the user has SELECT on it; `towpath discover` lists tables"));
        };
        let mut row = row.into_iter().flatten();
        let is_view = row.next().is_some_and(|kind| kind.contains("VIEW"));
        let rows = row.next().and_then(|rows| rows.parse().ok());
        let columns = columns(client, &condition, name).await?;
        let keys = if is_view { Vec::new() } else { keys(client, &condition, &columns).await? };
        Ok(Self { name: name.clone(), is_view, rows, columns, keys })
    }

    /// How the columns are declared, by name.
    pub(crate) fn declarations(&self) -> HashMap<String, Declaration> {
        self.columns.iter().map(|column| (column.name.clone(), column.declaration.clone())).collect()
    }
}

/// The database of a table, in quotes.
fn schema(name: &TableName) -> String {
    name.schema.as_deref().map_or_else(|| "DATABASE()".to_owned(), text)
}

async fn columns(client: &mut Client, condition: &str, name: &TableName) -> Result<Vec<TableColumn>> {
    let json = if client.server().is_mariadb { json_columns(client, name).await? } else { Vec::new() };
    let rows = client
        .query(&format!(
            "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE FROM information_schema.COLUMNS \
             WHERE {condition} ORDER BY ORDINAL_POSITION"
        ))
        .await?;
    let column = |row: Vec<Option<String>>| {
        let [name, type_name, is_nullable] = <[Option<String>; 3]>::try_from(row).ok()?;
        let (name, type_name) = (name?, type_name?);
        let declaration = Declaration {
            is_nullable: is_nullable.as_deref() != Some("NO"),
            is_json: json.contains(&name),
            type_name,
        };
        Some(TableColumn { name, declaration })
    };
    Ok(rows.into_iter().filter_map(column).collect())
}

/// MariaDB keeps JSON as `longtext` with a check of its own making.
async fn json_columns(client: &mut Client, name: &TableName) -> Result<Vec<String>> {
    let rows = client
        .query(&format!(
            "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS \
             WHERE CONSTRAINT_SCHEMA = {} AND TABLE_NAME = {} AND LEVEL = 'Column'",
            schema(name),
            text(&name.name)
        ))
        .await?;
    let column = |clause: String| {
        let quoted = clause.trim().strip_prefix("json_valid(`")?.strip_suffix("`)")?;
        Some(quoted.replace("``", "`"))
    };
    Ok(rows.into_iter().flatten().flatten().filter_map(column).collect())
}

/// Unique keys of whole columns without nulls.
async fn keys(client: &mut Client, condition: &str, columns: &[TableColumn]) -> Result<Vec<Key>> {
    let rows = client
        .query(&format!(
            "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS \
             WHERE {condition} AND NON_UNIQUE = 0 ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX"
        ))
        .await?;
    let mut keys: Vec<(Key, bool)> = Vec::new();
    for row in rows {
        let Ok([index, column, prefix]) = <[Option<String>; 3]>::try_from(row) else { continue };
        let Some(index) = index else { continue };
        // An index of an expression names no column.
        let declared = column.as_ref().and_then(|name| columns.iter().find(|column| column.name == *name));
        let is_whole = prefix.is_none() && declared.is_some_and(|column| !column.declaration.is_nullable);
        if keys.last().is_none_or(|(key, _)| key.index != index) {
            keys.push((Key { index, columns: Vec::new() }, true));
        }
        let (key, is_usable) = keys.last_mut().expect("a key was pushed");
        key.columns.extend(column);
        *is_usable &= is_whole;
    }
    Ok(keys.into_iter().filter(|(_, is_usable)| *is_usable).map(|(key, _)| key).collect())
}
