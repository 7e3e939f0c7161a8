//! What there is to read.

use std::collections::BTreeMap;

use arrow_schema::Schema;
use serde_json::json;
use tokio_postgres::types::{Kind, Type};
use towpath_core::{Dataset, Result};
use towpath_sql::TableName;

use crate::catalog::counted;
use crate::config::{Arrays, Numeric};
use crate::connect::Session;
use crate::errors::failed;
use crate::types::{Described, column};

/// Tables, views and the like that we may read, with their keys and sizes. Partitions belong to their table.
const RELATIONS: &str = "SELECT c.oid, n.nspname::text, c.relname::text, c.reltuples::float8, \
     CASE WHEN c.relkind IN ('r', 'm', 'p') THEN pg_table_size(c.oid) ELSE 0 END, \
     coalesce((SELECT array_agg(a.attname::text ORDER BY k.position) FROM pg_index i \
       CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, position) \
       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number \
       WHERE i.indrelid = c.oid AND i.indisprimary AND k.position <= i.indnkeyatts), ARRAY[]::text[]), \
     n.nspname = current_schema() \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%' \
     AND c.relname NOT LIKE '\\_towpath\\_%' \
     AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') \
     ORDER BY n.nspname, c.relname";

const COLUMNS: &str = "SELECT a.attrelid, a.attname::text, a.atttypid, \
     CASE WHEN t.typtype = 'd' AND a.atttypmod = -1 THEN t.typtypmod ELSE a.atttypmod END, \
     format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, a.attndims::int4, \
     t.typtype::text, t.typbasetype, t.typname::text \
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
     WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum";

pub(super) async fn discover(session: &Session, numeric: Numeric, arrays: Arrays) -> Result<Vec<Dataset>> {
    let relations = session.client().query(RELATIONS, &[]).await;
    let relations = relations.map_err(|error| failed("listing tables", error))?;
    let oids: Vec<u32> = relations.iter().map(|row| row.get(0)).collect();
    let mut columns = columns(session, &oids, numeric, arrays).await?;
    let datasets = relations.iter().map(|row| {
        let (oid, schema, table): (u32, String, String) = (row.get(0), row.get(1), row.get(2));
        let (rows, bytes): (f64, i64) = (row.get(3), row.get(4));
        let is_default: bool = row.get(6);
        let name = TableName::new(&schema, &table);
        // The name of a stream; a table outside of the default schema carries its schema along.
        let stream = if is_default { table } else { format!("{schema}.{table}") };
        let mut dataset = Dataset::new(stream, json!({ "table": name }));
        dataset.schema = columns.remove(&oid).map(|fields| Schema::new(fields).into());
        dataset.key = row.get(5);
        dataset.estimate.rows = counted(rows);
        dataset.estimate.bytes = u64::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        dataset
    });
    Ok(datasets.collect())
}

async fn columns(
    session: &Session,
    relations: &[u32],
    numeric: Numeric,
    arrays: Arrays,
) -> Result<BTreeMap<u32, Vec<arrow_schema::FieldRef>>> {
    let rows = session.client().query(COLUMNS, &[&relations]).await;
    let mut columns: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for row in rows.map_err(|error| failed("listing columns", error))? {
        let (relation, type_oid, base): (u32, u32, u32) = (row.get(0), row.get(2), row.get(8));
        let (type_kind, type_name): (String, String) = (row.get(7), row.get(9));
        let dimensions: i32 = row.get(6);
        let described = Described {
            name: row.get(1),
            data_type: data_type(type_oid, &type_kind, base, &type_name),
            modifier: row.get(3),
            type_name: row.get(4),
            nullable: row.get(5),
            dimensions: usize::try_from(dimensions).unwrap_or(0),
        };
        columns.entry(relation).or_default().push(column(&described, numeric, arrays).field);
    }
    Ok(columns)
}

/// A type as far as a list of tables needs it; a read asks the server for the rest.
fn data_type(oid: u32, kind: &str, base: u32, name: &str) -> Type {
    let unknown = |kind| Type::new(name.to_owned(), oid, kind, String::new());
    match (Type::from_oid(oid), kind) {
        (Some(known), _) => known,
        (None, "e") => unknown(Kind::Enum(Vec::new())),
        (None, "d") => match Type::from_oid(base) {
            Some(base) => unknown(Kind::Domain(base)),
            None => unknown(Kind::Simple),
        },
        _ => unknown(Kind::Simple),
    }
}
