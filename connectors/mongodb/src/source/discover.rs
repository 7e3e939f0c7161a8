//! What there is to read.

use std::sync::Arc;

use bson::{Document, doc};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use towpath_core::{Context, Dataset, Result};

use super::Shared;
use super::query::Query;
use super::relation::estimate;
use crate::client::limited;
use crate::errors::failed;

/// Databases that hold the server's own things.
const OF_THE_SERVER: [&str; 3] = ["admin", "config", "local"];
/// How many collections are looked at at once.
const AT_ONCE: usize = 4;
/// How many documents of each.
const SAMPLE: u32 = 100;

/// The collections of the database, or of all databases if no option names one.
pub(super) async fn discover(shared: &Shared, cx: &Context) -> Result<Vec<Dataset>> {
    let databases = match shared.server.database_name() {
        Some(name) => vec![name.to_owned()],
        None => databases(shared, cx).await?,
    };
    let is_one = shared.server.database_name().is_some();
    let mut datasets = Vec::new();
    for database in databases {
        let collections = collections(shared, cx, &database).await?;
        let looked_at = stream::iter(collections.into_iter().map(|(name, kind)| {
            let database = database.clone();
            async move { dataset(shared, cx, &database, &name, &kind, is_one).await }
        }));
        datasets.extend(looked_at.buffered(AT_ONCE).try_collect::<Vec<_>>().await?);
    }
    Ok(datasets)
}

async fn databases(shared: &Shared, cx: &Context) -> Result<Vec<String>> {
    let names = limited(cx, shared.server.client().list_database_names().into_future()).await?;
    let mut names = names.map_err(|error| failed("listing databases", &error))?;
    names.retain(|name| !OF_THE_SERVER.contains(&name.as_str()));
    names.sort();
    Ok(names)
}

/// Names and kinds.
async fn collections(shared: &Shared, cx: &Context, database: &str) -> Result<Vec<(String, String)>> {
    let command = doc! {
        "listCollections": 1, "nameOnly": true, "authorizedCollections": true, "cursor": { "batchSize": 10_000 },
    };
    let database = shared.server.client().database(database);
    let listing = async { database.run_cursor_command(command).await?.try_collect::<Vec<Document>>().await };
    let found = limited(cx, listing).await?.map_err(|error| failed("listing collections", &error))?;
    let mut found: Vec<_> = found
        .iter()
        .filter_map(|found| {
            Some((found.get_str("name").ok()?.to_owned(), found.get_str("type").ok()?.to_owned()))
        })
        .filter(|(name, _)| !name.starts_with("system.") && !name.starts_with("_towpath_"))
        .collect();
    found.sort();
    Ok(found)
}

async fn dataset(
    shared: &Shared,
    cx: &Context,
    database: &str,
    name: &str,
    kind: &str,
    is_one: bool,
) -> Result<Dataset> {
    let mut options = json!({ "collection": name });
    let stream = if is_one {
        name.to_owned()
    } else {
        options["database"] = database.into();
        format!("{database}.{name}")
    };
    let is_collection = kind == "collection";
    if !is_collection {
        options["split_by"] = "none".into();
    }
    let mut dataset = Dataset::new(stream, options);
    dataset.key = if kind == "timeseries" { Vec::new() } else { vec!["_id".to_owned()] };
    let other = shared.in_database(database);
    if is_collection {
        dataset.estimate = estimate(&other, cx, name).await?;
    }
    // One that cannot be looked at, such as a view of something that is gone, is listed all the same.
    if let Ok(fields) = columns(&other, cx, name).await {
        dataset.schema = Some(Arc::new(shared.form.schema(&fields)));
    }
    Ok(dataset)
}

async fn columns(shared: &Shared, cx: &Context, name: &str) -> Result<crate::schema::Fields> {
    let mut fields = shared.form.start();
    let command = Query::default().sample(name, SAMPLE, false);
    for document in super::relation::documents(shared, cx, command).await? {
        shared.form.observe(&mut fields, std::iter::once(document.as_bytes()));
    }
    Ok(fields)
}
