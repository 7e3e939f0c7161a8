//! `towpath schema`: the JSON Schema of pipeline files.

use clap::Args;

use crate::failed::{Exit, Failed};
use crate::output::screen::Screen;
use crate::pipeline::pipeline_schema;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The schema is JSON anyway; for symmetry with the other commands.
    #[arg(long, hide = true)]
    json: bool,
}

pub(crate) fn run(screen: &Screen) -> Result<Exit, Failed> {
    screen.print_json(&pipeline_schema())?;
    Ok(Exit::Done)
}
