//! What tests of objects do again and again.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use towpath_core::{
    Advance, Batch, Begun, CommitToken, Committed, Connector, Context, DynSink, DynSource, Error, Finished,
    Json, LoadSpec, Planned, Position, Result, ScanRequest, Split, Staged, WriteDisposition,
};
use towpath_formats::{Encoder, MemoryOutput, WriteOptions};

use super::ObjectSite;
use crate::rows;

/// What can be done in every [`ObjectSite`].
#[async_trait]
pub trait ObjectSiteTools: ObjectSite {
    /// A place with these objects.
    async fn with(objects: &[(&str, &str)]) -> Self {
        let site = Self::new().await;
        for (key, text) in objects {
            site.put(key, *text).await;
        }
        site
    }

    /// Writes an object.
    async fn put(&self, key: &str, bytes: impl Into<Vec<u8>> + Send) {
        self.put_object(key, bytes.into()).await;
    }

    /// Writes rows as a file of a format.
    async fn write(&self, key: &str, options: &Json, batch: RecordBatch) {
        let options: WriteOptions = WriteOptions {
            format: options.get("format").map(|format| serde_json::from_value(format.clone()).unwrap()),
            compression: None,
        };
        let output = MemoryOutput::default();
        let mut encoder = Encoder::new(&options, key, &batch.schema(), self.cx(), output).unwrap();
        encoder.write(batch).await.unwrap();
        let (_, output) = encoder.finish().await.unwrap();
        self.put(key, output.into_bytes().to_vec()).await;
    }

    /// The URL of an object, as people write it.
    fn url(&self, key: &str) -> String {
        format!("{}://{}/{}", Self::SCHEME, self.bucket(), self.key(key))
    }

    /// The options for a path below this place, with more of them; `null` removes one.
    fn options(&self, path: &str, more: &Json) -> Json {
        let mut options = self.connection();
        options["path"] = json!(self.key(path));
        merged(options, more)
    }

    /// The source of a path.
    async fn source(&self, path: &str, more: &Json) -> Arc<dyn DynSource> {
        let entry = Self::CONNECTOR.source_entry().unwrap();
        entry.open(self.options(path, more), self.cx()).await.unwrap()
    }

    /// The sink of a path.
    async fn sink(&self, path: &str, more: &Json) -> Arc<dyn DynSink> {
        let entry = Self::CONNECTOR.sink_entry().unwrap();
        entry.open(self.options(path, more), self.cx()).await.unwrap()
    }

    /// Plans and reads everything.
    async fn read(&self, path: &str, more: &Json) -> Result<Vec<Json>> {
        Ok(self.scan(path, more, &ScanRequest::default()).await?.rows())
    }

    /// Plans and reads what is asked for.
    async fn scan(&self, path: &str, more: &Json, request: &ScanRequest) -> Result<Scan> {
        scan(Self::CONNECTOR, self.cx(), self.options(path, more), request).await
    }

    /// The names of the splits that are planned.
    async fn scan_names(&self, path: &str, more: &Json) -> Vec<String> {
        let source = self.source(path, more).await;
        let plan = source.plan(self.cx(), &ScanRequest::default()).await.unwrap();
        let steps: Vec<Planned> = plan.splits.try_collect().await.unwrap();
        splits(&steps).map(|split| split.id.0.clone()).collect()
    }

    /// The keys that a person would see.
    async fn visible(&self) -> Vec<String> {
        let mut keys = self.all_keys().await;
        keys.retain(|key| !key.split('/').any(|part| part.starts_with('.')));
        keys
    }

    /// Uploads that were not completed, and objects that are staged.
    async fn staged(&self) -> Vec<String> {
        let uploads = self.open_uploads().await.into_iter().map(|key| format!("upload {key}"));
        let keys = self.all_keys().await.into_iter();
        uploads.chain(keys.filter(|key| key.contains("/staged/") || key.contains("/.check-"))).collect()
    }

    /// The `id`s in the NDJSON objects that a person would see, sorted.
    async fn ids(&self) -> Vec<i64> {
        let mut ids = Vec::new();
        for key in self.visible().await {
            let text = String::from_utf8(self.object_bytes(&key).await).unwrap();
            let rows = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
            ids.extend(rows.map(|row| row["id"].as_i64().unwrap()));
        }
        ids.sort_unstable();
        ids
    }

