//! What a run did, for people.

use std::fmt::Write as _;

use towpath_core::{Delivery, Rejected};
use towpath_engine::{RunReport, RunStatus, StreamReport, StreamStatus};

use super::paint::Paint;
use super::table::Table;
use super::units::{bytes, count, counted, per_second, seconds};
use crate::pipeline::UNNAMED;

/// How many rejected rows of a stream are shown.
const SHOWN_ROWS: usize = 5;

/// Calls connections that nobody named by their place in the pipeline file.
pub(crate) fn rename_unnamed(report: &mut RunReport) {
    if let Some(advice) = &mut report.advice {
        advice.setting = advice.setting.replace(&format!("connections.{UNNAMED}"), "");
    }
    for limit in &mut report.limits {
        limit.connection = limit.connection.trim_start_matches(UNNAMED).to_owned();
    }
}

/// The report as text, no wider than this where that is possible.
pub(crate) fn render(report: &RunReport, width: usize, paint: Paint) -> String {
    let mut text = String::new();
    let status = match report.status {
        RunStatus::Done => paint.good("done"),
        RunStatus::Incomplete => paint.bad("incomplete"),
        RunStatus::Interrupted => paint.warn("interrupted"),
    };
    let head = format!(
        "{}: {status} in {} (run {})",
        paint.bold(&report.pipeline),
        seconds(report.seconds),
        report.run
    );
    line(&mut text, &head);
    line(&mut text, "");
    text.push_str(&streams(report, width, paint));
    for stream in &report.streams {
        text.push_str(&trouble(stream, paint));
    }
    text.push('\n');
    for (title, lines) in [
        ("time", times(report)),
        ("guarantee", guarantees(report)),
        ("copied", copied(report)),
        ("resumed", resumed(report)),
        ("limits", limits(report)),
    ] {
        for (index, content) in lines.iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            line(&mut text, &format!("{}  {content}", paint.dim(&format!("{title:9}"))));
        }
    }
    if let Some(advice) = &report.advice {
        let content = format!("`{}` of {}: {}", advice.setting, advice.stream, advice.reason);
        line(&mut text, &format!("{}  {content}", paint.dim(&format!("{:9}", "advice"))));
    }
    text
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes all text");
}

fn streams(report: &RunReport, width: usize, paint: Paint) -> String {
    let header = ["stream", "status", "rows", "rejected", "read", "written", "time", "rows/s"];
    let mut table = Table::new(header).numbers(2..8);
    for stream in &report.streams {
        table.row([
            stream.name.clone(),
            status(stream.status).to_owned(),
            count(stream.rows_committed),
            count(stream.rows_rejected),
            bytes(stream.bytes_read),
            bytes(stream.bytes_written),
            seconds(stream.seconds),
            per_second(stream.rows_committed, stream.seconds).map(count).unwrap_or_default(),
        ]);
    }
    table.render(Some(width), paint)
}

fn status(status: StreamStatus) -> &'static str {
    match status {
        StreamStatus::Done => "done",
        StreamStatus::Incomplete => "incomplete",
        StreamStatus::Failed => "failed",
        StreamStatus::Interrupted => "interrupted",
    }
}

/// What failed, what was rejected, what was noticed.
fn trouble(stream: &StreamReport, paint: Paint) -> String {
    let mut text = String::new();
    for failure in &stream.failures {
        let split = failure.split.as_ref().map(|split| format!(" ({split})")).unwrap_or_default();
        line(&mut text, &format!("\n{} {}{split}: {}", paint.bad("failed"), stream.name, failure.message));
    }
    if stream.rows_rejected > 0 {
        let rows = counted(stream.rows_rejected, "row");
        line(&mut text, &format!("\n{} {}: {rows}", paint.bad("rejected"), stream.name));
        for rejected in stream.rejected.iter().take(SHOWN_ROWS) {
            line(&mut text, &format!("  {}", shown(rejected)));
        }
        let more = stream.rows_rejected.saturating_sub(stream.rejected.len().min(SHOWN_ROWS) as u64);
        if more > 0 {
            line(&mut text, &format!("  and {} more", count(more)));
        }
    }
    for warning in &stream.warnings {
        line(&mut text, &format!("\n{} {}: {warning}", paint.warn("noticed"), stream.name));
    }
    text
}

