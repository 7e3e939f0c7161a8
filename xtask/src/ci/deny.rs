//! Licences, banned crates and sources, by cargo-deny under the rules in `deny.toml`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::workspace::Workspace;

/// The version that is built where none is installed; a newer one may want a newer compiler.
const VERSION: &str = "cargo-deny@0.20.2";

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    let deny = find_or_install(workspace)?;
    let command = |checks: &[&str]| {
        let mut command = Command::new(&deny);
        command.args(["--all-features", "--workspace", "check", "--hide-inclusion-graph"]).args(checks);
        command.current_dir(workspace.root());
        command
    };
    process::run(&mut command(&["bans", "licenses", "sources"]))?;

    let database = Command::new(&deny).args(["fetch", "db"]).current_dir(workspace.root()).output();
    if database.is_ok_and(|output| output.status.success()) {
        process::run(&mut command(&["advisories"]))
    } else {
        eprintln!("skipped: advisories, because their database cannot be reached from here");
        Ok(())
    }
}

/// The cargo-deny on `PATH`, or else one below `target`, which is built once.
fn find_or_install(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(found) = process::find("cargo-deny") {
        return Ok(found);
    }
    let tools = workspace.target().join("tools");
    let binary = tools.join("bin/cargo-deny");
    if !binary.is_file() {
        let mut install = workspace.cargo(["install", "--quiet", "--locked", VERSION, "--root"]);
        process::run(install.arg(&tools))
            .context("install cargo-deny by hand, or make crates.io reachable")?;
        ensure!(binary.is_file(), "cargo install left no {}", binary.display());
    }
    Ok(binary)
}
