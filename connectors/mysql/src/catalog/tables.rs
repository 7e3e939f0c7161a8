//! All tables that the user may see, with columns and keys, for `discover`.

use towpath_core::Result;
use towpath_sql::TableName;

use crate::client::Client;
use crate::sql::text;

/// Databases that belong to the server.
const SYSTEM: &str = "'information_schema', 'performance_schema', 'mysql', 'sys'";
/// The most tables that are listed.
const MOST: usize = 5000;

/// A table as it is listed.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) name: TableName,
    pub(crate) is_view: bool,
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

/// The tables and views of one database, or of all.
pub(crate) async fn tables(client: &mut Client, database: Option<&str>) -> Result<Vec<Listed>> {
    let condition = match database {
        Some(database) => format!("TABLE_SCHEMA = {}", text(database)),
        None => format!("TABLE_SCHEMA NOT IN ({SYSTEM})"),
    };
    let rows = client
        .query(&format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, TABLE_ROWS, DATA_LENGTH FROM information_schema.TABLES \
             WHERE {condition} AND TABLE_TYPE IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED') \
             ORDER BY TABLE_SCHEMA, TABLE_NAME LIMIT {MOST}"
        ))
        .await?;
    let listed = |row: Vec<Option<String>>| {
        let [database, table, kind, rows, bytes] = <[Option<String>; 5]>::try_from(row).ok()?;
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
        Some(Listed {
            name: TableName::new(database?, table?),
            is_view: kind.as_deref() == Some("VIEW"),
            rows: number(rows),
            bytes: number(bytes),
        })
    };
    Ok(rows.into_iter().filter_map(listed).collect())
}
