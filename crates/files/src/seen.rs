//! Which files earlier runs have read, in 10 bytes each.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use towpath_core::{Error, ErrorKind, Position, Result};

use crate::FileEntry;
use crate::names::hex_digits;

const LENGTH: usize = 10;

/// A file's path, size and time of modification in 80 bits: among a million files the chance that any two agree is
/// one in a trillion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fingerprint([u8; LENGTH]);

impl Fingerprint {
    pub(crate) fn of(file: &FileEntry) -> Self {
        let mut hash = Sha256::new();
        hash.update(file.path.as_bytes());
        hash.update([0]);
        hash.update(file.size.to_le_bytes());
        hash.update(file.modified.to_le_bytes());
        let mut short = [0; LENGTH];
        short.copy_from_slice(&hash.finalize()[..LENGTH]);
        Self(short)
    }
}

/// The files of a run that were planned so far, as a number and a sum, so that a position stays small.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    files: usize,
    sum: String,
}

impl Tally {
    fn of<'a>(fingerprints: impl Iterator<Item = &'a Fingerprint>) -> Self {
        let mut tally = (0, [0; LENGTH]);
        for fingerprint in fingerprints {
            tally.0 += 1;
            tally.1.iter_mut().zip(fingerprint.0).for_each(|(sum, byte)| *sum ^= byte);
        }
        Self { files: tally.0, sum: hex(&tally.1) }
    }
}

/// What earlier runs have read, and what this one has planned.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    earlier: HashSet<Fingerprint>,
    planned: Vec<Fingerprint>,
    sum: [u8; LENGTH],
}

#[derive(Deserialize)]
struct Since {
    version: u16,
    loaded: String,
}

impl Seen {
    /// From what the last finished run left.
    pub(crate) fn since(position: &Position) -> Result<Self> {
        let earlier = match position {
            Position::At(json) => {
                let since: Since =
                    serde_json::from_value(json.clone()).map_err(|error| unreadable().source(error))?;
                if since.version != 1 {
                    return Err(Error::unsupported(
                        "a newer towpath wrote the list of the files that were read",
                    )
                    .help("use that version, or `towpath state reset` to read all files again"));
                }
                fingerprints(&since.loaded).ok_or_else(unreadable)?
            }
            Position::Start | Position::End => HashSet::new(),
        };
        Ok(Self { earlier, planned: Vec::new(), sum: [0; LENGTH] })
    }

    /// Whether no earlier run has read it.
    pub(crate) fn is_new(&self, file: &FileEntry) -> bool {
        !self.earlier.contains(&Fingerprint::of(file))
    }

    /// Notes that this run reads it.
    pub(crate) fn plan(&mut self, file: &FileEntry) {
        self.add(Fingerprint::of(file));
    }

    fn add(&mut self, fingerprint: Fingerprint) {
        self.sum.iter_mut().zip(fingerprint.0).for_each(|(sum, byte)| *sum ^= byte);
        self.planned.push(fingerprint);
    }

    /// What this run has planned so far.
    pub(crate) fn tally(&self) -> Tally {
        Tally { files: self.planned.len(), sum: hex(&self.sum) }
    }

    /// Finds out which of the new files before the place where planning goes on had been planned. Those that came since
    /// are left for the next run; the tally proves that nothing else has changed.
    pub(crate) fn resume(&mut self, mut before: Vec<FileEntry>, tally: &Tally) -> Result<()> {
        before.sort_by_key(|file| file.arrived);
        before.truncate(tally.files);
        let planned: Vec<_> = before.iter().map(Fingerprint::of).collect();
        if Tally::of(planned.iter()) != *tally {
            return Err(Error::new(
                ErrorKind::Conflict,
                "files that an interrupted run had begun to load were changed or removed since",
            )
            .operation("plan")
            .help(
                "put them back as they were and run again; or `towpath state reset` to load all files anew",
            ));
        }
        for fingerprint in planned {
            self.add(fingerprint);
        }
        Ok(())
    }

    /// What the next run gets.
    pub(crate) fn complete(self) -> Position {
        let mut all: Vec<_> = self.earlier.into_iter().chain(self.planned).collect();
        all.sort_unstable();
        all.dedup();
        let loaded: String = all.iter().map(|fingerprint| hex(&fingerprint.0)).collect();
        Position::At(json!({ "version": 1, "loaded": loaded }))
    }
}

fn unreadable() -> Error {
    Error::data("the checkpoint's list of the files that were read is damaged")
        .help("`towpath state reset` makes the next run read all files again")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().copied().flat_map(hex_digits).collect()
}

fn fingerprints(text: &str) -> Option<HashSet<Fingerprint>> {
    let (chunks, rest) = text.as_bytes().as_chunks::<{ 2 * LENGTH }>();
    let all = chunks.iter().map(|chunk| {
        let mut bytes = [0; LENGTH];
        for (byte, digits) in bytes.iter_mut().zip(chunk.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Fingerprint(bytes))
    });
    if rest.is_empty() { all.collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, arrived: i64) -> FileEntry {
        FileEntry { path: path.to_owned(), size: 1, modified: 2, arrived, ..FileEntry::default() }
    }

    fn planned(files: &[FileEntry]) -> Seen {
        let mut seen = Seen::since(&Position::Start).unwrap();
        for file in files {
            seen.plan(file);
        }
        seen
    }

    #[test]
    fn what_was_read_is_not_new_until_it_changes() {
        let since = planned(&[file("a", 1), file("b", 1)]).complete();
        let Position::At(json) = &since else { panic!("no list") };
        assert_eq!(json["loaded"].as_str().unwrap().len(), 2 * 20);
        let seen = Seen::since(&since).unwrap();
        assert!(!seen.is_new(&file("a", 9)) && seen.is_new(&file("c", 1)));
        assert!(seen.is_new(&FileEntry { size: 7, ..file("a", 1) }));
        assert!(seen.is_new(&FileEntry { modified: 7, ..file("a", 1) }));
    }

    #[test]
    fn a_file_that_came_while_a_run_was_interrupted_is_left_for_the_next() {
        let tally = planned(&[file("b", 1), file("d", 2)]).tally();
        let mut seen = Seen::since(&Position::Start).unwrap();
        seen.resume(vec![file("a", 3), file("b", 1), file("d", 2)], &tally).unwrap();
        let next = Seen::since(&seen.complete()).unwrap();
        assert!(next.is_new(&file("a", 3)) && !next.is_new(&file("b", 1)));
    }

    #[test]
    fn a_file_that_was_changed_while_a_run_was_interrupted_is_an_error() {
        let tally = planned(&[file("a", 1), file("b", 2)]).tally();
        for before in [vec![file("a", 1)], vec![file("a", 1), FileEntry { size: 5, ..file("b", 3) }]] {
            let error = planned(&[]).resume(before, &tally).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
        }
    }

    #[test]
    fn a_damaged_list_is_an_error() {
        for loaded in ["abc", "zzzzzzzzzzzzzzzzzzzz"] {
            let position = Position::At(serde_json::json!({"version": 1, "loaded": loaded}));
            assert_eq!(Seen::since(&position).unwrap_err().kind(), ErrorKind::DataInvalid);
        }
    }
}
