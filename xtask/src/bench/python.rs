//! Packages of `PyPI`, each in an environment of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

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

/// A program that a package brings, below where packages lie.
pub(super) fn program(python: &str, inside: &str) -> Result<String> {
    let libraries =
        Path::new(python).ancestors().nth(2).context("python lies in an environment")?.join("lib");
    let packages = fs::read_dir(libraries)?.filter_map(Result::ok);
    let mut programs = packages.map(|python| python.path().join("site-packages").join(inside));
    let found = programs.find(|path| path.is_file());
    found.map(|path| path.display().to_string()).with_context(|| format!("the package holds no {inside}"))
}
