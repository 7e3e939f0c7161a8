//! The source: a collection, a view, a time series, or the results of a pipeline.
//!
//! ```text
//! relation (what it is, its first columns) ──> plan (ranges of keys, or stretches of records) ──> read (a cursor each) ──> decode
//!                                               │
//!                                       snapshot (one moment for all cursors)
//! ```

mod bounds;
mod check;
mod cursor;
mod discover;
mod natural;
mod plan;
mod pushdown;
mod query;
mod read;
mod relation;
mod reply;
mod scattered;
mod snapshot;

use std::sync::Arc;

use tokio::sync::OnceCell;
use towpath_core::{
    BatchStream, Context, Dataset, Error, Position, Result, Resume, ScanPlan, ScanRequest, Source,
    SourceCapabilities, Split,
};

use crate::NAME;
use crate::client::Server;
use crate::config::{DocumentForm, MongodbSourceConfig, Order};
use crate::decode::Form;
use crate::errors::config as wrong;
use query::Query;
use relation::Relation;
use snapshot::Snapshot;

/// Reads documents.
#[derive(Debug)]
pub struct MongodbSource {
    shared: Arc<Shared>,
}

/// What all reads of a source share.
#[derive(Debug)]
pub(crate) struct Shared {
    config: MongodbSourceConfig,
    order: Order,
    server: Server,
    query: Query,
    form: Form,
    relation: OnceCell<Arc<Relation>>,
    snapshot: Snapshot,
}

impl Source for MongodbSource {
    type Config = MongodbSourceConfig;

    async fn open(config: MongodbSourceConfig, cx: &Context) -> Result<Self> {
        let order = config.order()?;
        let server = Server::shared(cx, config.connection().await?, config.read_preference)?;
        if config.collection.is_some() {
            server.database()?;
        }
        let form = Form {
            depth: config.max_depth,
            whole: config.documents == DocumentForm::Whole,
            declared: Arc::new(config.columns.0.clone()),
        };
        let (query, snapshot) = (Query::new(&config)?, Snapshot::new(&config));
        let relation = OnceCell::new();
        Ok(Self { shared: Arc::new(Shared { config, order, server, query, form, relation, snapshot }) })
    }

    fn capabilities(&self) -> SourceCapabilities {
        let resume = if self.shared.order == Order::Id { Resume::Exact } else { Resume::Split };
        SourceCapabilities { resume, ordered: false, bounded: true }
    }

    async fn check(&self, cx: &Context) -> Result<()> {
        check::check(&self.shared, cx).await.map_err(|error| self.shared.named(error, "check"))
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>> {
        discover::discover(&self.shared, cx).await.map_err(|error| self.shared.named(error, "discover"))
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        plan::plan(&self.shared, cx, request).await.map_err(|error| self.shared.named(error, "plan"))
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        read::read(&self.shared, cx, split, &from)
    }
}

impl Shared {
    fn collection(&self) -> Result<&str> {
        self.config.collection.as_deref().ok_or_else(|| {
            wrong("nothing to read").help("set `collection`; `towpath discover` lists what there is")
        })
    }

    /// What is read, for people.
    fn place(&self) -> String {
        let parts = [self.server.database_name(), self.config.collection.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(".")
    }

    fn named(&self, error: Error, operation: &'static str) -> Error {
        let error = error.connector(NAME).operation(operation);
        match self.place() {
            place if place.is_empty() => error,
            place => error.detail("collection", place),
        }
    }

    /// The same for another database of the server.
    fn in_database(&self, database: &str) -> Self {
        Self {
            config: self.config.clone(),
            order: self.order.clone(),
            server: self.server.in_database(database),
            query: self.query.clone(),
            form: self.form.clone(),
            relation: OnceCell::new(),
            snapshot: Snapshot::new(&self.config),
        }
    }

    /// What is read, looked up once.
    async fn relation(&self, cx: &Context) -> Result<Arc<Relation>> {
        self.relation
            .get_or_try_init(|| async { Relation::look(self, cx).await.map(Arc::new) })
            .await
            .cloned()
    }
}
