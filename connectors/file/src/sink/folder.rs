//! A folder that files are committed to.

use std::fs;
use std::path::Path;

use arrow_schema::SchemaRef;
use towpath_core::{Begun, Checkpoint, CommitToken, Committed, Context, LoadSpec, Result, WriteDisposition};
use towpath_files::sink::{Commit, Destination, SinkOptions, Target, WritesFiles, needs_part};

use super::manifest::{Home, Move};
use super::staging::FolderStaging;
use super::{check_writable, claim, commit};
use crate::blocking::blocking;
use crate::config::SinkConfig;
use crate::errors::CONNECTOR;

/// The folders of this machine.
#[derive(Debug, Clone)]
pub struct Folder;

/// Where a load is remembered and staged.
pub(super) fn home(target: &Target, load: &LoadSpec) -> Home {
    Home::new(Path::new(target.template().base()), load)
}

impl Destination for Folder {
    const CONNECTOR: &'static str = CONNECTOR;

    type Config = SinkConfig;
    type Staging = FolderStaging;

    async fn open(config: SinkConfig, _: &Context) -> Result<(Self, SinkOptions)> {
        Ok((Self, config.files()))
    }

    async fn check(&self, cx: &Context, target: &Target, _: &LoadSpec) -> Result<()> {
        check_not_a_folder(target, cx.stream())?;
        let base = Path::new(target.template().base()).to_owned();
        blocking(move || check_writable(&base)).await
    }

    async fn begin(
        &self,
        _: &Context,
        target: &Target,
        load: &LoadSpec,
    ) -> Result<(Checkpoint, Option<SchemaRef>)> {
        check_not_a_folder(target, &load.stream)?;
        let home = home(target, load);
        let base = Path::new(target.template().base()).to_owned();
        let plain = target.template().is_plain().then(|| target.plain_name(&load.stream));
        let load = load.clone();
        blocking(move || {
            if let Some(file) = plain {
                claim::claim(&base, &file, &load)?;
            }
            let checkpoint = commit::begin(&home, &load)?;
            let columns = if load.disposition == WriteDisposition::Append { home.columns()? } else { None };
            Ok((checkpoint, columns))
        })
        .await
    }

    fn staging(&self, target: &Target, load: &LoadSpec) -> FolderStaging {
        FolderStaging::new(home(target, load), &load.run)
    }

    async fn is_applied(
        &self,
        _: &Context,
        target: &Target,
        begun: &Begun,
        token: &CommitToken,
    ) -> Result<bool> {
        let (home, token) = (home(target, &begun.load), token.clone());
        blocking(move || commit::is_applied(&home, &token)).await
    }

    async fn commit(
        &self,
        _: &Context,
        target: &Target,
        begun: &Begun,
        commit: Commit<Move>,
    ) -> Result<Committed> {
        let (home, columns) = (home(target, &begun.load), begun.schema.clone());
        blocking(move || {
            let committed = commit::commit(&home, commit.old, &commit.token, &commit.files)?;
            if let Some(columns) = columns {
                home.lock()?.note_columns(&columns)?;
            }
            Ok(committed)
        })
        .await
    }

    async fn discard(&self, _: &Context, target: &Target, begun: &Begun, files: Vec<Move>) -> Result<()> {
        let home = home(target, &begun.load);
        let run = begun.load.run.clone();
        blocking(move || {
            commit::discard(&home, &files)?;
            // It stays while other writers of the run have files in it.
            let _ = fs::remove_dir(home.staging(&run));
            Ok(())
        })
        .await
    }

    async fn checkpoint(&self, _: &Context, target: &Target, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        let home = home(target, load);
        blocking(move || commit::checkpoint(&home)).await
    }

    async fn sweep(&self, _: &Context, target: &Target, load: &LoadSpec) -> Result<Vec<String>> {
        let home = home(target, load);
        blocking(move || commit::sweep(&home)).await
    }

    async fn forget(&self, _: &Context, target: &Target, load: &LoadSpec) -> Result<()> {
        let home = home(target, load);
        blocking(move || commit::forget(&home)).await
    }
}

fn check_not_a_folder(target: &Target, stream: &str) -> Result<()> {
    let template = target.template();
    let is_folder = || Path::new(template.base()).join(target.plain_name(stream)).is_dir();
    if template.is_plain() && is_folder() {
        return Err(needs_part(template, "the path is a folder that exists"));
    }
    Ok(())
}
