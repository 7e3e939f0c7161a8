//! Postgres: beside `psql`, which copies in binary over one connection and neither decodes nor encodes.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::peers::{Peer, Peers};
use super::{Database, Lineitem, rows_of};
use crate::bench::Bench;
use crate::bench::latency::remove;
use crate::bench::work::{CLIENT, Rival, TOWPATH, Work};
use crate::process;

const COLUMNS: &str = "l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, \
    l_linenumber integer NOT NULL, l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, \
    l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, \
    l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, \
    l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, \
    l_comment varchar(44) NOT NULL";

/// The server, as its own client reaches it.
pub(super) struct Psql {
    url: String,
}

impl Psql {
    pub(super) fn prepare(url: &str) -> Result<Self> {
        process::find("psql")
            .context("install psql (Debian: postgresql-client): it is what is measured against")?;
        Ok(Self { url: url.to_owned() })
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("psql");
        command.args([&self.url, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", script]);
        command.env("PGOPTIONS", "-c client_min_messages=warning");
        command
    }

    fn run(&self, script: &str) -> Result<String> {
        Ok(process::capture(&mut self.command(script))?.trim().to_owned())
    }

    /// Keeps the rows as a file for `\copy` too.
    fn write_binary(&self, bench: &Bench, data: &Lineitem) -> Result<()> {
        let copy = |path: &str| format!("\\copy {} TO '{path}' (FORMAT binary)", data.name);
        bench.once(&binary_file(data), |path| self.run(&copy(path)).map(drop)).map(drop)
    }

    fn count(&self, table: &str) -> Result<u64> {
        Ok(self.run(&format!("SELECT count(*) FROM {table}"))?.parse()?)
    }

    /// Drops the table that a contestant writes, and waits until the server has written what it had to.
    fn drop(&self, table: &str) -> Result<()> {
        self.run(&format!("DROP TABLE IF EXISTS {table}"))?;
        self.run("CHECKPOINT").map(drop)
    }

    /// Makes the empty table that a contestant fills.
    fn make(&self, table: &str) -> Result<()> {
        self.run(&format!("DROP TABLE IF EXISTS {table}"))?;
        self.run(&format!("CREATE TABLE {table} ({COLUMNS})"))?;
        self.run("CHECKPOINT").map(drop)
    }

    fn all_rows(&self, table: &str, rows: u64) -> Result<()> {
        let count = self.count(table)?;
        ensure!(count == rows, "{table} has {count} of {rows} rows");
        Ok(())
    }
}

impl Database for Psql {
    fn load(&self, bench: &Bench, data: &Lineitem) -> Result<()> {
        let name = &data.name;
        if self.run(&format!("SELECT to_regclass('{name}') IS NOT NULL"))? == "t"
            && self.count(name)? == data.rows
        {
            return self.write_binary(bench, data);
        }
        eprintln!("loading {name}");
        self.run(&format!("DROP TABLE IF EXISTS {name}"))?;
        self.run(&format!("CREATE TABLE {name} ({COLUMNS}, PRIMARY KEY (l_orderkey, l_linenumber))"))?;
        self.run(&format!("\\copy {name} FROM '{}' (FORMAT csv)", data.csv))?;
        self.run(&format!("VACUUM ANALYZE {name}"))?;
        self.write_binary(bench, data)
    }

    fn works<'a>(&'a self, bench: &'a Bench, peers: &'a Peers, data: &'a Lineitem) -> Vec<Work<'a>> {
        vec![read(bench, peers, self, data), write(bench, peers, self, data), copy(bench, peers, self, data)]
    }
}

fn binary_file(data: &Lineitem) -> String {
    format!("{}.pgcopy", data.name)
}

fn pipeline(bench: &Bench, name: &str, source: &str, sink: &str) -> Result<Command> {
    bench.pipeline(
        name,
        &format!(
            "name: {name}\nstreams:\n  lineitem:\n    source: {source}\n    sink: {sink}\n    \
             write_disposition: replace\n"
        ),
    )
}

/// Postgres → Parquet.
fn read<'a>(bench: &'a Bench, peers: &'a Peers, psql: &'a Psql, data: &'a Lineitem) -> Work<'a> {
    let to = |who: &str| bench.path(&format!("postgres-{who}.parquet"));
    let ours = to("towpath");
    let written = ours.clone();
    let towpath = move || {
        remove(&ours)?;
        let source = format!("{{ connector: postgres, url: \"{}\", table: {} }}", psql.url, data.name);
        pipeline(bench, "postgres-read", &source, &format!("{{ connector: file, path: \"{ours}\" }}"))
    };
    let drained = || Ok(psql.command(&format!("\\copy {} TO '/dev/null' (FORMAT binary)", data.name)));
    let mut contestants = vec![
        Rival::new("towpath", TOWPATH, "under 256 MB", towpath),
        Rival::new(CLIENT, "psql, binary, to nowhere", "", drained),
    ];
    let peer = |shown, goal, name, to: String| {
        let clean = to.clone();
        let prepare = Box::new(move || remove_all(&clean));
        let (work, table, from) = ("postgres", data.name.as_str(), psql.url.clone());
        peers.rival(Peer { shown, goal, name, work, table, from, to, prepare })
    };
    contestants.extend(peer("DuckDB", "no slower, less memory", "duckdb", to("duckdb")));
    contestants.extend(peer("connectorx, 2 partitions", "ahead", "connectorx", to("connectorx")));
    contestants.extend(peer("polars, 2 partitions", "ahead", "polars", to("polars")));
    contestants.extend(peer("ADBC", "ahead", "adbc", to("adbc")));
    contestants.extend(peer("dlt, connectorx", "ahead", "dlt", bench.path("postgres-dlt")));
    let csv = bench.path("postgres-sling.csv");
    let arguments = ["--src-conn", &without_tls(&psql.url), "--src-stream", &format!("public.{}", data.name)];
    let arguments = arguments.map(str::to_owned).into_iter().chain(to_file(&csv)).collect();
    contestants.extend(peers.sling("Sling, to CSV", arguments, move || remove_all(&csv)));
    let verify = move || {
        let rows = rows_of(bench, &written)?;
        ensure!(rows == data.rows, "{written} has {rows} of {} rows", data.rows);
        Ok(())
    };
    Work { key: "read", name: "Postgres → Parquet", contestants, verify: Box::new(verify) }
}

/// Parquet → Postgres.
fn write<'a>(bench: &'a Bench, peers: &'a Peers, psql: &'a Psql, data: &'a Lineitem) -> Work<'a> {
    let target = |who: &str| format!("{}_{who}", data.name);
    let binary = bench.path(&binary_file(data));
    let ours = target("towpath");
    let written = ours.clone();
    let towpath = move || {
        psql.drop(&ours)?;
        let source = format!("{{ connector: file, path: \"{}\" }}", data.parquet);
        let sink = format!("{{ connector: postgres, url: \"{}\", table: {ours} }}", psql.url);
        pipeline(bench, "postgres-write", &source, &sink)
    };
    let theirs = target("psql");
    let copied = move || {
        psql.make(&theirs)?;
        Ok(psql.command(&format!("\\copy {theirs} FROM '{binary}' (FORMAT binary)")))
    };
    let mut contestants = vec![
        Rival::new("towpath", TOWPATH, "under 256 MB", towpath),
        Rival::new(CLIENT, "psql, from a binary file", "1.2 ×", copied),
    ];
    for (shown, name) in [("DuckDB", "duckdb"), ("ADBC, floats for decimals", "adbc")] {
        let prepare = Box::new(move || psql.drop(&target(name)));
        let (from, to) = (data.parquet.clone(), psql.url.clone());
        let (goal, work, table) = ("ahead", "postgres", data.name.as_str());
        contestants.extend(peers.rival(Peer { shown, goal, name, work, table, from, to, prepare }));
    }
    let verify = move || psql.all_rows(&written, data.rows);
    Work { key: "write", name: "Parquet → Postgres", contestants, verify: Box::new(verify) }
}

/// Postgres → Postgres.
fn copy<'a>(bench: &'a Bench, peers: &'a Peers, psql: &'a Psql, data: &'a Lineitem) -> Work<'a> {
    let target = |who: &str| format!("{}_{who}", data.name);
    let ours = target("towpath");
    let written = ours.clone();
    let towpath = move || {
        psql.drop(&ours)?;
        let source = format!("{{ connector: postgres, url: \"{}\", table: {} }}", psql.url, data.name);
        let sink = format!("{{ connector: postgres, url: \"{}\", table: {ours} }}", psql.url);
        pipeline(bench, "postgres-copy", &source, &sink)
    };
    let theirs = target("psql");
    let piped = move || {
        psql.make(&theirs)?;
        let mut command = Command::new("sh");
        let pipe = "psql \"$0\" -Xqc \"COPY $1 TO STDOUT (FORMAT binary)\" | \
                    psql \"$0\" -Xqc \"COPY $2 FROM STDIN (FORMAT binary)\"";
        command.args(["-c", pipe, &psql.url, &data.name, &theirs]);
        Ok(command)
    };
    let mut contestants = vec![
        Rival::new("towpath", TOWPATH, "under 256 MB", towpath),
        Rival::new(CLIENT, "psql, binary, through a pipe", "no slower", piped).pipe(),
    ];
    let duckdb = target("duckdb");
    contestants.extend(peers.rival(Peer {
        shown: "DuckDB",
        goal: "ahead",
        name: "duckdb",
        work: "postgres",
        table: &data.name,
        from: psql.url.clone(),
        to: psql.url.clone(),
        prepare: Box::new(move || psql.drop(&duckdb)),
    }));
    let sling = target("sling");
    let url = without_tls(&psql.url);
    let (from, to) = (format!("public.{}", data.name), format!("public.{sling}"));
    let arguments = [
        "--src-conn",
        &url,
        "--src-stream",
        &from,
        "--tgt-conn",
        &url,
        "--tgt-object",
        &to,
        "--mode",
        "full-refresh",
    ];
    let arguments = arguments.map(str::to_owned).into();
    contestants.extend(peers.sling("Sling", arguments, move || psql.drop(&sling)));
    let verify = move || psql.all_rows(&written, data.rows);
    Work { key: "copy", name: "Postgres → Postgres", contestants, verify: Box::new(verify) }
}

/// Sling does not trust the test server's authority.
fn without_tls(url: &str) -> String {
    format!("{url}?sslmode=disable")
}

/// How Sling is told of a file to write.
pub(super) fn to_file(path: &str) -> [String; 2] {
    ["--tgt-object".to_owned(), format!("file://{path}")]
}

/// Removes a file, or a folder that a peer has made instead.
pub(super) fn remove_all(path: &str) -> Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(fs::remove_dir_all(path)?);
    }
    remove(path)
}
