//! Which files earlier runs have read: remembered file by file, or by what tells new ones from old ones.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use towpath_core::{Error, ErrorKind, Position, Result};

use crate::fingerprint::{Fingerprint, Sum};
use crate::{FileEntry, Found, Incremental};

/// The form of what is kept.
const VERSION: u16 = 1;

/// How two names are compared.
type Order = fn(&str, &str) -> Ordering;

/// What earlier runs have read, and what this one has planned.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    by: Incremental,
    /// The paths of the options.
    paths: Vec<String>,
    /// The order in which files are listed.
    order: Order,
    earlier: Earlier,
    planned: Vec<(Fingerprint, i64)>,
    sum: Sum,
}

/// What the last finished run left.
#[derive(Debug, Clone, Default)]
struct Earlier {
    /// Files, with when they were last written.
    files: HashMap<Fingerprint, i64>,
    /// When the newest of all files was last written.
    newest: Option<i64>,
    /// The last name below each path.
    names: BTreeMap<String, String>,
}

/// What stands in the checkpoint.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    version: u16,
    /// Fingerprints, one behind the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loaded: Option<String>,
    /// Fingerprints of the files of the window, with when they were last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recent: Option<Vec<(String, i64)>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    names: Option<BTreeMap<String, String>>,
}

/// The files of a run that were planned so far, as a number and a sum, so that a position stays small.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    files: usize,
    sum: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    names: BTreeMap<String, String>,
}

impl Seen {
    /// From what the last finished run left.
    pub(crate) fn since(
        by: Incremental,
        paths: &[String],
        order: Order,
        position: &Position,
    ) -> Result<Self> {
        let earlier = match position {
            Position::At(json) => {
                let since: Since =
                    serde_json::from_value(json.clone()).map_err(|error| unreadable().source(error))?;
                earlier(by, since)?
            }
            Position::Start | Position::End => Earlier::default(),
        };
        Ok(Self { by, paths: paths.to_vec(), order, earlier, planned: Vec::new(), sum: Sum::default() })
    }

    /// Whether no earlier run has read it.
    pub(crate) fn is_new(&self, found: &Found) -> bool {
        let file = &found.file;
        match self.by {
            Incremental::Off => true,
            Incremental::Seen => !self.earlier.files.contains_key(&Fingerprint::of(file)),
            Incremental::Name => {
                self.last(found.root).is_none_or(|last| (self.order)(&file.path, last).is_gt())
            }
            Incremental::Modified { window } => {
                let in_window =
                    self.earlier.newest.is_none_or(|newest| file.modified >= newest - nanoseconds(window));
                in_window && !self.earlier.files.contains_key(&Fingerprint::of(file))
            }
        }
    }

    /// The names behind which a listing may begin, by path.
    pub(crate) fn behind(&self) -> BTreeMap<usize, String> {
        let named = (0..self.paths.len()).filter_map(|root| Some((root, self.last(root)?.to_owned())));
        named.collect()
    }

    fn last(&self, root: usize) -> Option<&str> {
        self.earlier.names.get(self.paths.get(root)?).map(String::as_str)
    }

    /// Notes that this run reads it.
    pub(crate) fn plan(&mut self, found: &Found) {
        match self.by {
            Incremental::Off => {}
            Incremental::Seen | Incremental::Modified { .. } => self.add(&found.file),
            Incremental::Name => {
                if let Some(path) = self.paths.get(found.root) {
                    self.earlier.names.insert(path.clone(), found.file.path.clone());
                }
            }
        }
    }

    fn add(&mut self, file: &FileEntry) {
        let fingerprint = Fingerprint::of(file);
        self.sum.add(fingerprint);
        self.planned.push((fingerprint, file.modified));
    }

    /// What this run has planned so far.
    pub(crate) fn tally(&self) -> Tally {
        let names = if self.by == Incremental::Name { self.earlier.names.clone() } else { BTreeMap::new() };
        Tally { files: self.planned.len(), sum: self.sum.to_string(), names }
    }

    /// Whether an interrupted planning is found again by its tally alone.
    pub(crate) fn resume_by_name(&mut self, tally: &Tally) -> bool {
        if self.by == Incremental::Name {
            self.earlier.names.clone_from(&tally.names);
        }
        self.by == Incremental::Name
    }

