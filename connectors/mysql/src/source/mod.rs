//! Reading.
//!
//! ```text
//! relation (columns, key) ──> plan (ranges of the key) ──> read (one statement a range) ──> decode
//!                                                           │
//!                              snapshot (connections whose transactions show one moment)
//! ```

mod axis;
mod cursor;
mod discover;
mod filter;
mod key;
mod plan;
mod read;
mod relation;
mod snapshot;

use std::sync::Arc;

use arrow_schema::Schema;
use tokio::sync::OnceCell;
use towpath_core::{
    BatchStream, Context, CursorRange, Dataset, Error, ErrorKind, Position, Pushdown, Result, ScanPlan,
    ScanRequest, Source, SourceCapabilities, Split,
};
use towpath_sql::CursorOptions;

use crate::NAME;
use crate::config::{ConnectionOptions, SnapshotMode, SourceConfig, SplitBy};
use crate::errors::config as wrong;
use crate::types::source::{SourceColumn, TypeOptions};

use plan::{Planner, Scan};
use relation::{Relation, Subject};
use snapshot::{Readers, StreamSnapshot};

/// Reads a table, a view or a query.
#[derive(Debug)]
pub struct MysqlSource {
    shared: Arc<Shared>,
}

/// What all reads of a source share.
#[derive(Debug)]
pub(crate) struct Shared {
    config: SourceConfig,
    options: ConnectionOptions,
    /// `None` when the source is opened to discover.
    subject: Option<Subject>,
    readers: Arc<Readers>,
    relation: OnceCell<Arc<Relation>>,
    snapshot: StreamSnapshot,
}

impl Source for MysqlSource {
    type Config = SourceConfig;

    async fn open(config: SourceConfig, cx: &Context) -> Result<Self> {
        let options = config.connection()?;
        let subject = subject(&config, &options)?;
        if config.split_size == 0 {
            return Err(wrong("`split_size` must be above zero"));
        }
        if config.batch_rows == 0 {
            return Err(wrong("`batch_rows` must be above zero"));
        }
        let readers = Readers::shared(cx, &options, config.snapshot)?;
        let (relation, snapshot) = (OnceCell::new(), StreamSnapshot::default());
        Ok(Self { shared: Arc::new(Shared { config, options, subject, readers, relation, snapshot }) })
    }

    fn capabilities(&self) -> SourceCapabilities {
        SourceCapabilities { resume: self.shared.config.resume(), ordered: false, bounded: true }
    }

    async fn check(&self, cx: &Context) -> Result<()> {
        let outcome = async {
            if self.shared.subject.is_some() {
                self.shared.relation(cx).await?;
            }
            match self.shared.config.snapshot {
                SnapshotMode::Required => self.shared.readers.check(cx).await,
                _ => self.shared.readers.control().get(cx).await.map(drop),
            }
        };
        outcome.await.map_err(|error| self.shared.named(error, "check"))
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>> {
        discover::discover(&self.shared, cx).await.map_err(|error| self.shared.named(error, "discover"))
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        self.shared.plan(cx, request).await.map_err(|error| self.shared.named(error, "plan"))
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        read::read(&self.shared, cx, split, &from)
    }
}

fn subject(config: &SourceConfig, options: &ConnectionOptions) -> Result<Option<Subject>> {
    match (&config.table, &config.query) {
        (Some(_), Some(_)) => Err(wrong("`table` and `query` exclude each other")),
        (Some(table), None) => {
            let mut table = table.clone();
            if table.schema.is_none() {
                table.schema = Some(options.required_database()?.to_owned());
            }
            Ok(Some(Subject::Table(table)))
        }
        (None, Some(query)) => {
            let sql = query.trim().trim_end_matches(';').trim_end();
            if sql.is_empty() {
                Err(wrong("`query` is empty"))
            } else {
                Ok(Some(Subject::Query(sql.to_owned())))
            }
        }
        (None, None) => Ok(None),
    }
}

impl Shared {
    fn label(&self) -> String {
        self.subject.as_ref().map_or_else(String::new, Subject::label)
    }

