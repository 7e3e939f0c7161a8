//! `towpath state`: what targets remember of former runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use towpath_core::{Checkpoint, Position};
use towpath_engine::{Engine, Pipeline};

use super::select;
use crate::failed::{Exit, Failed};
use crate::output::paint::Paint;
use crate::output::screen::Screen;
use crate::output::units::counted;
use crate::{pipeline, signals};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Shows the checkpoints.
    Show(Which),
    /// Lets the targets forget their checkpoints, so that the next run begins anew. Their rows stay.
    Reset(Which),
    /// Throws away what runs that were killed have left in the targets and never committed. No run may be under way.
    Sweep(Which),
}

#[derive(Args)]
struct Which {
    /// The pipeline file.
    file: PathBuf,
    /// Only these streams.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    stream: Vec<String>,
    /// Prints JSON to standard output.
    #[arg(long)]
    json: bool,
}

impl Which {
    async fn pipeline(&self) -> Result<(Pipeline, Vec<String>), Failed> {
        let mut pipeline = pipeline::load_and_expand(&self.file).await?;
        select::keep(&mut pipeline, &self.stream)?;
        let names = pipeline.streams.iter().map(|stream| stream.name.clone()).collect();
        Ok((pipeline, names))
    }
}

pub(crate) async fn run(arguments: &Arguments, screen: &Screen) -> Result<Exit, Failed> {
    match &arguments.action {
        Action::Show(which) => show(which, screen).await,
        Action::Reset(which) => reset(which, screen).await,
        Action::Sweep(which) => sweep(which, screen).await,
    }
}

async fn show(which: &Which, screen: &Screen) -> Result<Exit, Failed> {
    let (pipeline, names) = which.pipeline().await?;
    let engine = Engine::new(pipeline)?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        let held =
            signals::interruptible(async |shutdown| Ok(engine.checkpoint(name, shutdown).await)).await?;
        match held {
            Ok(held) => found.push((name, held)),
            Err(error) => {
                screen.note(&format!("{} {name}: {error}\n", Paint::stderr().bad("failed")));
                failures.push(error.kind());
            }
        }
    }
    if which.json {
        let found = found.iter().map(|(stream, held)| json!({ "stream": stream, "checkpoint": held }));
        screen.print_json(&found.collect::<Vec<_>>())?;
    } else {
        let lines = found.iter().map(|(name, held)| format!("{name}: {}\n", told(held.as_ref())));
        screen.print(&lines.collect::<String>())?;
    }
    Ok(select::exit_of(failures))
}

/// A checkpoint in a line.
fn told(held: Option<&Checkpoint>) -> String {
    let Some(held) = held else { return "nothing is remembered; the next run begins anew".to_owned() };
    let mut parts = vec![format!("run {}", held.run), counted(held.sequence, "commit")];
    if let Some(cursor) = &held.cursor {
        parts.push(format!("cursor {cursor}"));
    }
    match &held.progress {
        Some(progress) => {
            let planned = if progress.planned == Position::End { "planned" } else { "partly planned" };
            parts.push(format!(
                "under way: {planned}, {} left",
                counted(progress.splits.len() as u64, "split")
            ));
        }
        None => parts.push("finished".to_owned()),
    }
    parts.join(", ")
}

async fn reset(which: &Which, screen: &Screen) -> Result<Exit, Failed> {
    let (pipeline, names) = which.pipeline().await?;
    let engine = Engine::new(pipeline)?;
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        let forgotten =
            signals::interruptible(async |shutdown| Ok(engine.forget(name, shutdown).await)).await?;
        match forgotten {
            Ok(()) => {
                screen.note(&format!("{name}: forgotten; the next run begins anew\n"));
                done.push(name);
            }
            Err(error) => {
                screen.note(&format!("{} {name}: {error}\n", Paint::stderr().bad("failed")));
                failures.push(error.kind());
            }
        }
    }
    if which.json {
        screen.print_json(&json!({ "reset": done }))?;
    }
    Ok(select::exit_of(failures))
}

async fn sweep(which: &Which, screen: &Screen) -> Result<Exit, Failed> {
    let (pipeline, names) = which.pipeline().await?;
    let engine = Engine::new(pipeline)?;
    let (mut swept, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        let removed = signals::interruptible(async |shutdown| Ok(engine.sweep(name, shutdown).await)).await?;
        match removed {
            Ok(removed) => {
                for what in &removed {
                    screen.note(&format!("{name}: {what}\n"));
                }
                screen.note(&format!("{name}: {} thrown away\n", counted(removed.len() as u64, "leftover")));
                swept.push(json!({ "stream": name, "removed": removed }));
            }
            Err(error) => {
                screen.note(&format!("{} {name}: {error}\n", Paint::stderr().bad("failed")));
                failures.push(error.kind());
            }
        }
    }
    if which.json {
        screen.print_json(&json!({ "swept": swept }))?;
    }
    Ok(select::exit_of(failures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_told_in_a_line() {
        assert_eq!(told(None), "nothing is remembered; the next run begins anew");
        let held: Checkpoint = serde_json::from_value(json!({
            "version": 1, "run": "R1", "epoch": 1, "sequence": 3, "since": "start", "cursor": 17, "progress": null,
        }))
        .unwrap();
        assert_eq!(told(Some(&held)), "run R1, 3 commits, cursor 17, finished");
    }
}
