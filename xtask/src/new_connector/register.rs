//! The lines by which the workspace and the runner know a connector.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml_edit::{Array, DocumentMut, Item, Table, Value};

use super::Name;

const PREFIX: &str = "towpath-connector-";

/// The changed files with their new texts.
pub(super) fn edits(root: &Path, name: &Name) -> Result<Vec<(PathBuf, String)>> {
    let edit = |path: &str, change: fn(&str, &Name) -> Result<String>| -> Result<_> {
        let path = root.join(path);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let changed =
            change(&text, name).with_context(|| format!("cannot add a connector to {}", path.display()))?;
        Ok((path, changed))
    };
    Ok(vec![
        edit("Cargo.toml", workspace_manifest)?,
        edit("crates/runner/Cargo.toml", runner_manifest)?,
        edit("crates/runner/src/connectors.rs", list)?,
    ])
}

fn workspace_manifest(text: &str, name: &Name) -> Result<String> {
    let mut manifest: DocumentMut = text.parse()?;
    let workspace =
        manifest.get_mut("workspace").and_then(Item::as_table_mut).context("there is no [workspace]")?;
    let place = format!("{{ path = \"connectors/{}\" }}", name.as_str());
    insert(table(workspace, "dependencies")?, &name.package(), place.parse()?, |known| {
        known.starts_with(PREFIX)
    });
    Ok(manifest.to_string())
}

fn runner_manifest(text: &str, name: &Name) -> Result<String> {
    let mut manifest: DocumentMut = text.parse()?;
    let dependency = "{ workspace = true, optional = true }".parse()?;
    insert(table(&mut manifest, "dependencies")?, &name.package(), dependency, |known| {
        known.starts_with(PREFIX)
    });

    let features = table(&mut manifest, "features")?;
    let connectors = connector_features(features);
    let feature = Array::from_iter([format!("dep:{}", name.package())]);
    insert(features, name.as_str(), feature.into(), |known| {
        connectors.iter().any(|connector| connector == known)
    });
    let full = features.get_mut("full").and_then(Item::as_array_mut).context("there is no feature `full`")?;
    full.push(name.as_str());
    Ok(manifest.to_string())
}

/// Adds the lines of the last connector once more, for the new one.
fn list(text: &str, name: &Name) -> Result<String> {
    const MODULE: &str = "towpath_connector_";
    let lines: Vec<_> = text.lines().collect();
    let last = lines
        .iter()
        .rposition(|line| line.contains(MODULE) && line.contains("::"))
        .context("it names no connector")?;
    let attribute =
        lines[..=last].iter().rposition(|line| line.contains("feature = \"")).context("it has no cfg")?;
    let known = between(lines[attribute], "feature = \"", "\"").context("its cfg names no feature")?;
    let module = format!("{MODULE}{}", known.replace('-', "_"));
    let copy = lines[attribute..=last].join("\n");
    let copy = copy
        .replace(&format!("\"{known}\""), &format!("\"{}\"", name.as_str()))
        .replace(&module, &name.module());
    let mut changed = lines[..=last].join("\n");
    for part in [copy.as_str()].iter().chain(&lines[last + 1..]) {
        changed.push('\n');
        changed.push_str(part);
    }
    changed.push('\n');
    Ok(changed)
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(inside, _)| inside)
}

fn table<'a>(parent: &'a mut Table, name: &str) -> Result<&'a mut Table> {
    parent.get_mut(name).and_then(Item::as_table_mut).with_context(|| format!("there is no [{name}]"))
}

/// The features that bring a connector.
fn connector_features(features: &Table) -> Vec<String> {
    let brings_one = |item: &Item| {
        let entries = item.as_array().into_iter().flatten();
        entries.filter_map(Value::as_str).any(|entry| entry.starts_with("dep:towpath-connector-"))
    };
    features.iter().filter(|(_, item)| brings_one(item)).map(|(name, _)| name.to_owned()).collect()
}

/// Inserts behind the last key of a kind, and leaves all others where they are, with their comments.
fn insert(table: &mut Table, key: &str, value: Value, kind: impl Fn(&str) -> bool) {
    let mut order: Vec<String> = table.iter().map(|(known, _)| known.to_owned()).collect();
    let place = order.iter().rposition(|known| kind(known)).map_or(order.len(), |last| last + 1);
    order.insert(place, key.to_owned());
    table.insert(key, Item::Value(value));
    let rank = |key: &str| order.iter().position(|known| known == key);
    table.sort_values_by(|a, _, b, _| rank(a.get()).cmp(&rank(b.get())));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        Name::parse("tow-boat").unwrap()
    }

    #[test]
    fn the_workspace_gets_one_line_behind_the_other_connectors() {
        let text = "[workspace]\n[workspace.dependencies]\n# Ours.\ntowpath-core = { path = \"crates/core\" }\n\
                    towpath-connector-file = { path = \"connectors/file\" }\n\n# Others.\nbytes = \"1\"\n";
        let line = "towpath-connector-tow-boat = { path = \"connectors/tow-boat\" }\n";
        let expected = text.replace("\n\n# Others", &format!("\n{line}\n# Others"));
        assert_eq!(workspace_manifest(text, &name()).unwrap(), expected);
    }

    #[test]
    fn the_runner_gets_a_dependency_a_feature_and_an_entry_in_full() {
        let text = "[features]\ndefault = [\"file\"]\nfull = [\"file\"]\nfile = [\"dep:towpath-connector-file\"]\n\
                    csv = []\n\n[dependencies]\ntowpath-connector-file = { workspace = true, optional = true }\n\
                    clap.workspace = true\n";
        let expected = "[features]\ndefault = [\"file\"]\nfull = [\"file\", \"tow-boat\"]\n\
                        file = [\"dep:towpath-connector-file\"]\ntow-boat = [\"dep:towpath-connector-tow-boat\"]\n\
                        csv = []\n\n[dependencies]\ntowpath-connector-file = { workspace = true, optional = true }\n\
                        towpath-connector-tow-boat = { workspace = true, optional = true }\nclap.workspace = true\n";
        assert_eq!(runner_manifest(text, &name()).unwrap(), expected);
    }

    #[test]
    fn the_list_gets_the_same_lines_as_the_last_connector() {
        let text = "const ALL: &[Connector] = &[\n    #[cfg(feature = \"file\")]\n    \
                    towpath_connector_file::CONNECTOR,\n];\n";
        let expected = "const ALL: &[Connector] = &[\n    #[cfg(feature = \"file\")]\n    \
                        towpath_connector_file::CONNECTOR,\n    #[cfg(feature = \"tow-boat\")]\n    \
                        towpath_connector_tow_boat::CONNECTOR,\n];\n";
        assert_eq!(list(text, &name()).unwrap(), expected);
    }
}
