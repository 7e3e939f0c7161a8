//! `cargo xtask tidy`: the invariants of this repository, checked by a machine so that nobody needs to remember them.

use std::fmt;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

mod connectors;
mod layers;
mod lock;
mod manifests;
mod slim;
mod sources;
mod tree;

use tree::Tree;

/// A broken rule: where, what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq)]
struct Problem {
    place: String,
    what: String,
    fix: String,
}

impl Problem {
    fn new(place: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), fix: fix.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}\n    {}", self.place, self.what, self.fix)
    }
}

/// The rules that look at the files alone.
const RULES: &[fn(&Tree) -> Vec<Problem>] = &[
    layers::layers,
    layers::drivers,
    connectors::agree,
    connectors::features,
    connectors::pages,
    connectors::conformance,
    lock::banned,
    lock::single,
    manifests::inherited,
    manifests::lints,
    manifests::unused,
    sources::length,
    sources::macros,
    sources::paths,
];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let tree = Tree::load(workspace.root())?;
    let mut problems: Vec<_> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    problems.extend(slim::check(workspace)?);
    if problems.is_empty() {
        return Ok(());
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    bail!("{} invariant(s) broken", problems.len())
}
