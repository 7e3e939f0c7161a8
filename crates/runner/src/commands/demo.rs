//! `towpath demo`: reads three slow servers of its own all at once, and says what that is worth.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use clap::Args;
use serde_json::json;
use towpath_core::ResultExt as _;
use towpath_demo::{Demo, Options, Served};
use towpath_engine::{RunReport, StreamStatus};

use super::run::{self, Telling};
use crate::failed::{Exit, Failed};
use crate::output::paint::Paint;
use crate::output::report::render;
use crate::output::screen::Screen;
use crate::output::units::{count, counted, seconds};
use crate::pipeline;

/// Where everything goes, below the working directory.
const FOLDER: &str = "towpath-demo";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Breaks one resource of one server for ever: its stream fails, the others complete, and the exit code is 1.
    #[arg(long)]
    broken: bool,
    #[command(flatten)]
    telling: Telling,
}

pub(crate) async fn run(arguments: &Arguments, screen: &Screen) -> Result<Exit, Failed> {
    let telling = arguments.telling;
    let demo = Demo::start(Options { broken: arguments.broken }).await?;
    let file = Path::new(FOLDER).join("pipeline.yaml");
    write(&file, &demo.pipeline(FOLDER))?;
    if !telling.quiet && !telling.json {
        screen.note(&introduction(&file));
    }

    let report = run::watched(pipeline::load(&file)?, telling, screen).await?;
    let (served, expected) = (demo.served(), demo.expected_rows());
    let lost = lost(&report, &expected);
    let exit = match run::exit_of(&report) {
        Exit::Done if !lost.is_empty() => Exit::Incomplete,
        exit => exit,
    };
    if telling.json {
        screen.print_json(&as_json(&report, served, &lost))?;
    } else if !telling.quiet || exit != Exit::Done {
        let paint = Paint::stderr();
        screen.note(&render(&report, Screen::width(), paint));
        if exit != Exit::Interrupted {
            screen.note(&comparison(&report, served, paint));
        }
        screen.note(&results(&report, &lost, paint));
    }
    Ok(exit)
}

fn write(file: &Path, text: &str) -> towpath_core::Result<()> {
    fs::create_dir_all(FOLDER).operation("make the folder of the demo").detail("path", FOLDER)?;
    fs::write(file, text).operation("write the pipeline of the demo").detail("path", file.display())
}

fn introduction(file: &Path) -> String {
    format!(
        "Three slow servers run inside of this command: pages, linked pages, compressed files.\n\
         They refuse, fail and hang up now and then. Running {}:\n\n",
        file.display()
    )
}

/// The streams that are done and have not as many rows as the servers gave.
fn lost(report: &RunReport, expected: &[(&str, u64)]) -> Vec<String> {
    let done = report.streams.iter().filter(|stream| stream.status == StreamStatus::Done);
    let wrong = done.filter_map(|stream| {
        let (_, rows) = expected.iter().find(|(name, _)| *name == stream.name)?;
        (stream.rows_committed != *rows).then(|| {
            format!("{}: {} rows instead of {}", stream.name, count(stream.rows_committed), count(*rows))
        })
    });
    wrong.collect()
}

fn as_json(report: &RunReport, served: Served, lost: &[String]) -> serde_json::Value {
    json!({
        "report": report,
        "servers": {
            "answered": served.answered,
            "refused": served.refused,
            "failed": served.failed,
            "one_after_the_other_seconds": served.one_after_the_other.as_secs_f64(),
        },
        "lost": lost,
    })
}

/// What was gained, and against what.
fn comparison(report: &RunReport, served: Served, paint: Paint) -> String {
    let Served { answered, refused, failed, one_after_the_other } = served;
    let waited = one_after_the_other.as_secs_f64();
    let gain = format!("it took {} ({:.0} x)", seconds(report.seconds), waited / report.seconds);
    format!(
        "\nThe servers answered {}, refused {} that came too fast, and failed {}.\n\
         One after the other this would have taken {}; {}.\n",
        counted(answered, "request"),
        count(refused),
        counted(failed, "time"),
        seconds(waited),
        paint.good(&gain),
    )
}

/// Where everything is, and what to do with it.
fn results(report: &RunReport, lost: &[String], paint: Paint) -> String {
    let mut text = String::from("\n");
    for stream in &report.streams {
        let file = format!("{FOLDER}/{}.parquet", stream.name);
        let rows = match stream.status {
            StreamStatus::Done => counted(stream.rows_committed, "row"),
            _ => paint.warn("nothing new: a stream that replaces its file does so as a whole, or not at all"),
        };
        line(&mut text, &format!("  {file:32}{rows}"));
    }
    line(&mut text, &format!("  {:32}the pipeline that ran", format!("{FOLDER}/pipeline.yaml")));
    for lost in lost {
        line(&mut text, &format!("\n{} {lost}", paint.bad("rows are missing or doubled")));
    }
    text.push_str(
        "\nNext:\n  \
         towpath copy towpath-demo/flights.parquet flights.csv    turn the result into something else\n  \
         towpath init                                             write a pipeline of your own\n",
    );
    text
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes all text");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(status: &str, rows: u64) -> RunReport {
        let stream = json!({
            "name": "flights", "status": status, "disposition": "replace", "delivery": "exactly_once",
            "resumed": false, "rows_read": rows, "rows_committed": rows, "rows_rejected": 0, "bytes_read": 0,
            "bytes_written": 0, "splits": 1, "splits_done": 1, "splits_failed": 0, "commits": 1, "requests": 1,
            "retries": 0, "throttled": 0, "seconds": 2.0, "failures": [], "rejected": [], "warnings": [],
            "ledger": {"source": 0.0, "limiter": 0.0, "cpu": 0.0, "cpu_wait": 0.0, "memory": 0.0, "sink": 0.0},
        });
        let report = json!({
            "pipeline": "demo", "run": "R1", "status": "done", "started": "2026-01-01T00:00:00Z", "seconds": 3.1,
            "streams": [stream], "limits": [], "peak_budget": 0, "advice": null,
        });
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn the_gain_is_told_beside_what_the_servers_did() {
        let served =
            Served { answered: 1200, refused: 3, failed: 1, one_after_the_other: Duration::from_secs(41) };
        let expected = "
The servers answered 1,200 requests, refused 3 that came too fast, and failed 1 time.
One after the other this would have taken 41.0s; it took 3.1s (13 x).
";
        assert_eq!(comparison(&report("done", 5), served, Paint::none()), expected);
    }

    #[test]
    fn a_stream_with_other_rows_than_the_server_has_is_found() {
        assert_eq!(lost(&report("done", 27_004), &[("flights", 27_004)]), Vec::<String>::new());
        for rows in [27_003, 27_005] {
            assert_eq!(lost(&report("done", rows), &[("flights", 27_004)]).len(), 1);
        }
        let lost = lost(&report("done", 1), &[("flights", 27_004)]);
        assert_eq!(lost, ["flights: 1 rows instead of 27,004"]);
        let text = results(&report("done", 1), &lost, Paint::none());
        assert!(text.contains("rows are missing or doubled flights: 1 rows instead of 27,004\n"), "{text}");
    }

    #[test]
    fn a_stream_that_failed_is_not_said_to_have_lost_rows() {
        assert_eq!(lost(&report("failed", 0), &[("flights", 27_004)]), Vec::<String>::new());
        let text = results(&report("failed", 0), &[], Paint::none());
        assert!(text.contains("towpath-demo/flights.parquet    nothing new"), "{text}");
    }
}
