//! Globs over the paths below a folder.

use globset::{GlobBuilder, GlobMatcher};
use towpath_core::{Error, Result};

/// A glob, cut into the folder before its first wildcard and what is matched below it.
#[derive(Debug)]
pub struct Glob {
    root: String,
    whole: GlobMatcher,
    /// The leading parts that each match one folder level.
    levels: Vec<GlobMatcher>,
    /// Whether anything more may follow the levels: there is a `**`, or braces that span folders.
    deep: bool,
    /// What a name at each level begins with, as far as no wildcard comes; that of the first part of what is deep, too.
    heads: Vec<String>,
    /// The parts that spell a leading dot: only they match hidden names.
    dotted: Vec<GlobMatcher>,
}

impl Glob {
    /// Whether a path has wildcards at all.
    pub fn has_wildcards(text: &str) -> bool {
        text.contains(['*', '?', '[', '{'])
    }

    /// Reads a glob.
    pub fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let literal = parts.iter().take_while(|part| !Self::has_wildcards(part)).count();
        let root = parts[..literal].join("/");
        let root = if root.is_empty() && text.starts_with('/') { "/".to_owned() } else { root };
        Self::below(root, &parts[literal..].join("/"), text)
    }

    /// Everything in a folder and below it.
    pub fn everything_in(folder: &str) -> Result<Self> {
        let root = if folder == "." { "" } else { folder };
        Self::below(root.to_owned(), "**/*", folder)
    }

    fn below(root: String, rest: &str, text: &str) -> Result<Self> {
        let whole = matcher(rest)
            .map_err(|error| Error::config("the path is no valid glob").detail("path", text).source(error))?;
        let mut levels = Vec::new();
        let mut deep = false;
        for part in rest.split('/') {
            let spans_folders = part.contains("**") || part.matches('{').count() != part.matches('}').count();
            let level = if spans_folders { None } else { matcher(part).ok() };
            let Some(level) = level else {
                deep = true;
                break;
            };
            levels.push(level);
        }
        let heads = rest.split('/').take(levels.len() + usize::from(deep)).map(head).collect();
        let dotted =
            rest.split('/').filter(|part| part.starts_with('.')).filter_map(|part| matcher(part).ok());
        Ok(Self { root, whole, levels, deep, heads, dotted: dotted.collect() })
    }

    /// The folder before the first wildcard; empty for the current one.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// What has to be listed so many folders below the root.
    pub fn level(&self, depth: usize) -> Level<'_> {
        let head = self.heads.get(depth).map_or("", String::as_str);
        match depth + 1 {
            _ if depth >= self.levels.len() => Level::Everything { head },
            next if next == self.levels.len() && !self.deep => Level::Files { head },
            _ => Level::Folders { head },
        }
    }

    /// Whether this path below the root is a match.
    pub fn matches(&self, below: &str) -> bool {
        self.whole.is_match(below) && below.split('/').all(|name| self.admits_name(name))
    }

    /// Whether a folder below the root can hold a match.
    pub fn may_match_in(&self, below: &str) -> bool {
        let mut depth = 0;
        for (index, name) in below.split('/').enumerate() {
            depth = index + 1;
            let fits = self.levels.get(index).map_or(self.deep, |level| level.is_match(name));
            if !fits || !self.admits_name(name) {
                return false;
            }
        }
        self.deep || depth < self.levels.len()
    }

    fn admits_name(&self, name: &str) -> bool {
        !name.starts_with('.') || self.dotted.iter().any(|dotted| dotted.is_match(name))
    }
}

/// What a person who lists level by level looks for on one of them. Names begin with `head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level<'a> {
    /// Folders in which the next level is.
    Folders {
        /// What their names begin with.
        head: &'a str,
    },
    /// Files of this level.
    Files {
        /// What their names begin with.
        head: &'a str,
    },
    /// Files of this level and all levels below.
    Everything {
        /// What their paths from here on begin with.
        head: &'a str,
    },
}

/// A part of a glob up to its first wildcard or escape.
fn head(part: &str) -> String {
    part.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default().to_owned()
}

fn matcher(text: &str) -> Result<GlobMatcher, globset::Error> {
    Ok(GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build()?.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, below: &str) -> bool {
        Glob::parse(glob).unwrap().matches(below)
    }

    #[test]
    fn the_root_is_what_stands_before_the_first_wildcard() {
        for (glob, root) in [
            ("landing/sales/*.csv", "landing/sales"),
            ("*.csv", ""),
            ("/*.csv", "/"),
            ("/a/{b,c}/d.csv", "/a"),
        ] {
            assert_eq!(Glob::parse(glob).unwrap().root(), root, "{glob}");
        }
    }

    #[test]
    fn wildcards_stay_in_their_folder_unless_doubled() {
        assert!(matches("in/*.csv", "a.csv") && !matches("in/*.csv", "b/a.csv"));
        assert!(matches("in/**/*.csv", "a.csv") && matches("in/**/*.csv", "b/c/a.csv"));
        assert!(matches("in/*.{csv,csv.gz}", "a.csv.gz") && !matches("in/*.{csv,csv.gz}", "a.csv.bz2"));
        assert!(matches("in/{x/y,z}/*.csv", "x/y/a.csv") && matches("in/[ab]?.csv", "a1.csv"));
        assert!(matches(r"in/a\*.cs[v]", "a*.csv") && !matches(r"in/a\*.cs[v]", "ab.csv"));
    }

    #[test]
    fn hidden_names_are_left_out_unless_spelled() {
        assert!(!matches("**/*.csv", ".hidden.csv") && !matches("**/*.csv", ".git/a.csv"));
        assert!(matches("**/.*.csv", ".hidden.csv") && !matches("**/.*.csv", ".git/.a.csv"));
        assert!(matches(".git/*.cs[v]", "a.csv") && matches("*/.x/*.csv", "a/.x/b.csv"));
    }

    #[test]
    fn only_folders_that_can_hold_a_match_are_entered() {
        let glob = Glob::parse("in/year=*/month=0[12]/*.parquet").unwrap();
        assert!(glob.may_match_in("year=2026") && glob.may_match_in("year=2026/month=01"));
        assert!(!glob.may_match_in("other") && !glob.may_match_in("year=2026/month=07"));
        assert!(!glob.may_match_in("year=2026/month=01/deeper"));
        let deep = Glob::parse("in/a*/**/x.csv").unwrap();
        assert!(deep.may_match_in("ab/c/d/e") && !deep.may_match_in("b") && !deep.may_match_in("ab/.git"));
    }

    #[test]
    fn each_level_is_listed_for_what_the_glob_wants_there() {
        let glob = Glob::parse("in/year=*/2026-{a,b}*.csv").unwrap();
        assert_eq!(glob.level(0), Level::Folders { head: "year=" });
        assert_eq!(glob.level(1), Level::Files { head: "2026-" });
        let deep = Glob::parse("in/a*/**/x.csv").unwrap();
        assert_eq!(deep.level(0), Level::Folders { head: "a" });
        assert_eq!(deep.level(1), Level::Everything { head: "" });
        let spanning = Glob::parse("in/{x/y,z}/*.csv").unwrap();
        assert_eq!(spanning.level(0), Level::Everything { head: "" });
    }

    #[test]
    fn a_broken_glob_is_a_wrong_option() {
        let error = Glob::parse("in/[a.csv").unwrap_err().to_string();
        assert!(error.starts_with("the path is no valid glob (path: in/[a.csv)"), "{error}");
    }
}