/// A rejected row in a line.
fn shown(rejected: &Rejected) -> String {
    const LONGEST: usize = 300;
    let text = rejected.to_string().replace('\n', "\\n");
    console::truncate_str(&text, LONGEST, "…").into_owned()
}

/// Where each stream's time went, as shares.
fn times(report: &RunReport) -> Vec<String> {
    let shares = |stream: &StreamReport| {
        let parts = stream.ledger.parts();
        let total: f64 = parts.iter().map(|(_, seconds)| seconds).sum();
        let shown = parts.iter().filter(|(_, seconds)| total > 0.0 && seconds / total >= 0.005);
        let shown: Vec<_> =
            shown.map(|(name, seconds)| format!("{name} {:.0}%", seconds / total * 100.0)).collect();
        (!shown.is_empty()).then(|| format!("{}: {}", stream.name, shown.join(", ")))
    };
    report.streams.iter().filter_map(shares).collect()
}

/// What the pipeline really guarantees: a line for each guarantee, with its streams.
fn guarantees(report: &RunReport) -> Vec<String> {
    let kinds = [
        (Delivery::ExactlyOnce, "exactly once"),
        (Delivery::Idempotent, "at least once, doubles overwrite each other"),
        (Delivery::AtLeastOnce, "at least once, rows may come twice after a failure"),
    ];
    let lines = kinds.into_iter().filter_map(|(delivery, text)| {
        let streams = report.streams.iter().filter(|stream| stream.delivery == Some(delivery));
        let names: Vec<_> = streams.map(|stream| stream.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{text}: {}", names.join(", ")))
    });
    lines.collect()
}

/// What services copied, which neither was read nor written.
fn copied(report: &RunReport) -> Vec<String> {
    let streams = report.streams.iter().filter(|stream| stream.bytes_copied > 0);
    streams.map(|stream| format!("{}: {} by the service", stream.name, bytes(stream.bytes_copied))).collect()
}

fn resumed(report: &RunReport) -> Vec<String> {
    let names: Vec<_> =
        report.streams.iter().filter(|stream| stream.resumed).map(|stream| stream.name.as_str()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    vec![format!("{} went on with an interrupted run; its parts may differ in time", names.join(", "))]
}

/// The course of limits that were cut because a server asked for less, or got slow.
fn limits(report: &RunReport) -> Vec<String> {
    let mut lines = Vec::new();
    for limit in &report.limits {
        for origin in limit.course["origins"].as_array().into_iter().flatten() {
            let number = |name: &str| origin[name].as_u64().unwrap_or(0);
            let (throttled, timeouts, cuts) = (number("throttled"), number("timeouts"), number("back_offs"));
            if throttled + timeouts + cuts == 0 {
                continue;
            }
            let name = origin["origin"].as_str().filter(|name| !name.is_empty());
            let name =
                name.map_or_else(|| limit.connection.clone(), |name| format!("{} {name}", limit.connection));
            let (min, max, last) = (number("min_limit"), number("max_limit"), number("limit"));
            let mut parts = vec![format!("{min} to {max} in flight, {last} at the end")];
            if let Some(pace) = origin["pace"].as_f64() {
                parts.push(format!("{pace:.1} a second"));
            }
            if cuts > 0 {
                parts.push(counted(cuts, "back-off"));
            }
            if throttled > 0 {
                parts.push(format!(
                    "{} of {} requests throttled",
                    count(throttled),
                    count(number("requests"))
                ));
            }
            if timeouts > 0 {
                parts.push(counted(timeouts, "timeout"));
            }
            lines.push(format!("{} {name}: {}", limit.direction, parts.join(", ")));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn stream(name: &str, changes: &Value) -> Value {
        let mut stream = json!({
            "name": name, "status": "done", "disposition": "append", "delivery": "exactly_once", "resumed": false,
            "rows_read": 1000, "rows_committed": 1000, "rows_rejected": 0, "bytes_read": 5000, "bytes_written": 2000,
            "splits": 1, "splits_done": 1, "splits_failed": 0, "commits": 1, "requests": 1, "retries": 0, "throttled": 0,
            "seconds": 2.0, "failures": [], "rejected": [], "warnings": [],
            "ledger": {"source": 1.5, "limiter": 0.0, "cpu": 0.5, "cpu_wait": 0.0, "memory": 0.0, "sink": 0.0},
        });
        for (key, value) in changes.as_object().unwrap() {
            stream[key] = value.clone();
        }
        stream
    }

    fn report(streams: &[Value], changes: &Value) -> RunReport {
        let mut report = json!({
            "pipeline": "retail", "run": "R1", "status": "done", "started": "2026-01-01T00:00:00Z", "seconds": 2.0,
            "streams": streams, "limits": [], "peak_budget": 0, "advice": null,
        });
        for (key, value) in changes.as_object().unwrap() {
            report[key] = value.clone();
        }
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn a_run_in_which_all_went_well_is_short() {
        let report = report(&[stream("sales", &json!({}))], &json!({}));
        let expected = "\
retail: done in 2.0s (run R1)

stream  status   rows  rejected    read  written  time  rows/s
sales   done    1,000         0  5.0 kB   2.0 kB  2.0s     500

time       sales: source 75%, cpu 25%
guarantee  exactly once: sales
";
        assert_eq!(render(&report, 100, Paint::none()), expected);
    }

    #[test]
    fn what_did_not_make_it_is_told_with_its_reason() {
        let failed = json!({
            "status": "failed", "delivery": null, "rows_rejected": 7,
            "failures": [{"kind": "not_found", "split": "a.csv", "message": "file: read: no such file"}],
            "rejected": [{"place": "b.csv:17", "reason": "3 fields instead of 2"}],
            "warnings": ["the column `x` was never there"],
        });
        let report = report(&[stream("sales", &failed)], &json!({"status": "incomplete"}));
        let text = render(&report, 100, Paint::none());
        for expected in [
            "retail: incomplete in 2.0s",
            "failed sales (a.csv): file: read: no such file\n",
            "rejected sales: 7 rows\n  b.csv:17: 3 fields instead of 2\n  and 6 more\n",
            "noticed sales: the column `x` was never there\n",
        ] {
            assert!(text.contains(expected), "{text}");
        }
        assert!(!text.contains("guarantee"), "{text}");
    }

    #[test]
    fn limits_are_told_where_a_server_asked_for_less_and_advice_names_its_place() {
        let origin = |name: &str, throttled, back_offs| {
            json!({"origin": name, "adaptive": true, "limit": 8, "min_limit": 2, "max_limit": 64, "peak_in_flight": 60,
                   "requests": 100, "throttled": throttled, "timeouts": 0, "back_offs": back_offs, "points": []})
        };
        let mut paced = origin("https://a", 3, 2);
        paced["pace"] = json!(97.532);
        let changes = json!({
            "limits": [{"connection": "@streams.sales.source", "direction": "read",
                        "course": {"origins": [paced, origin("https://b", 0, 0), origin("https://c", 0, 1)]}}],
            "advice": {"stream": "sales", "setting": "connections.@streams.sales.source.max_in_flight", "reason": "raise it"},
        });
        let mut report = report(&[stream("sales", &json!({"resumed": true}))], &changes);
        rename_unnamed(&mut report);
        let text = render(&report, 100, Paint::none());
        for expected in [
            "limits     read streams.sales.source https://a: 2 to 64 in flight, 8 at the end, 97.5 a second, 2 back-offs, \
             3 of 100 requests throttled\n",
            "           read streams.sales.source https://c: 2 to 64 in flight, 8 at the end, 1 back-off\n",
            "advice     `streams.sales.source.max_in_flight` of sales: raise it\n",
            "resumed    sales went on with an interrupted run",
        ] {
            assert!(text.contains(expected), "{text}");
        }
        assert!(!text.contains("https://b"), "{text}");
    }
}
