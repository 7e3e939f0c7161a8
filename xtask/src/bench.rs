//! `cargo xtask bench`: Towpath beside what it is measured against, in the same run.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::{RUNNER, Workspace};

mod address;
mod convert;
mod databases;
mod duckdb;
mod http;
mod latency;
mod machine;
mod measure;
mod memory;
mod objects;
mod page;
mod python;
mod requests;
mod server;
mod stall;
mod table;
mod work;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which to run; all, if none is named.
    names: Vec<String>,
    /// Prints the names and what each measures.
    #[arg(long)]
    list: bool,
    /// How many rows files have. With another number than the default, docs/benchmarks.md stays as it is.
    #[arg(long, default_value_t = ROWS)]
    rows: u64,
    /// How often everything is measured; the median counts. With another number than the default,
    /// docs/benchmarks.md stays as it is.
    #[arg(long, default_value_t = RUNS)]
    runs: usize,
    /// The scale factor in databases: 1 is six million rows of TPC-H, or five million small and half a million nested
    /// documents. With another number than the default, docs/benchmarks.md stays as it is.
    #[arg(long, default_value_t = SCALE)]
    scale: f64,
    /// Which works of a benchmark to measure, by name: `read`, `write`, `copy`, `memory` of databases, `nested` and
    /// `write-nested` of mongodb, `pages`, `rows`, `limit`, `download` of http, `get`, `put`, `scan`, `small`, `large` of
    /// s3. docs/benchmarks.md stays as it is.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// Whom to measure Towpath against, by name: in databases `client` for that of the database, `duckdb`, `connectorx`,
    /// `polars`, `adbc`, `dlt`, `sling`, `pymongoarrow`, in s3 `loop`, `s5cmd`, `duckdb`. docs/benchmarks.md stays as it
    /// is.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    against: Vec<String>,
}

const SCALE: f64 = 1.0;
const ROWS: u64 = 3_000_000;
const RUNS: usize = 5;
/// The package of the baselines.
const BASELINES: &str = "towpath-bench";

/// A benchmark that returns its figures as Markdown.
struct Benchmark {
    name: &'static str,
    summary: &'static str,
    run: fn(&Bench) -> Result<String>,
}

/// Every benchmark, in the order in which they run.
const BENCHMARKS: &[Benchmark] = &[
    Benchmark { name: "machine", summary: "what the figures were measured on", run: machine::run },
    Benchmark {
        name: "latency",
        summary: "100 and 1,000 requests that take a second each",
        run: latency::run,
    },
    Benchmark {
        name: "requests",
        summary: "20,000 small responses, beside a load generator",
        run: requests::run,
    },
    Benchmark { name: "convert", summary: "file to file, beside a bare loop and peers", run: convert::run },
    Benchmark { name: "memory", summary: "peak memory for ten times the data", run: memory::run },
    Benchmark { name: "stall", summary: "the longest stall of the event loop", run: stall::run },
    Benchmark {
        name: "http",
        summary: "many pages, many small rows beside aiohttp, a server with a hard limit, a large file",
        run: http::run,
    },
    Benchmark {
        name: "postgres",
        summary: "TPC-H's lineitem out of and into Postgres, beside psql and peers",
        run: databases::postgres,
    },
    Benchmark {
        name: "mysql",
        summary: "TPC-H's lineitem out of and into MySQL, beside its own client and peers",
        run: databases::mysql,
    },
    Benchmark {
        name: "mongodb",
        summary: "small and nested documents out of and into MongoDB, beside its driver and peers",
        run: databases::mongodb,
    },
    Benchmark {
        name: "s3",
        summary: "objects out of and into S3, beside a bare loop, s5cmd and DuckDB",
        run: objects::run,
    },
];

