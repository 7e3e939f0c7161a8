//! `replace`: the new rows stand in a table beside, and take the place of the old ones in one step.

use std::collections::HashSet;

use towpath_core::{Error, ErrorKind, Result};
use towpath_sql::Dialect;

use super::commit::{Commit, all_there, insert};
use super::landing::Landing;
use super::table::{columns, index_statements};
use super::{PostgresSink, Transaction};
use crate::errors::failed;

/// A run without rows and without columns: the table is emptied, if it is there.
pub(super) async fn empty(commit: &Commit<'_>, transaction: &Transaction) -> Result<()> {
    let table = commit.sink.table(&commit.begun.load)?;
    if columns(transaction, &table).await?.is_some() {
        let sql = format!("DELETE FROM {}", table.sql(Dialect::Postgres));
        transaction.execute("emptying the table", &sql).await?;
    }
    Ok(())
}

pub(super) async fn land(commit: &Commit<'_>, transaction: &Transaction, landing: &Landing) -> Result<()> {
    let (table, (new, ledger)) = (landing.table.sql(Dialect::Postgres), new_and_ledger(landing)?);
    keep_what_counts(commit, transaction, landing).await?;
    transaction.execute("removing the ledger", &format!("DROP TABLE {ledger}")).await?;
    for staged in &commit.tables {
        let inserted = insert(transaction, &new, staged, "").await?;
        all_there(staged, inserted)?;
    }
    if columns(transaction, &landing.table).await?.is_none() {
        let rename =
            format!("ALTER TABLE {new} RENAME TO {}", Dialect::Postgres.identifier(&landing.table.name));
        transaction.execute("renaming the table", &rename).await?;
        for statement in
            index_statements(commit.sink.inner.config.primary_key, commit.sink, &commit.begun.load, &table)
        {
            transaction.execute("making an index", &statement).await?;
        }
        return Ok(());
    }
    // Nobody changes the table's indexes now; all others go on with it.
    lock(transaction, &table, "SHARE UPDATE EXCLUSIVE").await?;
    if !depends(transaction, &table).await? {
        let prefix = PostgresSink::names(&commit.begun.load).prefix().to_owned();
        let extras = Extras::of(transaction, &table, &new, &prefix).await?;
        if swap(transaction, landing, &table, &new, &extras).await? {
            return Ok(());
        }
    }
    in_place(transaction, landing, &table, &new).await
}

async fn lock(transaction: &Transaction, table: &str, mode: &str) -> Result<()> {
    let sql = format!("LOCK TABLE {table} IN {mode} MODE");
    transaction.execute("waiting for others that use the table", &sql).await
}

/// The table beside and its ledger, as they stand in statements.
fn new_and_ledger(landing: &Landing) -> Result<(String, String)> {
    match (&landing.beside, &landing.ledger) {
        (Some(beside), Some(ledger)) => Ok((beside.sql(Dialect::Postgres), ledger.sql(Dialect::Postgres))),
        _ => Err(Error::unexpected("a `replace` has no table beside").connector(crate::NAME)),
    }
}

/// Removes rows beside that no receipt tells of: those of writers that were given up. The ledger tells whether there are
/// any, so that nobody has to read all rows for it.
pub(super) async fn keep_what_counts(
    commit: &Commit<'_>,
    transaction: &Transaction,
    landing: &Landing,
) -> Result<()> {
    let (new, ledger) = new_and_ledger(landing)?;
    // A writer may be gone while the server still works for it.
    lock(transaction, &format!("{ledger}, {new}"), "SHARE").await?;
    let noted = transaction.client().query(&format!("SELECT DISTINCT number::text FROM {ledger}"), &[]).await;
    let noted = noted.map_err(|error| failed("reading the ledger of transactions", error))?;
    let noted: HashSet<String> = noted.iter().map(|row| row.get(0)).collect();
    let counts: HashSet<String> = commit.transactions.iter().cloned().collect();
    let lost = counts.difference(&noted).count();
    if lost > 0 {
        let text = format!("{lost} of {} transactions with new rows are lost", counts.len());
        return Err(Error::new(ErrorKind::Unavailable, text)
            .connector(crate::NAME)
            .retry(towpath_core::Retry::Never)
            .help("the server has crashed meanwhile; run again"));
    }
    let given_up: Vec<&String> = noted.difference(&counts).collect();
    if !given_up.is_empty() {
        give_up(transaction, landing, &given_up).await?;
    }
    Ok(())
}

