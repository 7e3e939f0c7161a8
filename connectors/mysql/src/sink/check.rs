//! Whether a run could write, found out by doing what it does with a table of its own that is then gone.

use towpath_core::{Context, Error, ErrorKind, LoadSpec, Result, WriteDisposition};
use towpath_sql::TableName;

use super::MysqlSink;
use super::names::sql;
use super::table::{Table, database_exists};
use crate::catalog::grantee;
use crate::client::Client;
use crate::sql::identifier;

/// What is tried with the table `?`, and the privileges that it takes.
const STEPS: [(&str, &str); 8] = [
    // First, so that nothing is made that could not be removed.
    ("DROP TABLE IF EXISTS ?", "DROP"),
    ("CREATE TABLE ? (id int NOT NULL PRIMARY KEY) ENGINE=InnoDB", "CREATE"),
    ("INSERT INTO ? VALUES (1)", "INSERT"),
    ("SELECT id FROM ? FOR UPDATE", "SELECT"),
    ("UPDATE ? SET id = 2", "UPDATE"),
    ("DELETE FROM ?", "DELETE"),
    ("ALTER TABLE ? ADD COLUMN more int NULL", "ALTER"),
    ("CREATE INDEX towpath_check ON ? (more)", "INDEX"),
];

impl MysqlSink {
    pub(super) async fn check_target(&self, cx: &Context) -> Result<()> {
        let load = LoadSpec::new("check", cx.stream(), "check", WriteDisposition::Append);
        let names = self.names(&load)?;
        let mut client = self.pool.get(cx).await?;
        self.way(cx, &mut client).await?;
        if !database_exists(&mut client, names.database()).await? {
            return may_create(&mut client, names.database()).await;
        }
        if let Some(table) = Table::find(&mut client, names.target()).await? {
            table.check(names.target())?;
        }
        let probe = names.target().sibling(format!("{}check_{}", names.prefix(), client.id()));
        let tried = try_steps(&mut client, &probe).await;
        if tried.is_err() {
            // There may be nothing to remove, or no way.
            let _ = client.execute(&format!("DROP TABLE IF EXISTS {}", sql(&probe))).await;
        }
        tried
    }
}

async fn try_steps(client: &mut Client, probe: &TableName) -> Result<()> {
    let database = probe.schema.as_deref().unwrap_or_default();
    for (statement, privilege) in STEPS {
        if let Err(error) = client.execute(&statement.replace('?', &sql(probe))).await {
            return Err(missing(client, error, privilege, &format!("{}.*", identifier(database))).await);
        }
    }
    client.execute(&format!("DROP TABLE {}", sql(probe))).await.map(drop)
}

/// Adds to a refusal what an administrator has to run.
async fn missing(client: &mut Client, error: Error, privilege: &str, on: &str) -> Error {
    if error.kind() != ErrorKind::PermissionDenied {
        return error;
    }
    match grantee(client).await {
        Ok(user) => error.help(format!("let an administrator run: GRANT {privilege} ON {on} TO {user}")),
        Err(_) => error,
    }
}

/// Whether the user may make a database, told by what was granted: making one for a try would leave traces.
async fn may_create(client: &mut Client, database: &str) -> Result<()> {
    let grants = client.query("SHOW GRANTS").await?;
    let may = grants.into_iter().flatten().flatten().any(|grant| {
        let upper = grant.to_uppercase();
        let Some((privileges, rest)) = upper.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON "))
        else {
            return false;
        };
        let on = rest.split_once(" TO ").map_or(rest, |(on, _)| on);
        let is_here = on == "*.*" || pattern_matches(on, &database.to_uppercase());
        is_here
            && privileges.split(',').map(str::trim).any(|name| matches!(name, "ALL PRIVILEGES" | "CREATE"))
    });
    if may {
        return Ok(());
    }
    let error = Error::new(
        ErrorKind::PermissionDenied,
        format!("there is no database `{database}`, and the user may not make it"),
    )
    .connector(crate::NAME);
    Err(missing(client, error, "ALL PRIVILEGES", &format!("{}.*", identifier(database))).await)
}

/// Whether a database is among those that a grant names: ``` `shop`.* ```, where `%` and `_` stand for others.
fn pattern_matches(on: &str, database: &str) -> bool {
    let Some(pattern) = on.strip_suffix(".*") else { return false };
    let pattern = pattern.trim_matches('`').replace("``", "`");
    matches(&pattern.chars().collect::<Vec<_>>(), &database.chars().collect::<Vec<_>>())
}

fn matches(pattern: &[char], name: &[char]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ['%', rest @ ..] => (0..=name.len()).any(|skipped| matches(rest, &name[skipped..])),
        ['_', rest @ ..] => !name.is_empty() && matches(rest, &name[1..]),
        ['\\', character, rest @ ..] | [character, rest @ ..] => {
            name.first() == Some(character) && matches(rest, &name[1..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_may_name_databases_by_a_pattern() {
        for (on, database, is_among) in [
            ("`SHOP`.*", "SHOP", true),
            ("`SHOP`.*", "SHOPS", false),
            ("`SHOP%`.*", "SHOPS", true),
            ("`SH_P`.*", "SHOP", true),
            ("`SH\\_P`.*", "SHOP", false),
            ("`SH\\_P`.*", "SH_P", true),
            ("`SHOP`.`ORDERS`", "SHOP", false),
        ] {
            assert_eq!(pattern_matches(on, database), is_among, "{on} {database}");
        }
    }
}
