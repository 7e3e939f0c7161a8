//! The source: a table, a view or a query.

mod boundaries;
mod discover;
mod keys;
mod plan;
mod read;
mod scan;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arrow_schema::{Schema, SchemaRef};
use tokio::sync::OnceCell;
use towpath_core::{
    BatchStream, Context, Dataset, Position, Result, Resume, ScanPlan, ScanRequest, Source,
    SourceCapabilities, Split,
};
use towpath_sql::{ColumnKind, CursorOptions, Dialect};

use crate::catalog::{self, Relation, RelationKind};
use crate::config::{PostgresSourceConfig, SplitBy, What};
use crate::connect::Role;
use crate::errors::config;
use crate::pool::Pool;
use crate::snapshot::{Reading, Snapshots};
use crate::types::{Column, Described, column};

/// Reads a table, a view or a query.
#[derive(Clone)]
pub struct PostgresSource {
    inner: Arc<Inner>,
}

struct Inner {
    config: PostgresSourceConfig,
    what: Option<What>,
    split_by: SplitBy,
    cursor: CursorOptions,
    snapshots: Arc<Snapshots>,
    /// What is read, once it was looked at.
    shape: OnceCell<Arc<Shape>>,
    /// Whether all rows must be of one moment.
    one_snapshot: AtomicBool,
}

/// What is read: where it is and which columns it has.
pub(crate) struct Shape {
    /// The relation, unless it is a query.
    relation: Option<Relation>,
    described: Vec<Described>,
    columns: Vec<Column>,
}

impl Shape {
    /// The wanted columns in the order of the source; all of them for `None`.
    fn wanted(&self, wanted: Option<&[String]>) -> Vec<Column> {
        let is_wanted = |column: &&Column| wanted.is_none_or(|wanted| wanted.contains(column.field.name()));
        self.columns.iter().filter(is_wanted).cloned().collect()
    }

    fn described(&self, name: &str) -> Option<&Described> {
        self.described.iter().find(|described| described.name == name)
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.field.name() == name)
    }

    /// Whether the server makes sure that a key tells rows apart.
    fn has_certain_keys(&self) -> bool {
        self.relation.as_ref().is_some_and(|relation| relation.kind != RelationKind::Other)
    }

    /// What is known of a column that a condition names.
    fn kind(&self, name: &str) -> Option<ColumnKind> {
        scan::kind(self.described(name)?, self.column(name)?)
    }
}

fn schema_of(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>()))
}

impl PostgresSource {
    /// Begins a transaction that reads.
    async fn begin(&self, cx: &Context) -> Result<Reading> {
        self.inner.snapshots.begin(cx, self.inner.one_snapshot.load(Relaxed)).await
    }

    fn what(&self) -> Result<&What> {
        self.inner.what.as_ref().ok_or_else(|| {
            config("nothing to read").help("set `table` or `query`, or `datasets` for many streams")
        })
    }

    /// Looks at what is read, once.
    async fn shape(&self, reading: &Reading) -> Result<Arc<Shape>> {
        self.inner.shape.get_or_try_init(|| self.look(reading)).await.cloned()
    }

    async fn look(&self, reading: &Reading) -> Result<Arc<Shape>> {
        let session = &reading.session;
        let (relation, select) = match self.what()? {
            What::Table(table) => {
                let relation = catalog::find(session, table).await?;
                if let Some(grant) = catalog::missing_grant(session, &relation).await? {
                    return Err(catalog::lacks(&grant));
                }
                let name = relation.name.sql(Dialect::Postgres);
                reading.pin(&name).await;
                (Some(relation), format!("SELECT * FROM {name}"))
            }
            query @ What::Query(_) => (None, format!("SELECT * FROM {}", query.from())),
        };
        let oid = relation.as_ref().map(|relation| relation.oid);
        let described = catalog::describe(session, &select, oid).await?;
        let options = &self.inner.config;
        let columns =
            described.iter().map(|described| column(described, options.numeric, options.arrays)).collect();
        Ok(Arc::new(Shape { relation, described, columns }))
    }
}

impl Source for PostgresSource {
    type Config = PostgresSourceConfig;

    async fn open(config: Self::Config, cx: &Context) -> Result<Self> {
        let options = config.connection()?;
        let pool = Pool::shared(cx, &options, Role::Source)?;
        let wanted = config.snapshot;
        // One for all streams with the same options.
        let snapshots =
            cx.connection().shared(&format!("snapshots {wanted} {:p}", Arc::as_ptr(&pool)), || {
                Ok(Snapshots::new(pool.clone(), wanted))
            })?;
        Ok(Self {
            inner: Arc::new(Inner {
                what: config.what()?,
                split_by: config.split_by()?,
                cursor: config.cursor_options(),
                snapshots,
                shape: OnceCell::new(),
                one_snapshot: AtomicBool::new(false),
                config,
            }),
        })
    }

    fn capabilities(&self) -> SourceCapabilities {
        let is_query = matches!(self.inner.what, Some(What::Query(_)));
        let resume = match &self.inner.split_by {
            SplitBy::Column(_) => Resume::Exact,
            SplitBy::Nothing => Resume::Split,
            SplitBy::Auto | SplitBy::Ctid if is_query => Resume::Split,
            SplitBy::Auto | SplitBy::Ctid => Resume::Run,
        };
        SourceCapabilities { resume, ordered: false, bounded: true }
    }

    async fn check(&self, cx: &Context) -> Result<()> {
        let reading = self.begin(cx).await?;
        if self.inner.what.is_some() {
            let shape = self.shape(&reading).await?;
            plan::check_key(self, &reading, &shape).await?;
        }
        reading.end().await
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>> {
        let reading = self.begin(cx).await?;
        let datasets =
            discover::discover(&reading.session, self.inner.config.numeric, self.inner.config.arrays).await?;
        reading.end().await?;
        Ok(datasets)
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        self.inner.one_snapshot.store(request.one_snapshot, Relaxed);
        plan::plan(self, cx, request).await
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        read::read(self, cx, split, from)
    }
}
