//! What the child's source keeps in mind from one run to the next: for each row of its parent something of its own, such as
//! the versions of the documents that were read for it.
//!
//! It goes into each commit, so there is room for some rows only; for those beyond, a run finds nothing.

use std::collections::{BTreeMap, BTreeSet};

use towpath_core::Position;

/// Of so many rows something is kept.
const ROWS: usize = 4096;
/// How long all of it may be.
const BYTES: usize = 512 << 10;
/// What is noted where there is nothing to keep any more.
const NOTHING: &str = "null";

/// What is kept, by the rows' values.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What the last run has left.
    old: BTreeMap<u64, String>,
    /// Of which rows something was noted in this run.
    noted: BTreeSet<u64>,
}

impl Kept {
    /// From what the last run has left, and what was noted since. `None` when it cannot be read.
    pub(super) fn new(old: &str, noted: &str) -> Option<Self> {
        let old = lines(old).map(|line| line.and_then(|(row, text)| Some((row, text?.to_owned()))));
        let noted = lines(noted).map(|line| line.map(|(row, _)| row));
        Some(Self { old: old.collect::<Option<_>>()?, noted: noted.collect::<Option<_>>()? })
    }

    /// What the last run has left for a row.
    pub(super) fn of(&self, row: &str) -> Position {
        let left = self.old.get(&digest(row)).and_then(|text| serde_json::from_str(text).ok());
        left.map_or(Position::Start, Position::At)
    }

    /// Notes in `notes` what the next run gets for a row. Whether there was room for it.
    pub(super) fn note(&mut self, notes: &mut String, row: &str, since: Option<Position>) -> bool {
        let row = digest(row);
        let old = self.old.get(&row);
        let new = match since {
            Some(Position::At(at)) => Some(at.to_string()),
            Some(Position::Start | Position::End) | None => None,
        };
        if old.is_none() && new.is_none() && !self.noted.contains(&row) {
            return true;
        }
        let line = match &new {
            // As it was.
            Some(new) if old == Some(new) => format!("{row:016x}\n"),
            Some(new) => format!("{row:016x}\t{new}\n"),
            None => format!("{row:016x}\t{NOTHING}\n"),
        };
        let has_room = self.noted.contains(&row) || self.noted.len() < ROWS;
        if !has_room || notes.len() + line.len() > BYTES {
            return false;
        }
        self.noted.insert(row);
        notes.push_str(&line);
        true
    }

    /// What the next run gets: what was noted, and with `stays` what was kept of other rows, as far as there is room.
    pub(super) fn next(&self, notes: &str, stays: bool) -> String {
        let mut all = BTreeMap::new();
        for (row, text) in lines(notes).flatten() {
            match text.or_else(|| self.old.get(&row).map(String::as_str)) {
                Some(text) if text != NOTHING => all.insert(row, text),
                _ => all.remove(&row),
            };
        }
        let others = self.old.iter().filter(|(row, _)| stays && !self.noted.contains(row));
        let others = others.take(ROWS.saturating_sub(all.len())).map(|(row, text)| (*row, text.as_str()));
        let mut kept = String::new();
        for (row, text) in all.into_iter().chain(others) {
            let line = format!("{row:016x}\t{text}\n");
            if kept.len() + line.len() <= BYTES {
                kept.push_str(&line);
            }
        }
        kept
    }
}

/// Rows with what is said of each; nothing where it is as it was.
fn lines(text: &str) -> impl Iterator<Item = Option<(u64, Option<&str>)>> {
    text.lines().map(|line| {
        let (row, text) = line.split_once('\t').map_or((line, None), |(row, text)| (row, Some(text)));
        Some((u64::from_str_radix(row, 16).ok()?, text))
    })
}

/// A number that stands for a row, the same in each version of this program (FNV-1a).
fn digest(row: &str) -> u64 {
    row.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use towpath_core::Json;

    use super::*;

    fn at(value: Json) -> Position {
        Position::At(value)
    }

    #[test]
    fn each_row_gets_back_what_was_noted_for_it() {
        let (mut kept, mut notes) = (Kept::default(), String::new());
        assert!(kept.note(&mut notes, "a", Some(at(json!({"v": "1\n\t"})))));
        assert!(kept.note(&mut notes, "b", Some(at(json!(2)))));
        assert!(kept.note(&mut notes, "c", None), "a source that keeps nothing in mind leaves no trace");
        let next = kept.next(&notes, false);
        let mut kept = Kept::new(&next, "").unwrap();
        assert_eq!((kept.of("a"), kept.of("b")), (at(json!({"v": "1\n\t"})), at(json!(2))));
        assert_eq!(kept.of("c"), Position::Start);

        // The next run: one as it was, one without anything, one is gone.
        let mut notes = String::new();
        kept.note(&mut notes, "a", Some(at(json!({"v": "1\n\t"}))));
        assert_eq!(notes.len(), 17, "what has not changed is not written again: {notes}");
        kept.note(&mut notes, "b", None);
        assert_eq!(Kept::new(&next, &notes).unwrap().next(&notes, false), kept.next(&notes, false));
        let last = Kept::new(&kept.next(&notes, false), "").unwrap();
        assert_eq!((last.of("a"), last.of("b")), (at(json!({"v": "1\n\t"})), Position::Start));
        let without_b = Kept::new(&next, "").unwrap();
        assert!(without_b.next("", false).is_empty());
        assert_eq!(without_b.next("", true), next, "where only new rows are planned, the others stay");
    }

    #[test]
    fn there_is_room_for_some_rows() {
        let (mut kept, mut notes) = (Kept::default(), String::new());
        for row in 0..ROWS {
            assert!(kept.note(&mut notes, &row.to_string(), Some(at(json!(row)))));
        }
        assert!(!kept.note(&mut notes, "more", Some(at(json!(1)))));
        assert!(kept.note(&mut notes, "7", Some(at(json!(8)))), "a row that has its place keeps it");
        assert!(!kept.note(&mut notes, "7", Some(at(json!("x".repeat(BYTES))))));
        assert_eq!(Kept::new(&kept.next(&notes, true), "").unwrap().of("7"), at(json!(8)));
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed_at() {
        assert!(Kept::new("nonsense", "").is_none() && Kept::new("", "x\t1").is_none());
    }
}
