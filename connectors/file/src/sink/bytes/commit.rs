//! Commits of chunks: which bytes are durable, and which files are complete.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind as Io, Read};
use std::path::Path;
use std::thread;

use serde_json::json;
use towpath_core::{
    Checkpoint, CommitToken, Committed, LoadSpec, Rejected, Result, Staged, WriteDisposition,
};
use towpath_files::sink::{Partial, PartialReceipt, Partials};
use towpath_formats::chunks::{Digest, Hasher};

use super::named;
use super::place::{Place, partial_below, partial_folder, partial_path, partial_run};
use crate::errors::io_error;
use crate::sink::commit::next;
use crate::sink::manifest::{Home, Intent, Locked, Move};

/// How many files are hashed at once.
const HASHED_AT_ONCE: usize = 4;
/// How much of a file is read at once to be hashed.
const READ: usize = 256 << 10;

/// Takes the target over for a run. Bytes that earlier runs have committed stay, unless they cannot become whole files
/// any more: then everything is read again.
pub(super) fn begin(home: &Home, place: &Place, load: &LoadSpec) -> Result<Checkpoint> {
    let locked = home.lock()?;
    let held = locked.load()?.map(|manifest| locked.roll_forward(manifest)).transpose()?;
    let mut checkpoint = Checkpoint::begin(held.as_ref().map(|held| &held.checkpoint), load)?;
    let mut partials = held.map(|held| held.partials).unwrap_or_default();
    let can_go_on = partials.iter().all(|(key, file)| file.broken.is_none() && is_there(home, key, file));
    if !can_go_on {
        tracing::warn!(
            stream = load.stream,
            "a file of the last run cannot be completed; everything is read again"
        );
        checkpoint.start_again();
    }
    if !can_go_on || load.disposition == WriteDisposition::Replace {
        partials.clear();
    }
    locked.store_with(&checkpoint, partials.clone(), None)?;
    locked.clear_staged(Some(partial_run()))?;
    sweep(home, &partials)?;
    place.in_use().committed(&BTreeSet::new(), partials.into_keys());
    Ok(checkpoint)
}

fn is_there(home: &Home, key: &str, file: &Partial) -> bool {
    file.ranges.is_empty() || partial_path(home, key).metadata().is_ok_and(|found| found.len() >= file.end())
}

