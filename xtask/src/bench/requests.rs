//! Many small responses, beside a load generator that throws them away.

use std::process::Command;

use anyhow::Result;

use super::Bench;
use super::latency::remove;
use super::measure::{Contestant, Measured, compare};
use super::server::Server;
use super::table::{Table, megabytes, percent, seconds};
use crate::process;

const REQUESTS: u32 = 20_000;
const AT_ONCE: u32 = 64;

pub(super) fn run(bench: &Bench) -> Result<String> {
    let server = Server::start(bench)?;
    let target = bench.path("requests.parquet");
    let pipeline = pipeline(&server.address, &target);
    let mut contestants: Vec<(&str, Contestant<'_>)> = vec![
        ("load generator", Box::new(|| Ok(load(bench, &server)))),
        (
            "Towpath",
            Box::new(|| {
                remove(&target)?;
                bench.pipeline("requests", &pipeline)
            }),
        ),
    ];
    if let Some(oha) = process::find("oha") {
        let url = format!("http://{}/items/7", server.address);
        contestants.push((
            "oha",
            Box::new(move || {
                let mut command = Command::new(&oha);
                command.args(["--no-tui", "-n", &REQUESTS.to_string(), "-c", &AT_ONCE.to_string(), &url]);
                Ok(command)
            }),
        ));
    }
    let names: Vec<_> = contestants.iter().map(|(name, _)| *name).collect();
    let runs = compare(&bench.folder, bench.runs, &mut contestants)?;
    let mut table =
        Table::new(&["", "responses per second", "of the load generator's", "goal", "CPU", "peak memory"]);
    for (name, run) in names.iter().zip(&runs) {
        let goal = if *name == "Towpath" { "at least 50 %" } else { "" };
        table.row(&[
            (*name).to_owned(),
            format!("{:.0}", rate(run)),
            percent(rate(run) / rate(&runs[0])),
            goal.to_owned(),
            seconds(run.cpu),
            megabytes(run.peak),
        ]);
    }
    Ok(format!("{REQUESTS} responses, {AT_ONCE} at once:\n\n{}", table.finish()))
}

fn rate(run: &Measured) -> f64 {
    f64::from(REQUESTS) / run.wall.as_secs_f64()
}

fn load(bench: &Bench, server: &Server) -> Command {
    let mut command = Command::new(&bench.baselines);
    command.args(["load", &server.address, &REQUESTS.to_string(), &AT_ONCE.to_string()]);
    command
}

fn pipeline(address: &str, target: &str) -> String {
    format!(
        "name: bench-requests
max_in_flight: {AT_ONCE}
connections:
  api: {{ connector: http, base_url: \"http://{address}\", max_in_flight: {AT_ONCE} }}
streams:
  items:
    source:
      connection: api
      path: /items/{{id}}
      params: {{ id: {{ from: 1, to: {REQUESTS} }} }}
    sink: {{ connector: file, path: \"{target}\" }}
    write_disposition: replace
"
    )
}