    fn named(&self, error: Error, operation: &'static str) -> Error {
        let error = error.connector(NAME).operation(operation).detail("server", &self.options.host);
        match self.label() {
            label if label.is_empty() => error,
            label => error.detail("table", label),
        }
    }

    fn types(&self) -> TypeOptions {
        TypeOptions { tinyint1: self.config.tinyint1, zero_dates: self.config.zero_dates }
    }

    /// What is read, looked up once.
    async fn relation(&self, cx: &Context) -> Result<Arc<Relation>> {
        let load = || async {
            let Some(subject) = &self.subject else {
                return Err(wrong("nothing to read").help("set `table` or `query`"));
            };
            let mut client = self.readers.control().get(cx).await?;
            let relation = Relation::load(&mut client, subject, &self.config.split_by, self.types()).await?;
            Ok(Arc::new(relation))
        };
        self.relation.get_or_try_init(load).await.cloned()
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        let relation = self.relation(cx).await?;
        if let Some(columns) = &request.columns
            && let Some(unknown) = columns.iter().find(|name| relation.column(name).is_none())
        {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no column `{unknown}`"))
                .help("check the names in the transform; `towpath plan` lists the columns"));
        }
        let mut scan = Scan {
            columns: request.columns.clone(),
            cursor: request.cursor.clone(),
            filter: request.filter.clone(),
            limit: request.limit,
            one_snapshot: request.one_snapshot,
        };
        let mut pushed = Pushdown::Unsupported;
        if let Some(range) = &mut scan.cursor {
            let column = cursor_column(&relation, range)?;
            pushed = cursor::pushdown(column.kind);
            if range.until.is_none() && pushed == Pushdown::Exact && request.limit.is_none() {
                range.until = self.greatest(cx, &relation, column).await?;
            }
            // A wrong option is told before anything is read.
            cursor::condition(range, column, &self.config.cursor_options())?;
        }
        if request.planned != Position::Start && self.config.snapshot != SnapshotMode::Off {
            cx.metrics().warn("the run goes on with an interrupted one: the rows are of the moments of both");
        }
        let fields: Vec<_> =
            relation.wanted(request.columns.as_deref()).into_iter().map(SourceColumn::field).collect();
        let until = scan.cursor.as_ref().and_then(|range| range.until.clone());
        let control = self.readers.control().clone();
        let planner = Planner::new(cx, relation, control, scan, self.config.split_size);
        let mut plan =
            ScanPlan::new(Some(Arc::new(Schema::new(fields))), planner.steps(&request.planned).await?);
        plan.columns = Pushdown::Exact;
        plan.cursor = pushed;
        plan.until = until;
        Ok(plan)
    }

    async fn greatest(
        &self,
        cx: &Context,
        relation: &Relation,
        column: &SourceColumn,
    ) -> Result<Option<towpath_core::Json>> {
        let mut client = self.readers.control().get(cx).await?;
        let sql = format!("SELECT {} FROM {}", cursor::select_greatest(column), relation.from());
        let greatest = client.query(&sql).await?.into_iter().flatten().flatten().next();
        Ok(greatest.and_then(|value| cursor::greatest(column, &value)))
    }
}

fn cursor_column<'a>(relation: &'a Relation, range: &CursorRange) -> Result<&'a SourceColumn> {
    relation.column(&range.field).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("there is no column `{}`, which is the cursor", range.field))
            .connector(NAME)
            .help("check `cursor`")
    })
}

impl SourceConfig {
    fn cursor_options(&self) -> CursorOptions {
        CursorOptions { cursor_inclusive: self.cursor_inclusive, lookback: self.lookback }
    }

    /// Where a piece that broke off goes on: the key that `auto` cuts by is also where it stands.
    fn resume(&self) -> towpath_core::Resume {
        if self.query.is_none() && self.split_by == SplitBy::Auto {
            towpath_core::Resume::Exact
        } else {
            towpath_core::Resume::Split
        }
    }
}
