//! What the server tells of a table that rows go to.

use towpath_core::{Error, Result};
use towpath_sql::TableName;

use super::names::sql;
use crate::client::Client;
use crate::sql::text;
use crate::types::target::TargetType;

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    /// The columns of the primary key and of unique indexes over whole columns, in lower case and sorted.
    unique: Vec<Vec<String>>,
    engine: String,
    is_base: bool,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// As the server writes it.
    pub(super) type_name: String,
    pub(super) character_set: Option<String>,
    pub(super) collation: Option<String>,
    pub(super) is_nullable: bool,
    pub(super) has_default: bool,
    /// Whether the server fills it by itself, or hides it.
    pub(super) is_generated: bool,
    pub(super) is_counter: bool,
}

impl Column {
    pub(super) fn target(&self) -> TargetType {
        TargetType::from_catalog(&self.type_name)
    }

    /// Whether a row may leave it out.
    pub(super) fn is_optional(&self) -> bool {
        self.is_nullable || self.has_default || self.is_generated || self.is_counter
    }
}

fn condition(table: &TableName) -> String {
    let schema = table.schema.as_deref().unwrap_or_default();
    format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", text(schema), text(&table.name))
}

/// Whether a table or view of this name is there.
pub(super) async fn exists(client: &mut Client, table: &TableName) -> Result<bool> {
    let query = format!("SELECT 1 FROM information_schema.TABLES WHERE {}", condition(table));
    Ok(!client.query(&query).await?.is_empty())
}

/// Whether a database of this name is there.
pub(super) async fn database_exists(client: &mut Client, database: &str) -> Result<bool> {
    let query = format!("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}", text(database));
    Ok(!client.query(&query).await?.is_empty())
}

impl Table {
    /// Looks a table up; `None` when it is not there.
    pub(super) async fn find(client: &mut Client, table: &TableName) -> Result<Option<Self>> {
        let condition = condition(table);
        let found = client
            .query(&format!("SELECT TABLE_TYPE, ENGINE FROM information_schema.TABLES WHERE {condition}"))
            .await?;
        let Some(row) = found.into_iter().next() else { return Ok(None) };
        let mut row = row.into_iter();
        let is_base = row.next().flatten().is_some_and(|kind| kind == "BASE TABLE");
        let engine = row.next().flatten().unwrap_or_default();
        let columns = columns(client, &condition).await?;
        let unique = unique(client, &condition).await?;
        Ok(Some(Self { columns, unique, engine, is_base }))
    }

    /// Says why rows cannot go into this table in a transaction, if they cannot.
    pub(super) fn check(&self, name: &TableName) -> Result<()> {
        let refused = |why: &str, help: &str| {
            let message = format!("{} {why}", sql(name));
            Err(Error::unsupported(message).connector(crate::NAME).help(help))
        };
        if !self.is_base {
            return refused("is no plain table", "write into the table behind it, and set `table`");
        }
        if !self.engine.eq_ignore_ascii_case("InnoDB") {
            let why = format!("is kept by the engine {}, which has no transactions", self.engine);
            return refused(&why, "change it: ALTER TABLE ... ENGINE=InnoDB");
        }
        Ok(())
    }

    /// The column of this name, whatever its case: so the server sees it.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        let lower = name.to_lowercase();
        self.columns.iter().find(|column| column.name.to_lowercase() == lower)
    }

    /// Whether these columns and no others keep rows apart.
    pub(super) fn is_only_key(&self, columns: &[String]) -> bool {
        let mut wanted: Vec<String> = columns.iter().map(|name| name.to_lowercase()).collect();
        wanted.sort_unstable();
        self.unique.iter().all(|unique| *unique == wanted) && !self.unique.is_empty()
    }
}