    /// Finds out which of the new files before the place where planning goes on had been planned. Those that came since
    /// are left for the next run; the tally proves that nothing else has changed.
    pub(crate) fn resume(&mut self, mut before: Vec<FileEntry>, tally: &Tally) -> Result<()> {
        before.sort_by_key(|file| file.arrived);
        before.truncate(tally.files);
        let mut sum = Sum::default();
        for file in &before {
            sum.add(Fingerprint::of(file));
        }
        if (before.len(), sum.to_string()) != (tally.files, tally.sum.clone()) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "files that an interrupted run had begun to load were changed or removed since",
            )
            .operation("plan")
            .help(
                "put them back as they were and run again; or `towpath state reset` to load all files anew",
            ));
        }
        for file in &before {
            self.add(file);
        }
        Ok(())
    }

    /// What the next run gets.
    pub(crate) fn complete(self) -> Position {
        let Self { by, earlier: Earlier { mut files, newest, names }, planned, .. } = self;
        let mut since = Since { version: VERSION, ..Since::default() };
        files.extend(planned.iter().copied());
        match by {
            Incremental::Off => {}
            Incremental::Name => since.names = Some(names),
            Incremental::Seen => {
                let mut all: Vec<_> = files.into_keys().collect();
                all.sort_unstable();
                since.loaded = Some(all.iter().map(ToString::to_string).collect());
            }
            Incremental::Modified { window } => {
                since.newest = newest.max(planned.iter().map(|(_, modified)| *modified).max());
                let from = since.newest.map_or(i64::MIN, |newest| newest - nanoseconds(window));
                let recent = files.into_iter().filter(|(_, modified)| *modified >= from);
                let mut recent: Vec<_> =
                    recent.map(|(fingerprint, modified)| (fingerprint.to_string(), modified)).collect();
                recent.sort_unstable();
                since.recent = Some(recent);
            }
        }
        Position::At(serde_json::to_value(since).expect("texts and numbers are JSON"))
    }
}

fn nanoseconds(window: towpath_core::HumanDuration) -> i64 {
    i64::try_from(window.get().as_nanos()).unwrap_or(i64::MAX / 2)
}

fn earlier(by: Incremental, since: Since) -> Result<Earlier> {
    if since.version != VERSION {
        return Err(Error::unsupported("a newer towpath wrote the list of the files that were read")
            .help("use that version, or `towpath state reset` to read all files again"));
    }
    match (by, since) {
        (Incremental::Seen, Since { loaded: Some(loaded), .. }) => {
            let files = Fingerprint::all(&loaded).ok_or_else(unreadable)?;
            Ok(Earlier { files: files.into_iter().map(|file| (file, 0)).collect(), ..Earlier::default() })
        }
        (Incremental::Name, Since { names: Some(names), .. }) => Ok(Earlier { names, ..Earlier::default() }),
        (Incremental::Modified { .. }, Since { recent: Some(recent), newest, .. }) => {
            let files = recent.iter().map(|(text, modified)| Some((Fingerprint::read(text)?, *modified)));
            Ok(Earlier {
                files: files.collect::<Option<_>>().ok_or_else(unreadable)?,
                newest,
                ..Earlier::default()
            })
        }
        _ => Err(Error::config("`incremental` was changed since the last run, which kept something else")
            .help("set it back; or `towpath state reset`, and the next run reads all files again")),
    }
}

