//! `cargo xtask test`: the services that tests need, the built command, then all tests.

use anyhow::{Result, bail};

use crate::packages;
use crate::process;
use crate::services;
use crate::towpath::BINARY_VARIABLE;
use crate::workspace::Workspace;

/// What selects packages and features, the same in every build, so that all of them share artifacts.
pub(crate) const EVERYTHING: [&str; 2] = ["--workspace", "--all-features"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Arguments for nextest (or `cargo test`), such as a filter. With any, the doc tests are left out.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    build(workspace)?;
    let mut failures = Vec::new();
    // The doc tests come first, so that the output ends with the summary of the tests proper.
    if arguments.arguments.is_empty() {
        failures.extend(doc_tests(workspace).err());
    }
    failures.extend(tests(workspace, &arguments.arguments).err());
    match failures.as_slice() {
        [] => Ok(()),
        failures => {
            let failures: Vec<_> = failures.iter().map(|error| format!("{error:#}")).collect();
            bail!("{}", failures.join("\n"))
        }
    }
}

/// Builds every binary and test.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    process::run(workspace.cargo(["build", "--all-targets"]).args(EVERYTHING))
}

pub(crate) fn doc_tests(workspace: &Workspace) -> Result<()> {
    process::run(workspace.cargo(["test", "--quiet", "--doc"]).args(EVERYTHING))
}

/// Runs the tests with the services that they need; those that this run started are stopped at its end.
pub(crate) fn tests(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let packages = packages::for_tests(workspace)?;
    let services = services::for_tests(workspace)?;
    let mut command = match process::find("cargo-nextest") {
        Some(_) => workspace.cargo(["nextest", "run"]),
        None => workspace.cargo(["test", "--all-targets"]),
    };
    command.args(EVERYTHING).args(arguments);
    command
        .env(BINARY_VARIABLE, workspace.runner_binary("debug"))
        .envs(services.variables())
        .envs([packages]);
    let outcome = process::run(&mut command);
    services.stop()?;
    outcome
}