/// Removes the rows that transactions have put beside. Behind a savepoint, rows have a number that is not that of their
/// transaction; what was noted together with them has the same.
pub(super) async fn give_up(transaction: &Transaction, landing: &Landing, numbers: &[&String]) -> Result<()> {
    let (new, ledger) = new_and_ledger(landing)?;
    let of_them = format!("FROM {ledger} WHERE number::text = ANY($1)");
    for statement in [
        format!("DELETE FROM {new} WHERE xmin::text IN (SELECT xmin::text {of_them})"),
        format!("DELETE {of_them}"),
    ] {
        let removed = transaction.client().execute(&statement, &[&numbers]).await;
        removed.map_err(|error| failed("removing rows that were given up", error))?;
    }
    Ok(())
}

/// The new rows in the old table.
async fn in_place(transaction: &Transaction, landing: &Landing, table: &str, new: &str) -> Result<()> {
    lock(transaction, table, "ACCESS EXCLUSIVE").await?;
    let names = landing.names();
    let held = columns(transaction, &landing.table).await?.unwrap_or_default();
    let mut changes = Vec::new();
    for column in landing.landing_columns() {
        let quoted = column.quoted();
        match held.iter().find(|held| held.name == column.name) {
            None => changes.push(format!("ADD COLUMN {quoted} {}", column.type_name)),
            Some(held) if held.type_name != column.type_name => {
                changes.push(format!("ALTER COLUMN {quoted} TYPE {0} USING {quoted}::{0}", column.type_name));
            }
            Some(_) => {}
        }
    }
    // Keys of others would forbid to delete what they refer to, or delete with it. They are asked again at the end.
    let foreign = foreign_keys(transaction, table).await?;
    for (drop, _) in &foreign {
        transaction.execute("taking foreign keys away", drop).await?;
    }
    transaction.execute("removing the old rows", &format!("DELETE FROM {table}")).await?;
    if !changes.is_empty() {
        let alter = format!("ALTER TABLE {table} {}", changes.join(", "));
        transaction.execute("altering the table", &alter).await?;
    }
    let insert = format!(
        "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {new}; DROP TABLE {new}"
    );
    transaction.execute("inserting the new rows", &insert).await?;
    for (_, add) in &foreign {
        transaction.execute("making foreign keys again", add).await?;
    }
    Ok(())
}

