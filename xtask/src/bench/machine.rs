//! What the figures were measured on.

use std::env;
use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context, Result};

use super::{Bench, duckdb};
use crate::process;

pub(super) fn run(bench: &Bench) -> Result<String> {
    let cpu = field("/proc/cpuinfo", "model name")?;
    let memory: u64 = field("/proc/meminfo", "MemTotal")?.trim_end_matches(" kB").parse()?;
    let kernel = process::capture(Command::new("uname").arg("-sr"))?;
    let compiler = process::capture(
        Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version"),
    )?;
    let root = bench.workspace.root();
    let commit =
        process::capture(Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(root))?;
    let lock = fs::read_to_string(root.join("Cargo.lock"))?;
    let versions = ["arrow", "parquet", "hyper", "tokio"].map(|name| version(&lock, name));
    Ok(format!(
        "- {cpu}, {} cores, {} GB of memory, {}\n- Towpath at {}, {}, profile `release`, all features\n- {}\n- DuckDB {}\n",
        available_parallelism()?,
        memory / 1_000_000,
        kernel.trim(),
        commit.trim(),
        compiler.trim(),
        versions.join(", "),
        duckdb::VERSION,
    ))
}

fn field(path: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let value = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name);
    Ok(value.with_context(|| format!("{path} has no {name}"))?.1.trim().to_owned())
}

fn version(lock: &str, name: &str) -> String {
    let package = format!("name = \"{name}\"\nversion = \"");
    let version = lock.split_once(&package).and_then(|(_, rest)| rest.split_once('"'));
    format!("{name} {}", version.map_or("unknown", |(version, _)| version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = "[[package]]\nname = \"arrow\"\nversion = \"59.3.2\"\n";
        assert_eq!(version(lock, "arrow"), "arrow 59.3.2");
    }
}
