//! The tables and views that could be streams.

use std::sync::Arc;

use arrow_schema::Schema;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, json};
use towpath_core::{Context, Dataset, Estimate, Json, Result};
use towpath_sql::is_ours;

use super::Shared;
use super::relation::{Relation, Subject};
use crate::catalog::{Listed, tables};
use crate::config::SplitBy;
use crate::types::source::SourceColumn;

/// How many tables are looked at at once.
const AT_ONCE: usize = 2;

pub(crate) async fn discover(shared: &Arc<Shared>, cx: &Context) -> Result<Vec<Dataset>> {
    let database = shared.options.database.as_deref();
    let mut listed = tables(&mut *shared.readers.control().get(cx).await?, database).await?;
    listed.retain(|table| !is_ours(&table.name.name));
    stream::iter(listed)
        .map(|table| dataset(shared, cx, table, database))
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn dataset(shared: &Shared, cx: &Context, listed: Listed, database: Option<&str>) -> Result<Dataset> {
    let mut client = shared.readers.control().get(cx).await?;
    let subject = Subject::Table(listed.name.clone());
    let types = shared.types();
    let with_key = Relation::load(&mut client, &subject, &SplitBy::Auto, types).await;
    // A view may be broken, and a table refused: they are listed all the same.
    let relation = match with_key {
        Ok(relation) => Some(relation),
        Err(_) => Relation::load(&mut client, &subject, &SplitBy::None, types).await.ok(),
    };
    let mut name = listed.name.clone();
    if name.schema.as_deref() == database {
        name.schema = None;
    }
    let mut source = Map::from_iter([("table".to_owned(), Json::from(name.to_string()))]);
    let split = relation.as_ref().and_then(|relation| relation.split.as_ref());
    if split.is_none() {
        source.insert("split_by".to_owned(), json!("none"));
    }
    let mut dataset = Dataset::new(name.to_string(), Json::Object(source));
    dataset.key = split.iter().flat_map(|split| &split.columns).map(|column| column.name.clone()).collect();
    dataset.schema = relation.as_ref().map(|relation| {
        Arc::new(Schema::new(relation.columns.iter().map(SourceColumn::field).collect::<Vec<_>>()))
    });
    dataset.estimate = Estimate {
        rows: listed.rows.filter(|_| !listed.is_view),
        bytes: listed.bytes.filter(|_| !listed.is_view),
    };
    Ok(dataset)
}
