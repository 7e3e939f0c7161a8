//! Many requests that take a second each.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::measure::compare;
use super::server::Server;
use super::table::{Table, megabytes, seconds, times};

/// How many requests, and how many times a second they may take together.
const CASES: [(u32, f64); 2] = [(100, 1.1), (1000, 1.3)];
const GOAL_BYTES: u64 = 100_000_000;

pub(super) fn run(bench: &Bench) -> Result<String> {
    let server = Server::start(bench)?;
    let mut table =
        Table::new(&["requests of 1 s at once", "whole run", "goal", "CPU", "peak memory", "goal"]);
    for (requests, goal) in CASES {
        let name = format!("latency-{requests}");
        let target = bench.path(&format!("{name}.parquet"));
        let pipeline = pipeline(&server.address, requests, &target);
        let towpath = Box::new(|| {
            remove(&target)?;
            bench.pipeline(&name, &pipeline)
        });
        let run = compare(&bench.folder, bench.runs, &mut [(&name, towpath)])?.remove(0);
        table.row(&[
            requests.to_string(),
            times(run.wall, Duration::from_secs(1)),
            format!("{goal} ×"),
            seconds(run.cpu),
            megabytes(run.peak),
            format!("under {}", megabytes(GOAL_BYTES)),
        ]);
    }
    Ok(table.finish())
}

fn pipeline(address: &str, requests: u32, target: &str) -> String {
    format!(
        "name: bench-latency
max_in_flight: {requests}
connections:
  api: {{ connector: http, base_url: \"http://{address}\", max_in_flight: {requests} }}
streams:
  items:
    source:
      connection: api
      path: /delay/1000/{{id}}
      params: {{ id: {{ from: 1, to: {requests} }} }}
    sink: {{ connector: file, path: \"{target}\" }}
    write_disposition: replace
"
    )
}

/// Removes what the last run wrote.
pub(super) fn remove(path: &str) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
