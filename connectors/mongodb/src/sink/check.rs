//! `towpath check`: may we write as a load will?

use bson::{Bson, Document, doc};
use towpath_core::{Context, Error, ErrorKind, LoadSpec, Result, WriteDisposition};

use super::Shared;

/// What every load does in the database.
const ACTIONS: [&str; 7] =
    ["find", "insert", "update", "remove", "createCollection", "dropCollection", "listCollections"];

pub(super) async fn check(shared: &Shared, cx: &Context, load: &LoadSpec) -> Result<()> {
    let hello = shared.server.ask(cx, "asking the server", doc! { "hello": 1 }).await?;
    if !hello.get_bool("isWritablePrimary").unwrap_or(false) {
        return Err(Error::new(ErrorKind::Unavailable, "the server takes no writes: it is no primary")
            .help("name all members in `url`, with `replicaSet`"));
    }
    let status = doc! { "connectionStatus": 1, "showPrivileges": true };
    let status = shared.server.ask(cx, "asking for privileges", status).await?;
    let Ok(info) = status.get_document("authInfo") else { return Ok(()) };
    let users = info.get_array("authenticatedUsers").map_or(0, Vec::len);
    if users == 0 {
        // Whoever must log in fails here, and a server without accounts lets everybody do everything.
        return super::checkpoints::Ledger::new(shared, load)?.read(cx).await.map(drop);
    }
    let database = shared.database()?.name().to_owned();
    let privileges = info.get_array("authenticatedUserPrivileges").cloned().unwrap_or_default();
    let mut needed = ACTIONS.to_vec();
    match load.disposition {
        WriteDisposition::Merge if load.key != ["_id"] => needed.push("createIndex"),
        WriteDisposition::Append => needed.push("listIndexes"),
        WriteDisposition::Replace => needed.extend(["listIndexes", "createIndex", "renameCollectionSameDB"]),
        WriteDisposition::Merge => {}
    }
    let allowed = allowed(&privileges, &database);
    let missing: Vec<&str> =
        needed.into_iter().filter(|action| !allowed.iter().any(|have| have == action)).collect();
    if missing.is_empty() {
        return shared.exists(cx, &shared.target(load)).await.map(drop);
    }
    Err(Error::new(ErrorKind::PermissionDenied, format!("we may not {} in `{database}`", missing.join(", ")))
        .help(format!("db.grantRolesToUser(\"…\", [{{ role: \"readWrite\", db: \"{database}\" }}])")))
}

/// The actions that are allowed on all collections of a database.
fn allowed(privileges: &[Bson], database: &str) -> Vec<String> {
    let applies = |privilege: &&Document| {
        let Ok(resource) = privilege.get_document("resource") else { return false };
        let on = |name: &str| matches!(resource.get_str("db"), Ok(db) if db == name);
        resource.get_bool("anyResource").unwrap_or(false)
            || ((on(database) || on("")) && resource.get_str("collection").is_ok_and(str::is_empty))
    };
    let privileges = privileges.iter().filter_map(Bson::as_document).filter(applies);
    let actions = privileges.filter_map(|privilege| privilege.get_array("actions").ok()).flatten();
    actions.filter_map(|action| action.as_str().map(str::to_owned)).collect()
}