/// Removes partial files that the manifest does not know.
fn sweep(home: &Home, partials: &Partials) -> Result<()> {
    let folder = partial_folder(home);
    let failed = |error| io_error(error, "clear staged files", folder.display());
    let files = match fs::read_dir(&folder) {
        Ok(files) => files,
        Err(error) if error.kind() == Io::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in files {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_str().is_some_and(|key| partials.contains_key(key)) {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

/// Commits what was staged with a token.
pub(super) fn commit(
    home: &Home,
    place: &Place,
    load: &LoadSpec,
    token: &CommitToken,
    staged: &[Staged],
) -> Result<Committed> {
    let parts: BTreeSet<u32> = staged.iter().map(|staged| staged.part).collect();
    let locked = home.lock()?;
    let applied = next(&locked, token)?;
    let held = locked.load()?.map(|manifest| manifest.partials).unwrap_or_default();
    let Some((checkpoint, next)) = applied else {
        place.in_use().committed(&parts, held.into_keys());
        return Ok(Committed::AlreadyApplied);
    };
    let mut files = held.clone();
    for staged in staged {
        add(&mut files, PartialReceipt::of(staged).map_err(named)?.files);
    }
    let known: BTreeSet<&String> =
        held.iter().filter(|(_, file)| file.broken.is_some()).map(|(key, _)| key).collect();
    break_same_names(&mut files);
    verify(home, &mut files)?;
    if token.finished.is_some() {
        for file in files.values_mut().filter(|file| !file.is_complete()) {
            let lack = file.lack();
            file.broken.get_or_insert(lack);
        }
    }
    let is_new = |(key, file): &(&String, &Partial)| file.broken.is_some() && !known.contains(key);
    let broken: BTreeMap<String, Partial> =
        files.iter().filter(is_new).map(|(key, file)| (key.clone(), file.clone())).collect();
    if !broken.is_empty() {
        return refuse(home, &locked, &checkpoint, held, broken);
    }
    files.retain(|_, file| file.broken.is_none());
    let complete: Partials = files.extract_if(.., |_, file| file.is_complete()).collect();
    let moves = complete.iter().map(|(key, file)| {
        let staged = partial_below(home, key);
        let target = place.path(&load.stream, &file.name);
        place.make_folders(&target)?;
        Ok(Move { staged, target })
    });
    let moves = moves.collect::<Result<Vec<_>>>()?;
    note(&locked, &moves)?;
    let kept: Vec<String> = files.keys().cloned().collect();
    let replace = load.disposition == WriteDisposition::Replace;
    let intent = Intent { checkpoint: next, moves, replace, partials: files };
    let manifest = locked.store_with(&checkpoint, held, Some(&intent))?;
    locked.roll_forward(manifest)?;
    place.in_use().committed(&parts, kept.into_iter());
    Ok(Committed::Applied)
}

/// Adds what a writer has staged. What is known to be broken stays so.
fn add(files: &mut Partials, staged: Partials) {
    for (key, file) in staged {
        match files.entry(key) {
            Entry::Occupied(mut known) if known.get().broken.is_none() => known.get_mut().merge(&file),
            Entry::Occupied(_) => {}
            Entry::Vacant(new) => drop(new.insert(file)),
        }
    }
}

/// Two contents of one name cannot both be its file.
fn break_same_names(files: &mut Partials) {
    let mut names = BTreeSet::new();
    for file in files.values_mut().filter(|file| file.broken.is_none()) {
        if !names.insert(file.name.clone()) {
            file.broken = Some("two different contents came for it at once".to_owned());
        }
    }
}

/// Notes in the manifest that files are broken, and gives them back. Nothing else of this commit happens.
fn refuse(
    home: &Home,
    locked: &Locked,
    checkpoint: &Checkpoint,
    mut held: Partials,
    broken: Partials,
) -> Result<Committed> {
    let rejected = broken.values().map(|file| {
        let reason = file.broken.clone().unwrap_or_default();
        let row = json!({ "name": file.name, "size": file.size, "digest": file.digest });
        Rejected::new(&file.name, reason).row(row)
    });
    let rejected = rejected.collect();
    let keys: Vec<String> = broken.keys().cloned().collect();
    held.extend(broken);
    locked.store_with(checkpoint, held, None)?;
    for key in keys {
        let path = partial_path(home, &key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != Io::NotFound => {
                return Err(io_error(error, "discard", path.display()));
            }
            _ => {}
        }
    }
    Ok(Committed::Refused(rejected))
}

/// Notes files that are about to be committed, unless they are noted already.
fn note(locked: &Locked, moves: &[Move]) -> Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let known: BTreeSet<String> = locked.files()?.into_iter().collect();
    locked.note_files(moves.iter().map(|step| step.target.as_str()).filter(|file| !known.contains(*file)))
}

/// Holds the files whose bytes are all there against their lengths and digests.
fn verify(home: &Home, files: &mut Partials) -> Result<()> {
    let mut complete: Vec<_> =
        files.iter_mut().filter(|(_, file)| file.broken.is_none() && file.is_complete()).collect();
    let share = complete.len().div_ceil(HASHED_AT_ONCE).max(1);
    thread::scope(|scope| {
        let shares = complete.chunks_mut(share).map(|share| {
            scope.spawn(move || {
                share.iter_mut().try_for_each(|(key, file)| {
                    let path = partial_path(home, key);
                    file.broken = fault(&path, file)?;
                    Ok(())
                })
            })
        });
        let shares: Vec<_> = shares.collect();
        shares.into_iter().try_for_each(|share| {
            share
                .join()
                .unwrap_or_else(|_| Err(towpath_core::Error::unexpected("hashing a file ended early")))
        })
    })
}

/// What is wrong with a file whose bytes are all there; `None` when nothing is.
fn fault(path: &Path, file: &Partial) -> Result<Option<String>> {
    let failed = |error| io_error(error, "commit", path.display());
    let size = file.size.unwrap_or_default();
    let mut bytes = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let found = bytes.metadata().map_err(failed)?.len();
    if found < size {
        return Ok(Some(format!("only {found} of its {size} bytes are left in its staged file")));
    }
    if found > size {
        // Bytes that no commit knows, of a run that was killed.
        bytes.set_len(size).and_then(|()| bytes.sync_all()).map_err(failed)?;
    }
    let Some(wanted) = &file.digest else { return Ok(None) };
    let wanted: Digest = match wanted.parse() {
        Ok(wanted) => wanted,
        Err(error) => return Ok(Some(format!("its digest cannot be checked: {error}"))),
    };
    let found = hash(&mut bytes, &wanted).map_err(failed)?;
    Ok((found != wanted).then(|| format!("its digest is {found}, and must be {wanted}")))
}

fn hash(bytes: &mut File, wanted: &Digest) -> std::io::Result<Digest> {
    let mut hasher = Hasher::new(wanted.algorithm());
    let mut buffer = vec![0; READ];
    loop {
        match bytes.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == Io::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
