//! Finding the rows that a target refuses.
//!
//! A statement that inserts many rows tells of one that is wrong at best. So parts of the staged rows are tried, each
//! behind a savepoint, and those that fail are halved, until single rows are left. All of it is rolled back; the rows that
//! were found are then taken out of what is staged.

use towpath_core::{Error, ErrorKind, Json, Rejected, Result, WriteDisposition};
use towpath_sql::Dialect;

use super::commit::{Commit, StagedTable, insert};
use super::landing::Landing;
use super::merge::{Merge, ROW_NUMBER};
use super::{PostgresSink, Transaction, replace};
use crate::errors::failed;

/// More rows than this are not looked for: then it is not single rows that are wrong.
const MOST: usize = 10_000;

/// The rows that the target refuses, which are not staged any more.
///
/// # Errors
/// `reason`, when no single row can be found that is to blame.
pub(super) async fn find(commit: &Commit<'_>, reason: Error) -> Result<Vec<Rejected>> {
    let Some(landing) = &commit.landing else { return Err(reason) };
    let transaction = commit.sink.begin_transaction(commit.cx).await?;
    let search = Search::new(commit, &transaction, landing).await?;
    let mut found = Vec::new();
    for table in &search.tables {
        let rows = search.search(&transaction, table, found.len()).await?;
        found.extend(rows.into_iter().map(|(place, error)| (table.clone(), place, error)));
    }
    transaction.roll_back().await?;
    if found.is_empty() {
        return Err(reason);
    }
    take_out(commit, landing, found).await
}

/// What is tried.
struct Search<'a> {
    merge: Option<Merge<'a>>,
    /// Where rows are tried to be inserted.
    goal: String,
    tables: Vec<StagedTable>,
}

impl<'a> Search<'a> {
    async fn new(commit: &'a Commit<'_>, transaction: &Transaction, landing: &'a Landing) -> Result<Self> {
        let disposition = commit.begun.load.disposition;
        let merge = match disposition {
            WriteDisposition::Merge => Some(Merge::new(commit, transaction, landing).await?),
            _ => None,
        };
        let mut search =
            Self { merge, goal: landing.table.sql(Dialect::Postgres), tables: commit.tables.clone() };
        if let (WriteDisposition::Replace, Some(beside)) = (disposition, &landing.beside) {
            search.goal = probe(commit, transaction, landing, &beside.sql(Dialect::Postgres)).await?;
            if landing.direct {
                replace::keep_what_counts(commit, transaction, landing).await?;
                let name = beside.sql(Dialect::Postgres);
                search.tables = vec![StagedTable { name, rows: None, landing: landing.clone() }];
            }
        }
        Ok(search)
    }

