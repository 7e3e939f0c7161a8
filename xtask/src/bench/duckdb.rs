//! `DuckDB` from `PyPI`, in an environment of its own.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Bench, python};

pub(super) const VERSION: &str = "1.5.5";

/// A Python that has `DuckDB`.
pub(super) struct DuckDb {
    python: String,
}

impl DuckDb {
    /// Installs it, once.
    pub(super) fn install(bench: &Bench) -> Result<Self> {
        Ok(Self { python: python::with(bench, "duckdb", VERSION)? })
    }

    /// Reads a file and writes another; extensions tell the formats. Parquet is compressed as Towpath does it.
    pub(super) fn convert(&self, from: &str, to: &str) -> Command {
        let is =
            |path: &str, extension: &str| Path::new(path).extension().is_some_and(|found| found == extension);
        let read = if is(from, "parquet") {
            "read_parquet"
        } else if is(from, "ndjson") {
            "read_ndjson"
        } else {
            "read_csv"
        };
        let write = if is(to, "parquet") {
            "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"
        } else {
            "FORMAT json"
        };
        let query = format!("COPY (SELECT * FROM {read}('{from}')) TO '{to}' ({write})");
        let mut command = Command::new(&self.python);
        command.args(["-c", "import duckdb, sys; duckdb.sql(sys.argv[1])", &query]);
        command
    }
}
