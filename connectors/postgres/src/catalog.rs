//! What the server knows of tables, columns and types.

use tokio_postgres::types::Type;
use towpath_core::{Error, ErrorKind, Result};
use towpath_sql::{Dialect, TableName};

use crate::connect::Session;
use crate::errors::failed;
use crate::types::Described;

/// Ranges of `ctid` are read without looking at the rest of the table from this version on.
pub(crate) const TID_RANGES: i32 = 140_000;

/// A table, view or the like.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) name: TableName,
    pub(crate) kind: RelationKind,
    pub(crate) may_read: bool,
    /// Blocks of its own file.
    pub(crate) blocks: u64,
    /// About how many rows it has itself, if that was ever counted.
    pub(crate) rows: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelationKind {
    /// A table or materialized view: it has a file of its own.
    Stored,
    /// A table that is only the sum of its partitions.
    Partitioned,
    /// A view, foreign table, or whatever else can be selected from.
    Other,
}

const RELATION: &str = "c.oid, n.nspname::text, c.relname::text, c.relkind::text, \
     has_table_privilege(c.oid, 'SELECT') AS may_read, \
     CASE WHEN c.relkind IN ('r', 'm', 't') THEN pg_relation_size(c.oid) / current_setting('block_size')::int8 ELSE 0 END, \
     c.reltuples::float8";

fn relation(row: &tokio_postgres::Row) -> Relation {
    let (schema, name, kind): (String, String, String) = (row.get(1), row.get(2), row.get(3));
    let (blocks, rows): (i64, f64) = (row.get(5), row.get(6));
    Relation {
        oid: row.get(0),
        name: TableName::new(schema, name),
        kind: match kind.as_str() {
            "r" | "m" => RelationKind::Stored,
            "p" => RelationKind::Partitioned,
            _ => RelationKind::Other,
        },
        may_read: row.get(4),
        blocks: u64::try_from(blocks).unwrap_or(0),
        rows: counted(rows),
    }
}

/// A number of rows, which the server tells as a float; -1 says that nobody has counted yet.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is an estimate, and not negative"
)]
pub(crate) fn counted(rows: f64) -> Option<u64> {
    (rows >= 0.0).then_some(rows as u64)
}

/// The relation of this name.
///
/// # Errors
/// `NotFound`.
pub(crate) async fn find(session: &Session, table: &TableName) -> Result<Relation> {
    // By its name and not by `to_regclass`, which fails where we may not look into the schema.
    let sql = format!(
        "SELECT {RELATION} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
         AND (n.nspname = $1 OR $1 IS NULL AND pg_table_is_visible(c.oid))"
    );
    let row = session.client().query_opt(&sql, &[&table.schema, &table.name]).await;
    let row = row.map_err(|error| failed("looking for the table", error))?;
    row.as_ref().map(relation).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("there is no table `{table}`"))
            .connector(crate::NAME)
            .help("check `table`, with its schema: `schema.table`; `towpath discover` lists what there is")
    })
}

/// The relation and everything that belongs to it as partition or descendant, sorted by name.
pub(crate) async fn family(session: &Session, relation_oid: u32) -> Result<Vec<Relation>> {
    let sql = format!(
        "WITH RECURSIVE family(oid) AS (VALUES ($1::oid) UNION \
         SELECT i.inhrelid FROM pg_inherits i JOIN family f ON i.inhparent = f.oid) \
         SELECT {RELATION} FROM family JOIN pg_class c ON c.oid = family.oid \
         JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY n.nspname, c.relname"
    );
    let rows = session.client().query(&sql, &[&relation_oid]).await;
    Ok(rows.map_err(|error| failed("looking for partitions", error))?.iter().map(relation).collect())
}

