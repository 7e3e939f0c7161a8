//! Beginning, committing, forgetting.

use arrow_schema::SchemaRef;
use towpath_core::{Applied, Begun, Checkpoint, CommitToken, Committed, Error, ErrorKind, LoadSpec, Result};
use towpath_files::sink::{Commit, Old, Target};

use super::bytes::PartialObjects;
use super::home::Site;
use super::manifest::{Held, Intent, Manifest};
use super::staging::ObjectFile;

/// How often a run tries to be the one that begins, while others do.
const ATTEMPTS: usize = 10;

impl Site {
    /// Takes the target over for a run, and throws away what earlier ones have left.
    pub(super) async fn begin(
        &self,
        target: &Target,
        load: &LoadSpec,
    ) -> Result<(Checkpoint, Option<SchemaRef>)> {
        let manifest = self.begin_with(load, |_, _| {}).await?;
        self.clean(target, load, &manifest.stale).await?;
        Ok((manifest.checkpoint.unwrap_or_default(), manifest.columns))
    }

    /// Takes the target over for a run, with a change of its own to the manifest and to the checkpoint.
    pub(super) async fn begin_with(
        &self,
        load: &LoadSpec,
        change: impl Fn(&mut Manifest, &mut Checkpoint),
    ) -> Result<Manifest> {
        for _ in 0..ATTEMPTS {
            let held = match self.load().await? {
                Some(held) => Some(self.settle(held).await?),
                None => None,
            };
            let mut manifest = held.as_ref().map(|held| held.manifest.clone()).unwrap_or_default();
            let before = manifest.checkpoint.take();
            let mut checkpoint = Checkpoint::begin(before.as_ref(), load)?;
            if let Some(before) = before.filter(|before| before.run != load.run) {
                manifest.note_stale(&before.run);
            }
            change(&mut manifest, &mut checkpoint);
            manifest.checkpoint = Some(checkpoint);
            if held.as_ref().is_some_and(|held| held.manifest == manifest) {
                return Ok(manifest);
            }
            let version = held.as_ref().map(|held| &held.version);
            if self.store(manifest.clone(), version).await?.is_some() {
                if held.is_none() {
                    self.check_conditions().await?;
                }
                return Ok(manifest);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "other runs begin at the same time")
            .help("let only one run of a pipeline work at a time"))
    }

    /// The manifest is there: a store that heeds conditions cannot create it again.
    async fn check_conditions(&self) -> Result<()> {
        if self.is_created_twice(&self.home.manifest()).await? {
            return Err(no_conditions());
        }
        Ok(())
    }

    /// The checkpoint. A commit under way counts: whoever comes next finishes it.
    pub(super) async fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        let Some(held) = self.load().await? else { return Ok(None) };
        Ok(held.manifest.intent.map(|intent| intent.checkpoint).or(held.manifest.checkpoint))
    }

    pub(super) async fn is_applied(&self, token: &CommitToken) -> Result<bool> {
        let held = self.settle(self.held().await?).await?;
        Ok(next(&held, token)?.is_none())
    }

    pub(super) async fn commit(&self, begun: &Begun, commit: Commit<ObjectFile>) -> Result<Committed> {
        let held = self.settle(self.held().await?).await?;
        let Some(checkpoint) = next(&held, &commit.token)? else {
            self.discard(&commit.files).await?;
            return Ok(Committed::AlreadyApplied);
        };
        let mut manifest = held.manifest;
        // To begin was to clean up after them.
        manifest.stale.clear();
        if let Some(columns) = &begun.schema {
            manifest.columns = Some(columns.clone());
        }
        let replace = commit.old == Old::Go;
        if commit.files.is_empty() && !replace {
            manifest.checkpoint = Some(checkpoint);
        } else {
            let list = manifest.name_list(&begun.load.run);
            self.write_list(&list, commit.files).await?;
            manifest.intent = Some(Intent { checkpoint, list, replace, partials: PartialObjects::new() });
        }
        let stored = self.store(manifest, Some(&held.version)).await?;
        let Some(stored) = stored else { return self.overtaken(&commit.token).await };
        self.settle(stored).await?;
        Ok(Committed::Applied)
    }

    /// What it means that the manifest is another one than a moment ago: the same commit, made once more, or another run.
    pub(super) async fn overtaken(&self, token: &CommitToken) -> Result<Committed> {
        let held = self.settle(self.held().await?).await?;
        match next(&held, token)? {
            None => Ok(Committed::AlreadyApplied),
            Some(_) => {
                Err(Error::new(ErrorKind::Conflict, "somebody else changed the manifest at the same time")
                    .help("let only one run of a pipeline work at a time; run again"))
            }
        }
    }

    /// Forgets the checkpoint, and throws away what is staged.
    pub(super) async fn forget(&self, target: &Target, load: &LoadSpec) -> Result<()> {
        let Some(before) = self.load_to_forget().await? else { return Ok(()) };
        let run = before.checkpoint.as_ref().map(|checkpoint| checkpoint.run.clone());
        let stale: Vec<String> = before.stale.iter().cloned().chain(run).collect();
        self.overwrite(&before.forgotten()).await?;
        let nobody = LoadSpec::new(&load.pipeline, &load.stream, "", load.disposition);
        self.clean(target, &nobody, &stale).await
    }

    /// Forgets the checkpoint, and tells the manifest afterwards; `None` when there was none.
    pub(super) async fn forget_checkpoint(&self) -> Result<Option<Manifest>> {
        let Some(before) = self.load_to_forget().await? else { return Ok(None) };
        let after = before.forgotten();
        self.overwrite(&after).await?;
        Ok(Some(after))
    }

    /// The manifest before it is forgotten. The lists of committed files stay, so that a `replace` finds them.
    async fn load_to_forget(&self) -> Result<Option<Manifest>> {
        match self.load().await {
            Ok(None) => Ok(None),
            Ok(Some(held)) => Ok(Some(self.settle(held).await?.manifest)),
            // This is how to get rid of it.
            Err(error) if error.kind() == ErrorKind::DataInvalid => {
                Ok(Some(Manifest::of_lists(self.lists().await?)))
            }
            Err(error) => Err(error),
        }
    }

    /// The names of all lists of files that there are.
    async fn lists(&self) -> Result<Vec<String>> {
        let prefix = self.home.commits();
        let keys = self.bucket.keys(&prefix).await?;
        let names = keys.iter().filter_map(|key| key.strip_prefix(&prefix));
        Ok(names.filter_map(|name| towpath_files::names::decode(name).map(Into::into)).collect())
    }
}

/// The checkpoint after a token; `None` when it was applied before.
pub(super) fn next(held: &Held, token: &CommitToken) -> Result<Option<Checkpoint>> {
    let checkpoint = held.manifest.checkpoint.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Conflict, "the checkpoint was reset while the run was under way")
            .help("run again")
    })?;
    Ok(match checkpoint.apply(token)? {
        Applied::Already => None,
        Applied::Now(next) => Some(*next),
    })
}

/// The error for a store that ignores conditions.
pub(super) fn no_conditions() -> Error {
    Error::unsupported(
        "the store ignores the conditions of a write, so two runs could overwrite each other's progress",
    )
    .help("set `layout: plain`, which promises less: rows of a run that was killed may come twice")
}
