//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "demo")]
use crate::commands::demo;
use crate::commands::{check, completions, connectors, copy, discover, init, plan, preview, run, state};

/// Extract, transform and load, with all of the waiting overlapped.
///
/// Exit codes: 0 all done, 1 something did not make it, 2 the pipeline or the command is wrong, 130 interrupted.
#[derive(Parser)]
#[command(name = "towpath", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) logging: LogOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is logged, and how.
#[derive(Args)]
pub(crate) struct LogOptions {
    /// The form of log lines on standard error.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    /// Logs more: once for what happens, twice for details, three times for everything. `RUST_LOG` wins.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Runs a pipeline.
    Run(run::Arguments),
    /// Checks a pipeline: its file, credentials, permissions and targets. Moves nothing.
    Check(check::Arguments),
    /// Shows what a run would read: splits and types. Moves nothing.
    Plan(plan::Arguments),
    /// Shows the first rows of the streams, after their transforms.
    Preview(preview::Arguments),
    /// Shows the data sets that a source holds.
    Discover(discover::Arguments),
    /// Copies from one URI or path to another, without a pipeline file.
    Copy(copy::Arguments),
    /// Shows what this binary can read and write, and every option.
    Connectors(connectors::Arguments),
    /// Prints the JSON Schema of pipeline files, for editors.
    Schema,
    /// Shows or resets what targets remember of former runs.
    State(state::Arguments),
    /// Writes a commented pipeline that works, to begin with.
    Init(init::Arguments),
    /// Reads three slow servers of its own all at once, into `./towpath-demo`.
    #[cfg(feature = "demo")]
    Demo(demo::Arguments),
    /// Prints the completions for a shell.
    Completions(completions::Arguments),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