/// The columns of what this statement selects. `relation` is the table that it selects from, if it is one.
///
/// # Errors
/// The server's, for a statement that is wrong.
pub(crate) async fn describe(
    session: &Session,
    select: &str,
    relation: Option<u32>,
) -> Result<Vec<Described>> {
    let statement =
        session.client().prepare(select).await.map_err(|error| failed("asking for the columns", error))?;
    let types: Vec<u32> = statement.columns().iter().map(|column| column.type_().oid()).collect();
    let modifiers: Vec<i32> = statement.columns().iter().map(tokio_postgres::Column::type_modifier).collect();
    let names: Vec<&str> = statement.columns().iter().map(tokio_postgres::Column::name).collect();
    let details = session
        .client()
        .query(
            "SELECT format_type(c.type, NULLIF(c.modifier, -1)), t.typtypmod, coalesce(a.attnotnull, false), \
             coalesce(a.attndims, 0)::int4 \
             FROM unnest($1::oid[], $2::int4[], $3::text[]) WITH ORDINALITY AS c(type, modifier, name, position) \
             JOIN pg_type t ON t.oid = c.type \
             LEFT JOIN pg_attribute a ON a.attrelid = $4 AND a.attname = c.name AND a.attnum > 0 AND NOT a.attisdropped \
             ORDER BY c.position",
            &[&types, &modifiers, &names, &relation],
        )
        .await
        .map_err(|error| failed("asking for the types of columns", error))?;
    let columns = statement.columns().iter().zip(&details).map(|(column, detail)| {
        let of_domain: i32 = detail.get(1);
        let dimensions: i32 = detail.get(3);
        Described {
            name: column.name().to_owned(),
            data_type: column.type_().clone(),
            modifier: if column.type_modifier() == -1 { of_domain } else { column.type_modifier() },
            type_name: detail.get(0),
            nullable: !detail.get::<_, bool>(2),
            dimensions: usize::try_from(dimensions).unwrap_or(0),
        }
    });
    Ok(columns.collect())
}

/// The server's version as a number: 150004 for 15.4.
pub(crate) async fn version(session: &Session) -> Result<i32> {
    let row = session.client().query_one("SELECT current_setting('server_version_num')::int4", &[]).await;
    row.map(|row| row.get(0)).map_err(|error| failed("asking for the version", error))
}

/// Whether no two rows can have the same value in this column, and none can have none.
pub(crate) async fn is_unique(session: &Session, relation: u32, column: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid \
               AND a.attnum = i.indkey[0] WHERE i.indrelid = $1 AND a.attname = $2 AND a.attnotnull \
               AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL)";
    let row = session.client().query_one(sql, &[&relation, &column]).await;
    row.map(|row| row.get(0)).map_err(|error| failed("looking for a unique index", error))
}

/// Values of a column, in their order, between which lie about as many rows each; empty where nobody has counted.
pub(crate) async fn histogram(session: &Session, relation: &Relation, column: &str) -> Result<Vec<String>> {
    let sql = "SELECT histogram_bounds::text::text[] FROM pg_stats \
               WHERE schemaname = $1 AND tablename = $2 AND attname = $3 ORDER BY inherited DESC LIMIT 1";
    let rows = session.client().query(sql, &[&relation.name.schema, &relation.name.name, &column]).await;
    let rows = rows.map_err(|error| failed("asking for statistics", error))?;
    Ok(rows.first().and_then(|row| row.get::<_, Option<Vec<String>>>(0)).unwrap_or_default())
}

/// What a user lacks to read a relation, as the statement that gives it.
pub(crate) async fn missing_grant(session: &Session, relation: &Relation) -> Result<Option<String>> {
    let schema = relation.name.schema.clone().unwrap_or_default();
    let sql = "SELECT current_user::text, has_schema_privilege($1, 'USAGE'), \
               has_table_privilege($2::oid, 'SELECT') OR has_any_column_privilege($2::oid, 'SELECT')";
    let row = session.client().query_one(sql, &[&schema, &relation.oid]).await;
    let row = row.map_err(|error| failed("asking for privileges", error))?;
    let (user, may_use, may_select): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
    let quoted = |name: &str| Dialect::Postgres.identifier(name);
    Ok(if !may_use {
        Some(format!("GRANT USAGE ON SCHEMA {} TO {}", quoted(&schema), quoted(&user)))
    } else if !may_select {
        Some(format!("GRANT SELECT ON {} TO {}", relation.name.sql(Dialect::Postgres), quoted(&user)))
    } else {
        None
    })
}

/// The error for a missing privilege.
pub(crate) fn lacks(grant: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, "a privilege is missing")
        .connector(crate::NAME)
        .help(format!("let an administrator run `{grant}`"))
}

/// Types in which `split_by` and its boundaries are known to work.
pub(crate) fn is_key_type(data_type: &Type) -> bool {
    matches!(
        *data_type,
        Type::INT2
            | Type::INT4
            | Type::INT8
            | Type::OID
            | Type::NUMERIC
            | Type::UUID
            | Type::DATE
            | Type::TIMESTAMP
            | Type::TIMESTAMPTZ
            | Type::TEXT
            | Type::VARCHAR
    )
}