    /// Tries all rows of a staged table. Tells where those are that fail, and why.
    async fn search(
        &self,
        transaction: &Transaction,
        table: &StagedTable,
        found_before: usize,
    ) -> Result<Vec<(String, String)>> {
        let sql = "SELECT (pg_relation_size($1::text::regclass) / current_setting('block_size')::int8)";
        let row = transaction.client().query_one(sql, &[&table.name]).await;
        let blocks: i64 = row.map_err(|error| failed("looking for refused rows", error))?.get(0);
        let mut found = Vec::new();
        let mut parts = vec![Part::Blocks(0, blocks.unsigned_abs())];
        while let Some(part) = parts.pop() {
            let Some(error) = self.attempt(transaction, table, &part).await? else { continue };
            match part {
                Part::Blocks(from, to) if to - from > 1 => {
                    let middle = from + (to - from) / 2;
                    parts.push(Part::Blocks(middle, to));
                    parts.push(Part::Blocks(from, middle));
                }
                Part::Blocks(block, _) => parts.push(Part::Rows(rows_of(transaction, table, block).await?)),
                Part::Rows(mut rows) if rows.len() > 1 => {
                    let second = rows.split_off(rows.len() / 2);
                    parts.push(Part::Rows(second));
                    parts.push(Part::Rows(rows));
                }
                Part::Rows(rows) => {
                    found.extend(rows.into_iter().map(|row| (row, reason(&error))));
                    if found_before + found.len() > MOST {
                        return Err(Error::data(format!("the target refuses more than {MOST} rows"))
                            .connector(crate::NAME)
                            .detail("for example", error.message())
                            .help("look at the constraints of the table"));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Inserts a part, and keeps it if that works, so that later ones meet it.
    async fn attempt(
        &self,
        transaction: &Transaction,
        table: &StagedTable,
        part: &Part,
    ) -> Result<Option<Error>> {
        if matches!(part, Part::Rows(rows) if rows.is_empty()) {
            return Ok(None);
        }
        transaction.execute("looking for refused rows", "SAVEPOINT attempt").await?;
        let condition = part.condition();
        let tried = match &self.merge {
            Some(merge) => merge.land(transaction, table, &condition).await,
            None => insert(transaction, &self.goal, table, &condition).await.map(drop),
        };
        match tried {
            Ok(()) => {
                transaction.execute("looking for refused rows", "RELEASE SAVEPOINT attempt").await?;
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::DataInvalid => {
                let back = "ROLLBACK TO SAVEPOINT attempt; RELEASE SAVEPOINT attempt";
                transaction.execute("looking for refused rows", back).await?;
                Ok(Some(error))
            }
            Err(error) => Err(error),
        }
    }
}

/// Rows of a staged table.
enum Part {
    /// Those in blocks from the first up to, and without, the second.
    Blocks(u64, u64),
    /// Those at these places.
    Rows(Vec<String>),
}

impl Part {
    fn condition(&self) -> String {
        match self {
            Self::Blocks(from, to) => format!(" WHERE ctid >= '({from},0)'::tid AND ctid < '({to},0)'::tid"),
            Self::Rows(rows) => {
                let places: Vec<_> = rows.iter().map(|row| format!("'{row}'::tid")).collect();
                format!(" WHERE ctid = ANY(ARRAY[{}])", places.join(", "))
            }
        }
    }
}

async fn rows_of(transaction: &Transaction, table: &StagedTable, block: u64) -> Result<Vec<String>> {
    let condition = Part::Blocks(block, block + 1).condition();
    let sql = format!("SELECT ctid::text FROM {}{condition} ORDER BY ctid", table.name);
    let rows = transaction.client().query(&sql, &[]).await;
    Ok(rows
        .map_err(|error| failed("looking for refused rows", error))?
        .iter()
        .map(|row| row.get(0))
        .collect())
}

/// A table with everything that the target of a `replace` will ask of its rows.
async fn probe(
    commit: &Commit<'_>,
    transaction: &Transaction,
    landing: &Landing,
    beside: &str,
) -> Result<String> {
    let table = landing.table.sql(Dialect::Postgres);
    let is_there = super::table::columns(transaction, &landing.table).await?.is_some();
    // Not a temporary table, which could not have foreign keys. It is rolled back.
    let names = PostgresSink::names(&commit.begun.load);
    let probe = landing.table.sibling(format!("{}probe", names.prefix())).sql(Dialect::Postgres);
    let make = format!("CREATE UNLOGGED TABLE {probe} (LIKE {beside} INCLUDING CONSTRAINTS)");
    transaction.execute("looking for refused rows", &make).await?;
    let statements = if is_there {
        let sql = "SELECT format('ALTER TABLE %s ADD %s', $2::text, pg_get_constraintdef(k.oid)) FROM pg_constraint k \
             WHERE k.conrelid = to_regclass($1)::oid AND k.contype IN ('p', 'u', 'x', 'f') \
             UNION ALL SELECT format('CREATE UNIQUE INDEX ON %s', $2::text) || substr(pg_get_indexdef(i.indexrelid), \
               1 + length(format('CREATE UNIQUE INDEX %I ON %s%I.%I', x.relname, \
                 CASE c.relkind WHEN 'p' THEN 'ONLY ' ELSE '' END, n.nspname, c.relname))) \
             FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE i.indrelid = to_regclass($1)::oid AND i.indisunique \
             AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)";
        let rows = transaction.client().query(sql, &[&table, &probe]).await;
        rows.map_err(|error| failed("looking for refused rows", error))?
            .iter()
            .map(|row| row.get(0))
            .collect()
    } else {
        super::table::index_statements(
            commit.sink.inner.config.primary_key,
            commit.sink,
            &commit.begun.load,
            &probe,
        )
    };
    for statement in &statements {
        transaction.execute("looking for refused rows", statement).await?;
    }
    Ok(probe)
}

/// Removes rows from what is staged, and tells of them.
async fn take_out(
    commit: &Commit<'_>,
    landing: &Landing,
    found: Vec<(StagedTable, String, String)>,
) -> Result<Vec<Rejected>> {
    let transaction = commit.sink.begin_transaction(commit.cx).await?;
    let probe = format!("{}probe", PostgresSink::names(&commit.begun.load).prefix());
    let mut rejected = Vec::with_capacity(found.len());
    for (table, place, reason) in &found {
        let sql = format!(
            "DELETE FROM {} AS staged WHERE ctid = '{place}'::tid RETURNING (to_jsonb(staged) - '{ROW_NUMBER}')::text",
            table.name
        );
        let row = transaction.client().query_opt(&sql, &[]).await;
        let row = row.map_err(|error| failed("taking out refused rows", error))?;
        let content: Option<String> = row.map(|row| row.get(0));
        let content: Option<Json> = content.and_then(|text| serde_json::from_str(&text).ok());
        // What was tried elsewhere is told as if it had been tried here.
        let reason = reason.replace(&probe, &landing.table.name);
        let refusal = Rejected::new(format!("postgres:{}", landing.table), reason);
        rejected.push(match content {
            Some(content) => refusal.row(content),
            None => refusal,
        });
    }
    transaction.commit().await?;
    for (table, ..) in &found {
        commit.sink.note_refused(&table.name, 1);
    }
    Ok(rejected)
}

/// What the server said of a row, with the key or value that it names.
fn reason(error: &Error) -> String {
    error.to_string().trim_start_matches("postgres: ").to_owned()
}
