//! `cargo xtask docs`: the connector reference and the pipeline's JSON Schema, from the config types.
//!
//! The built runner is asked about itself, so that documentation, editors and parser share one definition.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::towpath::Towpath;
use crate::workspace::Workspace;

mod options;
mod page;
mod schema;

use page::Connector;

/// The folder of the connector reference, below the root.
pub(crate) const REFERENCE: &str = "docs/connectors";
const PIPELINE_SCHEMA: &str = "docs/pipeline.schema.json";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Writes nothing, and fails if a generated file is out of date.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let towpath = Towpath::find_or_build(workspace)?;
    if arguments.check { check(workspace, &towpath) } else { write(workspace, &towpath) }
}

/// Fails if a generated file is not what the runner would give now.
pub(crate) fn check(workspace: &Workspace, towpath: &Towpath) -> Result<()> {
    let stale = stale(workspace, generate(towpath)?);
    if stale.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = stale.keys().map(|path| path.display().to_string()).collect();
    bail!("out of date: {}; run `cargo xtask docs` and commit the result", names.join(", "))
}

fn write(workspace: &Workspace, towpath: &Towpath) -> Result<()> {
    for (path, text) in stale(workspace, generate(towpath)?) {
        let target = workspace.root().join(&path);
        let folder = target.parent().context("a generated file has a folder")?;
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&target, text))
            .with_context(|| format!("cannot write {}", target.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// The generated files by path below the root.
type Files = BTreeMap<PathBuf, String>;

/// Those of the files that differ from what is on disk.
fn stale(workspace: &Workspace, mut files: Files) -> Files {
    let root = workspace.root();
    files.retain(|path, text| fs::read_to_string(root.join(path)).ok().as_ref() != Some(text));
    files
}

fn generate(towpath: &Towpath) -> Result<Files> {
    let mut connectors: Vec<Connector> = towpath.json(&["connectors", "--json"])?;
    connectors.sort_by(|a, b| a.name.cmp(&b.name));
    let schema: Value = towpath.json(&["schema"])?;

    let reference = PathBuf::from(REFERENCE);
    let mut files = Files::new();
    files.insert(PIPELINE_SCHEMA.into(), format!("{}\n", serde_json::to_string_pretty(&sorted(schema))?));
    files.insert(reference.join("README.md"), page::index(&connectors));
    for connector in &connectors {
        files.insert(reference.join(format!("{}.md", connector.name)), page::connector(connector));
    }
    Ok(files)
}

/// The same value with its keys in order, whichever map the JSON library was built with.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let entries: BTreeMap<_, _> =
                object.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_written_in_order_at_every_depth() {
        let value = sorted(json!({"b": [{"d": 1, "c": 2}], "a": 3}));
        assert_eq!(value.to_string(), r#"{"a":3,"b":[{"c":2,"d":1}]}"#);
    }
}
