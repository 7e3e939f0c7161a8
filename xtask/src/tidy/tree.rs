//! The files of the repository, as the rules see them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use toml_edit::{DocumentMut, Item, TableLike};

use crate::process;

/// Every text file that belongs to the repository, with the manifests parsed.
pub(super) struct Tree {
    pub(super) files: Vec<File>,
    pub(super) root: DocumentMut,
    pub(super) members: Vec<Crate>,
}

/// A file, with its path below the root.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

/// A member of the workspace.
pub(super) struct Crate {
    /// Such as `crates/core`.
    pub(super) folder: String,
    pub(super) manifest: DocumentMut,
    pub(super) dependencies: Vec<Dependency>,
}

/// A dependency as a member's manifest declares it.
pub(super) struct Dependency {
    /// The name in the manifest.
    pub(super) name: String,
    /// The name of the package, which differs for a renamed one.
    pub(super) package: String,
    pub(super) development: bool,
    /// Whether it is `workspace = true`, with neither version nor place of its own.
    pub(super) inherited: bool,
}

impl Tree {
    /// Reads what git tracks or would track; what it ignores is not part of the repository.
    pub(super) fn load(root: &Path) -> Result<Self> {
        let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let paths = process::capture(Command::new("git").args(arguments).current_dir(root))?;
        let read = |path: &str| Some((path.to_owned(), fs::read_to_string(root.join(path)).ok()?));
        Self::new(paths.split('\0').filter_map(read))
    }

    pub(super) fn new(files: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let files: Vec<_> = files.into_iter().map(|(path, text)| File { path, text }).collect();
        let root = files.iter().find(|file| file.path == "Cargo.toml").context("there is no Cargo.toml")?;
        let root: DocumentMut = root.text.parse().context("Cargo.toml is not TOML")?;
        let mut members = Vec::new();
        for file in &files {
            if let Some(folder) = member_folder(&file.path) {
                let manifest: DocumentMut =
                    file.text.parse().with_context(|| format!("{} is not TOML", file.path))?;
                let dependencies = dependencies(&manifest, &root);
                members.push(Crate { folder: folder.to_owned(), manifest, dependencies });
            }
        }
        members.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(Self { files, root, members })
    }

    pub(super) fn file(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// The files below a folder, with an extension.
    pub(super) fn below<'a>(&'a self, folder: &'a str, extension: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| {
            let inside = file.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
            inside && has_extension(&file.path, extension)
        })
    }

    pub(super) fn member(&self, folder: &str) -> Option<&Crate> {
        self.members.iter().find(|member| member.folder == folder)
    }

    /// The connectors by name.
    pub(super) fn connectors(&self) -> Vec<&str> {
        self.members.iter().filter_map(|member| member.folder.strip_prefix("connectors/")).collect()
    }

    /// The folder of the member that a package belongs to.
    pub(super) fn folder_of(&self, package: &str) -> Option<&str> {
        let member = self.members.iter().find(|member| member.package() == package)?;
        Some(&member.folder)
    }
}

impl Crate {
    pub(super) fn package(&self) -> &str {
        self.manifest
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(Item::as_str)
            .unwrap_or_default()
    }

    pub(super) fn manifest_path(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }

    /// A feature's entries, if there is such a feature.
    pub(super) fn feature(&self, name: &str) -> Option<Vec<&str>> {
        let entries = self.manifest.get("features")?.get(name)?.as_array()?;
        Some(entries.iter().filter_map(|entry| entry.as_str()).collect())
    }
}

pub(super) fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

fn member_folder(path: &str) -> Option<&str> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    let is_member = match folder.split_once('/') {
        Some(("crates" | "connectors", name)) => !name.contains('/'),
        Some(_) => false,
        None => true,
    };
    is_member.then_some(folder)
}

