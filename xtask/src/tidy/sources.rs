//! What must not stand in the text of a file.

use super::Problem;
use super::tree::{File, Tree, has_extension};

const MAX_LINES: usize = 500;

/// Macros of unfinished work. Their brackets are added later, so that this list does not find itself.
const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];

/// Folders of one machine or one person.
const HOMES: &[&str] = &["/home/", "/root/", "/Users/"];
const TEMPORARY: &[&str] = &["/tmp/", "/var/tmp/"];

/// A file that nobody has to scroll through for long.
pub(super) fn length(tree: &Tree) -> Vec<Problem> {
    let sources = tree.files.iter().filter(|file| has_extension(&file.path, "rs"));
    let lengths = sources.map(|file| (file, file.text.lines().count()));
    let problem = |(file, lines): (&File, usize)| {
        let what = format!("has {lines} lines, more than {MAX_LINES}");
        Problem::new(&file.path, what, "split it where two subjects meet")
    };
    lengths.filter(|(_, lines)| *lines > MAX_LINES).map(problem).collect()
}

/// No macros of unfinished work, not even where a `cfg` hides them from clippy.
pub(super) fn macros(tree: &Tree) -> Vec<Problem> {
    let sources = tree.files.iter().filter(|file| has_extension(&file.path, "rs"));
    sources
        .flat_map(|file| {
            find(file, UNFINISHED, |line, name| line.contains(&format!("{name}!(")), "finish it")
        })
        .collect()
}

/// No path that exists on one machine only. Documents may speak of temporary folders.
pub(super) fn paths(tree: &Tree) -> Vec<Problem> {
    const FIX: &str = "use a path below the workspace, a temporary folder of the test, or a setting";
    let mut problems = Vec::new();
    for file in tree.files.iter().filter(|file| file.path != "xtask/src/tidy/sources.rs") {
        problems.extend(find(file, HOMES, names_path, FIX));
        if !has_extension(&file.path, "md") {
            problems.extend(find(file, TEMPORARY, names_path, FIX));
        }
    }
    problems
}

/// The lines of a file that hold one of the words.
fn find(file: &File, words: &[&str], holds: fn(&str, &str) -> bool, fix: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in words.iter().filter(|word| holds(line, word)) {
            problems.push(Problem::new(
                format!("{}:{}", file.path, index + 1),
                format!("holds `{word}`"),
                fix,
            ));
        }
    }
    problems
}

/// Whether a path begins here: not as a part of a longer one, or of a URL.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        before.is_none_or(|character| !character.is_alphanumeric() && !"._-/}~".contains(character))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    #[test]
    fn a_long_file_is_found() {
        let tree = fixture(&[("crates/core/src/long.rs", &"//\n".repeat(501))]);
        assert_eq!(length(&tree)[0].what, "has 501 lines, more than 500");
        assert_eq!(length(&fixture(&[("crates/core/src/long.rs", &"//\n".repeat(500))])), []);
    }

    #[test]
    fn unfinished_work_is_found_with_its_line() {
        let code = format!("fn later() {{\n    {}!()\n}}\n", "todo");
        let tree = fixture(&[("crates/core/src/later.rs", &code)]);
        assert_eq!(macros(&tree)[0].place, "crates/core/src/later.rs:2");
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for text in ["\"/home/me/data\"", "file:/tmp/x", "cd /root/x"] {
            let tree = fixture(&[("crates/core/src/path.rs", text)]);
            assert_eq!(paths(&tree).len(), 1, "{text}");
        }
        for text in ["https://example.com/home/page", "target/tmp/x", "${BASE}/tmp/x", "~/home/x"] {
            let tree = fixture(&[("crates/core/src/path.rs", text)]);
            assert_eq!(paths(&tree), [], "{text}");
        }
        assert_eq!(paths(&fixture(&[("docs/a.md", "Writes to /tmp/x, say.")])), []);
    }
}
