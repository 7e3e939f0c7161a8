//! Clients that the streams of a connection share, and questions that have one answer.

use std::fmt;
use std::sync::Arc;

use bson::Document;
use mongodb::options::{ReadPreference, SelectionCriteria};
use mongodb::{Client, Database};
use towpath_core::{Context, Error, Outcome, Result};

use crate::config::{ConnectionOptions, ReadFrom};
use crate::errors::{config, failed};

/// A database of a server.
#[derive(Clone)]
pub(crate) struct Server {
    client: Arc<Client>,
    /// `None` where no option names one, which is enough to discover.
    database: Option<String>,
    criteria: Option<SelectionCriteria>,
}

impl Server {
    /// The server of these options. Nothing is sent yet.
    pub(crate) fn shared(cx: &Context, options: ConnectionOptions, read_from: ReadFrom) -> Result<Self> {
        let ConnectionOptions { client, database, key } = options;
        let make = || Client::with_options(client).map_err(|error| failed("reading the options", &error));
        let criteria = criteria(read_from);
        Ok(Self { client: cx.connection().shared(&key, make)?, database, criteria })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The name of the database, if an option gives one.
    pub(crate) fn database_name(&self) -> Option<&str> {
        self.database.as_deref()
    }

    pub(crate) fn database(&self) -> Result<Database> {
        let name = self.database.as_deref().ok_or_else(|| {
            config("no database is named")
                .help("set `database`, or end `url` with its name: mongodb://host/shop")
        })?;
        Ok(self.client.database(name))
    }

    /// The same server, with another database.
    pub(crate) fn in_database(&self, database: &str) -> Self {
        Self { database: Some(database.to_owned()), ..self.clone() }
    }

    /// Which members are read from.
    pub(crate) fn criteria(&self) -> Option<SelectionCriteria> {
        self.criteria.clone()
    }

    /// Runs a command that only reads.
    pub(crate) async fn ask(&self, cx: &Context, what: &str, command: Document) -> Result<Document> {
        self.try_ask(cx, command).await?.map_err(|error| failed(what, &error))
    }

    /// As [`ask`](Self::ask), with the driver's error.
    pub(crate) async fn try_ask(
        &self,
        cx: &Context,
        command: Document,
    ) -> Result<Result<Document, mongodb::error::Error>> {
        let database = self.database()?;
        let mut asking = database.run_command(command);
        if let Some(criteria) = self.criteria() {
            asking = asking.selection_criteria(criteria);
        }
        limited(cx, asking.into_future()).await
    }
}

/// Sends a request when the limits of the connection let it.
pub(crate) async fn limited<T>(
    cx: &Context,
    request: impl Future<Output = Result<T, mongodb::error::Error>>,
) -> Result<Result<T, mongodb::error::Error>> {
    let permit = cx.permit("").await?;
    let answer = tokio::select! {
        answer = request => answer,
        () = cx.cancellation().cancelled() => return Err(Error::cancelled().connector(crate::NAME)),
    };
    let outcome = if answer.is_ok() { Outcome::Success } else { Outcome::Failed };
    permit.finish(outcome, cx.clock().monotonic());
    Ok(answer)
}

fn criteria(read_from: ReadFrom) -> Option<SelectionCriteria> {
    let options = None;
    let preference = match read_from {
        ReadFrom::Default => return None,
        ReadFrom::Primary => ReadPreference::Primary,
        ReadFrom::PrimaryPreferred => ReadPreference::PrimaryPreferred { options },
        ReadFrom::Secondary => ReadPreference::Secondary { options },
        ReadFrom::SecondaryPreferred => ReadPreference::SecondaryPreferred { options },
        ReadFrom::Nearest => ReadPreference::Nearest { options },
    };
    Some(SelectionCriteria::ReadPreference(preference))
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("database", &self.database).finish_non_exhaustive()
    }
}
