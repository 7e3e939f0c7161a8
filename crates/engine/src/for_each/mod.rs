//! A stream that is read for each row of another one: parent and child.
//!
//! ```text
//! parent: plan ──> splits, read ahead ──> cursor, transforms ──> rows
//!                                                                 │ one after the other
//! child:  plan with the row ──> splits with the row's values ──> the engine, as of any source
//! ```
//!
//! To the engine it is a source like any other. Its planning positions hold the parent's: how far the parent's planning
//! has got, its split under way, the position in it, the row, and the child's own planning for that row. So a child is
//! resumed without anything of the parent's stream, and the two cannot disagree.

mod ahead;
mod asked;
mod children;
mod kept;
mod plan;
mod row;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{
    Batch, BatchStream, Context, Dataset, DynSource, Error, Metrics, Planned, Position, Result, Resume,
    ScanPlan, ScanRequest, SourceCapabilities, Split,
};
use towpath_layers::{layer_parent, layer_source};
use towpath_transform::{Columns, Select, Step, Transform, TransformContext};

use crate::{Engine, ForEachSpec, Shutdown, StreamSpec};
use plan::{Payload, Planning};
use row::{Wanted, carry};

/// How many splits are looked at for the child's first rows.
const LOOKED_AT: usize = 10;

/// What happens with a row of the parent that cannot be used: a field is missing, null or empty, or its value cannot
/// stand where it is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingParent {
    /// The stream fails.
    #[default]
    Error,
    /// The row is left out; the report says how many were.
    Skip,
}

/// A source that is planned for each row of another.
pub(crate) struct ForEachSource {
    shared: Arc<Shared>,
}

struct Shared {
    parent: Parent,
    child: Arc<dyn DynSource>,
    wanted: Wanted,
    missing: MissingParent,
    /// Whether only new rows of the parent are planned.
    incremental: bool,
    /// Whether the parent's rows come in the order of their positions, which outlive a run.
    is_ordered: bool,
}

/// The parent, opened.
struct Parent {
    name: String,
    source: Arc<dyn DynSource>,
    cx: Context,
    transform: Arc<Transform>,
    /// The columns that its source has to bring.
    columns: Option<Vec<String>>,
    cursor: Option<String>,
}

impl Engine {
    /// Opens a stream's source, and its parent where it has one.
    ///
    /// # Errors
    /// What the connectors return; `Config` when parent and child do not fit.
    pub(crate) async fn open_source(
        &self,
        spec: &StreamSpec,
        run: &str,
        metrics: &Arc<Metrics>,
        shutdown: &Shutdown,
    ) -> Result<(Arc<dyn DynSource>, Context)> {
        let (source, cx) = self.open_reader(spec, layer_source, metrics, shutdown).await?;
        Ok((self.with_parent(source, spec, run, metrics, shutdown).await?, cx))
    }

    fn with_parent<'a>(
        &'a self,
        source: Arc<dyn DynSource>,
        spec: &'a StreamSpec,
        run: &'a str,
        metrics: &'a Arc<Metrics>,
        shutdown: &'a Shutdown,
    ) -> BoxFuture<'a, Result<Arc<dyn DynSource>>> {
        let opening = async move {
            let fields = fields(&*source, spec)?;
            let Some(for_each) = &spec.for_each else { return Ok(source) };
            let parent = &for_each.stream;
            // Its rows are none of this stream's; its requests are.
            let (above, cx) = self.open_reader(parent, layer_parent, metrics, shutdown).await?;
            let above = self.with_parent(above, parent, run, metrics, shutdown).await?;
            let child = ForEachSource::new(source, fields, above, cx, for_each, run)?;
            Ok(Arc::new(child) as Arc<dyn DynSource>)
        };
        opening.boxed()
    }
}

/// The fields of the parent's rows that a stream's source needs.
fn fields(source: &dyn DynSource, spec: &StreamSpec) -> Result<Vec<String>> {
    let (stream, connector) = (&spec.name, spec.source.connector.name());
    match (source.parent_fields(), &spec.for_each) {
        (Some(fields), Some(_)) if !fields.is_empty() => Ok(fields),
        (Some(fields), None) if !fields.is_empty() => {
            let text =
                format!("stream `{stream}`: the source names `{{parent.{}}}` and has no parent", fields[0]);
            Err(Error::config(text)
                .help("say for each row of which stream it is read, such as `for_each: customers`"))
        }
        (_, None) => Ok(Vec::new()),
        (Some(_), Some(for_each)) => {
            let text = format!(
                "stream `{stream}`: the source is the same for each row of `{}`: it names no field of it",
                for_each.stream.name
            );
            Err(Error::config(text).help("write for example `{parent.id}` into its path"))
        }
        (None, Some(_)) => {
            let text = format!(
                "stream `{stream}`: the connector `{connector}` cannot be read for each row of another stream"
            );
            Err(Error::config(text).help("it can be the parent of one; `for_each` works with `http`"))
        }
    }
}

