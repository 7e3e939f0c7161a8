//! `towpath run`: runs a pipeline.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use towpath_core::Traffic;
use towpath_engine::{Engine, Pipeline, RunReport, RunStatus, StreamStatus};

use towpath_layers::{FileRecorder, FileRecording};

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
    /// Keeps what HTTP sources hear from servers in this file, without credentials. `.gz` at its end compresses it.
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    record: Option<PathBuf>,
    /// Takes what HTTP sources hear from such a file, without a network.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
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
    let (recorder, traffic) = match (&arguments.record, &arguments.replay) {
        (Some(file), _) => {
            let recorder = Arc::new(FileRecorder::create(file)?);
            (Some(recorder.clone()), Traffic::Recorded(recorder))
        }
        (None, Some(file)) => (None, Traffic::Replayed(Arc::new(FileRecording::open(file)?))),
        (None, None) => (None, Traffic::Live),
    };
    let ended = execute_with(pipeline, traffic, arguments.telling, screen).await;
    let finished = recorder.map_or(Ok(()), |recorder| recorder.finish());
    let exit = ended?;
    finished?;
    Ok(exit)
}

/// Runs a pipeline, shows how far it is, and tells how it ended.
///
/// # Errors
/// What keeps it from starting.
pub(crate) async fn execute(pipeline: Pipeline, telling: Telling, screen: &Screen) -> Result<Exit, Failed> {
    execute_with(pipeline, Traffic::Live, telling, screen).await
}

async fn execute_with(
    pipeline: Pipeline,
    traffic: Traffic,
    telling: Telling,
    screen: &Screen,
) -> Result<Exit, Failed> {
    let report = watch(Engine::with_traffic(pipeline, traffic)?, telling, screen).await?;
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
#[cfg(feature = "demo")]
pub(crate) async fn watched(
    pipeline: Pipeline,
    telling: Telling,
    screen: &Screen,
) -> Result<RunReport, Failed> {
    watch(Engine::new(pipeline)?, telling, screen).await
}

async fn watch(engine: Engine, telling: Telling, screen: &Screen) -> Result<RunReport, Failed> {
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
