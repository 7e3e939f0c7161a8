//! `towpath run`: runs a pipeline.

use std::path::PathBuf;

use clap::Args;
use towpath_engine::{Engine, Pipeline, RunReport, RunStatus, StreamStatus};

use super::select;
use crate::failed::{Exit, Failed};
use crate::output::paint::Paint;
use crate::output::progress::Watcher;
use crate::output::report::{rename_unnamed, render};
use crate::output::screen::Screen;
use crate::{pipeline, signals};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The pipeline file.
    file: PathBuf,
    /// Runs only these streams.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    stream: Vec<String>,
    #[command(flatten)]
    telling: Telling,
}

/// What is told of a run.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Telling {
    /// Prints the report as JSON to standard output.
    #[arg(long)]
    pub(crate) json: bool,
    /// Shows no progress, and the report only if something did not make it.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

pub(crate) async fn run(arguments: Arguments, screen: &Screen) -> Result<Exit, Failed> {
    let mut pipeline = pipeline::load_and_expand(&arguments.file).await?;
    select::keep(&mut pipeline, &arguments.stream)?;
    execute(pipeline, arguments.telling, screen).await
}

/// Runs a pipeline, shows how far it is, and tells how it ended.
///
/// # Errors
/// What keeps it from starting.
pub(crate) async fn execute(pipeline: Pipeline, telling: Telling, screen: &Screen) -> Result<Exit, Failed> {
    let report = watched(pipeline, telling, screen).await?;
    let exit = exit_of(&report);
    if telling.json {
        screen.print_json(&report)?;
    } else if !telling.quiet || exit != Exit::Done {
        screen.note(&render(&report, Screen::width(), Paint::stderr()));
    }
    Ok(exit)
}

/// Runs a pipeline and shows how far it is.
///
/// # Errors
/// What keeps it from starting.
pub(crate) async fn watched(
    pipeline: Pipeline,
    telling: Telling,
    screen: &Screen,
) -> Result<RunReport, Failed> {
    let engine = Engine::new(pipeline)?;
    let shutdown = signals::watch(screen)?;
    let watcher = (!telling.quiet).then(|| Watcher::start(engine.progress(), screen));
    let mut report = engine.run(&shutdown).await;
    if let Some(watcher) = watcher {
        watcher.stop();
    }
    rename_unnamed(&mut report);
    Ok(report)
}

/// How a run ended.
pub(crate) fn exit_of(report: &RunReport) -> Exit {
    match report.status {
        RunStatus::Done => Exit::Done,
        RunStatus::Interrupted => Exit::Interrupted,
        // Where some streams made it, the pipeline is not wrong as a whole.
        RunStatus::Incomplete
            if report.streams.iter().all(|stream| stream.status == StreamStatus::Failed) =>
        {
            select::exit_of(
                report.streams.iter().flat_map(|stream| &stream.failures).map(|failure| failure.kind),
            )
        }
        RunStatus::Incomplete => Exit::Incomplete,
    }
}
