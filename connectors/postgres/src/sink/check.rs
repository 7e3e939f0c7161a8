//! `towpath check`: may we do what a run will do?

use tokio_postgres::Row;
use towpath_core::{Context, Error, ErrorKind, LoadSpec, Result, WriteDisposition};
use towpath_sql::{CHECKPOINTS, Dialect, TableName};

use super::merge::is_unique_key;
use super::table::DELETED_AT;
use super::{PostgresSink, Transaction};
use crate::catalog::lacks;
use crate::config::DeleteMissing;
use crate::errors::{config, failed};

pub(super) async fn check(sink: &PostgresSink, cx: &Context, load: &LoadSpec) -> Result<()> {
    let table = sink.table(load)?;
    let transaction = sink.begin_transaction(cx).await?;
    let server = Server::look(&transaction, &table).await?;
    let Some(schema) = &server.schema else {
        return Err(config("no schema of `search_path` is there").help("write `table: schema.table`"));
    };
    let user = identifier(&server.user);
    let mut grants = Vec::new();
    if server.schema_is_there {
        grants.extend(on_schema(&transaction, schema, &user).await?);
    } else if !server.may_make_schemas {
        grants.push(format!("GRANT CREATE ON DATABASE {} TO {user}", identifier(&server.database)));
    }
    let relation = |name: &str| TableName::new(schema, name);
    let checkpoints = Relation::find(&transaction, &relation(CHECKPOINTS)).await?;
    if let Some(checkpoints) = checkpoints {
        grants.extend(checkpoints.grant(&["SELECT", "INSERT", "UPDATE"], &user));
    }
    if let Some(target) = Relation::find(&transaction, &relation(&table.name)).await? {
        grants.extend(on_target(sink, &transaction, load, &target, &user).await?);
    }
    if !grants.is_empty() {
        return Err(lacks(&grants.join("; ")).detail("schema", schema));
    }
    transaction.roll_back().await
}

fn identifier(name: &str) -> String {
    Dialect::Postgres.identifier(name)
}

async fn on_schema(transaction: &Transaction, schema: &str, user: &str) -> Result<Option<String>> {
    let sql = "SELECT has_schema_privilege($1, 'USAGE'), has_schema_privilege($1, 'CREATE')";
    let row = transaction.client().query_one(sql, &[&schema]).await;
    let row = row.map_err(|error| failed("asking for privileges", error))?;
    let missing = missing(&row, 0, &["USAGE", "CREATE"]);
    let grant = || format!("GRANT {} ON SCHEMA {} TO {user}", missing.join(", "), identifier(schema));
    Ok((!missing.is_empty()).then(grant))
}

/// Those privileges of which the columns of a row, from this one on, say that they are not there.
fn missing<'a>(row: &Row, first: usize, privileges: &[&'a str]) -> Vec<&'a str> {
    let is_missing = |(index, _): &(usize, &&str)| !row.get::<_, bool>(first + index);
    privileges.iter().enumerate().filter(is_missing).map(|(_, privilege)| *privilege).collect()
}

/// What the server says of us.
struct Server {
    user: String,
    database: String,
    /// The target's schema; `None` where no schema of `search_path` is there.
    schema: Option<String>,
    schema_is_there: bool,
    may_make_schemas: bool,
}

impl Server {
    async fn look(transaction: &Transaction, table: &TableName) -> Result<Self> {
        let sql = "SELECT current_user::text, current_database()::text, coalesce($1, current_schema())::text, \
                   has_database_privilege(current_database(), 'CREATE'), n.oid IS NOT NULL, \
                   current_setting('transaction_read_only')::bool OR pg_is_in_recovery() \
                   FROM (VALUES (1)) AS one LEFT JOIN pg_namespace n ON n.nspname = coalesce($1, current_schema())";
        let row = transaction.client().query_one(sql, &[&table.schema]).await;
        let row = row.map_err(|error| failed("asking for privileges", error))?;
        if row.get(5) {
            let text = "the server takes no writes: it is a replica, or set so";
            return Err(Error::new(ErrorKind::PermissionDenied, text)
                .connector(crate::NAME)
                .help("name the primary, or set `target_session_attrs: read-write` with several hosts"));
        }
        Ok(Self {
            user: row.get(0),
            database: row.get(1),
            schema: row.get(2),
            may_make_schemas: row.get(3),
            schema_is_there: row.get(4),
        })
    }
}

