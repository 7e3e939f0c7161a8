//! Which entries of an archive are read.

use towpath_core::{Error, Result};

use crate::names::tidy;
use crate::{Glob, Paths};

/// The paths of the option `entries`.
#[derive(Debug)]
pub(crate) struct Wanted(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    /// Exactly this name, as it may mean a single entry, too.
    name: String,
    glob: Glob,
}

impl Wanted {
    /// # Errors
    /// `Config` for what is no glob.
    pub(crate) fn new(entries: &Paths) -> Result<Self> {
        if entries.0.is_empty() {
            return Err(Error::config("`archive.entries` lists no path"));
        }
        entries.0.iter().map(|path| Pattern::new(path)).collect::<Result<_>>().map(Self)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }
}

impl Pattern {
    fn new(path: &str) -> Result<Self> {
        let name = tidy(path.trim_start_matches('/'));
        if name.is_empty() {
            return Err(Error::config("a path of `archive.entries` is empty"));
        }
        let glob = if Glob::has_wildcards(&name) { Glob::parse(&name)? } else { Glob::everything_in(&name)? };
        Ok(Self { name, glob })
    }

    fn matches(&self, name: &str) -> bool {
        let below = match self.glob.root() {
            "" => Some(name),
            root => name.strip_prefix(root).and_then(|rest| rest.strip_prefix('/')),
        };
        name == self.name || below.is_some_and(|below| self.glob.matches(below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_named_or_lies_in_a_folder_or_matches_a_glob() {
        let wanted = |path: &str, name: &str| Wanted::new(&Paths(vec![path.to_owned()])).unwrap().has(name);
        assert!(wanted("a.csv", "a.csv") && !wanted("a.csv", "b/a.csv") && !wanted("a.csv", "a.csvx"));
        assert!(
            wanted("dir", "dir/x/a.csv") && wanted("./dir/", "dir/a.csv") && !wanted("dir", "dir2/a.csv")
        );
        assert!(wanted("**/*", "a") && wanted("/**/*", "a/b") && wanted(".", "a/b"));
        assert!(
            wanted("d/*.csv", "d/a.csv") && !wanted("d/*.csv", "a.csv") && !wanted("d/*.csv", "d/e/a.csv")
        );
        assert!(!wanted("**/*", "__MACOSX/._a.csv"), "what is hidden is left out unless it is spelled");
        assert!(wanted("what[1].csv", "what[1].csv") && wanted("what[1].csv", "what1.csv"));
    }
}
