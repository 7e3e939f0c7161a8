//! `towpath schema`: the JSON Schema of pipeline files.

use crate::failed::{Exit, Failed};
use crate::output::screen::Screen;
use crate::pipeline::pipeline_schema;

pub(crate) fn run(screen: &Screen) -> Result<Exit, Failed> {
    screen.print_json(&pipeline_schema())?;
    Ok(Exit::Done)
}
