//! Packages of npm whose files tests read. They are downloaded once and kept below `target`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, id};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::services;
use crate::workspace::Workspace;

/// The variable by which tests find the packages.
const VARIABLE: &str = "TOWPATH_TEST_PACKAGES";

/// Each package with its version. The folder is called as the package is, without its scope.
const PACKAGES: &[(&str, &str)] = &[("@octokit/fixtures", "23.1.2"), ("@octokit/webhooks-examples", "7.6.1")];

/// Downloads what is not there yet.
pub(crate) fn for_tests(workspace: &Workspace) -> Result<(&'static str, PathBuf)> {
    let folder = workspace.target().join("services/downloads/npm");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, version) in PACKAGES {
        download(&folder, name, version).with_context(|| format!("cannot download {name}"))?;
    }
    Ok((VARIABLE, folder))
}

fn download(folder: &Path, name: &str, version: &str) -> Result<()> {
    let short = name.rsplit('/').next().unwrap_or(name);
    let target = folder.join(short);
    let stamp = target.join("version");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == version) {
        return Ok(());
    }
    if process::find("npm").is_none() && !services::install(&["npm"])? {
        bail!("install npm, which downloads what tests read");
    }
    eprintln!("downloading {name} {version}");
    // Another run may do the same at this moment: each has a folder of its own until it is done.
    let draft = folder.join(format!("draft-{short}-{}", id()));
    fs::create_dir_all(&draft)?;
    let package = format!("{name}@{version}");
    let archive =
        process::capture(Command::new("npm").args(["pack", "--silent", &package]).current_dir(&draft))?;
    let archive = archive.lines().last().context("npm names no archive")?.trim();
    process::run(Command::new("tar").args(["-xzf", archive, "--strip-components=1"]).current_dir(&draft))?;
    fs::write(draft.join("version"), version)?;
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    if let Err(error) = fs::rename(&draft, &target) {
        fs::remove_dir_all(&draft)?;
        if !stamp.exists() {
            return Err(error.into());
        }
    }
    Ok(())
}