impl ForEachSource {
    /// Puts a child below its parent.
    ///
    /// # Errors
    /// `Config` when they do not fit.
    pub(crate) fn new(
        child: Arc<dyn DynSource>,
        fields: Vec<String>,
        parent: Arc<dyn DynSource>,
        parent_cx: Context,
        for_each: &ForEachSpec,
        run: &str,
    ) -> Result<Self> {
        let ForEachSpec { stream, include, missing, incremental } = for_each;
        for (at, (column, _)) in include.iter().enumerate() {
            if include[..at].iter().any(|(other, _)| other == column) {
                return Err(Error::config(format!("`include` names the column `{column}` twice")));
            }
        }
        let wanted = Wanted { fields, include: include.clone() };
        let context = TransformContext {
            run: run.to_owned(),
            source: stream.name.clone(),
            load_time: SystemTime::now(),
        };
        let cursor = stream.cursor.clone().filter(|_| *incremental);
        let is_ordered = parent.capabilities().resume == Resume::Exact;
        let parent = Parent {
            name: stream.name.clone(),
            columns: columns(&stream.transform, &wanted, cursor.as_deref(), &context)?,
            transform: Arc::new(Transform::new(&stream.transform, &context)?),
            source: parent,
            cx: parent_cx,
            cursor,
        };
        let shared =
            Shared { parent, child, wanted, missing: *missing, incremental: *incremental, is_ordered };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The child's first batch with columns, for a look at it.
    async fn first_batch(&self, cx: &Context) -> Result<Option<Batch>> {
        let mut request = ScanRequest::default();
        request.parallelism = 1;
        request.limit = Some(1);
        let mut splits = DynSource::plan(self, cx, &request).await?.splits.take(LOOKED_AT);
        while let Some(step) = splits.next().await.transpose()? {
            let Planned::Split { split, .. } = step else { continue };
            if split.has_effects {
                cx.metrics().warn(format!(
                    "`{split}` was not read to test this, because reading it changes something at the server",
                    split = split.id
                ));
                return Ok(None);
            }
            let batch = DynSource::read(self, cx, &split, Position::Start)?.next().await.transpose()?;
            if let Some(batch) = batch.filter(|batch| batch.rows.num_columns() > 0) {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

/// The columns that the parent's source has to bring.
fn columns(
    steps: &[Step],
    wanted: &Wanted,
    cursor: Option<&str>,
    context: &TransformContext,
) -> Result<Option<Vec<String>>> {
    let mut steps = steps.to_vec();
    steps.push(Step::Select(Select::new(Columns(wanted.columns()))));
    let mut columns = Transform::new(&steps, context)?.columns_needed();
    if let (Some(columns), Some(cursor)) = (&mut columns, cursor)
        && !columns.iter().any(|column| column == cursor)
    {
        columns.push(cursor.to_owned());
    }
    Ok(columns)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynSource for ForEachSource {
    fn capabilities(&self) -> SourceCapabilities {
        let (child, parent) = (self.shared.child.capabilities(), self.shared.parent.source.capabilities());
        SourceCapabilities { ordered: false, bounded: child.bounded && parent.bounded, ..child }
    }

    fn parent_fields(&self) -> Option<Vec<String>> {
        None
    }

    /// A child can be checked only with a row of its parent.
    async fn check(&self, cx: &Context) -> Result<()> {
        let parent = &self.shared.parent;
        parent.source.check(&parent.cx).await.map_err(|error| error.detail("for_each", &parent.name))?;
        self.first_batch(cx).await.map(drop)
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>> {
        let mut dataset = Dataset::new(cx.stream(), json!({}));
        dataset.schema = self.first_batch(cx).await?.map(|batch| batch.rows.schema());
        Ok(vec![dataset])
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        if request.planned == Position::End {
            return Ok(ScanPlan::new(None, stream::empty().boxed()));
        }
        let planning = Planning::begin(self.shared.clone(), cx, request).await?;
        let is_first_run = request.cursor.as_ref().is_none_or(|range| range.after.is_none());
        // The columns are known with the first row, and each row of the parent may keep to the cursor in its own way.
        if is_first_run {
            return Ok(ScanPlan::new(None, stream::try_unfold(planning, Planning::step).boxed()));
        }
        // How far the child looks back is known with its first split.
        let Some((first, planning)) = planning.step().await? else {
            return Ok(ScanPlan::new(None, stream::empty().boxed()));
        };
        let after = planning.after();
        let rest = stream::try_unfold(planning, Planning::step);
        let splits = stream::iter([Ok(first)]).chain(rest).boxed();
        Ok(ScanPlan { after, ..ScanPlan::new(None, splits) })
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        let (own, carried) = Payload::of(split)?;
        let batches = self.shared.child.read(cx, &own, from)?;
        if carried.is_empty() {
            return Ok(batches);
        }
        let carrying = batches.map(move |batch| {
            let batch = batch?;
            Ok(Batch { rows: carry(&batch.rows, &carried)?, ..batch })
        });
        Ok(carrying.boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns_of(steps: serde_json::Value, fields: &[&str], cursor: Option<&str>) -> Option<Vec<String>> {
        let steps: Vec<Step> = serde_json::from_value(steps).unwrap();
        let wanted = Wanted {
            fields: fields.iter().map(ToString::to_string).collect(),
            include: vec![("who".to_owned(), "name".to_owned())],
        };
        let context =
            TransformContext { run: String::new(), source: String::new(), load_time: SystemTime::UNIX_EPOCH };
        columns(&steps, &wanted, cursor, &context).unwrap()
    }

    #[test]
    fn the_parent_brings_only_what_is_needed() {
        let all = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(columns_of(json!([]), &["id"], None), all(&["id", "name"]));
        assert_eq!(columns_of(json!([]), &["owner.login"], Some("at")), all(&["name", "owner", "at"]));
        let steps = json!([{"rename": {"key": "id"}}, {"filter": "active"}]);
        assert_eq!(columns_of(steps, &["id"], None), all(&["active", "key", "name"]));
    }
}
