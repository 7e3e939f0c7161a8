//! Clients that the streams of a connection share, and questions that have one answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bson::{Document, doc};
use mongodb::options::{ReadPreference, SelectionCriteria, ServerAddress};
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

    /// The same server, of which only the member at this address is asked, whatever its role.
    pub(crate) fn pinned(&self, member: &str) -> Result<Self> {
        let address = ServerAddress::parse(member)
            .map_err(|error| failed("reading the address of a member", &error))?;
        let criteria = SelectionCriteria::Predicate(Arc::new(move |server| *server.address() == address));
        Ok(Self { criteria: Some(criteria), ..self.clone() })
    }

    /// The address of a member of a replica set that may be read from. `None` where there is no replica set, or where
    /// members are reached by addresses that are not their own.
    pub(crate) async fn member(&self, cx: &Context) -> Result<Option<String>> {
        let hello = self.in_database("admin").ask(cx, "asking the server", doc! { "hello": 1 }).await?;
        let is_router = hello.get_str("msg").is_ok_and(|text| text == "isdbgrid");
        if is_router || hello.get_str("setName").is_err() {
            return Ok(None);
        }
        let Some(address) = hello.get_str("me").ok().and_then(|me| ServerAddress::parse(me).ok()) else {
            return Ok(None);
        };
        let is_known = Arc::new(AtomicBool::new(false));
        let criteria = {
            let (is_known, address) = (is_known.clone(), address.clone());
            // It takes whoever there is, and only looks at their addresses.
            SelectionCriteria::Predicate(Arc::new(move |server| {
                is_known.fetch_or(*server.address() == address, Relaxed);
                true
            }))
        };
        let all = Self { criteria: Some(criteria), ..self.in_database("admin") };
        all.ask(cx, "asking the server", doc! { "ping": 1 }).await?;
        Ok(is_known.load(Relaxed).then(|| address.to_string()))
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

/// What is asked for, as the adaptive limit tells it apart: beside questions that take no time, a batch would look as if the
/// server had slowed down.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// Questions and steps of the server's own.
    Command,
    /// Batches of documents that come.
    Read,
    /// Batches of documents that go.
    Insert,
}

/// Sends a command when the limits of the connection let it.
pub(crate) async fn limited<T>(
    cx: &Context,
    request: impl Future<Output = Result<T, mongodb::error::Error>>,
) -> Result<Result<T, mongodb::error::Error>> {
    limited_as(Load::Command, cx, request).await
}

/// Sends a request when the limits of the connection let it.
pub(crate) async fn limited_as<T>(
    load: Load,
    cx: &Context,
    request: impl Future<Output = Result<T, mongodb::error::Error>>,
) -> Result<Result<T, mongodb::error::Error>> {
    let origin = match load {
        Load::Command => "",
        Load::Read => "documents",
        Load::Insert => "inserts",
    };
    let permit = cx.permit(origin).await?;
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
