//! The terminal: progress bars, and text that does not tear them.

use std::io::{self, IsTerminal as _, Write as _};

use indicatif::MultiProgress;
use serde::Serialize;

use crate::failed::Failed;

/// Both outputs of the process. Clones share the bars.
#[derive(Clone)]
pub(crate) struct Screen {
    bars: MultiProgress,
}

/// The width of a terminal that does not tell it.
const USUAL_WIDTH: usize = 80;

impl Screen {
    /// The screen of this process.
    pub(crate) fn new() -> Self {
        // Bars go to standard error, and are hidden where that is no terminal.
        Self { bars: MultiProgress::new() }
    }

    /// The progress bars.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Whether somebody watches standard error.
    pub(crate) fn is_watched() -> bool {
        io::stderr().is_terminal()
    }

    /// How many columns standard error has; where it is no terminal, as many as are wanted.
    pub(crate) fn width() -> usize {
        console::Term::stderr().size_checked().map_or(usize::MAX, |(_, columns)| columns.into())
    }

    /// How many lines standard error has.
    pub(crate) fn height() -> usize {
        const USUAL_HEIGHT: usize = 24;
        console::Term::stderr().size_checked().map_or(USUAL_HEIGHT, |(lines, _)| lines.into())
    }

    /// How many columns standard output has; none if it is no terminal.
    pub(crate) fn output_width() -> Option<usize> {
        let is_terminal = io::stdout().is_terminal();
        is_terminal.then(|| {
            console::Term::stdout().size_checked().map_or(USUAL_WIDTH, |(_, columns)| columns.into())
        })
    }

    /// Does something while the bars step aside.
    pub(crate) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bars.suspend(work)
    }

    /// Writes text for people to standard error.
    pub(crate) fn note(&self, text: &str) {
        // Where nobody can be told, nobody can be told that either.
        let _ = self.aside(|| io::stderr().lock().write_all(text.as_bytes()));
    }

    /// Writes a result to standard output.
    ///
    /// # Errors
    /// Of the operating system. A reader that has enough, such as `head`, is none.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failed> {
        let written = self.aside(|| {
            let mut output = io::stdout().lock();
            output.write_all(text.as_bytes()).and_then(|()| output.flush())
        });
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }

    /// Writes a result as JSON to standard output.
    ///
    /// # Errors
    /// As [`print`](Self::print).
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<(), Failed> {
        let mut text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        text.push('\n');
        self.print(&text)
    }
}
