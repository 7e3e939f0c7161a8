//! The target and the table beside it: made, and altered as the columns need it.

use arrow_schema::{Field, SchemaRef};
use towpath_core::{Context, Error, ErrorKind, LoadSpec, Result, WriteDisposition};
use towpath_sql::{Dialect, TableName};

use super::checkpoints::lock_definitions;
use super::landing::{Landing, LandingColumn};
use super::{PostgresSink, Transaction};
use crate::catalog;
use crate::config::DeleteMissing;
use crate::errors::{config, failed};
use crate::types::{Described, TYPE_KEY, TypeName, cast_name, ddl_type, encoded_type, is_literal, wire};

/// Columns can be compressed each in its own way from this version on.
const COLUMN_COMPRESSION: i32 = 140_000;

/// Where `delete_missing: soft` notes the time.
pub(super) const DELETED_AT: &str = "deleted_at";

/// Makes or alters what the rows of this schema go into.
pub(super) async fn evolve(
    sink: &PostgresSink,
    cx: &Context,
    load: &LoadSpec,
    epoch: u64,
    schema: &SchemaRef,
) -> Result<Landing> {
    let table = sink.table(load)?;
    let operation = sink.inner.config.operation_column.as_deref();
    let operation = operation.filter(|_| load.disposition == WriteDisposition::Merge);
    check_columns(load, schema, operation)?;
    let transaction = sink.begin_transaction(cx).await?;
    lock_definitions(&transaction, &table).await?;
    let is_replace = load.disposition == WriteDisposition::Replace;
    let beside = is_replace.then(|| table.sibling(PostgresSink::names(load).beside(epoch)));
    let ledger = is_replace.then(|| table.sibling(PostgresSink::names(load).ledger(epoch)));
    let goal = beside.as_ref().unwrap_or(&table);
    let known = known_types(&transaction, schema).await?;
    let fields: Vec<&Field> = known.iter().filter(|field| Some(field.name().as_str()) != operation).collect();
    match columns(&transaction, goal).await? {
        Some(held) => alter(&transaction, goal, &held, &fields).await?,
        None if is_replace && columns(&transaction, &table).await?.is_some() => {
            make_like(&transaction, &table, goal).await?;
            let held = columns(&transaction, goal).await?.unwrap_or_default();
            alter(&transaction, goal, &held, &fields).await?;
        }
        None => make(sink, &transaction, load, goal, &fields).await?,
    }
    let held = columns(&transaction, goal).await?.unwrap_or_default();
    let marks = load.disposition == WriteDisposition::Merge
        && sink.inner.config.delete_missing == DeleteMissing::Soft;
    if marks && !held.iter().any(|column| column.name == DELETED_AT) {
        change(&transaction, goal, &[format!("ADD COLUMN {DELETED_AT} timestamptz")]).await?;
    }
    let columns = landing_columns(schema, &held, operation)?;
    if let Some(ledger) = &ledger {
        let sql = format!("CREATE TABLE IF NOT EXISTS {} (number bigint)", ledger.sql(Dialect::Postgres));
        transaction.execute("making a ledger of transactions", &sql).await?;
    }
    transaction.commit().await?;
    let direct = is_replace && columns.iter().all(|column| column.wire.is_some());
    Ok(Landing { table, beside, ledger, direct, columns })
}

/// The fields, without names of types that this database does not know: those of another may have come with the data.
async fn known_types(transaction: &Transaction, schema: &SchemaRef) -> Result<Vec<Field>> {
    let mut known = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let mut field = field.as_ref().clone();
        let is_known = match TypeName::of(&field) {
            Some(name) => is_type(transaction, name).await?,
            None => false,
        };
        if !is_known {
            field.metadata_mut().remove(TYPE_KEY);
        }
        known.push(field);
    }
    Ok(known)
}

/// Whether the server knows a type of this name. Older ones fail where it is not even written like one.
async fn is_type(transaction: &Transaction, name: &str) -> Result<bool> {
    transaction.execute("looking for a type", "SAVEPOINT type").await?;
    let row = transaction.client().query_one("SELECT to_regtype($1) IS NOT NULL", &[&name]).await;
    let (is_known, end) = match row {
        Ok(row) => (row.get(0), "RELEASE SAVEPOINT type"),
        Err(error) if error.as_db_error().is_some() => {
            (false, "ROLLBACK TO SAVEPOINT type; RELEASE SAVEPOINT type")
        }
        Err(error) => return Err(failed("looking for a type", error)),
    };
    transaction.execute("looking for a type", end).await?;
    Ok(is_known)
}

