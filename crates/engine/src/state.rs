//! Checkpoints of sinks that cannot remember, in local files.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use towpath_core::{
    Applied, Begun, Checkpoint, CommitToken, Committed, Context, DynSink, DynWriter, Error, LoadSpec, Result,
    ResultExt, SinkCapabilities, Staged,
};

/// A sink whose checkpoint is kept in a file, because the target cannot hold it.
///
/// The rows go out first and the file is written after, so a crash between the two repeats rows: at least once.
pub(crate) struct StateFileSink {
    inner: Arc<dyn DynSink>,
    folder: PathBuf,
}

impl StateFileSink {
    pub(crate) fn new(inner: Arc<dyn DynSink>, folder: &Path) -> Self {
        Self { inner, folder: folder.to_owned() }
    }

    fn file(&self, load: &LoadSpec) -> StateFile {
        let folder = self.folder.join(file_name(&load.pipeline));
        StateFile(folder.join(format!("{}.json", file_name(&load.stream))))
    }
}

/// The file of one stream. Its methods work on a thread that may wait for the disk.
#[derive(Clone)]
struct StateFile(PathBuf);

impl StateFile {
    async fn read(&self) -> Result<Option<Checkpoint>> {
        let bytes = self.blocking("read state", |path| match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        });
        let Some(bytes) = bytes.await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Error::data("the state file is damaged")
                .detail("path", self.0.display())
                .source(error)
                .help("`towpath state reset` begins anew")
        })
    }

    /// Replaces the file in one step.
    async fn write(&self, checkpoint: &Checkpoint) -> Result<()> {
        let bytes = serde_json::to_vec(checkpoint)
            .map_err(|error| Error::unexpected("the checkpoint cannot be written").source(error))?;
        self.blocking("write state", move |path| {
            let temporary = path.with_extension("json.tmp");
            let folder = path.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder)?;
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)?;
            std::fs::File::open(folder)?.sync_all()
        })
        .await
    }

    async fn remove(&self) -> Result<()> {
        self.blocking("reset state", |path| match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let path = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        let done = done.map_err(|panic| Error::unexpected(format!("a file task ended: {panic}")))?;
        done.operation(operation).detail("path", self.0.display())
    }
}

/// A name as a file name: what could leave the folder is written as `%` and its code.
fn file_name(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (byte == b'.' && !safe.is_empty()) {
            safe.push(byte.into());
        } else {
            let _ = write!(safe, "%{byte:02X}");
        }
    }
    safe
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynSink for StateFileSink {
    fn capabilities(&self) -> SinkCapabilities {
        self.inner.capabilities()
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        self.inner.check(cx, load).await
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        let file = self.file(load);
        let checkpoint = Checkpoint::begin(file.read().await?.as_ref(), load)?;
        let mut begun = self.inner.begin(cx, load).await?;
        file.write(&checkpoint).await?;
        begun.checkpoint = checkpoint;
        Ok(begun)
    }

    async fn evolve(&self, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        self.inner.evolve(cx, begun, schema).await
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<Box<dyn DynWriter>> {
        self.inner.writer(cx, begun, part).await
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        let file = self.file(&begun.load);
        match file.read().await?.unwrap_or_default().apply(token)? {
            Applied::Already => Ok(Committed::AlreadyApplied),
            Applied::Now(next) => {
                self.inner.commit(cx, begun, token, staged).await?;
                file.write(&next).await?;
                Ok(Committed::Applied)
            }
        }
    }

    async fn checkpoint(&self, _cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        self.file(load).read().await
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        self.inner.forget(cx, load).await?;
        self.file(load).remove().await
    }

    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        self.inner.sweep(cx, load).await
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        self.inner.abort(cx, begun, staged).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use towpath_core::{ErrorKind, WriteDisposition};
    use towpath_testkit::memory::{MemorySink, MemoryTarget};
    use towpath_testkit::{context, rows};

    use super::*;

    fn sink(folder: &Path, target: &MemoryTarget) -> StateFileSink {
        StateFileSink::new(MemorySink::new(target).at_least_once().shared(), folder)
    }

    fn load(run: &str) -> LoadSpec {
        LoadSpec::new("p", "s", run, WriteDisposition::Append)
    }

    /// Writes a row and commits it as the first commit of this run.
    async fn commit(sink: &StateFileSink, begun: &Begun) -> Result<Committed> {
        let cx = context();
        let row = rows::batch("id: int64", &json!([[1]]));
        let begun = sink.evolve(&cx, begun, &row.schema()).await?;
        let mut writer = sink.writer(&cx, &begun, 0).await?;
        writer.write(row).await?;
        let staged = writer.finish().await?;
        let mut token = CommitToken::default();
        token.run.clone_from(&begun.load.run);
        token.epoch = begun.checkpoint.epoch;
        token.sequence = begun.checkpoint.sequence + 1;
        sink.commit(&cx, &begun, &token, vec![staged]).await
    }

    #[tokio::test]
    async fn the_file_remembers_what_the_target_cannot() {
        let (folder, target) = (tempfile::tempdir().unwrap(), MemoryTarget::new());
        let first = sink(folder.path(), &target);
        let begun = first.begin(&context(), &load("a")).await.unwrap();
        assert_eq!(commit(&first, &begun).await.unwrap(), Committed::Applied);
        assert_eq!(commit(&first, &begun).await.unwrap(), Committed::AlreadyApplied);
        let later = sink(folder.path(), &target);
        let held = later.checkpoint(&context(), &load("b")).await.unwrap().unwrap();
        assert_eq!((held.run.as_str(), held.sequence), ("a", 1));
    }

    #[tokio::test]
    async fn a_later_run_fences_an_earlier_one() {
        let (folder, target) = (tempfile::tempdir().unwrap(), MemoryTarget::new());
        let sink = sink(folder.path(), &target);
        let first = sink.begin(&context(), &load("a")).await.unwrap();
        sink.begin(&context(), &load("b")).await.unwrap();
        assert_eq!(commit(&sink, &first).await.unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[tokio::test]
    async fn forgetting_begins_anew_and_a_damaged_file_says_what_to_do() {
        let (folder, target) = (tempfile::tempdir().unwrap(), MemoryTarget::new());
        let sink = sink(folder.path(), &target);
        sink.begin(&context(), &load("a")).await.unwrap();
        std::fs::write(folder.path().join("p/s.json"), "{").unwrap();
        let error = sink.begin(&context(), &load("b")).await.unwrap_err().to_string();
        assert!(
            error.contains("the state file is damaged") && error.contains("towpath state reset"),
            "{error}"
        );
        sink.forget(&context(), &load("b")).await.unwrap();
        sink.forget(&context(), &load("b")).await.unwrap();
        assert_eq!(sink.checkpoint(&context(), &load("b")).await.unwrap(), None);
    }

    #[test]
    fn names_stay_inside_their_folder() {
        assert_eq!(file_name("sales.2026"), "sales.2026");
        assert_eq!(file_name("../x"), "%2E.%2Fx");
        assert_eq!(file_name("ä b"), "%C3%A4%20b");
    }
}
