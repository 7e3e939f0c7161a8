//! Making and altering the target, and where rows are staged.

use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use towpath_core::{Begun, Context, Error, ErrorKind, Result, WriteDisposition};
use towpath_sql::TableName;

use super::checkpoints::Checkpoints;
use super::keys::Key;
use super::names::{Names, PART, sql};
use super::plan::Plan;
use super::state::{Place, StagedColumn, Staging, State};
use super::table::{Column, Table, dependents, exists};
use super::{MysqlSink, refusal};
use crate::client::Client;
use crate::config::{DeleteMissing, LoadBy};
use crate::errors::code;
use crate::sql::identifier;
use crate::types::known;

/// The server's numbers for a table, a column that is there already, and a column that is not: somebody else was faster.
const ALREADY_THERE: [u16; 2] = [1050, 1060];

/// The columns that a run begins with: those of the last run that are still there, with the one that is not written
/// (`operation`), or all that a stream may fill. A run leaves those alone that it does not bring.
pub(super) fn known_schema(table: &Table, stored: Option<&Schema>, operation: Option<&str>) -> SchemaRef {
    let is_written = |name: &str| table.column(name).is_some() || operation == Some(name);
    let is_open = |column: &&Column| !column.is_generated;
    let fields: Vec<FieldRef> = if let Some(stored) = stored {
        stored.fields().iter().filter(|field| is_written(field.name())).cloned().collect()
    } else {
        let open = table.columns.iter().filter(is_open);
        open.map(|column| Arc::new(known::field(&column.name, &column.type_name))).collect()
    };
    Arc::new(Schema::new(fields))
}

impl MysqlSink {
    /// The load with these columns, and how its rows are staged.
    pub(super) async fn evolve_target(
        &self,
        cx: &Context,
        begun: &Begun,
        schema: &SchemaRef,
    ) -> Result<(Begun, Staging)> {
        let names = self.names(&begun.load)?;
        let mut state = State::of(begun)?;
        let mut client = self.pool.get(cx).await?;
        let plan = Plan::new(&self.config, &begun.load, schema, client.server())?;
        let checkpoints = Checkpoints::new(&names, &begun.load);
        let stored = checkpoints.read(&mut client).await?.and_then(|record| record.columns);
        let place = match &state.staging {
            Some(staging) => staging.place,
            None => place(cx, &mut client, &names, begun).await?,
        };
        let epoch = begun.checkpoint.epoch;
        let (table, is_rebuilt) = match place {
            Place::Parts => (names.target().clone(), false),
            Place::Beside => (names.beside(epoch), true),
        };
        let made = make(&mut client, &plan, &names, &table, stored.as_ref(), is_rebuilt).await;
        let found = made.map_err(|error| error.detail("table", sql(names.target())))?;
        make_parts(&mut client, &names, epoch).await?;
        if self.config.delete_missing != DeleteMissing::No {
            Key::new(&found, &begun.load.key).make_list(&mut client, &names, &found).await?;
        }
        checkpoints.store_columns(&mut client, schema).await?;
        let (by_load_data, longest_statement) = self.way(cx, &mut client).await?;
        let staging = Staging {
            place,
            columns: staged_columns(&plan, &found)?,
            operation: self.config.operation_column.clone(),
            by_load_data,
            longest_statement,
        };
        state.staging = Some(staging.clone());
        let mut evolved = begun.with_schema(schema);
        evolved.state = state.json()?;
        Ok((evolved, staging))
    }

    /// Whether rows go by `LOAD DATA`, and how long a statement may be.
    pub(super) async fn way(&self, cx: &Context, client: &mut Client) -> Result<(bool, usize)> {
        let rows = client.query("SELECT @@GLOBAL.local_infile, @@max_allowed_packet").await?;
        let mut row = rows.into_iter().flatten().map(Option::unwrap_or_default);
        let allowed = row.next().is_some_and(|value| matches!(value.as_str(), "1" | "ON"));
        let longest = row.next().and_then(|value| value.parse().ok()).unwrap_or(1 << 20);
        let by_load_data = match self.config.load_by {
            LoadBy::Insert => false,
            LoadBy::Auto => allowed,
            LoadBy::LoadData if allowed => true,
            LoadBy::LoadData => {
                return Err(Error::unsupported("the server forbids LOAD DATA LOCAL")
                    .connector(crate::NAME)
                    .help("let an administrator run SET GLOBAL local_infile = 1, or set `load_by: auto`"));
            }
        };
        if !by_load_data && self.config.load_by == LoadBy::Auto {
            cx.metrics().warn(
                "the MySQL server forbids LOAD DATA LOCAL, so rows are written by INSERT, which takes longer: let an \
                 administrator run SET GLOBAL local_infile = 1",
            );
        }
        Ok((by_load_data, longest))
    }
}

