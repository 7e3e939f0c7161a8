//! `towpath check`: whether a pipeline would work, without moving anything.

use std::path::PathBuf;

use clap::Args;
use towpath_engine::{Checked, Engine, Failure};

use super::select;
use crate::failed::{Exit, Failed};
use crate::output::paint::Paint;
use crate::output::screen::Screen;
use crate::{pipeline, signals};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The pipeline file.
    file: PathBuf,
    /// Checks only these streams.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    stream: Vec<String>,
    /// Prints what was found as JSON to standard output.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments, screen: &Screen) -> Result<Exit, Failed> {
    let mut pipeline = pipeline::load_and_expand(&arguments.file).await?;
    select::keep(&mut pipeline, &arguments.stream)?;
    let engine = Engine::new(pipeline)?;
    let checked = signals::interruptible(async |shutdown| Ok(engine.check(shutdown).await)).await?;
    if arguments.json {
        screen.print_json(&checked)?;
    } else {
        screen.note(&render(&checked, Paint::stderr()));
    }
    let failures = checked.iter().flat_map(|stream| [&stream.source, &stream.sink]).flatten();
    Ok(select::exit_of(failures.map(|failure| failure.kind)))
}

fn render(checked: &[Checked], paint: Paint) -> String {
    let side = |stream: &Checked, name: &str, failure: &Option<Failure>| match failure {
        None => format!("{}      {} {name}\n", paint.good("ok"), stream.stream),
        Some(failure) => format!("{}  {} {name}: {}\n", paint.bad("failed"), stream.stream, failure.message),
    };
    let note =
        |stream: &Checked, note: &String| format!("{}    {}: {note}\n", paint.warn("note"), stream.stream);
    let all = |stream: &Checked| {
        let notes: String = stream.notes.iter().map(|text| note(stream, text)).collect();
        side(stream, "source", &stream.source) + &side(stream, "sink", &stream.sink) + &notes
    };
    checked.iter().map(all).collect()
}
