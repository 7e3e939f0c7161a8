//! `towpath check`: may we read what a run will read?

use towpath_core::{Context, Result};

use super::Shared;
use super::query::Part;
use super::relation::documents;
use crate::config::SnapshotMode;

pub(super) async fn check(shared: &Shared, cx: &Context) -> Result<()> {
    if shared.config.collection.is_none() {
        let server = shared.server.in_database(shared.server.database_name().unwrap_or("admin"));
        return server.ask(cx, "asking the server", bson::doc! { "ping": 1 }).await.map(drop);
    }
    shared.relation(cx).await?;
    let mut part = Part { limit: Some(1), ..Part::default() };
    if shared.config.snapshot == SnapshotMode::Required {
        part.read_concern = shared.snapshot.read_concern(shared, cx).await?;
    }
    let command = shared.query.command(shared.collection()?, &part);
    documents(shared, cx, command).await.map(drop)
}