fn check_columns(load: &LoadSpec, schema: &SchemaRef, operation: Option<&str>) -> Result<()> {
    let missing = |name: &str| schema.index_of(name).is_err();
    let names = || schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
    if let Some(key) = load.key.iter().find(|key| missing(key)) {
        return Err(Error::schema(format!("the key `{key}` is not among the columns"))
            .connector(crate::NAME)
            .help(format!("the columns are {}", names())));
    }
    if let Some(operation) = operation.filter(|name| missing(name)) {
        return Err(config(format!("`operation_column` names `{operation}`, which is no column"))
            .help(format!("the columns are {}", names())));
    }
    let longest = Dialect::Postgres.longest_identifier();
    match schema.fields().iter().find(|field| field.name().len() > longest || field.name().contains('\0')) {
        None => Ok(()),
        Some(field) => {
            Err(Error::schema("a column's name is longer than Postgres allows, or holds a zero byte")
                .connector(crate::NAME)
                .detail("column", field.name())
                .help("rename it under `transform`"))
        }
    }
}

/// The columns of a table, without those that the server computes; `None` when it is not there.
pub(super) async fn columns(transaction: &Transaction, table: &TableName) -> Result<Option<Vec<Described>>> {
    let name = table.sql(Dialect::Postgres);
    let row = transaction.client().query_one("SELECT to_regclass($1)::oid", &[&name]).await;
    let oid: Option<u32> = row.map_err(|error| failed("looking for the table", error))?.get(0);
    let Some(oid) = oid else { return Ok(None) };
    let computed = "SELECT attname::text FROM pg_attribute WHERE attrelid = $1 AND attgenerated <> ''";
    let computed = transaction.client().query(computed, &[&oid]).await;
    let computed: Vec<String> = computed
        .map_err(|error| failed("looking at the table", error))?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let mut columns =
        catalog::describe(&transaction.session, &format!("SELECT * FROM {name}"), Some(oid)).await?;
    columns.retain(|described| !computed.contains(&described.name));
    Ok(Some(columns))
}

async fn make(
    sink: &PostgresSink,
    transaction: &Transaction,
    load: &LoadSpec,
    table: &TableName,
    fields: &[&Field],
) -> Result<()> {
    let options = &sink.inner.config;
    let definitions: Vec<_> = fields.iter().map(|field| definition(field)).collect();
    let name = table.sql(Dialect::Postgres);
    let sql = format!("CREATE TABLE {name} ({})", definitions.join(", "));
    transaction.execute("making the table", &sql).await?;
    if load.disposition == WriteDisposition::Replace {
        // Keys and indexes come when the rows are there.
        return Ok(());
    }
    for statement in index_statements(
        options.primary_key || load.disposition == WriteDisposition::Merge,
        sink,
        load,
        &name,
    ) {
        transaction.execute("making an index", &statement).await?;
    }
    Ok(())
}

/// The statements for the primary key and the indexes that were asked for.
pub(super) fn index_statements(
    primary_key: bool,
    sink: &PostgresSink,
    load: &LoadSpec,
    name: &str,
) -> Vec<String> {
    let list = |columns: &[String]| Dialect::Postgres.identifiers(columns.iter().map(String::as_str));
    let mut statements = Vec::new();
    if primary_key && !load.key.is_empty() {
        statements.push(format!("ALTER TABLE {name} ADD PRIMARY KEY ({})", list(&load.key)));
    }
    for index in &sink.inner.config.indexes {
        let unique = if index.unique { "UNIQUE " } else { "" };
        statements.push(format!("CREATE {unique}INDEX ON {name} ({})", list(&index.columns)));
    }
    statements
}

fn definition(field: &Field) -> String {
    format!("{} {}", Dialect::Postgres.identifier(field.name()), ddl_type(field))
}

/// A table with the columns, defaults and checks of another. Its keys and indexes come when the rows are there.
async fn make_like(transaction: &Transaction, table: &TableName, beside: &TableName) -> Result<()> {
    let included = included(catalog::version(&transaction.session).await?);
    let sql = format!(
        "CREATE TABLE {} (LIKE {}{included})",
        beside.sql(Dialect::Postgres),
        table.sql(Dialect::Postgres)
    );
    transaction.execute("making a table beside", &sql).await?;
    // What the old table counts by itself, it goes on counting; the rows beside need no numbers.
    let sql = "SELECT format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', $2::text, attname) FROM pg_attribute \
               WHERE attrelid = to_regclass($1)::oid AND attidentity <> ''";
    let (table, beside) = (table.sql(Dialect::Postgres), beside.sql(Dialect::Postgres));
    let rows = transaction.client().query(sql, &[&table, &beside]).await;
    for row in rows.map_err(|error| failed("making a table beside", error))? {
        transaction.execute("making a table beside", row.get(0)).await?;
    }
    Ok(())
}