/// The privileges on a table that statements may need.
const PRIVILEGES: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// A table that is there.
struct Relation {
    oid: u32,
    name: String,
    is_ours: bool,
    missing: Vec<&'static str>,
}

impl Relation {
    async fn find(transaction: &Transaction, table: &TableName) -> Result<Option<Self>> {
        // By its name and not by `to_regclass`, which fails where we may not look into the schema.
        let privileges = PRIVILEGES.map(|privilege| format!("has_table_privilege(c.oid, '{privilege}')"));
        let sql = format!(
            "SELECT c.oid, pg_has_role(c.relowner, 'USAGE'), {} FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 \
             AND c.relkind IN ('r', 'p', 'v', 'f')",
            privileges.join(", ")
        );
        let row = transaction.client().query_opt(&sql, &[&table.schema, &table.name]).await;
        let row = row.map_err(|error| failed("asking for privileges", error))?;
        Ok(row.map(|row| Self {
            oid: row.get(0),
            name: table.sql(Dialect::Postgres),
            is_ours: row.get(1),
            missing: missing(&row, 2, &PRIVILEGES),
        }))
    }

    /// What gives the user those of these privileges that are missing, if any is.
    fn grant(&self, wanted: &[&str], user: &str) -> Option<String> {
        let lacking: Vec<_> =
            self.missing.iter().copied().filter(|privilege| wanted.contains(privilege)).collect();
        let grant = || format!("GRANT {} ON {} TO {user}", lacking.join(", "), self.name);
        (!lacking.is_empty()).then(grant)
    }
}

/// What the statements of a load need on its table.
async fn on_target(
    sink: &PostgresSink,
    transaction: &Transaction,
    load: &LoadSpec,
    target: &Relation,
    user: &str,
) -> Result<Vec<String>> {
    let options = &sink.inner.config;
    let mut wanted = vec!["INSERT"];
    let mut needs_ownership = false;
    match load.disposition {
        WriteDisposition::Append => {}
        WriteDisposition::Merge => {
            wanted.push("SELECT");
            let updates = is_unique_key(transaction, target.oid, &load.key).await?;
            wanted.push(if updates { "UPDATE" } else { "DELETE" });
            if options.operation_column.is_some() {
                wanted.push("DELETE");
            }
            match options.delete_missing {
                DeleteMissing::No => {}
                DeleteMissing::Hard => wanted.push("DELETE"),
                DeleteMissing::Soft => {
                    wanted.push("UPDATE");
                    needs_ownership = !marks_deleted(transaction, target.oid).await?;
                }
            }
        }
        // A table of somebody else keeps its place, and its rows are exchanged.
        WriteDisposition::Replace => wanted.extend(["SELECT", "DELETE"]),
    }
    let mut grants: Vec<_> = target.grant(&wanted, user).into_iter().collect();
    if needs_ownership && !target.is_ours {
        grants.push(format!("ALTER TABLE {} OWNER TO {user}", target.name));
    }
    if load.disposition == WriteDisposition::Replace {
        grants.extend(referring(transaction, target, user).await?);
    }
    Ok(grants)
}

/// Whether the table has the column that tells when a row was missed. To add it takes the owner.
async fn marks_deleted(transaction: &Transaction, oid: u32) -> Result<bool> {
    let sql =
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = $1 AND attname = $2 AND NOT attisdropped)";
    let row = transaction.client().query_one(sql, &[&oid, &DELETED_AT]).await;
    row.map(|row| row.get(0)).map_err(|error| failed("looking at the table", error))
}

/// What is missing to take foreign keys of other tables away and make them again, while rows are exchanged.
async fn referring(transaction: &Transaction, target: &Relation, user: &str) -> Result<Vec<String>> {
    let sql = "WITH k AS (SELECT * FROM pg_constraint WHERE contype = 'f' AND confrelid = $1 AND conparentid = 0) \
               SELECT DISTINCT format('ALTER TABLE %I.%I OWNER TO %s', n.nspname, c.relname, $2::text) \
                 FROM k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE NOT pg_has_role(c.relowner, 'USAGE') \
               UNION ALL SELECT format('GRANT REFERENCES ON %s TO %s', $3::text, $2::text) \
                 WHERE EXISTS (SELECT FROM k) AND NOT has_table_privilege($1, 'REFERENCES')";
    let rows = transaction.client().query(sql, &[&target.oid, &user, &target.name]).await;
    Ok(rows
        .map_err(|error| failed("looking for foreign keys", error))?
        .iter()
        .map(|row| row.get(0))
        .collect())
}
