//! The workspace as cargo sees it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// The package of the runner, and its binary.
pub(crate) const RUNNER: &str = "towpath";

/// Members, folders and the cargo to call.
#[derive(Clone)]
pub(crate) struct Workspace {
    metadata: Metadata,
}

/// A package of this workspace.
pub(crate) struct Member<'a> {
    /// The folder below the root, such as `connectors/file`.
    pub(crate) folder: String,
    pub(crate) package: &'a Package,
}

impl Workspace {
    /// Reads the workspace that the working directory lies in.
    pub(crate) fn load() -> Result<Self> {
        let metadata = MetadataCommand::new().no_deps().exec().context("cannot read the workspace")?;
        Ok(Self { metadata })
    }

    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    pub(crate) fn target(&self) -> &Path {
        self.metadata.target_directory.as_std_path()
    }

    /// The packages of this workspace, in the order of their folders.
    pub(crate) fn members(&self) -> Vec<Member<'_>> {
        let mut members: Vec<_> = self
            .metadata
            .workspace_packages()
            .into_iter()
            .map(|package| {
                let manifest = package.manifest_path.strip_prefix(&self.metadata.workspace_root);
                let folder = manifest.ok().and_then(|path| path.parent()).map(ToString::to_string);
                Member { folder: folder.unwrap_or_default(), package }
            })
            .collect();
        members.sort_by(|a, b| a.folder.cmp(&b.folder));
        members
    }

    /// The names of the connectors: the folders below `connectors/`.
    pub(crate) fn connectors(&self) -> Vec<String> {
        let members = self.members();
        members.iter().filter_map(|member| member.connector().map(str::to_owned)).collect()
    }

    /// The features of a member, without those that only stand for sets of others.
    pub(crate) fn features(&self, package: &str) -> Vec<String> {
        let members = self.members();
        let features = members.iter().filter(|member| *member.package.name == package);
        features
            .flat_map(|member| member.package.features.keys())
            .filter(|feature| !matches!(feature.as_str(), "default" | "full"))
            .cloned()
            .collect()
    }

    /// A cargo command that runs in the root.
    ///
    /// Some build scripts watch variables that `cargo run` sets for this process; without them gone, each
    /// call from here would rebuild what a call from a shell has built, and the other way round.
    pub(crate) fn cargo<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).current_dir(self.root());
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        command
    }

    /// Where a profile's binary of the runner lies.
    pub(crate) fn runner_binary(&self, profile_folder: &str) -> PathBuf {
        self.target().join(profile_folder).join(format!("{RUNNER}{}", env::consts::EXE_SUFFIX))
    }
}

impl Member<'_> {
    /// The connector's name, if this is one.
    pub(crate) fn connector(&self) -> Option<&str> {
        self.folder.strip_prefix("connectors/")
    }
}
