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

    fn path(&self, load: &LoadSpec) -> PathBuf {
        self.folder.join(file_name(&load.pipeline)).join(format!("{}.json", file_name(&load.stream)))
    }

    fn read(&self, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        let path = self.path(load);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Error::data("the state file is damaged")
                    .detail("path", path.display())
                    .source(error)
                    .help("`towpath state reset` begins anew")
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).operation("read state").detail("path", path.display()),
        }
    }

    /// Replaces the file in one step.
    fn write(&self, load: &LoadSpec, checkpoint: &Checkpoint) -> Result<()> {
        let path = self.path(load);
        let temporary = path.with_extension("json.tmp");
        let store = || -> std::io::Result<()> {
            let folder = path.parent().unwrap_or(&self.folder);
            std::fs::create_dir_all(folder)?;
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(&serde_json::to_vec(checkpoint)?)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            std::fs::File::open(folder)?.sync_all()
        };
        store().operation("write state").detail("path", path.display())
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

    async fn check(&self, cx: &Context) -> Result<()> {
        self.inner.check(cx).await
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        let checkpoint = Checkpoint::begin(self.read(load)?.as_ref(), load)?;
        let mut begun = self.inner.begin(cx, load).await?;
        self.write(load, &checkpoint)?;
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
        match self.read(&begun.load)?.unwrap_or_default().apply(token)? {
            Applied::Already => Ok(Committed::AlreadyApplied),
            Applied::Now(next) => {
                self.inner.commit(cx, begun, token, staged).await?;
                self.write(&begun.load, &next)?;
                Ok(Committed::Applied)
            }
        }
    }

    async fn checkpoint(&self, _cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        self.read(load)
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        self.inner.forget(cx, load).await?;
        let path = self.path(load);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).operation("reset state").detail("path", path.display())
            }
            _ => Ok(()),
        }
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        self.inner.abort(cx, begun, staged).await
    }
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn names_stay_inside_their_folder() {
        assert_eq!(file_name("sales.2026"), "sales.2026");
        assert_eq!(file_name("../x"), "%2E.%2Fx");
        assert_eq!(file_name("ä b"), "%C3%A4%20b");
    }
}
