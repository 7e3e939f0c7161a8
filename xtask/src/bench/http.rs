//! HTTP APIs: many pages of many endpoints, many small answers, and a server with a hard limit.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::latency::remove;
use super::measure::{Contestant, Measured, compare, measure};
use super::server::Server;
use super::table::{Table, megabytes, percent, seconds, times};
use super::{Bench, databases, python};

/// What is measured against, and its script.
const AIOHTTP: &str = "3.14.5";
const SCRIPT: &str = include_str!("http/peer.py");

type Work = fn(&Bench, &Server) -> Result<String>;

/// How large the file is, and how much of it each connection gets in a second.
const BLOB: u64 = 2_000_000_000;
const PER_CONNECTION: u64 = 30_000_000;

/// The names of works, as `--only` takes them.
const WORKS: [&str; 4] = ["pages", "rows", "limit", "download"];

const ENDPOINTS: u64 = 1_000;
const PAGES: u64 = 20;
const PAGE_TAKES: Duration = Duration::from_millis(50);
/// How many pages are read at once.
const AT_ONCE: [u64; 2] = [250, 1_000];

const ROWS: u64 = 50_000;
const ROWS_AT_ONCE: u64 = 64;

const LIMITED: u64 = 6_000;
/// What the server takes in a second.
const PER_SECOND: f64 = 100.0;

pub(super) fn run(bench: &Bench) -> Result<String> {
    databases::check("work", &bench.only, &WORKS)?;
    let server = Server::start(bench)?;
    let works: [(&str, Work); 4] =
        [("pages", pages), ("rows", rows), ("limit", limit), ("download", download)];
    let chosen = works.into_iter().filter(|(name, _)| databases::wants(bench, name));
    let tables: Result<Vec<_>> = chosen.map(|(_, work)| work(bench, &server)).collect();
    Ok(tables?.join("\n"))
}

/// A pipeline of one stream from the server into a file.
struct Pipeline<'a> {
    name: &'a str,
    connection: String,
    source: &'a str,
    target: String,
}

