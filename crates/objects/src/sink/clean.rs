//! Throwing away what was staged and never committed.

use futures::{StreamExt, TryStreamExt, stream};
use towpath_core::{ErrorKind, LoadSpec, Result};
use towpath_files::sink::Target;

use super::home::Site;
use super::staging::ObjectFile;
use crate::extras::Upload;

/// How many uploads are given up at once.
const ABORTED_AT_ONCE: usize = 16;

impl Site {
    /// Throws away what other runs than this one have staged: all staged objects, and the uploads of those runs.
    pub(super) async fn clean(&self, target: &Target, load: &LoadSpec, stale: &[String]) -> Result<()> {
        let own = self.home.staged_by(&load.run);
        let mut staged = self.bucket.keys(&self.home.staged()).await?;
        staged.retain(|key| load.run.is_empty() || !key.starts_with(&own));
        self.bucket.delete(staged).await?;
        let uploads = match self.uploads().await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let sentence = format!("uploads of runs that were killed are not looked for: {error}");
                self.bucket.cx().metrics().warn(sentence);
                return Ok(());
            }
            uploads => uploads?,
        };
        let is_left = |upload: &Upload| {
            self.home.path(&upload.key).is_some_and(|path| {
                let is_staged = upload.key.starts_with(&self.home.staged());
                let is_own = !load.run.is_empty() && upload.key.starts_with(&own);
                let is_stale = |run: &String| target.template().could_be(path, &load.stream, run);
                (is_staged && !is_own) || stale.iter().any(is_stale)
            })
        };
        self.abort_all(uploads.into_iter().filter(is_left).collect()).await
    }

    /// Throws away all that runs have left: staged objects, and uploads that any run of the stream may have begun. Tells the
    /// keys.
    pub(super) async fn sweep(&self, target: &Target, load: &LoadSpec) -> Result<Vec<String>> {
        if let Some(held) = self.load().await? {
            self.settle(held).await?;
        }
        let staged = self.bucket.keys(&self.home.staged()).await?;
        let mut uploads = self.uploads().await?;
        uploads.retain(|upload| {
            let of_stream = |path| target.template().could_be_of(path, &load.stream);
            upload.key.starts_with(&self.home.staged()) || self.home.path(&upload.key).is_some_and(of_stream)
        });
        let told = uploads
            .iter()
            .map(|upload| format!("the upload {} of {}", upload.id, self.bucket.display(&upload.key)));
        let told = staged.iter().map(|key| self.bucket.display(key)).chain(told).collect();
        self.bucket.delete(staged).await?;
        self.abort_all(uploads).await?;
        Ok(told)
    }

    /// All uploads below the base that were not completed.
    pub(super) async fn uploads(&self) -> Result<Vec<Upload>> {
        self.bucket.uploads(&self.home.prefix()).await
    }

    pub(super) async fn abort_all(&self, uploads: Vec<Upload>) -> Result<()> {
        let abort = |upload: Upload| {
            let bucket = self.bucket.clone();
            async move { bucket.abort(&upload.key, &upload.id).await }
        };
        let aborting: Vec<_> = uploads.into_iter().map(abort).collect();
        stream::iter(aborting).buffer_unordered(ABORTED_AT_ONCE).try_collect().await
    }

    /// Throws staged files away. Those that were committed meanwhile are not staged any more.
    pub(super) async fn discard(&self, files: &[ObjectFile]) -> Result<()> {
        let staged = files.iter().filter_map(|file| file.staged.as_deref());
        let staged = staged.map(|path| self.home.key(path)).collect::<Result<Vec<_>>>()?;
        self.bucket.delete(staged).await?;
        let uploads = files.iter().filter_map(|file| file.upload.as_ref().map(|upload| (file, upload)));
        let uploads = uploads
            .map(|(file, upload)| Ok(Upload { key: self.home.key(&file.path)?, id: upload.id.clone() }));
        self.abort_all(uploads.collect::<Result<_>>()?).await
    }
}
