//! `merge`: the last row of each key counts.

use towpath_core::Result;
use towpath_sql::{Dialect, TableName};

use super::commit::{Commit, StagedTable, all_there};
use super::landing::{Landing, LandingColumn};
use super::table::DELETED_AT;
use super::{PostgresSink, Transaction};
use crate::config::DeleteMissing;
use crate::errors::failed;

/// In which order rows came: where they lie tells nothing once the server has tidied up.
pub(super) const ROW_NUMBER: &str = "_towpath_row";

/// Values of the operation column that delete.
const DELETES: &str = "('d', 'D', 'delete')";

/// Brings staged rows into the table, and at the end of a run deals with those that did not come.
pub(super) async fn land(commit: &Commit<'_>, transaction: &Transaction, landing: &Landing) -> Result<()> {
    for table in &commit.tables {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        let row = transaction.client().query_one(&sql, &[]).await;
        let found: i64 = row.map_err(|error| failed("counting staged rows", error))?.get(0);
        all_there(table, found.unsigned_abs())?;
    }
    let merge = Merge::new(commit, transaction, landing).await?;
    // In the order of their parts, so that the last row of a key is one of the last part.
    for table in &commit.tables {
        merge.land(transaction, table, "").await?;
    }
    merge.delete_missing(commit, transaction).await
}

/// How rows of one load are merged.
pub(super) struct Merge<'a> {
    landing: &'a Landing,
    key: &'a [String],
    operation: Option<String>,
    /// Whether the server itself finds rows with the same key.
    has_unique_key: bool,
    delete_missing: DeleteMissing,
    keys: TableName,
}

impl<'a> Merge<'a> {
    pub(super) async fn new(
        commit: &'a Commit<'_>,
        transaction: &Transaction,
        landing: &'a Landing,
    ) -> Result<Self> {
        let load = &commit.begun.load;
        let options = &commit.sink.inner.config;
        Ok(Self {
            landing,
            key: &load.key,
            operation: options.operation_column.as_deref().map(|name| Dialect::Postgres.identifier(name)),
            has_unique_key: has_unique_key(transaction, &landing.table, &load.key).await?,
            delete_missing: options.delete_missing,
            keys: landing.table.sibling(PostgresSink::names(load).keys()),
        })
    }

    /// Merges the rows of a staging table. `condition` leaves some of them out.
    pub(super) async fn land(
        &self,
        transaction: &Transaction,
        table: &StagedTable,
        condition: &str,
    ) -> Result<()> {
        for sql in self.statements(table, condition) {
            let done = transaction.client().execute(&sql, &[]).await;
            done.map_err(|error| failed("merging staged rows", error))?;
        }
        Ok(())
    }

    fn key_list(&self) -> String {
        Dialect::Postgres.identifiers(self.key.iter().map(String::as_str))
    }

    /// The last row of each key.
    fn last_rows(&self, table: &StagedTable, condition: &str) -> String {
        let (staged, landing) = (&table.name, &table.landing);
        let mut values = landing.values();
        if let Some(operation) = &self.operation {
            values = format!("{values}, {operation} AS _towpath_operation");
        }
        let key = self.key.iter().filter_map(|key| landing.columns.iter().find(|column| column.name == *key));
        let key: Vec<_> = key.map(LandingColumn::staged_value).collect();
        let key = key.join(", ");
        let names = landing.names();
        let operation = if self.operation.is_some() { ", _towpath_operation" } else { "" };
        format!(
            "SELECT * FROM (SELECT DISTINCT ON ({key}) {values} FROM {staged}{condition} ORDER BY {key}, {ROW_NUMBER} DESC) \
             AS last_rows ({names}{operation})"
        )
    }

    fn same_key(&self, left: &str, right: &str) -> String {
        let same = |key: &String| {
            let key = Dialect::Postgres.identifier(key);
            format!("{left}.{key} = {right}.{key}")
        };
        self.key.iter().map(same).collect::<Vec<_>>().join(" AND ")
    }

