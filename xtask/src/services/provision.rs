//! Getting a server onto this machine, where it is not there yet.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::site::Site;
use crate::process;

/// Installs Debian packages as root, or else unpacks them below `target/services`.
/// Returns the root of the file system that holds them.
pub(super) fn debian(site: &Site, packages: &[&str]) -> Result<PathBuf> {
    if process::find("apt-get").is_none() {
        bail!("install {} by hand: there is no apt-get on this machine", packages.join(" and "));
    }
    if rustix::process::geteuid().is_root() {
        install(packages)?;
        return Ok(PathBuf::from("/"));
    }
    unpack(&site.downloads(), packages)
}

/// Whether packages can be put where a server that is installed finds them.
pub(super) fn can_install() -> bool {
    process::find("apt-get").is_some() && rustix::process::geteuid().is_root()
}

pub(super) fn install(packages: &[&str]) -> Result<()> {
    eprintln!("installing {}", packages.join(" "));
    apt_get(&["update", "-qq"])?;
    let options = ["install", "-qq", "--yes", "--no-install-recommends"];
    apt_get(&[&options, packages].concat())
}

/// Runs apt-get without a question, and without starting what it installs (run level 1 starts no service).
fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    process::run(command.stdin(Stdio::null()).stdout(io::stderr()))
}

/// Downloads packages, with whatever they need that is not installed, and unpacks them into one tree.
fn unpack(downloads: &Path, packages: &[&str]) -> Result<PathBuf> {
    let root = downloads.join(format!("debian-{}", packages.join("-")));
    if root.is_dir() {
        return Ok(root);
    }
    eprintln!("unpacking {} below {}", packages.join(" "), downloads.display());
    let simulation = ["--simulate", "install", "--no-install-recommends"];
    let simulation = process::capture(Command::new("apt-get").args(simulation).args(packages))
        .context("apt-get does not know the packages; as root, run `apt-get update`")?;

    let draft = root.with_extension("draft");
    fs::create_dir_all(&draft).with_context(|| format!("cannot make {}", draft.display()))?;
    process::run(
        Command::new("apt-get")
            .args(["download", "-qq"])
            .args(would_install(&simulation))
            .current_dir(&draft)
            .stdout(io::stderr()),
    )?;
    for entry in fs::read_dir(&draft)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            process::run(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(&draft))?;
            fs::remove_file(&path)?;
        }
    }
    fs::rename(&draft, &root)?;
    Ok(root)
}

/// The packages of lines such as `Inst libpq5 (15.8 Debian:12/stable [amd64])`.
fn would_install(simulation: &str) -> Vec<&str> {
    let installed = simulation.lines().filter_map(|line| line.strip_prefix("Inst "));
    installed.filter_map(|line| line.split_whitespace().next()).collect()
}

/// The value of `LD_LIBRARY_PATH` for programs of an unpacked tree.
pub(super) fn library_path(root: &Path) -> String {
    let folder = root.join(format!("usr/lib/{}-linux-gnu", env::consts::ARCH));
    folder.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_from_a_simulation() {
        let simulation = "NOTE: This is only a simulation!\nInst libpq5 (15.8 Debian:12/stable [amd64])\n\
                          Inst postgresql-15 [15.7] (15.8 Debian:12/stable [amd64])\nConf libpq5 (15.8)\n";
        assert_eq!(would_install(simulation), ["libpq5", "postgresql-15"]);
    }
}
