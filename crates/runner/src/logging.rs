//! Log lines on standard error, between the progress bars and never through them.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::{LogFormat, LogOptions};
use crate::output::paint::Paint;
use crate::output::screen::Screen;

/// Begins to log.
pub(crate) fn init(options: &LogOptions, screen: &Screen) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level(options.verbose)));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines(screen.clone()))
        .with_ansi(Paint::stderr().is_enabled());
    match options.log_format {
        LogFormat::Text => lines.with_target(options.verbose > 1).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
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
