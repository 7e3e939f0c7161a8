//! One name for each connector: its folder, package, feature, line in the runner's list, and page.

use super::Problem;
use super::tree::{Tree, has_extension};
use crate::docs::REFERENCE;

const RUNNER: &str = "crates/runner";
const LIST: &str = "crates/runner/src/connectors.rs";

/// Folder, package, feature and line in the list have the same name.
pub(super) fn agree(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let list = tree.file(LIST).unwrap_or_default();
    for name in tree.connectors() {
        let folder = format!("connectors/{name}");
        let package = format!("towpath-connector-{name}");
        let found = tree.member(&folder).map_or("", |member| member.package());
        if found != package {
            problems.push(Problem::new(
                &folder,
                format!("its package is `{found}`"),
                format!("name it `{package}`"),
            ));
        }

        let runner = tree.member(RUNNER);
        let feature = runner.and_then(|runner| runner.feature(name)).unwrap_or_default();
        let dependency = format!("dep:{package}");
        if !feature.contains(&dependency.as_str()) {
            let what = format!("connector `{name}` has no feature of its name");
            problems.push(Problem::new(
                format!("{RUNNER}/Cargo.toml"),
                what,
                format!("add `{name} = [\"{dependency}\"]`"),
            ));
        }
        if !runner.and_then(|runner| runner.feature("full")).unwrap_or_default().contains(&name) {
            let what = format!("`full` lacks `{name}`");
            problems.push(Problem::new(format!("{RUNNER}/Cargo.toml"), what, "add it to the feature `full`"));
        }

        let module = package.replace('-', "_");
        let listed = list.contains(&format!("feature = \"{name}\"")) && list.contains(&format!("{module}::"));
        if !listed {
            let what = format!("connector `{name}` is not in the list");
            let fix = format!("add `#[cfg(feature = \"{name}\")]` and its `{module}::CONNECTOR`");
            problems.push(Problem::new(LIST, what, fix));
        }
    }
    problems
}

/// Only the runner chooses connectors.
pub(super) fn features(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for member in tree.members.iter().filter(|member| member.folder != RUNNER) {
        for name in tree.connectors() {
            if member.feature(name).is_some() {
                let what = format!("has a feature named after the connector `{name}`");
                problems.push(Problem::new(
                    member.manifest_path(),
                    what,
                    "connector features belong to crates/runner alone",
                ));
            }
        }
    }
    problems
}

/// Every connector has its page, and every page its connector.
pub(super) fn pages(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let connectors = tree.connectors();
    for name in &connectors {
        let page = format!("{REFERENCE}/{name}.md");
        if tree.file(&page).is_none() {
            problems.push(Problem::new(page, "is missing", "run `cargo xtask docs` and commit the result"));
        }
    }
    for file in tree.below(REFERENCE, "md") {
        let name = &file.path[REFERENCE.len() + 1..file.path.len() - ".md".len()];
        if name != "README" && !connectors.contains(&name) {
            problems.push(Problem::new(&file.path, "belongs to no connector", "remove it"));
        }
    }
    problems
}

/// Every connector runs the conformance suite.
pub(super) fn conformance(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for name in tree.connectors() {
        let folder = format!("connectors/{name}/tests");
        let mut tests = tree
            .files
            .iter()
            .filter(|file| file.path.starts_with(&folder) && has_extension(&file.path, "rs"));
        if !tests.any(|file| file.text.contains("testkit")) {
            let fix = "add a test that runs testkit's suite: see docs/writing-a-connector.md";
            problems.push(Problem::new(folder, "has no conformance test", fix));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    #[test]
    fn a_connector_that_is_only_a_folder_is_told_all_that_it_lacks() {
        let tree = fixture(&[("connectors/lock/Cargo.toml", "[package]\nname = \"lock\"\n")]);
        let problems: Vec<_> = [agree(&tree), pages(&tree), conformance(&tree)]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect();
        let expected = [
            "connectors/lock: its package is `lock`\n    name it `towpath-connector-lock`",
            "crates/runner/Cargo.toml: connector `lock` has no feature of its name\n    \
             add `lock = [\"dep:towpath-connector-lock\"]`",
            "crates/runner/Cargo.toml: `full` lacks `lock`\n    add it to the feature `full`",
            "crates/runner/src/connectors.rs: connector `lock` is not in the list\n    \
             add `#[cfg(feature = \"lock\")]` and its `towpath_connector_lock::CONNECTOR`",
            "docs/connectors/lock.md: is missing\n    run `cargo xtask docs` and commit the result",
            "connectors/lock/tests: has no conformance test\n    \
             add a test that runs testkit's suite: see docs/writing-a-connector.md",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn a_page_without_a_connector_is_found() {
        let tree = fixture(&[("docs/connectors/gone.md", "# gone"), ("docs/connectors/README.md", "# all")]);
        let places: Vec<_> = pages(&tree).into_iter().map(|problem| problem.place).collect();
        assert_eq!(places, ["docs/connectors/gone.md"]);
    }

    #[test]
    fn only_the_runner_has_connector_features() {
        let tree = fixture(&[("crates/engine/Cargo.toml", "+[features]\ncanal = []\n")]);
        assert_eq!(features(&tree)[0].place, "crates/engine/Cargo.toml");
    }
}
