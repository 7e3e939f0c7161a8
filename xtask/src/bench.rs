//! `cargo xtask bench`: benchmarks by name.

use anyhow::{Result, bail};

use crate::workspace::Workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which to run; all, if none is named.
    names: Vec<String>,
    /// Prints the names and what each measures.
    #[arg(long)]
    list: bool,
}

/// A benchmark that prints its own table.
struct Benchmark {
    name: &'static str,
    summary: &'static str,
    run: fn(&Workspace) -> Result<()>,
}

/// Every benchmark, in the order in which they run.
const BENCHMARKS: &[Benchmark] = &[];

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    if arguments.list {
        for benchmark in BENCHMARKS {
            println!("{:<16} {}", benchmark.name, benchmark.summary);
        }
        return Ok(());
    }
    for benchmark in select(BENCHMARKS, &arguments.names)? {
        eprintln!("{}: {}", benchmark.name, benchmark.summary);
        (benchmark.run)(workspace)?;
    }
    Ok(())
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

    const SOME: &[Benchmark] = &[
        Benchmark { name: "latency", summary: "many slow requests", run: |_| Ok(()) },
        Benchmark { name: "convert", summary: "file to file", run: |_| Ok(()) },
    ];

    #[test]
    fn an_unknown_name_gets_the_list_of_names() {
        let error = select(SOME, &["memory".into()]).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("there is no benchmark `memory`; there are: latency, convert"));
    }

    #[test]
    fn no_name_means_all() {
        let names =
            |chosen: Vec<&Benchmark>| chosen.iter().map(|benchmark| benchmark.name).collect::<Vec<_>>();
        assert_eq!(names(select(SOME, &[]).unwrap()), ["latency", "convert"]);
        assert_eq!(names(select(SOME, &["convert".into()]).unwrap()), ["convert"]);
    }
}
