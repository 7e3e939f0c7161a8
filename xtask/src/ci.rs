//! `cargo xtask ci`: every check and every test, each reported even when an earlier one failed.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::towpath::Towpath;
use crate::workspace::{RUNNER, Workspace};
use crate::{docs, process, test, tidy};

mod deny;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leaves out what takes long and rarely fails: rustdoc, cargo-deny, single features, doc tests.
    #[arg(long)]
    fast: bool,
}

/// The package whose formats and codecs are features.
const FORMATS: &str = "towpath-formats";

struct Step {
    name: &'static str,
    fast: bool,
    run: fn(&Workspace) -> Result<()>,
}

/// In this order each step finds the artifacts of the ones before it: everything is type-checked once with all
/// features, then built once with all features; the single features come between, where they hurt least.
/// The tests are last, so that the output closes with their summary.
const STEPS: &[Step] = &[
    Step { name: "format", fast: true, run: format },
    Step { name: "tidy", fast: true, run: tidy::run },
    Step { name: "clippy", fast: true, run: clippy },
    Step { name: "rustdoc", fast: false, run: rustdoc },
    Step { name: "licences and bans", fast: false, run: deny::run },
    Step { name: "single features", fast: false, run: single_features },
    Step { name: "build", fast: true, run: test::build },
    Step { name: "generated files", fast: true, run: generated_files },
    Step { name: "doc tests", fast: false, run: test::doc_tests },
    Step { name: "tests", fast: true, run: tests },
];

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let mut results = Vec::new();
    for step in STEPS.iter().filter(|step| step.fast || !arguments.fast) {
        eprintln!("\n=== {}", step.name);
        let started = Instant::now();
        let result = (step.run)(workspace);
        if let Err(error) = &result {
            eprintln!("error: {error:#}");
        }
        let took = started.elapsed();
        eprintln!("=== {} {} in {}", step.name, outcome(&result), seconds(took));
        results.push((step.name, result, took));
    }

    eprintln!();
    for (name, result, took) in &results {
        eprintln!("{:>8}  {:<18} {}", seconds(*took), name, outcome(result));
    }
    let failed: Vec<_> =
        results.iter().filter(|(_, result, _)| result.is_err()).map(|(name, ..)| *name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn outcome<T>(result: &Result<T>) -> &'static str {
    if result.is_ok() { "passed" } else { "FAILED" }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn format(workspace: &Workspace) -> Result<()> {
    process::run(&mut workspace.cargo(["fmt", "--all", "--check"]))
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo(["clippy", "--quiet", "--all-targets"]);
    process::run(command.args(test::EVERYTHING).args(["--", "-D", "warnings"]))
}

/// Private items are documented too, so that a broken link in them is found.
fn rustdoc(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo(["doc", "--quiet", "--no-deps", "--document-private-items"]);
    process::run(command.args(test::EVERYTHING).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Checks the runner with no connector and with each one alone, and the formats one by one.
fn single_features(workspace: &Workspace) -> Result<()> {
    let mut failures = Vec::new();
    let mut check = |package: &str, feature: &str| {
        let mut command = workspace.cargo(["check", "--quiet", "--no-default-features"]);
        command.args(["--package", package, "--features", feature]);
        eprintln!("{package} with {}", if feature.is_empty() { "no feature" } else { feature });
        failures.extend(process::run(&mut command).err());
    };
    check(RUNNER, "");
    for connector in workspace.connectors() {
        check(RUNNER, &connector);
    }
    for feature in workspace.features(FORMATS) {
        check(FORMATS, &feature);
    }
    if !failures.is_empty() {
        let failures: Vec<_> = failures.iter().map(|error| format!("{error:#}")).collect();
        bail!("{}", failures.join("\n"));
    }
    Ok(())
}

fn generated_files(workspace: &Workspace) -> Result<()> {
    docs::check(workspace, &Towpath::at(workspace.runner_binary("debug"))?)
}

fn tests(workspace: &Workspace) -> Result<()> {
    test::tests(workspace, &["--no-fail-fast".to_owned()])
}