    /// A whole run: begins, writes each batch with a writer of its own, commits.
    async fn load(
        &self,
        path: &str,
        more: &Json,
        run: &str,
        disposition: WriteDisposition,
        batches: &[RecordBatch],
    ) -> Result<Vec<Staged>> {
        let entry = Self::CONNECTOR.sink_entry().unwrap();
        let sink = entry.open(self.options(path, more), self.cx()).await?;
        let mut begun = sink.begin(self.cx(), &LoadSpec::new("shop", "orders", run, disposition)).await?;
        let mut staged = Vec::new();
        for (part, batch) in (0..).zip(batches) {
            if begun.schema.as_ref() != Some(&batch.schema()) {
                begun = sink.evolve(self.cx(), &begun, &batch.schema()).await?;
            }
            let mut writer = sink.writer(self.cx(), &begun, part).await?;
            writer.write(batch.clone()).await?;
            staged.push(writer.finish().await?);
        }
        let committed = sink.commit(self.cx(), &begun, &last_token(&begun), staged.clone()).await?;
        assert_eq!(committed, Committed::Applied);
        Ok(staged)
    }
}

impl<S: ObjectSite> ObjectSiteTools for S {}

/// Options, and more of them; `null` removes one.
pub fn merged(mut options: Json, more: &Json) -> Json {
    for (name, value) in more.as_object().into_iter().flatten() {
        if value.is_null() {
            options.as_object_mut().unwrap().remove(name);
        } else {
            options[name] = value.clone();
        }
    }
    options
}

/// Plans and reads everything with these options.
pub async fn scan(connector: Connector, cx: &Context, options: Json, request: &ScanRequest) -> Result<Scan> {
    let source = connector.source_entry().unwrap().open(options, cx).await?;
    let plan = source.plan(cx, request).await?;
    let steps: Vec<Planned> = plan.splits.try_collect().await?;
    let mut batches = Vec::new();
    for split in splits(&steps) {
        let mut stream = source.read(cx, split, Position::Start)?;
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
    }
    Ok(Scan { steps, batches })
}

/// What was planned and read.
#[derive(Debug)]
pub struct Scan {
    /// The steps of the plan.
    pub steps: Vec<Planned>,
    /// What the splits gave.
    pub batches: Vec<Batch>,
}

impl Scan {
    /// The rows.
    pub fn rows(&self) -> Vec<Json> {
        rows::to_json(self.batches.iter().map(|batch| &batch.rows))
    }

    /// The splits.
    pub fn splits(&self) -> Vec<&Split> {
        splits(&self.steps).collect()
    }

    /// What the next run gets.
    pub fn since(&self) -> Position {
        match self.steps.last() {
            Some(Planned::Complete { since }) => since.clone(),
            _ => panic!("the plan leaves nothing: {:?}", self.steps),
        }
    }
}

/// The splits among the steps of a plan.
pub(super) fn splits(steps: &[Planned]) -> impl Iterator<Item = &Split> {
    steps.iter().filter_map(|step| match step {
        Planned::Split { split, .. } => Some(split),
        Planned::Complete { .. } => None,
    })
}

/// The token of a run that commits once.
pub fn last_token(begun: &Begun) -> CommitToken {
    let mut token = CommitToken::default();
    token.version = 1;
    token.run.clone_from(&begun.checkpoint.run);
    token.epoch = begun.checkpoint.epoch;
    token.sequence = begun.checkpoint.sequence + 1;
    token.planned = Advance { from: Position::Start, to: Position::End };
    token.finished = Some(Finished { since: Position::Start, cursor: Some(json!(begun.load.run)) });
    token
}

/// Lines with a number and seven times that.
pub fn numbered(count: usize) -> String {
    (0..count).map(|n| format!("{n},{}\n", n * 7)).collect::<Vec<_>>().concat()
}

/// The error of what must fail.
pub fn error<T: Debug>(result: Result<T>) -> Error {
    result.expect_err("it must fail")
}
