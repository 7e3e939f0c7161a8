//! What the user may do, and which `GRANT` is missing.

use towpath_core::{Error, ErrorKind, Result};
use towpath_sql::{Dialect, TableName};

use crate::client::Client;
use crate::sql::text;

/// The user as the server knows them, ready for a `GRANT`.
async fn grantee(client: &mut Client) -> Result<String> {
    let rows = client.query("SELECT CURRENT_USER()").await?;
    let user = rows.into_iter().flatten().flatten().next().unwrap_or_default();
    let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
    Ok(format!("{}@{}", text(name), text(host)))
}

/// Adds to a refusal what an administrator has to run.
pub(crate) async fn explain_missing_grant(
    client: &mut Client,
    error: Error,
    privilege: &str,
    on: &TableName,
) -> Error {
    if error.kind() != ErrorKind::PermissionDenied {
        return error;
    }
    match grantee(client).await {
        Ok(user) => error.help(format!(
            "let an administrator run: GRANT {privilege} ON {} TO {user}",
            on.sql(Dialect::MySql)
        )),
        Err(_) => error,
    }
}

/// Whether the user may hold all tables for an instant, and if not, the `GRANT` that allows it.
pub(crate) async fn may_lock(client: &mut Client) -> Result<std::result::Result<(), String>> {
    let rows = client.query("SHOW GRANTS").await?;
    let grants: Vec<String> = rows.into_iter().flatten().flatten().collect();
    let may = grants.iter().any(|grant| {
        let upper = grant.to_ascii_uppercase();
        let Some((privileges, on)) = upper.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON "))
        else {
            return false;
        };
        on.starts_with("*.*")
            && privileges
                .split(',')
                .map(str::trim)
                .any(|privilege| matches!(privilege, "ALL PRIVILEGES" | "RELOAD" | "FLUSH_TABLES"))
    });
    if may {
        return Ok(Ok(()));
    }
    let user = grantee(client).await?;
    Ok(Err(format!("GRANT RELOAD ON *.* TO {user}")))
}
