//! `cargo xtask new-connector`: the skeleton of a connector, and its lines in the workspace and the runner.
//!
//! The skeleton compiles; its conformance test fails until the traits are filled in.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::workspace::{RUNNER, Workspace};

mod register;
mod skeleton;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The connector's name: small letters, digits and hyphens.
    name: String,
    /// It reads. Without either flag, it does both.
    #[arg(long)]
    source: bool,
    /// It writes.
    #[arg(long)]
    sink: bool,
}

/// What a connector shall be.
struct Plan {
    name: Name,
    source: bool,
    sink: bool,
}

/// A connector's name in its different forms.
struct Name(String);

impl Name {
    fn parse(name: &str) -> Result<Self> {
        let good = |character: char| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'
        };
        let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase());
        let ends_well = !name.ends_with('-') && !name.contains("--");
        ensure!(
            starts_well && ends_well && name.chars().all(good),
            "`{name}` is no name for a connector: use small letters, digits and single hyphens, a letter first"
        );
        Ok(Self(name.to_owned()))
    }

    fn as_str(&self) -> &str {
        &self.0
    }

    fn package(&self) -> String {
        format!("towpath-connector-{}", self.0)
    }

    fn module(&self) -> String {
        self.package().replace('-', "_")
    }

    /// As the beginning of a type's name: `google-sheets` gives `GoogleSheets`.
    fn type_name(&self) -> String {
        let capitalize = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        self.0.split('-').map(capitalize).collect()
    }
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let name = Name::parse(&arguments.name)?;
    ensure!(
        !workspace.features(RUNNER).iter().any(|feature| feature == name.as_str()),
        "`{}` is taken: the runner has a feature of that name",
        name.as_str()
    );
    let both = !arguments.source && !arguments.sink;
    let plan = Plan { name, source: arguments.source || both, sink: arguments.sink || both };
    write(workspace.root(), &plan)?;

    let (name, package) = (plan.name.as_str(), plan.name.package());
    // How long lines are depends on the name.
    process::run(&mut workspace.cargo(["fmt", "--package", &package]))?;
    println!("wrote connectors/{name} and its lines in Cargo.toml and crates/runner. Now:");
    println!("  1. fill in the traits until `cargo test -p {package}` passes: docs/writing-a-connector.md");
    println!("  2. name its driver in DRIVERS of xtask/src/tidy/layers.rs");
    println!("  3. write its page by `cargo xtask docs`");
    Ok(())
}

fn write(root: &Path, plan: &Plan) -> Result<()> {
    let folder = root.join("connectors").join(plan.name.as_str());
    ensure!(!folder.exists(), "{} exists already", folder.display());
    // The lines come first: they can fail, and then nothing has been written.
    let mut files = register::edits(root, &plan.name)?;
    files.extend(skeleton::files(plan).into_iter().map(|(path, text)| (folder.join(path), text)));
    for (path, text) in files {
        let parent = path.parent().context("a file has a folder")?;
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
