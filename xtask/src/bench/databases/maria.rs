//! MySQL, for which `MariaDB` stands in: beside its own client.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::peers::{Peer, Peers};
use super::psql::{remove_all, to_file};
use super::{Database, Lineitem, rows_of};
use crate::bench::Bench;
use crate::bench::address::Address;
use crate::bench::latency::remove;
use crate::bench::work::{CLIENT, Rival, TOWPATH, Work};
use crate::process;

const DATABASE: &str = "bench";

const COLUMNS: &str = "l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, \
    l_linenumber int NOT NULL, l_quantity decimal(15,2) NOT NULL, l_extendedprice decimal(15,2) NOT NULL, \
    l_discount decimal(15,2) NOT NULL, l_tax decimal(15,2) NOT NULL, l_returnflag char(1) NOT NULL, \
    l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, \
    l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, \
    l_comment varchar(44) NOT NULL, PRIMARY KEY (l_orderkey, l_linenumber)";

/// The server, as its own client reaches it.
pub(super) struct Maria {
    /// With the database.
    url: String,
    /// A file with what the client needs to know, so that no list of processes shows it.
    settings: String,
}

impl Maria {
    pub(super) fn prepare(bench: &Bench, url: &str) -> Result<Self> {
        process::find("mariadb")
            .context("install mariadb (Debian: mariadb-client): it is what is measured against")?;
        let Address { user, password, host, port } = Address::parse(url)?;
        let settings = bench.path("mariadb.cnf");
        let text = format!(
            "[client]\nuser={user}\npassword={password}\nhost={host}\nport={port}\nprotocol=tcp\nlocal-infile=1\n"
        );
        std::fs::write(&settings, text)?;
        let maria = Self { url: format!("{}/{DATABASE}", url.trim_end_matches('/')), settings };
        let mut make = maria.client();
        process::capture(make.args(["-e", &format!("CREATE DATABASE IF NOT EXISTS {DATABASE}")]))?;
        Ok(maria)
    }

    fn client(&self) -> Command {
        let mut command = Command::new("mariadb");
        command.args([&format!("--defaults-file={}", self.settings), "--batch", "--skip-column-names"]);
        command
    }

    fn command(&self, sql: &str) -> Command {
        let mut command = self.client();
        command.args(["--quick", DATABASE, "-e", sql]);
        command
    }

    fn run(&self, sql: &str) -> Result<String> {
        Ok(process::capture(&mut self.command(sql))?.trim().to_owned())
    }

    fn count(&self, table: &str) -> Result<u64> {
        Ok(self.run(&format!("SELECT count(*) FROM {table}"))?.parse()?)
    }

    /// Drops the table that a contestant writes, and the log of what was written before.
    fn drop(&self, table: &str) -> Result<()> {
        self.run(&format!("DROP TABLE IF EXISTS {table}"))?;
        self.run("RESET MASTER").map(drop)
    }

    /// Makes the empty table that a contestant fills.
    fn make(&self, table: &str) -> Result<()> {
        self.drop(table)?;
        self.run(&format!("CREATE TABLE {table} ({COLUMNS})")).map(drop)
    }
}

impl Database for Maria {
    fn load(&self, _bench: &Bench, data: &Lineitem) -> Result<()> {
        let name = &data.name;
        if !self.run(&format!("SHOW TABLES LIKE '{name}'"))?.is_empty() && self.count(name)? == data.rows {
            return Ok(());
        }
        eprintln!("loading {name}");
        self.make(name)?;
        self.run(&load_data(name, &data.csv))?;
        self.run(&format!("ANALYZE TABLE {name}"))?;
        Ok(())
    }

    fn works<'a>(&'a self, bench: &'a Bench, peers: &'a Peers, data: &'a Lineitem) -> Vec<Work<'a>> {
        vec![read(bench, peers, self, data), write(bench, self, data)]
    }
}

fn load_data(table: &str, csv: &str) -> String {
    format!(
        "LOAD DATA LOCAL INFILE '{csv}' INTO TABLE {table} \
         FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"'"
    )
}

