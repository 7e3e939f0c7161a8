//! Packages of `PyPI`, each in an environment of its own.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::Bench;
use crate::process;

/// A Python that has this version of a package, which is installed once.
pub(super) fn with(bench: &Bench, package: &str, version: &str) -> Result<String> {
    let environment = bench.path(&format!("{package}-{version}"));
    let (python, installed) = (format!("{environment}/bin/python"), format!("{environment}/installed"));
    if !fs::exists(&installed)? {
        process::run(Command::new("python3").args(["-m", "venv", &environment]))?;
        let package = format!("{package}=={version}");
        process::run(Command::new(&python).args(["-m", "pip", "install", "--quiet", &package]))?;
        fs::write(&installed, "")?;
    }
    Ok(python)
}
