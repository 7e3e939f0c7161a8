//! Peers from `PyPI`, in environments of their own. One that cannot be installed is left out, and that is told.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::bench::duckdb::VERSION;
use crate::bench::work::Rival;
use crate::bench::{Bench, python};
use crate::process;

/// Each peer and its packages.
const PEERS: &[(&str, &[&str])] = &[
    ("duckdb", &[DUCKDB, "duckdb-extension-postgres-scanner", "duckdb-extension-mysql-scanner"]),
    ("connectorx", &["connectorx==0.4.6", "pyarrow"]),
    ("polars", &["polars", "connectorx==0.4.6", "pyarrow"]),
    ("adbc", &["adbc-driver-postgresql", "pyarrow"]),
    (
        "dlt",
        &["dlt[parquet]==1.31.0", "connectorx==0.4.6", "psycopg2-binary", "pymysql", "sqlalchemy", "pymongo"],
    ),
    ("pymongoarrow", &["pymongoarrow==1.15.0", "pyarrow"]),
    (SLING, &["sling-linux-amd64==1.4.11"]),
];

/// Those that do not go with the packages of the others.
const ALONE: [&str; 1] = ["pymongoarrow"];

/// Those of which one run says enough.
const SLOW: [&str; 3] = ["polars", "adbc", "dlt"];

const DUCKDB: &str = "duckdb==1.5.5";
const SLING: &str = "sling";
const SLING_PROGRAM: &str = "sling_linux_amd64/bin/sling-linux-amd64";

/// What they do, by way of Python.
const SCRIPT: &str = include_str!("peers.py");

/// Those that are installed.
pub(super) struct Peers {
    environment: String,
    script: String,
    installed: Vec<&'static str>,
    missing: Vec<&'static str>,
}

impl Peers {
    /// Installs each of them, once.
    pub(super) fn install(bench: &Bench) -> Result<Self> {
        debug_assert!(DUCKDB.ends_with(VERSION), "one version of DuckDB for all benchmarks");
        let (environment, script) = (bench.path("peers"), bench.path("peers.py"));
        fs::write(&script, SCRIPT)?;
        let mut peers = Self { environment, script, installed: Vec::new(), missing: Vec::new() };
        for (name, packages) in PEERS {
            match peers.install_one(name, packages) {
                Ok(()) => peers.installed.push(name),
                Err(error) => {
                    eprintln!("{name} is left out: {error:#}");
                    peers.missing.push(name);
                }
            }
        }
        Ok(peers)
    }

    /// Where the packages of a peer are.
    fn environment(&self, name: &str) -> String {
        if ALONE.contains(&name) { format!("{}-{name}", self.environment) } else { self.environment.clone() }
    }

    fn python(&self, name: &str) -> String {
        format!("{}/bin/python", self.environment(name))
    }

    fn install_one(&self, name: &str, packages: &[&str]) -> Result<()> {
        let (environment, python) = (self.environment(name), self.python(name));
        if !fs::exists(&python)? {
            process::run(Command::new("python3").args(["-m", "venv", &environment]))?;
        }
        let stamp = format!("{environment}/installed-{name}");
        if !fs::exists(&stamp)? {
            let mut pip = Command::new(python);
            process::run(pip.args(["-m", "pip", "install", "--quiet"]).args(packages))?;
            fs::write(&stamp, "")?;
        }
        Ok(())
    }

    pub(super) fn missing(&self) -> &[&'static str] {
        &self.missing
    }

    /// A peer that goes by way of Python, if it is installed.
    pub(super) fn rival<'a>(&'a self, peer: Peer<'a>) -> Option<Rival<'a>> {
        self.installed.contains(&peer.name).then(|| {
            let Peer { shown, goal, name, work, table, from, to, prepare } = peer;
            let command = move || {
                prepare()?;
                let mut command = Command::new(self.python(name));
                command.args([&self.script, name, work, table, &from, &to]);
                Ok(command)
            };
            let rival = Rival::new(name, shown, goal, command).peer();
            if SLOW.contains(&name) { rival.once() } else { rival }
        })
    }

    /// Sling, if it is installed. It writes Parquet by a program that it would have to download, and CSV by itself.
    pub(super) fn sling<'a>(
        &'a self,
        shown: &'static str,
        arguments: Vec<String>,
        prepare: impl Fn() -> Result<()> + 'a,
    ) -> Option<Rival<'a>> {
        self.installed.contains(&SLING).then(|| {
            let command = move || {
                prepare()?;
                let mut command = Command::new(python::program(&self.python(SLING), SLING_PROGRAM)?);
                command.arg("run").args(&arguments);
                Ok(command)
            };
            Rival::new(SLING, shown, "ahead", command).peer().once()
        })
    }
}

/// What a peer is asked for.
pub(super) struct Peer<'a> {
    pub(super) shown: &'static str,
    pub(super) goal: &'static str,
    /// Its function in the script.
    pub(super) name: &'static str,
    pub(super) work: &'static str,
    pub(super) table: &'a str,
    pub(super) from: String,
    pub(super) to: String,
    /// Clears what an earlier run has left.
    pub(super) prepare: Box<dyn Fn() -> Result<()> + 'a>,
}
