//! Whether a run could write, found out by doing what it does with a table of its own that is then gone.

use towpath_core::{Context, Error, ErrorKind, LoadSpec, Result};
use towpath_sql::TableName;

use super::MysqlSink;
use super::names::sql;
use super::table::{Table, database_exists};
use crate::catalog::grantee;
use crate::client::Client;
use crate::sql::identifier;

/// What every load does with tables of its own, and the privilege that it takes. None of it works where there is no such
/// table, or for a table with two columns of one name; but the server looks at privileges first.
const NEEDED: [(&str, &str); 7] = [
    ("SELECT id FROM ? FOR UPDATE", "SELECT"),
    ("INSERT INTO ? VALUES (1)", "INSERT"),
    ("UPDATE ? SET id = 2", "UPDATE"),
    ("DELETE FROM ?", "DELETE"),
    ("CREATE TABLE ? (id int, id int)", "CREATE"),
    ("DROP TABLE ?", "DROP"),
    ("ALTER TABLE ? ADD COLUMN more int NULL", "ALTER"),
];

/// What is tried with the table `?` once all privileges are there.
const STEPS: [&str; 7] = [
    "CREATE TABLE ? (id int NOT NULL PRIMARY KEY) ENGINE=InnoDB",
    "INSERT INTO ? VALUES (1)",
    "SELECT id FROM ? FOR UPDATE",
    "UPDATE ? SET id = 2",
    "DELETE FROM ?",
    "ALTER TABLE ? ADD COLUMN more int NULL",
    "DROP TABLE ?",
];

impl MysqlSink {
    pub(super) async fn check_target(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        let names = self.names(load)?;
        let mut client = self.pool.get(cx).await?;
        self.way(cx, &mut client).await?;
        if !database_exists(&mut client, names.database()).await? {
            return may_create(&mut client, names.database()).await;
        }
        let probe = names.target().sibling(format!("{}check_{}", names.prefix(), client.id()));
        check_privileges(&mut client, &probe, names.database()).await?;
        if let Some(table) = Table::find(&mut client, names.target()).await? {
            table.check(names.target())?;
        }
        let tried = try_steps(&mut client, &probe).await;
        if tried.is_err() {
            // There may be nothing to remove, or no way.
            let _ = client.execute(&format!("DROP TABLE IF EXISTS {}", sql(&probe))).await;
        }
        tried
    }
}

/// Names all privileges that are missing at once. Nothing is made.
async fn check_privileges(client: &mut Client, probe: &TableName, database: &str) -> Result<()> {
    let (mut lacking, mut refusal) = (Vec::new(), None);
    for (statement, privilege) in NEEDED {
        match client.execute(&statement.replace('?', &sql(probe))).await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                lacking.push(privilege);
                refusal.get_or_insert(error);
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
            // That there is no such table.
            Err(_) | Ok(_) => {}
        }
    }
    match refusal {
        None => Ok(()),
        Some(error) => {
            Err(missing(client, error, &lacking.join(", "), &format!("{}.*", identifier(database))).await)
        }
    }
}

async fn try_steps(client: &mut Client, probe: &TableName) -> Result<()> {
    for statement in STEPS {
        client.execute(&statement.replace('?', &sql(probe))).await?;
    }
    Ok(())
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
