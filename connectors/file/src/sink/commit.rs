//! The steps of a commit, each of which may be the last one before a crash.

use std::fs;
use std::path::Path;

use towpath_core::{Applied, Checkpoint, CommitToken, Committed, Error, ErrorKind, LoadSpec, Result};
use towpath_files::sink::{Old, Partials};

use super::manifest::{Home, Intent, Locked, Move, sync_folder};
use crate::errors::{CONNECTOR, io_error};

/// Takes the target over for a run.
pub(crate) fn begin(home: &Home, load: &LoadSpec) -> Result<Checkpoint> {
    let locked = home.lock()?;
    let held = locked.load()?.map(|manifest| locked.roll_forward(manifest)).transpose()?;
    let checkpoint = Checkpoint::begin(held.as_ref().map(|held| &held.checkpoint), load)?;
    if held.is_none_or(|held| held.checkpoint != checkpoint) {
        locked.store(&checkpoint, None)?;
    }
    locked.clear_staged(Some(&load.run))?;
    Ok(checkpoint)
}

/// The checkpoint that the target holds. A commit under way counts: whoever comes next finishes it.
pub(crate) fn checkpoint(home: &Home) -> Result<Option<Checkpoint>> {
    let manifest = home.load()?;
    Ok(manifest.map(|manifest| manifest.intent.map_or(manifest.checkpoint, |intent| intent.checkpoint)))
}

/// Removes the checkpoint and what is staged. The list of committed files stays, so that a `replace` finds them.
pub(crate) fn forget(home: &Home) -> Result<()> {
    if !home.exists() {
        return Ok(());
    }
    let locked = home.lock()?;
    match locked.load() {
        Ok(Some(manifest)) => drop(locked.roll_forward(manifest)?),
        Ok(None) => {}
        // This is how to get rid of it.
        Err(error) if error.kind() == ErrorKind::DataInvalid => {}
        Err(error) => return Err(error),
    }
    locked.remove_manifest()?;
    locked.clear_staged(None)
}

/// Finishes the commit under way, and throws away what is staged for none. Tells what that was.
pub(crate) fn sweep(home: &Home) -> Result<Vec<String>> {
    if !home.exists() {
        return Ok(Vec::new());
    }
    let locked = home.lock()?;
    let held = locked.load()?.map(|manifest| locked.roll_forward(manifest)).transpose()?;
    let partials = held.map(|held| held.partials).unwrap_or_default();
    locked.sweep_staged(&partials)
}

/// Whether a token has been applied before.
pub(crate) fn is_applied(home: &Home, token: &CommitToken) -> Result<bool> {
    Ok(next(&home.lock()?, token)?.is_none())
}

/// Commits these files with a token.
pub(crate) fn commit(home: &Home, old: Old, token: &CommitToken, moves: &[Move]) -> Result<Committed> {
    let locked = home.lock()?;
    let Some((held, intent)) = prepare(&locked, old, token, moves)? else {
        discard(home, moves)?;
        return Ok(Committed::AlreadyApplied);
    };
    let manifest = locked.store(&held, Some(&intent))?;
    locked.roll_forward(manifest)?;
    Ok(Committed::Applied)
}

/// All that can fail before it is decided that the commit happens: what the target holds, and what is to be done.
/// `None` when it has been done before.
pub(crate) fn prepare(
    locked: &Locked,
    old: Old,
    token: &CommitToken,
    moves: &[Move],
) -> Result<Option<(Checkpoint, Intent)>> {
    let Some((held, checkpoint)) = next(locked, token)? else { return Ok(None) };
    for step in moves {
        ready(locked.home(), step, old)?;
    }
    if !moves.is_empty() && old != Old::Overwritten {
        locked.note_files(moves.iter().map(|step| step.target.as_str()))?;
    }
    let (moves, replace) = (moves.to_vec(), old == Old::Go);
    Ok(Some((held, Intent { checkpoint, moves, replace, partials: Partials::new() })))
}

/// The checkpoint as the target holds it now, and after this token; `None` when it was applied before.
pub(crate) fn next(locked: &Locked, token: &CommitToken) -> Result<Option<(Checkpoint, Checkpoint)>> {
    let manifest = locked.load()?.ok_or_else(|| {
        Error::new(ErrorKind::Conflict, "the manifest is gone")
            .connector(CONNECTOR)
            .operation("commit")
            .help("do not remove `.towpath` while a run is under way; run again")
    })?;
    let held = locked.roll_forward(manifest)?.checkpoint;
    match held.apply(token).map_err(|error| error.connector(CONNECTOR).operation("commit"))? {
        Applied::Already => Ok(None),
        Applied::Now(next) => Ok(Some((held, *next))),
    }
}

/// Checks that a move can be done, and makes the folders for it.
fn ready(home: &Home, step: &Move, old: Old) -> Result<()> {
    let (from, to) = (home.path(&step.staged)?, home.path(&step.target)?);
    if !from.is_file() {
        return Err(Error::new(ErrorKind::Conflict, "a staged file is gone")
            .connector(CONNECTOR)
            .operation("commit")
            .detail("path", from.display())
            .help("do not remove `.towpath` while a run is under way; run again"));
    }
    if old != Old::Overwritten && to.exists() {
        return Err(Error::new(ErrorKind::Conflict, "a file that this run did not write is in the way")
            .connector(CONNECTOR)
            .operation("commit")
            .detail("path", to.display())
            .help("move it away and run again"));
    }
    let folder = to.parent().unwrap_or(Path::new("."));
    if !folder.is_dir() {
        fs::create_dir_all(folder).map_err(|error| io_error(error, "commit", folder.display()))?;
        folder.parent().filter(|above| above.is_dir()).map_or(Ok(()), sync_folder)?;
    }
    Ok(())
}

/// Throws staged files away.
pub(crate) fn discard(home: &Home, moves: &[Move]) -> Result<()> {
    for step in moves {
        let path = home.path(&step.staged)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_error(error, "discard", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
