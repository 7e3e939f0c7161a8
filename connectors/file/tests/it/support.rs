//! A folder, and the shortest way to read from it and write to it.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use towpath_connector_file::CONNECTOR;
use towpath_core::{
    Advance, Batch, Begun, CommitToken, Committed, Context, Error, Finished, Json, LoadSpec, Planned,
    Position, Rejected, Result, ScanRequest, Split, Staged, WriteDisposition,
};
use towpath_testkit::{context, rows};

/// A folder that goes away with the test.
pub(crate) struct Folder {
    folder: tempfile::TempDir,
    pub(crate) cx: Context,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), cx: context() }
    }

    /// With these files.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self::new();
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    /// The visible files below a folder.
    pub(crate) fn files(&self, below: &str) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.at(below), "", &mut found);
        found.sort();
        found
    }

    /// `path` below this folder, with more options.
    pub(crate) fn options(&self, path: &str, more: &Json) -> Json {
        let mut options = json!({ "path": self.path(path) });
        if let Some(more) = more.as_object() {
            for (name, value) in more {
                options[name] = value.clone();
            }
        }
        options
    }

    /// Plans and reads everything.
    pub(crate) async fn read(&self, path: &str, more: &Json) -> Result<Vec<Json>> {
        Ok(self.scan(self.options(path, more), &ScanRequest::default()).await?.rows())
    }

    pub(crate) async fn scan(&self, options: Json, request: &ScanRequest) -> Result<Scan> {
        let source = CONNECTOR.source_entry().unwrap().open(options, &self.cx).await?;
        let plan = source.plan(&self.cx, request).await?;
        let steps: Vec<Planned> = plan.splits.try_collect().await?;
        let mut batches = Vec::new();
        for split in splits(&steps) {
            let mut stream = source.read(&self.cx, split, Position::Start)?;
            while let Some(batch) = stream.next().await {
                batches.push(batch?);
            }
        }
        Ok(Scan { schema: plan.schema, steps, batches })
    }

    /// A whole run: begins, writes each batch with a writer of its own, commits.
    pub(crate) async fn load(
        &self,
        path: &str,
        more: &Json,
        run: &str,
        disposition: WriteDisposition,
        batches: &[RecordBatch],
    ) -> Result<Loaded> {
        let sink = CONNECTOR.sink_entry().unwrap().open(self.options(path, more), &self.cx).await?;
        let begun = sink.begin(&self.cx, &LoadSpec::new("shop", "orders", run, disposition)).await?;
        let mut latest = begun;
        let mut staged = Vec::new();
        for (part, batch) in (0..).zip(batches) {
            if latest.schema.as_ref() != Some(&batch.schema()) {
                latest = sink.evolve(&self.cx, &latest, &batch.schema()).await?;
            }
            let mut writer = sink.writer(&self.cx, &latest, part).await?;
            writer.write(batch.clone()).await?;
            staged.push(writer.finish().await?);
        }
        let committed = sink.commit(&self.cx, &latest, &last_token(&latest), staged.clone()).await?;
        assert_eq!(committed, Committed::Applied);
        Ok(Loaded { staged })
    }
}

/// What was planned and read.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) schema: Option<arrow_schema::SchemaRef>,
    pub(crate) steps: Vec<Planned>,
    pub(crate) batches: Vec<Batch>,
}

impl Scan {
    pub(crate) fn rows(&self) -> Vec<Json> {
        rows::to_json(self.batches.iter().map(|batch| &batch.rows))
    }

    pub(crate) fn rejected(&self) -> Vec<Rejected> {
        self.batches.iter().flat_map(|batch| batch.rejected.clone()).collect()
    }

    pub(crate) fn splits(&self) -> Vec<&Split> {
        splits(&self.steps).collect()
    }

    /// What the next run gets.
    pub(crate) fn since(&self) -> Position {
        match self.steps.last() {
            Some(Planned::Complete { since }) => since.clone(),
            _ => panic!("the plan leaves nothing: {:?}", self.steps),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) staged: Vec<Staged>,
}

pub(crate) fn splits(steps: &[Planned]) -> impl Iterator<Item = &Split> {
    steps.iter().filter_map(|step| match step {
        Planned::Split { split, .. } => Some(split),
        Planned::Complete { .. } => None,
    })
}

/// The token of a run that commits once.
pub(crate) fn last_token(begun: &Begun) -> CommitToken {
    let mut token = CommitToken::default();
    token.version = 1;
    token.run.clone_from(&begun.checkpoint.run);
    token.epoch = begun.checkpoint.epoch;
    token.sequence = begun.checkpoint.sequence + 1;
    token.planned = Advance { from: Position::Start, to: Position::End };
    token.finished = Some(Finished::default());
    token
}

fn list(folder: &Path, below: &str, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            list(&entry.path(), &path, found);
        } else {
            found.push(path);
        }
    }
}

/// The error of what must fail.
pub(crate) fn error<T: std::fmt::Debug>(result: Result<T>) -> Error {
    result.expect_err("it must fail")
}