/// The foreign keys that refer to a table, as the statements that take them away and make them again.
async fn foreign_keys(transaction: &Transaction, table: &str) -> Result<Vec<(String, String)>> {
    let sql = "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::regclass, k.conname), \
               format('ALTER TABLE %s ADD CONSTRAINT %I %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid)) \
               FROM pg_constraint k WHERE k.contype = 'f' AND k.confrelid = to_regclass($1)::oid AND k.conparentid = 0";
    let rows = transaction.client().query(sql, &[&table]).await;
    let rows = rows.map_err(|error| failed("looking for foreign keys", error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The new table under the old name, with what belonged to the old one. What takes long, such as indexes, is made on the
/// table beside, while others still use the old one. `false` when meanwhile somebody made something that depends on that.
async fn swap(
    transaction: &Transaction,
    landing: &Landing,
    table: &str,
    new: &str,
    extras: &Extras,
) -> Result<bool> {
    for statement in &extras.beside {
        transaction.execute("making keys and indexes again", statement).await?;
    }
    lock(transaction, table, "ACCESS EXCLUSIVE").await?;
    if depends(transaction, table).await? {
        return Ok(false);
    }
    let rename = Dialect::Postgres.identifier(&landing.table.name);
    let grants = grants(transaction, table).await?;
    transaction
        .execute(
            "exchanging the tables",
            &format!("DROP TABLE {table}; ALTER TABLE {new} RENAME TO {rename}"),
        )
        .await?;
    for statement in extras.renames.iter().chain(&grants) {
        transaction.execute("making names and grants again", statement).await?;
    }
    Ok(true)
}

/// Whether anything depends on the table that would not follow a new one.
const DEPENDS: &str = "SELECT c.relkind <> 'r' OR c.relispartition OR c.relrowsecurity OR c.relreplident <> 'd' \
     OR c.relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user) \
     OR EXISTS (SELECT FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid \
       WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid) \
     OR EXISTS (SELECT FROM pg_depend d JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND d.refobjid = t.oid \
       WHERE d.deptype = 'n' AND (t.oid = c.reltype OR t.typelem = c.reltype)) \
     OR EXISTS (SELECT FROM pg_constraint k WHERE k.contype = 'f' AND k.confrelid = c.oid) \
     OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) \
     OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid) \
     OR EXISTS (SELECT FROM pg_publication_rel p WHERE p.prrelid = c.oid) \
     OR EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)) \
     OR EXISTS (SELECT FROM pg_statistic_ext s WHERE s.stxrelid = c.oid) \
     OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND (a.attacl IS NOT NULL OR a.attidentity <> '')) \
     OR EXISTS (SELECT FROM pg_depend d JOIN pg_class s ON d.classid = 'pg_class'::regclass AND d.objid = s.oid \
       WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND s.relkind = 'S') \
     FROM pg_class c WHERE c.oid = to_regclass($1)::oid";

/// Keys and indexes of `$1` and its storage options, as statements that make them for `$2`, and those that give indexes
/// their names back (else null): in a schema no two have the same, so they begin with `$3` as long as both tables are there.
const EXTRAS: &str = "WITH t AS (SELECT c.*, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
       WHERE c.oid = to_regclass($1)::oid), \
     i AS (SELECT i.*, x.relname, $3::text || 'i' || row_number() OVER (ORDER BY x.relname) AS short, \
         k.oid AS constraint_oid, k.conname FROM pg_index i JOIN t ON i.indrelid = t.oid \
         JOIN pg_class x ON x.oid = i.indexrelid \
         LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = t.oid AND k.contype IN ('p', 'u', 'x')) \
     SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', $2::text, short, pg_get_constraintdef(constraint_oid)), \
       format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', $1, short, conname), 1 \
       FROM i WHERE constraint_oid IS NOT NULL \
     UNION ALL SELECT format('CREATE %sINDEX %I ON %s', CASE WHEN indisunique THEN 'UNIQUE ' ELSE '' END, short, $2) \
         || substr(pg_get_indexdef(indexrelid), 1 + length(format('CREATE %sINDEX %I ON %I.%I', \
           CASE WHEN indisunique THEN 'UNIQUE ' ELSE '' END, i.relname, t.nspname, t.relname))), \
       format('ALTER INDEX %I.%I RENAME TO %I', t.nspname, short, i.relname), 2 \
       FROM i, t WHERE constraint_oid IS NULL \
     UNION ALL SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', $2, k.conname, pg_get_constraintdef(k.oid)), NULL, 3 \
       FROM pg_constraint k, t WHERE k.conrelid = t.oid AND k.contype = 'f' \
     UNION ALL SELECT format('ALTER TABLE %s SET (%s)', $2, array_to_string(t.reloptions, ', ')), NULL, 4 \
       FROM t WHERE t.reloptions IS NOT NULL \
     UNION ALL SELECT format('ALTER TABLE %s CLUSTER ON %I', $2, short), NULL, 5 FROM i WHERE indisclustered \
     ORDER BY 3";

/// Grants and the comment of `$1`, as statements that make them again.
const GRANTS: &str = "WITH t AS (SELECT c.* FROM pg_class c WHERE c.oid = to_regclass($1)::oid) \
     SELECT format('GRANT %s ON %s TO %s%s', g.privilege_type, $1, \
       CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END, \
       CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) \
       FROM t, aclexplode(t.relacl) AS g WHERE g.grantee <> t.relowner \
     UNION ALL SELECT format('COMMENT ON TABLE %s IS %L', $1, obj_description(t.oid, 'pg_class')) \
       FROM t WHERE obj_description(t.oid, 'pg_class') IS NOT NULL";

/// What belongs to a table and follows it to a new one.
struct Extras {
    /// Statements for the table beside.
    beside: Vec<String>,
    /// Statements for when it has taken the other's place.
    renames: Vec<String>,
}

impl Extras {
    async fn of(transaction: &Transaction, table: &str, beside: &str, prefix: &str) -> Result<Self> {
        let rows = transaction.client().query(EXTRAS, &[&table, &beside, &prefix]).await;
        let rows = rows.map_err(|error| failed("looking at what belongs to the table", error))?;
        Ok(Self {
            beside: rows.iter().map(|row| row.get(0)).collect(),
            renames: rows.iter().filter_map(|row| row.get(1)).collect(),
        })
    }
}

/// Whether something depends on the table that would not follow.
async fn depends(transaction: &Transaction, table: &str) -> Result<bool> {
    let row = transaction.client().query_one(DEPENDS, &[&table]).await;
    row.map(|row| row.get(0)).map_err(|error| failed("looking at what depends on the table", error))
}

/// Grants are looked at last: to give one takes no lock on the table.
async fn grants(transaction: &Transaction, table: &str) -> Result<Vec<String>> {
    let rows = transaction.client().query(GRANTS, &[&table]).await;
    let rows = rows.map_err(|error| failed("looking at what belongs to the table", error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
