//! How a command fails, and how it ends.

use std::fmt;
use std::process::ExitCode;

use towpath_core::{Error, ErrorKind};

use crate::output::paint::Paint;
use crate::pipeline::Problems;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All done.
    Done,
    /// Something did not make it.
    Incomplete,
    /// The pipeline or the command is wrong.
    Wrong,
    /// Interrupted by a signal.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0_u8,
            Exit::Incomplete => 1,
            Exit::Wrong => 2,
            Exit::Interrupted => 130,
        })
    }
}

impl Exit {
    /// How a command ends in which something failed in this way.
    pub(crate) fn of_kind(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Config => Self::Wrong,
            ErrorKind::Cancelled => Self::Interrupted,
            _ => Self::Incomplete,
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The pipeline is wrong.
    Problems(Problems),
    /// The command is wrong.
    Usage { message: String, help: Option<String> },
    /// Something failed on the way.
    Error(Error),
}

impl Failed {
    /// The command is wrong.
    pub(crate) fn usage(message: impl Into<String>, help: Option<String>) -> Self {
        Self::Usage { message: message.into(), help }
    }

    /// How the command ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Problems(_) | Self::Usage { .. } => Exit::Wrong,
            Self::Error(error) => Exit::of_kind(error.kind()),
        }
    }

    /// The text for people.
    pub(crate) fn render(&self, paint: Paint) -> String {
        match self {
            Self::Problems(problems) => problems.render(paint),
            Self::Usage { message, help } => {
                let help = help.as_ref().map(|help| format!("  = help: {help}\n")).unwrap_or_default();
                format!("{}: {}\n{help}", paint.bad("error"), paint.bold(message))
            }
            Self::Error(error) => format!("{}: {error}\n", paint.bad("error")),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Paint::none()))
    }
}

impl From<Problems> for Failed {
    fn from(problems: Problems) -> Self {
        Self::Problems(problems)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Error(error.into())
    }
}
