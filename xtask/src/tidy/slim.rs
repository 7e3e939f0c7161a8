//! A binary with one connector holds nothing of another.

use anyhow::Result;

use super::Problem;
use super::layers::DRIVERS;
use crate::process;
use crate::workspace::{RUNNER, Workspace};

/// Asks cargo what a binary with each connector alone would link.
pub(super) fn check(workspace: &Workspace) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for connector in workspace.connectors() {
        let mut command =
            workspace.cargo(["tree", "--package", RUNNER, "--no-default-features", "--edges", "normal"]);
        command.args(["--prefix", "none", "--format", "{p}", "--features", &connector]);
        problems.extend(foreign(&connector, &process::capture(&mut command)?));
    }
    Ok(problems)
}

/// The crates of other connectors in a list of `name version` lines.
fn foreign(connector: &str, packages: &str) -> Vec<Problem> {
    let mut names: Vec<_> = packages.lines().filter_map(|line| line.split_whitespace().next()).collect();
    names.sort_unstable();
    names.dedup();
    let belongs = |name: &&str| match name.strip_prefix("towpath-connector-") {
        Some(other) => other == connector,
        None if *name == "towpath-testkit" => false,
        None => DRIVERS.iter().all(|(driver, owners)| driver != name || owners.contains(&connector)),
    };
    let problem = |name: &str| {
        let fix = format!(
            "see `cargo tree -p {RUNNER} --no-default-features --features {connector} -e normal -i {name}`"
        );
        Problem::new(format!("feature `{connector}` of {RUNNER}"), format!("brings {name}"), fix)
    };
    names.into_iter().filter(|name| !belongs(name)).map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_another_connector_is_found() {
        let packages = "towpath v0.1.0\ntowpath-connector-http v0.1.0\ntowpath-connector-file v0.1.0\n\
                        reqwest v0.13.1\nmongodb v3.9.0\ntowpath-testkit v0.1.0\nmongodb v3.9.0 (*)\n";
        let whats: Vec<_> = foreign("http", packages).into_iter().map(|problem| problem.what).collect();
        assert_eq!(whats, ["brings mongodb", "brings towpath-connector-file", "brings towpath-testkit"]);
    }
}
