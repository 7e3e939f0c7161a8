//! File to file: on one processor beside a bare loop over the same crates, on two beside peers.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use super::Bench;
use super::duckdb::DuckDb;
use super::latency::remove;
use super::measure::{Contestant, Measured, compare, pinned};
use super::table::{Table, megabytes, seconds, times};
use crate::process;

/// A file's format becomes another.
pub(super) struct Case {
    pub(super) name: &'static str,
    from: &'static str,
    pub(super) to: &'static str,
}

pub(super) const CASES: [Case; 5] = [
    Case { name: "CSV → Parquet", from: "csv", to: "parquet" },
    Case { name: "CSV → NDJSON", from: "csv", to: "ndjson" },
    Case { name: "NDJSON → Parquet", from: "ndjson", to: "parquet" },
    Case { name: "Parquet → NDJSON", from: "parquet", to: "ndjson" },
    Case { name: "CSV.gz → NDJSON", from: "csv.gz", to: "ndjson" },
];

const ONE: &str = "0";
const TWO: &str = "0,1";

/// A peer that is measured where it can be found.
const FAUCET: &str = "faucet";

pub(super) fn run(bench: &Bench) -> Result<String> {
    let duckdb = DuckDb::install(bench)?;
    let faucet = process::find(FAUCET).is_some();
    let mut ratios = Table::new(&[
        "one processor",
        "bare loop",
        "Towpath",
        "of the bare loop's time",
        "goal",
        "on two",
        "faster",
        "peak memory",
    ]);
    let mut peers =
        Table::new(&["two processors", "Towpath", "DuckDB", "faucet", "peak memory", "DuckDB", "faucet"]);
    for case in &CASES {
        eprintln!("{}", case.name);
        let runs = case.compare(bench, &duckdb, faucet)?;
        let [bare, one, two, duckdb, ..] = &runs[..] else { continue };
        ratios.row(&[
            case.name.to_owned(),
            seconds(bare.wall),
            seconds(one.wall),
            times(one.wall, bare.wall),
            "1.2 ×".to_owned(),
            seconds(two.wall),
            times(one.wall, two.wall),
            megabytes(two.peak),
        ]);
        let of_faucet = |figure: fn(&Measured) -> String| runs.get(4).map_or("-".to_owned(), figure);
        peers.row(&[
            case.name.to_owned(),
            seconds(two.wall),
            seconds(duckdb.wall),
            of_faucet(|run| seconds(run.wall)),
            megabytes(two.peak),
            megabytes(duckdb.peak),
            of_faucet(|run| megabytes(run.peak)),
        ]);
    }
    Ok(format!("{} rows of 7 columns.\n\n{}\n{}", bench.rows, ratios.finish(), peers.finish()))
}

impl Case {
    fn compare(&self, bench: &Bench, duckdb: &DuckDb, faucet: bool) -> Result<Vec<Measured>> {
        let from = self.input(bench)?;
        let to = |who: &str| bench.path(&format!("{who}.{}", self.to));
        let [loop_to, towpath_to, duckdb_to, faucet_to] = ["loop", "towpath", "duckdb", "faucet"].map(to);
        let towpath = |processors: &'static str| {
            let (from, to) = (&from, &towpath_to);
            Box::new(move || Ok(pinned(&towpath(bench, from, to)?, processors)))
        };
        let mut contestants: Vec<(&str, Contestant<'_>)> = vec![
            ("bare loop, one", Box::new(|| Ok(pinned(&bare_loop(bench, &from, &loop_to), ONE)))),
            ("Towpath, one", towpath(ONE)),
            ("Towpath, two", towpath(TWO)),
            (
                "DuckDB, two",
                Box::new(|| {
                    remove(&duckdb_to)?;
                    Ok(pinned(&duckdb.convert(&from, &duckdb_to), TWO))
                }),
            ),
        ];
        if faucet && self.from == "csv" {
            contestants.push((
                "faucet, two",
                Box::new(|| {
                    remove(&faucet_to)?;
                    Ok(pinned(&self.faucet(bench, &from, &faucet_to)?, TWO))
                }),
            ));
        }
        let runs = compare(&bench.folder, bench.runs, &mut contestants)?;
        drop(contestants);
        same_rows(&loop_to, &towpath_to, self.to, bench.rows)?;
        Ok(runs)
    }

    /// The file to read; made by the bare loop where it is no CSV.
    pub(super) fn input(&self, bench: &Bench) -> Result<String> {
        let csv = bench.csv(bench.rows)?;
        if self.from == "csv" {
            return Ok(csv);
        }
        bench.once(&format!("rows-{}.{}", bench.rows, self.from), |path| {
            process::run(&mut bare_loop(bench, &csv, path))
        })
    }

    fn faucet(&self, bench: &Bench, from: &str, to: &str) -> Result<Command> {
        let sink = if self.to == "ndjson" {
            format!("type: jsonl\n    config: {{ path: \"{to}\" }}")
        } else {
            let to = format!("{{ type: local_path, path: \"{to}\" }}");
            format!("type: {}\n    config: {{ destination: {to}, compression: zstd }}", self.to)
        };
        let config = format!(
            "version: 1
name: bench
pipeline:
  source:
    type: csv
    config: {{ path: \"{from}\" }}
  sink:
    {sink}
"
        );
        let path = bench.path("faucet.yaml");
        fs::write(&path, config)?;
        let mut command = Command::new(FAUCET);
        command.args(["run", &path]);
        Ok(command)
    }
}

fn bare_loop(bench: &Bench, from: &str, to: &str) -> Command {
    let mut command = Command::new(&bench.baselines);
    command.args(["convert", from, to]);
    command
}

/// Towpath from one file to the other.
pub(super) fn towpath(bench: &Bench, from: &str, to: &str) -> Result<Command> {
    remove(to)?;
    let pipeline = format!(
        "name: bench-convert
streams:
  rows:
    source: {{ connector: file, path: \"{from}\" }}
    sink: {{ connector: file, path: \"{to}\" }}
    write_disposition: replace
"
    );
    bench.pipeline("convert", &pipeline)
}

/// A benchmark of something else than the same work would be worth nothing.
fn same_rows(bare: &str, towpath: &str, format: &str, rows: u64) -> Result<()> {
    let (bare, towpath) = (fs::metadata(bare)?.len(), fs::metadata(towpath)?);
    let ratio = towpath.len() as f64 / bare as f64;
    ensure!(
        (0.9..1.1).contains(&ratio),
        "the {format} of {rows} rows has {} bytes instead of {bare}",
        towpath.len()
    );
    Ok(())
}