/// What benchmarks work with.
struct Bench {
    workspace: Workspace,
    /// Where data, outputs and pipelines lie.
    folder: PathBuf,
    towpath: PathBuf,
    baselines: PathBuf,
    rows: u64,
    runs: usize,
    scale: f64,
    only: Vec<String>,
    against: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    if arguments.list {
        for benchmark in BENCHMARKS {
            println!("{:<16} {}", benchmark.name, benchmark.summary);
        }
        return Ok(());
    }
    let chosen = select(BENCHMARKS, &arguments.names)?;
    let bench = Bench::prepare(workspace, arguments)?;
    let is_standard = (arguments.rows, arguments.runs) == (ROWS, RUNS)
        && arguments.scale.to_bits() == SCALE.to_bits()
        && arguments.only.is_empty()
        && arguments.against.is_empty();
    for benchmark in chosen {
        eprintln!("\n=== {}: {}", benchmark.name, benchmark.summary);
        let figures = (benchmark.run)(&bench)?;
        println!("{figures}");
        if is_standard {
            page::replace(workspace, benchmark.name, &figures)?;
        }
    }
    Ok(())
}

impl Bench {
    /// Builds what is measured, in one go so that both sides get the same dependencies.
    fn prepare(workspace: &Workspace, arguments: &Arguments) -> Result<Self> {
        let mut build = workspace.cargo(["build", "--release", "--all-features"]);
        process::run(build.args(["--package", RUNNER, "--package", BASELINES]))?;
        let folder = workspace.target().join("bench");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let towpath = workspace.runner_binary("release");
        let baselines = towpath.with_file_name(BASELINES);
        let Arguments { rows, runs, scale, .. } = *arguments;
        let (workspace, only, against) =
            (workspace.clone(), arguments.only.clone(), arguments.against.clone());
        Ok(Self { workspace, folder, towpath, baselines, rows, runs, scale, only, against })
    }

    /// A file below the folder of benchmarks, as text for pipelines and arguments.
    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// A file that is made once and kept.
    fn once(&self, name: &str, make: impl FnOnce(&str) -> Result<()>) -> Result<String> {
        let path = self.path(name);
        if !fs::exists(&path)? {
            eprintln!("making {name}");
            let unfinished = self.path(&format!("unfinished-{name}"));
            make(&unfinished)?;
            fs::rename(unfinished, &path)?;
        }
        Ok(path)
    }

    /// Generated rows as CSV.
    fn csv(&self, rows: u64) -> Result<String> {
        self.once(&format!("rows-{rows}.csv"), |path| {
            process::run(Command::new(&self.baselines).arg("generate").arg(rows.to_string()).arg(path))
        })
    }

    /// Writes a pipeline, and returns the command that runs it.
    fn pipeline(&self, name: &str, text: &str) -> Result<Command> {
        let path = self.path(&format!("{name}.yaml"));
        fs::write(&path, text)?;
        let mut command = Command::new(&self.towpath);
        command.args(["run", &path]);
        Ok(command)
    }
}

fn select<'a>(benchmarks: &'a [Benchmark], names: &[String]) -> Result<Vec<&'a Benchmark>> {
    let known: Vec<_> = benchmarks.iter().map(|benchmark| benchmark.name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no benchmark `{unknown}`; there are: {}", known.join(", "));
    }
    let chosen = |benchmark: &&Benchmark| names.is_empty() || names.iter().any(|name| name == benchmark.name);
    Ok(benchmarks.iter().filter(chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_gets_the_list_of_names() {
        let error = select(&BENCHMARKS[1..3], &["memory".into()]).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("there is no benchmark `memory`; there are: latency, requests"));
    }

    #[test]
    fn no_name_means_all() {
        let names =
            |chosen: Vec<&Benchmark>| chosen.iter().map(|benchmark| benchmark.name).collect::<Vec<_>>();
        assert_eq!(names(select(&BENCHMARKS[1..3], &[]).unwrap()), ["latency", "requests"]);
        assert_eq!(names(select(BENCHMARKS, &["convert".into()]).unwrap()), ["convert"]);
    }

    #[test]
    fn every_benchmark_has_its_place_in_the_page() {
        let page = include_str!("../../docs/benchmarks.md");
        for benchmark in BENCHMARKS {
            assert!(page::put(page, benchmark.name, "").is_some(), "{}", benchmark.name);
        }
    }
}
