//! The key of a `merge`, and when two keys are the same.

use towpath_core::Result;

use super::evolve::definition;
use super::names::{Names, sql};
use super::table::{Column, Table};
use crate::client::Client;
use crate::sql::identifier;
use crate::types::target::{Length, TargetType};

/// The bytes that an index may have.
const INDEX_BYTES: u32 = 3_072;

/// The key of a `merge`. Where it is the one unique index of the target, keys are the same if that index says so.
/// Otherwise texts are compared byte by byte: the column's collation may take upper and lower case for the same.
#[derive(Debug, Default)]
pub(super) struct Key {
    pub(super) is_the_only_one: bool,
    /// Names, and whether they are compared byte by byte.
    columns: Vec<(String, bool)>,
}

impl Key {
    pub(super) fn new(table: &Table, key: &[String]) -> Self {
        let is_the_only_one = table.is_only_key(key);
        let is_text = |name: &String| {
            let target = table.column(name).map(Column::target);
            matches!(target, Some(TargetType::Text(_)))
        };
        let columns = key.iter().map(|name| (name.clone(), !is_the_only_one && is_text(name))).collect();
        Self { is_the_only_one, columns }
    }

    /// The columns of a table or an alias, as they are compared.
    pub(super) fn of(&self, table: &str) -> Vec<String> {
        let column = |(name, is_exact): &(String, bool)| {
            let column = format!("{table}.{}", identifier(name));
            if *is_exact { format!("CAST({column} AS BINARY)") } else { column }
        };
        self.columns.iter().map(column).collect()
    }

    /// Makes the list of keys that come in a run.
    pub(super) async fn make_list(&self, client: &mut Client, names: &Names, table: &Table) -> Result<()> {
        let most = INDEX_BYTES / u32::try_from(self.columns.len()).unwrap_or(u32::MAX).max(1);
        let definitions = self.columns.iter().filter_map(|(name, is_exact)| {
            let column = table.column(name)?;
            let definition = match column.target() {
                TargetType::Text(Length::Fixed(length) | Length::Varying(length)) if *is_exact => {
                    format!("{} varbinary({})", identifier(name), (4 * length).min(most))
                }
                _ if *is_exact => format!("{} varbinary({most})", identifier(name)),
                _ => definition(&column.into()),
            };
            Some(definition + " NOT NULL")
        });
        let definitions: Vec<String> = definitions.collect();
        let columns: Vec<String> = self.columns.iter().map(|(name, _)| identifier(name)).collect();
        let statement = format!(
            "CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ({})) ENGINE=InnoDB",
            sql(&names.keys()),
            definitions.join(", "),
            columns.join(", ")
        );
        client.execute(&statement).await.map(drop)
    }
}
