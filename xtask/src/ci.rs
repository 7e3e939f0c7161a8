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
    /// Runs these steps alone, by their names in the report.
    #[arg(long, value_delimiter = ',', conflicts_with = "fast")]
    only: Vec<String>,
}

/// The package whose formats and codecs are features.
const FORMATS: &str = "towpath-formats";

/// The package whose archives each must build alone.
const FILES: &str = "towpath-files";

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
    Step { name: "licences", fast: false, run: deny::run },
    Step { name: "features", fast: false, run: single_features },
    Step { name: "build", fast: true, run: test::build },
    Step { name: "generated", fast: true, run: generated_files },
    Step { name: "doctests", fast: false, run: test::doc_tests },
    Step { name: "tests", fast: true, run: all_tests },
];

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let mut results = Vec::new();
    for step in select(STEPS, arguments)? {
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
        eprintln!("{:>8}  {:<10} {}", seconds(*took), name, outcome(result));
    }
    let failed: Vec<_> =
        results.iter().filter(|(_, result, _)| result.is_err()).map(|(name, ..)| *name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn select<'a>(steps: &'a [Step], arguments: &Arguments) -> Result<Vec<&'a Step>> {
    let known: Vec<_> = steps.iter().map(|step| step.name).collect();
    if let Some(unknown) = arguments.only.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no step `{unknown}`; there are: {}", known.join(", "));
    }
    let chosen = |step: &&Step| {
        let named = arguments.only.is_empty() || arguments.only.iter().any(|name| name == step.name);
        named && (step.fast || !arguments.fast)
    };
    Ok(steps.iter().filter(chosen).collect())
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
        // What a single feature leaves unused is warned about, which is no news: errors alone are shown.
        failures.extend(process::capture(&mut command).err());
    };
    check(RUNNER, "");
    for connector in workspace.connectors() {
        check(RUNNER, &connector);
    }
    for package in [FORMATS, FILES] {
        for feature in workspace.features(package) {
            check(package, &feature);
        }
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

fn all_tests(workspace: &Workspace) -> Result<()> {
    test::tests(workspace, &["--no-fail-fast".to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: &[Step] = &[
        Step { name: "clippy", fast: true, run: |_| Ok(()) },
        Step { name: "rustdoc", fast: false, run: |_| Ok(()) },
    ];

    fn names(fast: bool, only: &[&str]) -> Result<Vec<&'static str>> {
        let arguments = Arguments { fast, only: only.iter().map(ToString::to_string).collect() };
        Ok(select(SOME, &arguments)?.into_iter().map(|step| step.name).collect())
    }

    #[test]
    fn fast_leaves_out_the_slow_steps() {
        assert_eq!(names(false, &[]).unwrap(), ["clippy", "rustdoc"]);
        assert_eq!(names(true, &[]).unwrap(), ["clippy"]);
    }

    #[test]
    fn steps_run_alone_by_name() {
        assert_eq!(names(false, &["rustdoc"]).unwrap(), ["rustdoc"]);
        let error = names(false, &["clipy"]).unwrap_err().to_string();
        assert_eq!(error, "there is no step `clipy`; there are: clippy, rustdoc");
    }
}
