//! What the user may do, and which `GRANT` is missing.

use towpath_core::{Error, ErrorKind, Result};
use towpath_sql::{Dialect, TableName};

use crate::client::Client;
use crate::sql::text;

/// The user as the server knows them, ready for a `GRANT`.
pub(crate) async fn grantee(client: &mut Client) -> Result<String> {
    let rows = client.query("SELECT CURRENT_USER()").await?;
    let user = rows.into_iter().flatten().flatten().next().unwrap_or_default();
    let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
    Ok(format!("{}@{}", text(name), text(host)))
}

/// The statement that lets the user hold all tables for an instant.
pub(crate) async fn grant_to_lock(client: &mut Client) -> Result<String> {
    Ok(format!("GRANT RELOAD ON *.* TO {}", grantee(client).await?))
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