    fn statements(&self, staged: &StagedTable, condition: &str) -> Vec<String> {
        let table = self.landing.table.sql(Dialect::Postgres);
        let rows = self.last_rows(staged, condition);
        let (stays, goes) = match &self.operation {
            None => (String::new(), None),
            Some(_) => (
                format!(" WHERE _towpath_operation IS NULL OR _towpath_operation NOT IN {DELETES}"),
                Some(format!(" AND rows._towpath_operation IN {DELETES}")),
            ),
        };
        let names = staged.landing.names();
        let same = self.same_key("held", "rows");
        let mut statements = Vec::new();
        if let Some(goes) = goes.filter(|_| self.has_unique_key) {
            statements.push(format!("DELETE FROM {table} AS held USING ({rows}) AS rows WHERE {same}{goes}"));
        }
        if self.has_unique_key {
            let updates = self.updates(&staged.landing);
            statements.push(format!(
                "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM ({rows}) AS rows{stays} ON CONFLICT ({}) {updates}",
                self.key_list()
            ));
        } else {
            statements.push(format!("DELETE FROM {table} AS held USING ({rows}) AS rows WHERE {same}"));
            statements
                .push(format!("INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM ({rows}) AS rows{stays}"));
        }
        if self.delete_missing != DeleteMissing::No {
            let (keys, list) = (self.keys.sql(Dialect::Postgres), self.key_list());
            statements
                .push(format!("CREATE TABLE IF NOT EXISTS {keys} AS SELECT {list} FROM {table} LIMIT 0"));
            statements.push(format!("INSERT INTO {keys} SELECT {list} FROM ({rows}) AS rows{stays}"));
        }
        statements
    }

    fn updates(&self, landing: &Landing) -> String {
        let mut updates: Vec<_> = landing
            .landing_columns()
            .filter(|column| !self.key.contains(&column.name))
            .map(|column| format!("{0} = EXCLUDED.{0}", column.quoted()))
            .collect();
        if self.delete_missing == DeleteMissing::Soft {
            // A row that came back is not deleted any more.
            updates.push(format!("{DELETED_AT} = NULL"));
        }
        if updates.is_empty() {
            "DO NOTHING".to_owned()
        } else {
            format!("DO UPDATE SET {}", updates.join(", "))
        }
    }

    /// At the end of a run: what becomes of rows whose key did not come in it.
    async fn delete_missing(&self, commit: &Commit<'_>, transaction: &Transaction) -> Result<()> {
        if self.delete_missing == DeleteMissing::No || !commit.finishes {
            return Ok(());
        }
        let (table, keys) = (self.landing.table.sql(Dialect::Postgres), self.keys.sql(Dialect::Postgres));
        let make =
            format!("CREATE TABLE IF NOT EXISTS {keys} AS SELECT {} FROM {table} LIMIT 0", self.key_list());
        transaction.execute("looking for rows that did not come", &make).await?;
        let came = format!("EXISTS (SELECT FROM {keys} AS came WHERE {})", self.same_key("came", "held"));
        let sql = match self.delete_missing {
            DeleteMissing::Soft => {
                format!(
                    "UPDATE {table} AS held SET {DELETED_AT} = now() WHERE {DELETED_AT} IS NULL AND NOT {came}"
                )
            }
            _ => format!("DELETE FROM {table} AS held WHERE NOT {came}"),
        };
        transaction.execute("deleting rows that did not come", &format!("{sql}; DROP TABLE {keys}")).await
    }
}

/// Whether the table has a unique index over exactly the key.
async fn has_unique_key(transaction: &Transaction, table: &TableName, key: &[String]) -> Result<bool> {
    let name = table.sql(Dialect::Postgres);
    let row = transaction.client().query_one("SELECT to_regclass($1)::oid", &[&name]).await;
    match row.map_err(|error| failed("looking for the table", error))?.get(0) {
        Some(oid) => is_unique_key(transaction, oid, key).await,
        None => Ok(false),
    }
}

/// The same for a table that the server knows by this number.
pub(super) async fn is_unique_key(transaction: &Transaction, oid: u32, key: &[String]) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = $1 AND i.indisunique \
               AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL \
               AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM unnest(i.indkey::int2[]) \
                 WITH ORDINALITY AS k(number, position) JOIN pg_attribute a \
                 ON a.attrelid = i.indrelid AND a.attnum = k.number WHERE k.position <= i.indnkeyatts) \
               = (SELECT array_agg(name ORDER BY name) FROM unnest($2::text[]) AS name))";
    let row = transaction.client().query_one(sql, &[&oid, &key]).await;
    row.map(|row| row.get(0)).map_err(|error| failed("looking for a unique key", error))
}
