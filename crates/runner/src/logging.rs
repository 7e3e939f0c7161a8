//! Log lines on standard error, between the progress bars and never through them.

use std::io::{self, Write};

use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{LogFormat, LogOptions};
use crate::output::paint::Paint;
use crate::output::screen::Screen;

/// Begins to log.
pub(crate) fn init(options: &LogOptions, screen: &Screen) {
    let asked = std::env::var(VARIABLE).unwrap_or_default();
    let (filter, is_read) = filter(&asked, options.verbose);
    let lines = fmt::layer().with_writer(Lines(screen.clone())).with_ansi(Paint::stderr().is_enabled());
    let lines = match options.log_format {
        LogFormat::Text => lines.with_target(options.verbose > 1).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    if !is_read {
        tracing::warn!("`{VARIABLE}` is left alone: write levels and targets, such as `info,towpath=debug`");
    }
}

/// The variable that has the last word.
const VARIABLE: &str = "RUST_LOG";

/// What is logged, and whether what was asked for could be read. Levels by target are all that is needed: a filter by spans and
/// fields would bring regular expressions.
fn filter(asked: &str, verbose: u8) -> (Targets, bool) {
    let default = || level(verbose).parse().expect("our own levels can be read");
    match asked.trim().parse() {
        _ if asked.trim().is_empty() => (default(), true),
        Ok(filter) => (filter, true),
        Err(_) => (default(), false),
    }
}

/// What is logged for this many `-v`.
fn level(verbose: u8) -> &'static str {
    match verbose {
        0 => "warn",
        1 => "warn,towpath=info",
        2 => "info,towpath=debug",
        _ => "debug,towpath=trace",
    }
}

/// Writes whole lines while the bars step aside.
struct Lines(Screen);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

struct Line<'a>(&'a Screen);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.aside(|| io::stderr().lock().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_variable_has_the_last_word_if_it_can_be_read() {
        let logs = |asked: &str, verbose: u8, target: &str, level: Level| {
            let (filter, is_read) = filter(asked, verbose);
            (filter.would_enable(target, &level), is_read)
        };
        assert_eq!(logs("", 0, "towpath", Level::INFO), (false, true));
        assert_eq!(logs("", 1, "towpath_engine::stream", Level::INFO), (true, true));
        assert_eq!(logs("", 1, "hyper", Level::INFO), (false, true));
        assert_eq!(logs("towpath::stall=debug", 0, "towpath::stall", Level::DEBUG), (true, true));
        assert_eq!(logs("towpath::stall=debug", 3, "towpath", Level::DEBUG), (false, true));
        assert_eq!(logs("other", 0, "towpath", Level::WARN), (false, true));
        assert_eq!(logs("towpath=loud", 0, "towpath", Level::WARN), (true, false));
    }
}