impl Pipeline<'_> {
    fn command(&self, bench: &Bench, server: &Server) -> Result<Command> {
        remove(&self.target)?;
        let Self { name, connection, source, target } = self;
        let address = &server.address;
        bench.pipeline(
            name,
            &format!(
                "name: bench-{name}
max_in_flight: 1000
connections:
  api: {{ connector: http, base_url: \"http://{address}\"{connection} }}
streams:
  items:
    source:
      connection: api
{source}
    sink: {{ connector: file, path: \"{target}\" }}
    write_disposition: replace
"
            ),
        )
    }
}

/// Pages one after the other, and pages whose number is known.
fn pages(bench: &Bench, server: &Server) -> Result<String> {
    let takes = PAGE_TAKES.as_millis();
    let common = format!(
        "      path: /pages/{takes}/{{id}}\n      params: {{ id: {{ from: 1, to: {ENDPOINTS} }} }}\n      records: $.data"
    );
    let serial = format!("{common}\n      pagination: {{ type: cursor, next: $.next, param: cursor }}");
    let parallel = format!("{common}\n      pagination: {{ type: page_number, total_pages: $.total_pages }}");
    let mut table =
        Table::new(&["pages", "at once", "ideal", "whole run", "of the ideal", "goal", "CPU", "peak memory"]);
    for at_once in AT_ONCE {
        for (shown, name, source) in
            [("by cursor, one after the other", "cursor", &serial), ("of a known number", "known", &parallel)]
        {
            let name = format!("pages-{name}-{at_once}");
            let pipeline = Pipeline {
                name: &name,
                connection: format!(", max_in_flight: {at_once}"),
                source,
                target: bench.path(&format!("{name}.parquet")),
            };
            let towpath: Contestant<'_> = Box::new(|| pipeline.command(bench, server));
            let run = compare(&bench.folder, bench.runs, &mut [(&name, towpath)])?.remove(0);
            let ideal = PAGE_TAKES.mul_f64((ENDPOINTS * PAGES) as f64 / at_once as f64);
            table.row(&[
                shown.to_owned(),
                at_once.to_string(),
                seconds(ideal),
                seconds(run.wall),
                times(run.wall, ideal),
                "1.15 ×".to_owned(),
                seconds(run.cpu),
                megabytes(run.peak),
            ]);
        }
    }
    Ok(format!("{ENDPOINTS} endpoints with {PAGES} pages each, {takes} ms a page:\n\n{}", table.finish()))
}

/// One row in each answer, beside aiohttp.
fn rows(bench: &Bench, server: &Server) -> Result<String> {
    let python = python::with(bench, "aiohttp", AIOHTTP)?;
    let (script, peer_target) = (bench.path("http_peer.py"), bench.path("rows-aiohttp.ndjson"));
    fs::write(&script, SCRIPT)?;
    let source = format!("      path: /items/{{id}}\n      params: {{ id: {{ from: 1, to: {ROWS} }} }}");
    let pipeline = Pipeline {
        name: "rows",
        connection: format!(", max_in_flight: {ROWS_AT_ONCE}"),
        source: &source,
        target: bench.path("rows.ndjson"),
    };
    let (count, at_once) = (ROWS.to_string(), ROWS_AT_ONCE.to_string());
    let towpath: Contestant<'_> = Box::new(|| pipeline.command(bench, server));
    let aiohttp: Contestant<'_> = Box::new(|| {
        let mut command = Command::new(&python);
        command.args([&script, &server.address, &count, &at_once, &peer_target]);
        Ok(command)
    });
    let runs = compare(&bench.folder, bench.runs, &mut [("Towpath", towpath), ("aiohttp", aiohttp)])?;
    for target in [&pipeline.target, &peer_target] {
        let lines = fs::read_to_string(target)?.lines().count();
        anyhow::ensure!(lines as u64 == ROWS, "{target} has {lines} rows");
    }
    let mut table =
        Table::new(&["", "rows per second", "of aiohttp's", "goal", "CPU", "peak memory", "goal"]);
    let goals = [("Towpath", "3 ×", "below aiohttp's"), ("aiohttp", "", "")];
    for ((name, rate_goal, memory_goal), run) in goals.into_iter().zip(&runs) {
        table.row(&[
            name.to_owned(),
            format!("{:.0}", rate(run)),
            format!("{:.2} ×", rate(run) / rate(&runs[1])),
            rate_goal.to_owned(),
            seconds(run.cpu),
            megabytes(run.peak),
            memory_goal.to_owned(),
        ]);
    }
    Ok(format!(
        "{ROWS} answers with one row each into NDJSON, {ROWS_AT_ONCE} at once; aiohttp {AIOHTTP}:\n\n{}",
        table.finish()
    ))
}

fn rate(run: &Measured) -> f64 {
    ROWS as f64 / run.wall.as_secs_f64()
}

/// A server that takes so many requests in a second and refuses the others, without a word about when to come back.
fn limit(bench: &Bench, server: &Server) -> Result<String> {
    let source = format!("      path: /limited/{{id}}\n      params: {{ id: {{ from: 1, to: {LIMITED} }} }}");
    let mut table =
        Table::new(&["setting", "whole run", "of the limit used", "goal", "requests refused", "goal"]);
    for (shown, name, connection) in
        [("none", "found", String::new()), ("`rate_limit: 100/s`", "set", ", rate_limit: 100/s".to_owned())]
    {
        let name = format!("limit-{name}");
        let target = bench.path(&format!("{name}.parquet"));
        let pipeline = Pipeline { name: &name, connection, source: &source, target };
        seen(server)?;
        // A minute each: the limit is what takes the time.
        let run = measure(&mut pipeline.command(bench, server)?, &bench.folder)?;
        let [accepted, refused, length] = seen(server)?;
        table.row(&[
            shown.to_owned(),
            seconds(run.wall),
            percent(accepted / (length * PER_SECOND)),
            "95 %".to_owned(),
            format!("{:.2} %", 100.0 * refused / (accepted + refused)),
            "under 1 %".to_owned(),
        ]);
    }
    Ok(format!("{LIMITED} requests to a server that takes {PER_SECOND} in a second:\n\n{}", table.finish()))
}

/// A large file by parts at once, through a proxy that gives each connection only so much.
fn download(bench: &Bench, server: &Server) -> Result<String> {
    let proxy = Server::proxy(bench, &server.address, PER_CONNECTION)?;
    let folder = bench.path("downloads");
    let mut table = Table::new(&["connections", "whole run", "of one", "goal", "CPU", "peak memory"]);
    let mut one = None;
    for connections in [1, 8] {
        if fs::exists(&folder)? {
            fs::remove_dir_all(&folder)?;
        }
        let address = &proxy.address;
        let pipeline = format!(
            "name: bench-download-{connections}
connections:
  files: {{ connector: http, base_url: \"http://{address}\", max_in_flight: {connections} }}
streams:
  files:
    source: {{ connection: files, path: /blob/{BLOB}, format: bytes }}
    sink: {{ connector: file, path: \"{folder}/\", format: bytes }}
    write_disposition: replace
"
        );
        let mut command = bench.pipeline(&format!("download-{connections}"), &pipeline)?;
        let run = measure(&mut command, &bench.folder)?;
        let size = fs::metadata(format!("{folder}/{BLOB}"))?.len();
        anyhow::ensure!(size == BLOB, "the file has {size} bytes");
        let first = *one.get_or_insert(run.wall);
        table.row(&[
            connections.to_string(),
            seconds(run.wall),
            format!("{:.2} ×", first.as_secs_f64() / run.wall.as_secs_f64()),
            if connections == 1 { String::new() } else { "near 8 ×".to_owned() },
            seconds(run.cpu),
            megabytes(run.peak),
        ]);
    }
    fs::remove_dir_all(&folder)?;
    let (size, each) = (megabytes(BLOB), megabytes(PER_CONNECTION));
    Ok(format!(
        "A file of {size} through a proxy that gives each connection {each} a second:\n\n{}",
        table.finish()
    ))
}

/// How many requests the server took and refused since it was asked last, and over how many seconds.
fn seen(server: &Server) -> Result<[f64; 3]> {
    let mut stream = TcpStream::connect(&server.address)?;
    stream.write_all(b"GET /limited HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, told) = answer.rsplit_once("\r\n").context("the server answers in no way that is known")?;
    let numbers: Vec<f64> = told.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    numbers.try_into().ok().context("the server tells three numbers")
}
