//! `cargo xtask slim`: the smallest binary that runs a pipeline.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::process;
use crate::towpath::Towpath;
use crate::workspace::{RUNNER, Workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The pipeline whose connectors, formats and codecs the binary shall hold.
    pipeline: PathBuf,
    /// Features on top of those that the pipeline needs.
    #[arg(long, value_delimiter = ',')]
    features: Vec<String>,
}

/// What `towpath connectors --needed` prints.
#[derive(Deserialize)]
struct Needed {
    features: Vec<String>,
}

/// What `towpath connectors --json` prints, as far as it matters here.
#[derive(Deserialize)]
struct Connector {
    name: String,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let features = features(workspace, arguments)?;
    let mut build =
        workspace.cargo(["build", "--profile", "dist", "--package", RUNNER, "--no-default-features"]);
    process::run(build.arg("--features").arg(features.join(",")))?;

    let slim = Towpath::at(workspace.runner_binary("dist"))?;
    let inside: Vec<Connector> = slim.json(&["connectors", "--json"])?;
    let inside: Vec<_> = inside.into_iter().map(|connector| connector.name).collect();
    let bytes = fs::metadata(slim.binary())?.len();
    println!("binary      {}", slim.binary().display());
    println!("size        {}", megabytes(bytes));
    println!("features    {}", features.join(", "));
    println!("connectors  {}", inside.join(", "));
    Ok(())
}

/// What the pipeline needs and what was asked for, checked against what the runner has.
fn features(workspace: &Workspace, arguments: &Arguments) -> Result<Vec<String>> {
    let full = Towpath::find_or_build(workspace)?;
    let pipeline = arguments.pipeline.to_str().context("the pipeline's path is not UTF-8")?;
    let needed: Needed = full.json(&["connectors", "--needed", pipeline, "--json"])?;
    let features: BTreeSet<_> =
        needed.features.into_iter().chain(arguments.features.iter().cloned()).collect();
    let known = workspace.features(RUNNER);
    for feature in &features {
        ensure!(known.contains(feature), "towpath has no feature `{feature}`; it has: {}", known.join(", "));
    }
    Ok(features.into_iter().collect())
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_shown_in_megabytes() {
        assert_eq!(megabytes(8_249_000), "8.2 MB");
    }
}
