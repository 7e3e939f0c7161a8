//! `DuckDB` with its extension for S3, which `PyPI` has.

use std::process::Command;

use anyhow::Result;

use crate::bench::duckdb::VERSION;
use crate::bench::{Bench, python};

/// What it does; who it is comes from the environment.
const SCRIPT: &str = r#"
import duckdb, duckdb_extension_httpfs, glob, os, sys

folder = os.path.dirname(duckdb_extension_httpfs.__file__)
(extension,) = glob.glob(os.path.join(folder, "**", "*.duckdb_extension"), recursive=True)
connection = duckdb.connect()
connection.execute(f"LOAD '{extension}'")
key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
address = os.environ["AWS_ENDPOINT"].removeprefix("http://")
connection.execute(
    f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', REGION 'us-east-1', "
    f"ENDPOINT '{address}', URL_STYLE 'path', USE_SSL false)"
)
how = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"
connection.execute(f"COPY (FROM read_parquet('{sys.argv[1]}')) TO '{sys.argv[2]}' ({how})")
"#;

/// A Python that has both.
pub(super) struct DuckDb {
    python: String,
}

impl DuckDb {
    /// Installs them, once.
    pub(super) fn install(bench: &Bench) -> Result<Self> {
        Ok(Self { python: python::with(bench, "duckdb-extension-httpfs", VERSION)? })
    }

    /// Reads Parquet files and writes one.
    pub(super) fn scan(&self, from: &str, to: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["-c", SCRIPT, from, to]);
        command
    }
}