fn dependencies(manifest: &DocumentMut, root: &DocumentMut) -> Vec<Dependency> {
    let mut found = Vec::new();
    let targets = manifest.get("target").and_then(Item::as_table_like);
    let targets = targets.into_iter().flat_map(TableLike::iter).map(|(_, target)| target);
    for scope in std::iter::once(manifest.as_item()).chain(targets) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let table = scope.get(kind).and_then(Item::as_table_like);
            for (name, item) in table.into_iter().flat_map(TableLike::iter) {
                let package = package_of(item)
                    .or_else(|| package_of(root.get("workspace")?.get("dependencies")?.get(name)?));
                let own = ["version", "path", "git"].iter().any(|key| item.get(key).is_some());
                let workspace = item.get("workspace").and_then(Item::as_bool) == Some(true);
                found.push(Dependency {
                    name: name.to_owned(),
                    package: package.unwrap_or_else(|| name.to_owned()),
                    development: kind == "dev-dependencies",
                    inherited: workspace && !own,
                });
            }
        }
    }
    found
}

fn package_of(dependency: &Item) -> Option<String> {
    dependency.get("package")?.as_str().map(str::to_owned)
}

/// A small, tidy workspace, with files replaced or added.
#[cfg(test)]
pub(super) fn fixture(changes: &[(&str, &str)]) -> Tree {
    const HEAD: &str = "version.workspace = true\nedition.workspace = true\nrust-version.workspace = true\n\
                        license.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true\n";
    let manifest = |name: &str, rest: &str| format!("[package]\nname = \"{name}\"\n{HEAD}{rest}");
    let on_core = "[dependencies]\ntowpath-core.workspace = true\n";
    let runner = "[features]\ndefault = [\"canal\"]\nfull = [\"canal\"]\ncanal = [\"dep:towpath-connector-canal\"]\n\
                  [dependencies]\ntowpath-connector-canal = { workspace = true, optional = true }\n";
    let canal = "[dependencies]\ntowpath-core.workspace = true\n[dev-dependencies]\ntowpath-testkit.workspace = true\n";
    let mut files = std::collections::BTreeMap::from([
        ("Cargo.toml".to_owned(), "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n".to_owned()),
        ("Cargo.lock".to_owned(), "[[package]]\nname = \"arrow\"\nversion = \"59.3.0\"\n".to_owned()),
        ("crates/core/Cargo.toml".to_owned(), manifest("towpath-core", "")),
        ("crates/engine/Cargo.toml".to_owned(), manifest("towpath-engine", on_core)),
        ("crates/engine/src/lib.rs".to_owned(), "use towpath_core::Source;\n".to_owned()),
        ("crates/testkit/Cargo.toml".to_owned(), manifest("towpath-testkit", "")),
        ("crates/runner/Cargo.toml".to_owned(), manifest("towpath", runner)),
        (
            "crates/runner/src/connectors.rs".to_owned(),
            "#[cfg(feature = \"canal\")]\ntowpath_connector_canal::CONNECTOR,\n".to_owned(),
        ),
        ("connectors/canal/Cargo.toml".to_owned(), manifest("towpath-connector-canal", canal)),
        ("connectors/canal/src/lib.rs".to_owned(), "use towpath_core::Source;\n".to_owned()),
        ("connectors/canal/tests/conformance.rs".to_owned(), "use towpath_testkit::suite;\n".to_owned()),
        ("docs/connectors/canal.md".to_owned(), "# canal\n".to_owned()),
    ]);
    for (path, text) in changes {
        if text.is_empty() {
            files.remove(*path);
        } else if let Some(added) = text.strip_prefix("+") {
            files.entry((*path).to_owned()).or_default().push_str(added);
        } else {
            files.insert((*path).to_owned(), (*text).to_owned());
        }
    }
    Tree::new(files).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixture_breaks_no_rule() {
        let tree = fixture(&[]);
        let problems: Vec<_> = super::super::RULES.iter().flat_map(|rule| rule(&tree)).collect();
        assert_eq!(problems, []);
    }

    #[test]
    fn a_renamed_dependency_is_known_by_its_package() {
        let tree = fixture(&[
            ("Cargo.toml", "[workspace.dependencies]\ndriver = { package = \"mongodb\", version = \"3\" }\n"),
            (
                "crates/core/Cargo.toml",
                "[package]\nname = \"towpath-core\"\n[dependencies]\ndriver.workspace = true\n",
            ),
        ]);
        assert_eq!(tree.member("crates/core").unwrap().dependencies[0].package, "mongodb");
    }
}
