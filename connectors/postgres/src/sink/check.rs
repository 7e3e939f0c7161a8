//! `towpath check`: may we do what a run will do?

use towpath_core::{Context, Error, ErrorKind, Result};
use towpath_sql::{Dialect, TableName};

use super::PostgresSink;
use crate::catalog::lacks;
use crate::errors::{config, failed};

pub(super) async fn check(sink: &PostgresSink, cx: &Context) -> Result<()> {
    // The names of stream and pipeline are known when a run begins; the schema is what counts here.
    let name = sink.inner.config.table.replace("{stream}", "stream").replace("{pipeline}", "pipeline");
    let table: TableName = name.parse().map_err(|error: Error| error.connector(crate::NAME))?;
    let transaction = sink.begin_transaction(cx).await?;
    let row = transaction
        .client()
        .query_one(
            "SELECT current_user::text, current_database()::text, coalesce($1, current_schema())::text, \
             has_database_privilege(current_database(), 'CREATE'), \
             current_setting('transaction_read_only')::bool OR pg_is_in_recovery()",
            &[&table.schema],
        )
        .await
        .map_err(|error| failed("asking for privileges", error))?;
    let (user, database, schema): (String, String, Option<String>) = (row.get(0), row.get(1), row.get(2));
    let (may_make_schemas, is_read_only): (bool, bool) = (row.get(3), row.get(4));
    if is_read_only {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            "the server takes no writes: it is a replica, or set so",
        )
        .connector(crate::NAME)
        .help("name the primary, or set `target_session_attrs: read-write` with several hosts"));
    }
    let Some(schema) = schema else {
        return Err(config("no schema of `search_path` is there").help("write `table: schema.table`"));
    };
    let quoted = |name: &str| Dialect::Postgres.identifier(name);
    let sql = "SELECT has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE') \
               FROM pg_namespace n WHERE n.nspname = $1";
    let row = transaction.client().query_opt(sql, &[&schema]).await;
    let may_use: Option<bool> =
        row.map_err(|error| failed("asking for privileges", error))?.map(|row| row.get(0));
    match may_use {
        Some(true) => {}
        Some(false) => {
            return Err(lacks(&format!(
                "GRANT USAGE, CREATE ON SCHEMA {} TO {}",
                quoted(&schema),
                quoted(&user)
            )));
        }
        None if may_make_schemas => {}
        None => {
            return Err(lacks(&format!(
                "GRANT CREATE ON DATABASE {} TO {}",
                quoted(&database),
                quoted(&user)
            ))
            .detail("missing schema", schema));
        }
    }
    check_table(sink, &transaction, &table, &user).await?;
    transaction.roll_back().await
}

/// A table that is there must be ours to write.
async fn check_table(
    sink: &PostgresSink,
    transaction: &super::Transaction,
    table: &TableName,
    user: &str,
) -> Result<()> {
    if sink.inner.config.table.contains('{') {
        return Ok(());
    }
    let name = table.sql(Dialect::Postgres);
    let sql = "SELECT has_table_privilege(c.oid, 'INSERT'), has_table_privilege(c.oid, 'SELECT'), \
               has_table_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE') \
               FROM pg_class c WHERE c.oid = to_regclass($1)::oid";
    let row = transaction.client().query_opt(sql, &[&name]).await;
    let Some(row) = row.map_err(|error| failed("asking for privileges", error))? else { return Ok(()) };
    let missing: Vec<_> = ["INSERT", "SELECT", "UPDATE", "DELETE"]
        .into_iter()
        .enumerate()
        .filter(|(index, _)| !row.get::<_, bool>(*index))
        .map(|(_, privilege)| privilege)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(lacks(&format!("GRANT {} ON {name} TO {}", missing.join(", "), Dialect::Postgres.identifier(user))))
}
