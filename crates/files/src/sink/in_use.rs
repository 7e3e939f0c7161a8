//! Which partial files somebody still needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which partial files somebody still needs, by their keys: writers that have not been committed, and the manifest.
#[derive(Debug, Default)]
pub struct InUse(Mutex<Users>);

#[derive(Debug, Default)]
struct Users {
    /// Those of which the manifest knows bytes.
    kept: BTreeSet<String>,
    /// The parts that have written to a file and were neither committed nor thrown away.
    parts: BTreeMap<String, BTreeSet<u32>>,
}

impl InUse {
    /// Notes that a part writes to a partial file, so that nobody removes it.
    pub fn touch(&self, key: &str, part: u32) {
        self.users().parts.entry(key.to_owned()).or_default().insert(part);
    }

    /// Notes that a part's bytes are not wanted, and throws away each file that nobody else needs, while nobody can touch it.
    pub fn release(&self, part: u32, keys: impl Iterator<Item = String>, mut throw_away: impl FnMut(&str)) {
        let mut users = self.users();
        for key in keys {
            let is_wanted = users.parts.get_mut(&key).is_some_and(|parts| {
                parts.remove(&part);
                !parts.is_empty()
            });
            if !is_wanted {
                users.parts.remove(&key);
                if !users.kept.contains(&key) {
                    throw_away(&key);
                }
            }
        }
    }

    /// The partial files that a part has written to.
    pub fn touched_by(&self, part: u32) -> Vec<String> {
        let users = self.users();
        users.parts.iter().filter(|(_, parts)| parts.contains(&part)).map(|(key, _)| key.clone()).collect()
    }

    /// Notes what a commit has made of these parts.
    pub fn committed(&self, parts: &BTreeSet<u32>, kept: impl Iterator<Item = String>) {
        let mut users = self.users();
        users.kept = kept.collect();
        users.parts.retain(|_, using| {
            using.retain(|part| !parts.contains(part));
            !using.is_empty()
        });
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_when_the_last_who_needs_it_lets_it_go() {
        let in_use = InUse::default();
        for part in [1, 2] {
            in_use.touch("a", part);
        }
        let released = |part| {
            let mut gone = Vec::new();
            in_use.release(part, in_use.touched_by(part).into_iter(), |key| gone.push(key.to_owned()));
            gone
        };
        assert!(released(1).is_empty());
        assert_eq!(released(2), ["a"]);
        in_use.touch("b", 3);
        in_use.committed(&BTreeSet::from([3]), std::iter::once("b".to_owned()));
        in_use.touch("b", 4);
        assert!(released(4).is_empty(), "the manifest knows bytes of it");
    }
}