/// What a table takes over from the one that it is like, as far as this version of the server knows it.
fn included(version: i32) -> String {
    let mut parts = vec!["COMMENTS", "CONSTRAINTS", "DEFAULTS", "GENERATED", "STORAGE"];
    if version >= COLUMN_COMPRESSION {
        parts.push("COMPRESSION");
    }
    format!(" INCLUDING {}", parts.join(" INCLUDING "))
}

/// Adds the columns that are missing and widens those that are too narrow.
async fn alter(
    transaction: &Transaction,
    table: &TableName,
    held: &[Described],
    fields: &[&Field],
) -> Result<()> {
    let mut changes = Vec::new();
    for field in fields {
        let name = Dialect::Postgres.identifier(field.name());
        let Some(column) = held.iter().find(|column| column.name == *field.name()) else {
            changes.push(format!("ADD COLUMN {}", definition(field)));
            continue;
        };
        if !holds(column, field) {
            let wanted = ddl_type(field);
            changes.push(format!("ALTER COLUMN {name} TYPE {wanted} USING {name}::{wanted}"));
        }
    }
    if changes.is_empty() { Ok(()) } else { change(transaction, table, &changes).await }
}

/// Alters a table, which only its owner may.
async fn change(transaction: &Transaction, table: &TableName, changes: &[String]) -> Result<()> {
    let name = table.sql(Dialect::Postgres);
    let sql = format!("ALTER TABLE {name} {}", changes.join(", "));
    let altered = transaction.execute("altering the table", &sql).await;
    altered.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => error.help(format!(
            "let an administrator make the user the owner with `ALTER TABLE {name} OWNER TO ...`, or alter it: {}",
            changes.join(", ")
        )),
        _ => error,
    })
}

/// Whether a column can hold the values of a field: it has the field's type, one that is wide enough, or one that the
/// server reads from text, in which case what does not fit is refused row by row.
fn holds(column: &Described, field: &Field) -> bool {
    use arrow_schema::DataType;
    use tokio_postgres::types::Type;
    let arrow = encoded_type(field.data_type());
    if ddl_type(field) == column.type_name {
        return true;
    }
    if let DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) = arrow {
        return column.data_type == Type::NUMERIC && numeric_holds(column.modifier, precision, scale);
    }
    let is_number = |data_type: &Type| {
        matches!(
            *data_type,
            Type::INT2 | Type::INT4 | Type::INT8 | Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC | Type::OID
        )
    };
    match arrow {
        // A decimal without digits behind the point, or of any size.
        ref integer if integer.is_integer() && column.data_type == Type::NUMERIC => {
            numeric_holds(column.modifier, 20, 0)
        }
        ref other if wire(other, &column.data_type).is_some() => true,
        DataType::Utf8 => !is_number(&column.data_type) && column.data_type != Type::BOOL,
        _ => false,
    }
}

fn numeric_holds(modifier: i32, precision: u8, scale: i8) -> bool {
    if modifier < 4 {
        return true;
    }
    let (held_precision, held_scale) = ((modifier - 4) >> 16, (((modifier - 4) & 0x7ff) ^ 1024) - 1024);
    let (precision, scale) = (i32::from(precision), i32::from(scale));
    held_scale >= scale && held_precision - held_scale >= precision - scale
}

fn landing_columns(
    schema: &SchemaRef,
    held: &[Described],
    operation: Option<&str>,
) -> Result<Vec<LandingColumn>> {
    let column = |field: &Field| {
        if Some(field.name().as_str()) == operation {
            return Ok(LandingColumn {
                name: field.name().clone(),
                type_name: "text".to_owned(),
                cast: "text".to_owned(),
                wire: None,
                literal: false,
                lands: false,
            });
        }
        let described = held.iter().find(|column| column.name == *field.name()).ok_or_else(|| {
            Error::schema("the server computes this column, so it cannot be written")
                .connector(crate::NAME)
                .detail("column", field.name())
                .help("drop it under `transform`")
        })?;
        Ok(LandingColumn {
            name: field.name().clone(),
            type_name: described.type_name.clone(),
            cast: cast_name(&described.data_type),
            wire: wire(&encoded_type(field.data_type()), &described.data_type),
            literal: is_literal(field.data_type(), &described.data_type),
            lands: true,
        })
    };
    schema.fields().iter().map(|field| column(field)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_knows_compression_of_columns_is_asked_to_take_it_over() {
        assert!(!included(130_015).contains("COMPRESSION"));
        assert!(included(140_000).ends_with(" INCLUDING STORAGE INCLUDING COMPRESSION"));
    }
}