async fn columns(client: &mut Client, condition: &str) -> Result<Vec<Column>> {
    let json = if client.server().is_mariadb { json_columns(client, condition).await? } else { Vec::new() };
    let query = format!(
        "SELECT COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE, COLUMN_DEFAULT, EXTRA \
         FROM information_schema.COLUMNS WHERE {condition} ORDER BY ORDINAL_POSITION"
    );
    let column = |row: Vec<Option<String>>| {
        let [name, type_name, character_set, collation, is_nullable, default, extra] =
            <[Option<String>; 7]>::try_from(row).ok()?;
        let (name, type_name, extra) = (name?, type_name?, extra.unwrap_or_default().to_uppercase());
        Some(Column {
            type_name: if json.contains(&name) { "json".to_owned() } else { type_name },
            character_set,
            collation,
            is_nullable: is_nullable.as_deref() != Some("NO"),
            // MariaDB writes that there is none as a text.
            has_default: default.is_some_and(|default| default != "NULL"),
            is_generated: ["VIRTUAL", "STORED", "PERSISTENT", "INVISIBLE"]
                .iter()
                .any(|kind| extra.contains(kind)),
            is_counter: extra.contains("AUTO_INCREMENT"),
            name,
        })
    };
    Ok(client.query(&query).await?.into_iter().filter_map(column).collect())
}

/// MariaDB keeps JSON as `longtext` with a check of its own making.
async fn json_columns(client: &mut Client, condition: &str) -> Result<Vec<String>> {
    let condition = condition.replace("TABLE_SCHEMA", "CONSTRAINT_SCHEMA");
    let query = format!(
        "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE {condition} AND LEVEL = 'Column'"
    );
    let column = |clause: String| {
        let quoted = clause.trim().strip_prefix("json_valid(`")?.strip_suffix("`)")?;
        Some(quoted.replace("``", "`"))
    };
    Ok(client.query(&query).await?.into_iter().flatten().flatten().filter_map(column).collect())
}

async fn unique(client: &mut Client, condition: &str) -> Result<Vec<Vec<String>>> {
    let query = format!(
        "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS \
         WHERE {condition} AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX"
    );
    let mut indexes: Vec<(String, Vec<String>)> = Vec::new();
    for row in client.query(&query).await? {
        let Ok([Some(index), column, prefix]) = <[Option<String>; 3]>::try_from(row) else { continue };
        if indexes.last().is_none_or(|(last, _)| *last != index) {
            indexes.push((index, Vec::new()));
        }
        let (_, columns) = indexes.last_mut().expect("an index was pushed");
        // A prefix or an expression is never one of the columns that somebody asks for.
        let name = match (column, prefix) {
            (Some(column), None) => column.to_lowercase(),
            _ => String::new(),
        };
        columns.push(name);
    }
    let sorted = |(_, mut columns): (String, Vec<String>)| {
        columns.sort_unstable();
        columns
    };
    Ok(indexes.into_iter().map(sorted).collect())
}

/// What hangs on a table and would not follow when another one took its place, if something does.
pub(super) async fn dependents(client: &mut Client, table: &TableName) -> Result<Option<&'static str>> {
    let schema = text(table.schema.as_deref().unwrap_or_default());
    let name = text(&table.name);
    let queries = [
        (
            "triggers",
            format!(
                "SELECT 1 FROM information_schema.TRIGGERS \
                 WHERE EVENT_OBJECT_SCHEMA = {schema} AND EVENT_OBJECT_TABLE = {name} LIMIT 1"
            ),
        ),
        (
            "foreign keys",
            format!(
                "SELECT 1 FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL AND \
                 ((TABLE_SCHEMA = {schema} AND TABLE_NAME = {name}) OR \
                 (REFERENCED_TABLE_SCHEMA = {schema} AND REFERENCED_TABLE_NAME = {name})) LIMIT 1"
            ),
        ),
    ];
    for (what, query) in queries {
        if !client.query(&query).await?.is_empty() {
            return Ok(Some(what));
        }
    }
    Ok(None)
}