/// Where rows are staged: beside, if nothing would be lost with the table whose place is taken.
async fn place(cx: &Context, client: &mut Client, names: &Names, begun: &Begun) -> Result<Place> {
    if begun.load.disposition != WriteDisposition::Replace {
        return Ok(Place::Parts);
    }
    let Some(what) = dependents(client, names.target()).await? else { return Ok(Place::Beside) };
    cx.metrics().warn(format!(
        "{} has {what}, so its rows are replaced in place, in one transaction, and not by a table beside it: this takes \
         longer",
        sql(names.target())
    ));
    Ok(Place::Parts)
}

/// Makes the table if it is not there, and alters it if it does not hold the columns. Returns it as it is then.
async fn make(
    client: &mut Client,
    plan: &Plan<'_>,
    names: &Names,
    table: &TableName,
    stored: Option<&Schema>,
    is_rebuilt: bool,
) -> Result<Table> {
    // Another stream may make or alter the same table at this moment.
    const LOOKS: u32 = 5;
    for _ in 0..LOOKS {
        let Some(found) = Table::find(client, table).await? else {
            if let Some(target) = Table::find(client, names.target()).await? {
                target.check(names.target())?;
            }
            retry_if_there(create(client, plan, names, table, is_rebuilt).await)?;
            continue;
        };
        found.check(table)?;
        let mut alterations = plan.alterations(&found, stored, is_rebuilt)?;
        if is_rebuilt && found.column(PART).is_none() {
            alterations.push(format!("ADD COLUMN {PART} int unsigned NULL"));
        }
        if alterations.is_empty() {
            return Ok(found);
        }
        let altered = client.execute(&format!("ALTER TABLE {} {}", sql(table), alterations.join(", "))).await;
        retry_if_there(altered.map(drop))?;
    }
    Err(Error::unavailable("the table changes all the time").connector(crate::NAME))
}

fn retry_if_there(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(error) if code(&error).is_some_and(|code| ALREADY_THERE.contains(&code)) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Config || error.kind() == ErrorKind::Unexpected => {
            Err(refusal(error, "the server refuses the columns"))
        }
        other => other,
    }
}

async fn create(
    client: &mut Client,
    plan: &Plan<'_>,
    names: &Names,
    table: &TableName,
    is_rebuilt: bool,
) -> Result<()> {
    let statement = if is_rebuilt && exists(client, names.target()).await? {
        format!("CREATE TABLE {} LIKE {}", sql(table), sql(names.target()))
    } else {
        format!(
            "CREATE TABLE {} ({}) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4",
            sql(table),
            plan.definitions().join(", ")
        )
    };
    client.execute(&statement).await.map(drop)
}

/// The list of writers: how far each has got stands in the transaction of its rows.
async fn make_parts(client: &mut Client, names: &Names, epoch: u64) -> Result<()> {
    let statement = format!(
        "CREATE TABLE IF NOT EXISTS {} (part int unsigned NOT NULL PRIMARY KEY, batches bigint unsigned NOT NULL) \
         ENGINE=InnoDB",
        sql(&names.parts(epoch))
    );
    client.execute(&statement).await.map(drop)
}

/// Name, type and character set of a column, without what it says of nulls.
pub(super) fn definition(column: &StagedColumn) -> String {
    let mut definition = format!("{} {}", identifier(&column.name), column.type_name);
    // MariaDB's `json` has a character set, which its definition cannot have.
    if column.type_name != "json"
        && let (Some(set), Some(collation)) = (&column.character_set, &column.collation)
    {
        let at = definition.len();
        definition.insert_str(at, &format!(" CHARACTER SET {set} COLLATE {collation}"));
    }
    definition
}

impl From<&Column> for StagedColumn {
    fn from(column: &Column) -> Self {
        Self {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
            character_set: column.character_set.clone(),
            collation: column.collation.clone(),
            required: !column.is_nullable && !column.is_counter,
            is_key: false,
        }
    }
}

fn staged_columns(plan: &Plan<'_>, table: &Table) -> Result<Vec<StagedColumn>> {
    let is_merge = plan.load.disposition == WriteDisposition::Merge;
    let column = |name: &String| {
        let column = table.column(name).ok_or_else(|| {
            Error::unexpected(format!("column `{name}` was made and is not there")).connector(crate::NAME)
        })?;
        let is_key = is_merge && plan.load.key.contains(name);
        let staged = StagedColumn::from(column);
        Ok(StagedColumn { name: name.clone(), required: staged.required || is_key, is_key, ..staged })
    };
    plan.fields().iter().map(|field| column(field.name())).collect()
}
