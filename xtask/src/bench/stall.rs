//! The longest stall of the event loop, as the command's own probe finds it.

use anyhow::{Context, Result};

use super::Bench;
use super::convert::{CASES, towpath};
use super::measure::measure;
use super::table::Table;

/// Events of this name tell the longest stall, at the end of a run.
const PROBE: &str = "towpath::stall=debug";
const FIELD: &str = "longest_ms=";

pub(super) fn run(bench: &Bench) -> Result<String> {
    let mut table = Table::new(&["work", "longest stall, median", "greatest", "goal"]);
    for case in &CASES {
        let from = case.input(bench)?;
        let to = bench.path(&format!("towpath.{}", case.to));
        let mut stalls = Vec::new();
        for _ in 0..bench.runs {
            let mut command = towpath(bench, &from, &to)?;
            let run = measure(command.env("RUST_LOG", PROBE).env("NO_COLOR", "1"), &bench.folder)?;
            stalls.push(longest(&run.said).context("the run told no stall")?);
        }
        stalls.sort_by(f64::total_cmp);
        let (median, greatest) = (stalls[stalls.len() / 2], stalls[stalls.len() - 1]);
        eprintln!("{:>24}  {median:.1} ms, at most {greatest:.1} ms", case.name);
        table.row(&[
            case.name.into(),
            format!("{median:.1} ms"),
            format!("{greatest:.1} ms"),
            "under 20 ms".into(),
        ]);
    }
    Ok(table.finish())
}

fn longest(said: &str) -> Option<f64> {
    let (_, rest) = said.split_once(FIELD)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stall_is_found_in_the_log() {
        let said = "12:00:00 DEBUG towpath::stall: the event loop was watched longest_ms=3.25\n";
        assert_eq!(longest(said), Some(3.25));
        assert_eq!(longest("nothing"), None);
    }
}
