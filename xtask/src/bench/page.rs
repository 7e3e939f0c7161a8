//! docs/benchmarks.md: text by people, with figures between marks.

use std::fs;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

const PAGE: &str = "docs/benchmarks.md";

/// Puts new figures into the page.
pub(super) fn replace(workspace: &Workspace, name: &str, figures: &str) -> Result<()> {
    let path = workspace.root().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    let page = put(&page, name, figures)
        .with_context(|| format!("{PAGE} has no `{}` with `{}` behind it", begin(name), END))?;
    Ok(fs::write(path, page)?)
}

const END: &str = "<!-- end of figures -->";

fn begin(name: &str) -> String {
    format!("<!-- figures: {name} -->\n")
}

/// The page with other figures between the marks of a benchmark.
pub(super) fn put(page: &str, name: &str, figures: &str) -> Option<String> {
    let begin = begin(name);
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}\n{}\n\n{END}{after}", figures.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let page = "a\n<!-- figures: one -->\nold\n<!-- end of figures -->\nb\n<!-- figures: two -->\nkept\n<!-- end of figures -->\n";
        let expected = "a\n<!-- figures: one -->\n\nnew\n\n<!-- end of figures -->\nb\n<!-- figures: two -->\nkept\n<!-- end of figures -->\n";
        assert_eq!(put(page, "one", "new\n").as_deref(), Some(expected));
        assert_eq!(put(page, "three", "new"), None);
    }
}
