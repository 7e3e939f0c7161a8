//! The built runner, for the tasks that ask it about itself.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

use crate::process;
use crate::workspace::Workspace;

/// The variable by which tests and tasks find a runner that was built before.
pub(crate) const BINARY_VARIABLE: &str = "TOWPATH_BIN";

/// A runner that holds every connector.
pub(crate) struct Towpath {
    binary: PathBuf,
}

impl Towpath {
    /// The runner that `TOWPATH_BIN` names, or else one that is built now, with all features.
    pub(crate) fn find_or_build(workspace: &Workspace) -> Result<Self> {
        if let Some(binary) = env::var_os(BINARY_VARIABLE) {
            return Self::at(binary.into());
        }
        process::run(&mut workspace.cargo(["build", "--package", "towpath", "--all-features"]))?;
        Self::at(workspace.runner_binary("debug"))
    }

    /// The runner at a path.
    pub(crate) fn at(binary: PathBuf) -> Result<Self> {
        ensure!(binary.is_file(), "there is no towpath binary at {}", binary.display());
        Ok(Self { binary })
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Runs a command that prints JSON, and reads it.
    pub(crate) fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let mut command = Command::new(&self.binary);
        let output = process::capture(command.args(arguments))?;
        serde_json::from_str(&output).with_context(|| {
            format!("`{}` did not print the JSON that xtask expects", process::display(&command))
        })
    }
}