fn unreadable() -> Error {
    Error::data("the checkpoint's list of the files that were read is damaged")
        .help("`towpath state reset` makes the next run read all files again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: i64 = 1_000_000_000;

    fn file(path: &str, arrived: i64) -> FileEntry {
        FileEntry { path: path.to_owned(), size: 1, modified: 2, arrived, ..FileEntry::default() }
    }

    fn found(file: FileEntry) -> Found {
        Found { root: 0, file }
    }

    fn since(by: Incremental, position: &Position) -> Seen {
        Seen::since(by, &["in/*".to_owned()], str::cmp, position).unwrap()
    }

    fn planned(by: Incremental, files: &[FileEntry]) -> Seen {
        let mut seen = since(by, &Position::Start);
        for file in files {
            seen.plan(&found(file.clone()));
        }
        seen
    }

    #[test]
    fn what_was_read_is_not_new_until_it_changes() {
        let left = planned(Incremental::Seen, &[file("a", 1), file("b", 1)]).complete();
        let Position::At(json) = &left else { panic!("no list") };
        assert_eq!(json["loaded"].as_str().unwrap().len(), 2 * 20);
        let seen = since(Incremental::Seen, &left);
        assert!(!seen.is_new(&found(file("a", 9))) && seen.is_new(&found(file("c", 1))));
        assert!(seen.is_new(&found(FileEntry { size: 7, ..file("a", 1) })));
        assert!(seen.is_new(&found(FileEntry { modified: 7, ..file("a", 1) })));
        assert!(seen.is_new(&found(FileEntry { tag: Some("other".into()), ..file("a", 1) })));
    }

    #[test]
    fn names_that_grow_need_no_list() {
        let left = planned(Incremental::Name, &[file("in/1", 1), file("in/2", 1)]).complete();
        let seen = since(Incremental::Name, &left);
        assert_eq!(seen.behind(), BTreeMap::from([(0, "in/2".to_owned())]));
        assert!(!seen.is_new(&found(file("in/15", 9))) && seen.is_new(&found(file("in/3", 1))));
        // Another path has names of its own.
        assert!(seen.is_new(&Found { root: 1, file: file("in/1", 1) }));
    }

    #[test]
    fn times_need_a_list_of_their_window_only() {
        let by = Incremental::Modified { window: Duration::from_secs(10).into() };
        let at = |path: &str, second: i64| FileEntry { modified: second * SECOND, ..file(path, 1) };
        let left = planned(by, &[at("old", 1), at("edge", 95), at("new", 100)]).complete();
        let Position::At(json) = &left else { panic!("no list") };
        assert_eq!(json["recent"].as_array().unwrap().len(), 2);
        let seen = since(by, &left);
        for (file, is_new) in [
            (at("old", 1), false),
            (at("edge", 95), false),
            (at("late", 91), true),
            (at("later", 89), false),
            (at("x", 101), true),
        ] {
            assert_eq!(seen.is_new(&found(file.clone())), is_new, "{}", file.path);
        }
        // A run that finds nothing forgets nothing.
        assert!(!since(by, &seen.complete()).is_new(&found(at("new", 100))));
    }

    #[test]
    fn a_run_that_remembers_otherwise_than_the_last_is_refused() {
        let left = planned(Incremental::Seen, &[file("a", 1)]).complete();
        let error = Seen::since(Incremental::Name, &[], str::cmp, &left).unwrap_err();
        assert!(error.to_string().contains("`incremental` was changed"), "{error}");
    }

    #[test]
    fn a_file_that_came_while_a_run_was_interrupted_is_left_for_the_next() {
        let tally = planned(Incremental::Seen, &[file("b", 1), file("d", 2)]).tally();
        let mut seen = since(Incremental::Seen, &Position::Start);
        seen.resume(vec![file("a", 3), file("b", 1), file("d", 2)], &tally).unwrap();
        let next = since(Incremental::Seen, &seen.complete());
        assert!(next.is_new(&found(file("a", 3))) && !next.is_new(&found(file("b", 1))));
    }

    #[test]
    fn a_file_that_was_changed_while_a_run_was_interrupted_is_an_error() {
        let tally = planned(Incremental::Seen, &[file("a", 1), file("b", 2)]).tally();
        for before in [vec![file("a", 1)], vec![file("a", 1), FileEntry { size: 5, ..file("b", 3) }]] {
            let error = planned(Incremental::Seen, &[]).resume(before, &tally).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
        }
    }

    #[test]
    fn a_damaged_list_is_an_error() {
        for loaded in ["abc", "zzzzzzzzzzzzzzzzzzzz"] {
            let position = Position::At(serde_json::json!({"version": 1, "loaded": loaded}));
            let error = Seen::since(Incremental::Seen, &[], str::cmp, &position).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DataInvalid);
        }
    }
}
