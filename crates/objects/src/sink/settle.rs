//! Going on with what a manifest says is under way, whoever began it.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use towpath_core::{Error, ErrorKind, Result};

use super::home::Site;
use super::manifest::{Held, Manifest};
use super::staging::ObjectFile;
use crate::extras::Upload;

/// How many uploads are completed at once.
const COMPLETED_AT_ONCE: usize = 16;

/// So many lists of files become one.
const MANY_LISTS: usize = 64;

impl Site {
    /// Goes on until nothing is under way. Somebody else may do the same: then whoever is faster does the next step.
    pub(super) async fn settle(&self, mut held: Held) -> Result<Held> {
        loop {
            let step = match self.step(&held.manifest).await {
                Ok(None) => return Ok(held),
                Ok(Some(next)) => self.store(next, Some(&held.version)).await,
                Err(error) => Err(error),
            };
            held = match step {
                Ok(Some(next)) => next,
                Ok(None) => self.held().await?,
                Err(error) => {
                    let now = self.held().await?;
                    // What failed may have been done by somebody else.
                    if now.version == held.version {
                        return Err(error);
                    }
                    now
                }
            };
        }
    }

    /// Does the next thing that is under way, and tells the manifest afterwards; `None` when nothing is.
    async fn step(&self, manifest: &Manifest) -> Result<Option<Manifest>> {
        let mut next = manifest.clone();
        if let Some(intent) = next.intent.take() {
            let files = self.read_list(&intent.list).await?;
            self.complete_all(&files).await?;
            if intent.replace {
                next.removing.append(&mut next.commits);
            }
            next.commits.push(intent.list);
            next.checkpoint = Some(intent.checkpoint);
            next.partials = intent.partials;
            return Ok(Some(next));
        }
        if !next.removing.is_empty() {
            let mut kept = BTreeSet::new();
            for list in &next.commits {
                kept.extend(self.read_list(list).await?.into_iter().map(|file| file.path));
            }
            self.remove(&next.removing, Some(&kept)).await?;
            next.removing.clear();
            return Ok(Some(next));
        }
        if !next.merged.is_empty() {
            self.remove(&next.merged, None).await?;
            next.merged.clear();
            return Ok(Some(next));
        }
        if next.commits.len() >= MANY_LISTS {
            self.merge(&mut next).await?;
            return Ok(Some(next));
        }
        Ok(None)
    }

    /// Makes uploads visible.
    pub(super) async fn complete_all(&self, files: &[ObjectFile]) -> Result<()> {
        let completing: Vec<_> = files.iter().map(|file| self.complete(file)).collect();
        stream::iter(completing).buffer_unordered(COMPLETED_AT_ONCE).try_collect().await
    }

    /// Completes an upload, unless somebody has.
    pub(super) async fn complete(&self, file: &ObjectFile) -> Result<()> {
        let Some(upload) = &file.upload else { return Ok(()) };
        let key = self.home.key(&file.path)?;
        let begun = Upload { key: key.clone(), id: upload.id.clone() };
        let completed = self.bucket.complete(&begun, &upload.parts, &upload.mark, &upload.appearance);
        let error = match completed.await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if self.bucket.mark(&key).await?.as_deref() == Some(&upload.mark) {
            return Ok(());
        }
        if error.kind() != ErrorKind::NotFound {
            return Err(error);
        }
        Err(Error::new(ErrorKind::Conflict, "an upload of a commit under way is gone")
            .detail("object", self.bucket.display(&key))
            .source(error)
            .help(
                "let the bucket's rules abort uploads only after some days; then `towpath state reset`, and run again",
            ))
    }

    /// Removes lists, and the files in them but for those to be kept. Nothing else is touched.
    async fn remove(&self, lists: &[String], but: Option<&BTreeSet<String>>) -> Result<()> {
        for list in lists {
            let Some(kept) = but else { break };
            let files = self.read_list(list).await?;
            let gone = files.iter().filter(|file| !kept.contains(&file.path));
            let keys = gone.map(|file| self.home.key(&file.path)).collect::<Result<Vec<_>>>()?;
            self.bucket.delete(keys).await?;
        }
        self.bucket.delete(lists.iter().map(|list| self.home.commit(list)).collect()).await
    }

    /// Puts all lists into one.
    async fn merge(&self, manifest: &mut Manifest) -> Result<()> {
        let mut files = Vec::new();
        for list in &manifest.commits {
            files.extend(self.read_list(list).await?.into_iter().map(ObjectFile::completed));
        }
        let run = manifest.checkpoint.as_ref().map(|checkpoint| checkpoint.run.clone()).unwrap_or_default();
        let name = manifest.name_list(&run);
        self.write_list(&name, files).await?;
        manifest.merged = std::mem::replace(&mut manifest.commits, vec![name]);
        Ok(())
    }
}
