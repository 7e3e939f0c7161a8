//! Databases: TPC-H's `lineitem`, or documents, out of and into them, beside their own clients and peers, in the same run.

mod maria;
mod mongo;
mod peers;
mod psql;

use anyhow::{Context, Result, bail, ensure};

use super::Bench;
use super::table::{Table, megabytes, seconds};
use super::work::{self, Work};
use crate::process;
use crate::services::{self, ForTests};
use peers::Peers;

/// What one data set is called in a database and in file names: `lineitem_1`, `lineitem_0_1`.
fn name_of(what: &str, scale: f64) -> String {
    format!("{what}_{scale}").replace('.', "_")
}

/// How much smaller the data is to which peak memory is compared.
const SMALLER: f64 = 10.0;

/// The names of works, as `--only` takes them.
const WORKS: [&str; 6] = ["read", "write", "copy", "nested", "write-nested", "memory"];

/// The names of rivals, as `--against` takes them.
const RIVALS: [&str; 8] =
    [work::CLIENT, "duckdb", "connectorx", "polars", "adbc", "dlt", "sling", "pymongoarrow"];

/// The files with the rows of one scale factor.
pub(super) struct Lineitem {
    name: String,
    pub(super) rows: u64,
    csv: String,
    pub(super) parquet: String,
}

impl Lineitem {
    pub(super) fn make(bench: &Bench, scale: f64) -> Result<Self> {
        let name = name_of("lineitem", scale);
        let file = |ending: &str| {
            bench.once(&format!("{name}.{ending}"), |path| {
                let mut command = std::process::Command::new(&bench.baselines);
                process::run(command.args(["lineitem", &scale.to_string(), path]))
            })
        };
        let (csv, parquet) = (file("csv")?, file("parquet")?);
        let rows = rows_of(bench, &parquet)?;
        Ok(Self { name, rows, csv, parquet })
    }
}

/// How many rows a Parquet file has.
pub(super) fn rows_of(bench: &Bench, parquet: &str) -> Result<u64> {
    let counted = process::capture(std::process::Command::new(&bench.baselines).args(["count", parquet]))?;
    counted.trim().parse().with_context(|| format!("{parquet} has {counted} rows"))
}

/// The address of a server among the variables of those that run.
pub(super) fn url(servers: &ForTests<'_>, variable: &str) -> Result<String> {
    let found = servers.variables().into_iter().find(|(name, _)| *name == variable);
    found.map(|(_, url)| url).with_context(|| format!("no server has set {variable}"))
}

pub(super) fn wants(bench: &Bench, name: &str) -> bool {
    bench.only.is_empty() || bench.only.iter().any(|only| only == name)
}

fn check_names(bench: &Bench) -> Result<()> {
    check("work", &bench.only, &WORKS)?;
    check("rival", &bench.against, &RIVALS)
}

pub(super) fn check(what: &str, names: &[String], known: &[&str]) -> Result<()> {
    let unknown = names.iter().find(|name| !known.contains(&name.as_str()));
    unknown.map_or(Ok(()), |name| bail!("there is no {what} `{name}`; there are: {}", known.join(", ")))
}

/// A database, and what is done with it.
trait Database {
    /// Puts the rows into a table of their name, unless they are there.
    fn load(&self, bench: &Bench, data: &Lineitem) -> Result<()>;

    /// The works with these rows.
    fn works<'a>(&'a self, bench: &'a Bench, peers: &'a Peers, data: &'a Lineitem) -> Vec<Work<'a>>;
}

pub(super) fn postgres(bench: &Bench) -> Result<String> {
    run(bench, "TOWPATH_TEST_POSTGRES_URL", |peers, url| figures(bench, peers, &psql::Psql::prepare(url)?))
}

pub(super) fn mysql(bench: &Bench) -> Result<String> {
    run(bench, "TOWPATH_TEST_MYSQL_URL", |peers, url| {
        figures(bench, peers, &maria::Maria::prepare(bench, url)?)
    })
}

pub(super) fn mongodb(bench: &Bench) -> Result<String> {
    run(bench, "TOWPATH_TEST_MONGODB_URL", |peers, url| mongo::figures(bench, peers, url))
}

/// Starts the servers of the tests, unless they run already, and measures with one of them.
fn run(
    bench: &Bench,
    variable: &str,
    measure: impl FnOnce(&Peers, &str) -> Result<String>,
) -> Result<String> {
    check_names(bench)?;
    let (peers, servers) = (Peers::install(bench)?, services::for_tests(&bench.workspace)?);
    let figures = url(&servers, variable).and_then(|url| measure(&peers, &url));
    servers.stop()?;
    figures
}

fn figures(bench: &Bench, peers: &Peers, database: &dyn Database) -> Result<String> {
    let data = Lineitem::make(bench, bench.scale)?;
    database.load(bench, &data)?;
    let works = database.works(bench, peers, &data);
    let mut page = Page::new(&format!("{} rows of 16 columns.", data.rows), peers);
    for work in works.iter().filter(|work| wants(bench, work.key)) {
        page.work(work, bench)?;
    }
    if wants(bench, "memory") {
        let smaller = Lineitem::make(bench, bench.scale / SMALLER)?;
        database.load(bench, &smaller)?;
        page.memory(bench, &database.works(bench, peers, &smaller), &works)?;
    }
    Ok(page.finish())
}

/// The figures of one database.
struct Page(String);

impl Page {
    fn new(data: &str, peers: &Peers) -> Self {
        let mut text = format!("{data}\n");
        for missing in peers.missing() {
            text.push_str(missing);
            text.push_str(" could not be installed here.\n");
        }
        Self(text)
    }

    fn work(&mut self, work: &Work<'_>, bench: &Bench) -> Result<()> {
        let figures = work.measure(bench)?;
        println!("{figures}");
        self.0.push('\n');
        self.0.push_str(&figures);
        Ok(())
    }

    /// Towpath's peak memory with the smaller data beside that with all of it.
    fn memory(&mut self, bench: &Bench, smaller: &[Work<'_>], larger: &[Work<'_>]) -> Result<()> {
        let mut table =
            Table::new(&["Towpath's peak memory", "a tenth of the rows", "all rows", "time", "goal"]);
        for (few, all) in smaller.iter().zip(larger) {
            let (few, all) = (few.measure_towpath(bench)?, all.measure_towpath(bench)?);
            ensure!(few.name == all.name, "the same work is compared");
            table.row(&[
                few.name.to_owned(),
                megabytes(few.run.peak),
                megabytes(all.run.peak),
                seconds(all.run.wall),
                "under 256 MB, the same".to_owned(),
            ]);
        }
        self.0.push('\n');
        self.0.push_str(&table.finish());
        Ok(())
    }

    fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_gets_the_list_of_names() {
        let error = check("work", &["reed".to_owned()], &WORKS).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no work `reed`; there are: read, write, copy, nested, write-nested, memory"
        );
    }

    #[test]
    fn the_name_of_data_tells_its_scale_and_needs_no_quotes() {
        assert_eq!(name_of("lineitem", 1.0), "lineitem_1");
        assert_eq!(name_of("lineitem", 0.1), "lineitem_0_1");
    }
}