fn pipeline(bench: &Bench, name: &str, source: &str, sink: &str) -> Result<Command> {
    bench.pipeline(
        name,
        &format!(
            "name: {name}\nstreams:\n  lineitem:\n    source: {source}\n    sink: {sink}\n    \
             key: [l_orderkey, l_linenumber]\n    write_disposition: replace\n"
        ),
    )
}

/// `MySQL` → Parquet.
fn read<'a>(bench: &'a Bench, peers: &'a Peers, maria: &'a Maria, data: &'a Lineitem) -> Work<'a> {
    let to = |who: &str| bench.path(&format!("mysql-{who}.parquet"));
    let ours = to("towpath");
    let written = ours.clone();
    let towpath = move || {
        remove(&ours)?;
        let source = format!("{{ connector: mysql, url: \"{}\", table: {} }}", maria.url, data.name);
        pipeline(bench, "mysql-read", &source, &format!("{{ connector: file, path: \"{ours}\" }}"))
    };
    let drained = || Ok(maria.command(&format!("SELECT * FROM {}", data.name)));
    let mut contestants = vec![
        Rival::new("towpath", TOWPATH, "under 256 MB", towpath),
        Rival::new(CLIENT, "mariadb --quick, to nowhere", "no slower", drained),
    ];
    let peer = |shown, name, to: String| {
        let clean = to.clone();
        let prepare = Box::new(move || remove_all(&clean));
        let (goal, work, table, from) = ("ahead", "mysql", data.name.as_str(), maria.url.clone());
        peers.rival(Peer { shown, goal, name, work, table, from, to, prepare })
    };
    contestants.extend(peer("connectorx, 2 partitions", "connectorx", to("connectorx")));
    contestants.extend(peer("polars, 2 partitions", "polars", to("polars")));
    contestants.extend(peer("DuckDB", "duckdb", to("duckdb")));
    contestants.extend(peer("dlt, connectorx", "dlt", bench.path("mysql-dlt")));
    let csv = bench.path("mysql-sling.csv");
    let stream = format!("{DATABASE}.{}", data.name);
    let arguments = ["--src-conn", &maria.url, "--src-stream", &stream].map(str::to_owned);
    let arguments = arguments.into_iter().chain(to_file(&csv)).collect();
    contestants.extend(peers.sling("Sling, to CSV", arguments, move || remove_all(&csv)));
    let verify = move || {
        let rows = rows_of(bench, &written)?;
        ensure!(rows == data.rows, "{written} has {rows} of {} rows", data.rows);
        Ok(())
    };
    Work { key: "read", name: "MySQL → Parquet", contestants, verify: Box::new(verify) }
}

/// Parquet → `MySQL`.
fn write<'a>(bench: &'a Bench, maria: &'a Maria, data: &'a Lineitem) -> Work<'a> {
    let target = |who: &str| format!("{}_{who}", data.name);
    let ours = target("towpath");
    let written = ours.clone();
    let towpath = move || {
        maria.drop(&ours)?;
        let source = format!("{{ connector: file, path: \"{}\" }}", data.parquet);
        let sink =
            format!("{{ connector: mysql, url: \"{}\", table: {ours}, primary_key: true }}", maria.url);
        pipeline(bench, "mysql-write", &source, &sink)
    };
    let theirs = target("mariadb");
    let loaded = move || {
        maria.make(&theirs)?;
        Ok(maria.command(&load_data(&theirs, &data.csv)))
    };
    let contestants = vec![
        Rival::new("towpath", TOWPATH, "under 256 MB", towpath),
        Rival::new(CLIENT, "mariadb, LOAD DATA", "1.1 ×", loaded),
    ];
    let verify = move || {
        let count = maria.count(&written)?;
        ensure!(count == data.rows, "{written} has {count} of {} rows", data.rows);
        Ok(())
    };
    Work { key: "write", name: "Parquet → MySQL", contestants, verify: Box::new(verify) }
}
