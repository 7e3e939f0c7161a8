//! Peak memory for ten times the data.

use std::fs;

use anyhow::Result;

use super::Bench;
use super::convert::towpath;
use super::measure::compare;
use super::table::{Table, megabytes, seconds};

/// The large file is read so often.
const RUNS: usize = 3;

pub(super) fn run(bench: &Bench) -> Result<String> {
    let mut table = Table::new(&["work", "rows", "file", "time", "peak memory"]);
    for (name, format) in [("CSV → Parquet", "parquet"), ("CSV → NDJSON", "ndjson")] {
        for rows in [bench.rows, bench.rows * 10] {
            let from = bench.csv(rows)?;
            let to = bench.path(&format!("memory.{format}"));
            let contestant = Box::new(|| towpath(bench, &from, &to));
            let run = compare(&bench.folder, bench.runs.min(RUNS), &mut [(name, contestant)])?.remove(0);
            let size = fs::metadata(&from)?.len();
            table.row(&[
                name.into(),
                rows.to_string(),
                megabytes(size),
                seconds(run.wall),
                megabytes(run.peak),
            ]);
        }
    }
    Ok(table.finish())
}
