//! The pipeline file: from YAML to the pipeline that the engine runs.
//!
//! ```text
//! text ──> yaml (events, interpolate, scalar) ──> node (a tree with places) ──> decode (types of file)
//!                                                        └──> sides (connections, options) ──> resolve ──> Pipeline
//! ```
//!
//! Every mistake is a [`Problem`](problem::Problem) with its place; all of a file are shown together.

mod decode;
mod file;
mod for_each;
mod interpolate;
mod needed;
mod node;
mod problem;
mod resolve;
mod scalar;
mod schema;
mod sides;
#[cfg(test)]
mod tests;
mod yaml;

use std::path::Path;

use towpath_engine::Pipeline;

use crate::failed::Failed;
use crate::signals;

pub(crate) use file::{default_max_in_flight, default_memory, processors};
pub(crate) use interpolate::{Environment, ProcessEnvironment};
pub(crate) use needed::needed_features;
pub(crate) use problem::Problems;
pub(crate) use scalar::typed;
pub(crate) use schema::{Side, pipeline_schema};
pub(crate) use sides::UNNAMED;

/// Reads a pipeline file.
///
/// # Errors
/// The problems of the file, or that it cannot be read.
pub(crate) fn load(path: &Path) -> Result<Pipeline, Failed> {
    let text = read(path)?;
    Ok(parse(&path.display().to_string(), &text, &ProcessEnvironment)?)
}

/// Reads a pipeline file, and asks its sources for the data sets that become streams.
///
/// # Errors
/// As [`load`]; two streams of one name.
pub(crate) async fn load_and_expand(path: &Path) -> Result<Pipeline, Failed> {
    let pipeline = load(path)?;
    if pipeline.streams.iter().all(|stream| stream.datasets.is_empty()) {
        return Ok(pipeline);
    }
    signals::interruptible(async |shutdown| Ok(towpath_engine::expand(pipeline, shutdown).await?)).await
}

/// The text of a pipeline file.
///
/// # Errors
/// That it cannot be read.
pub(crate) fn read(path: &Path) -> Result<String, Failed> {
    std::fs::read_to_string(path).map_err(|error| {
        let help = (error.kind() == std::io::ErrorKind::NotFound)
            .then(|| "`towpath init` writes a pipeline to begin with".to_owned());
        Failed::usage(format!("cannot read the pipeline `{}`: {error}", path.display()), help)
    })
}

/// Makes a pipeline of a text. `name` stands in front of line and column in what is shown.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn parse(name: &str, text: &str, environment: &dyn Environment) -> Result<Pipeline, Problems> {
    let (pipeline, problems) = match yaml::parse(text, environment) {
        Err(problems) => (None, problems),
        Ok((root, mut problems)) => {
            let (pipeline, more) = resolve::resolve(&root);
            // What could not be filled in is reported once, and not as a wrong value too.
            let known: Vec<_> = problems.iter().map(|problem| problem.span.line).collect();
            problems.extend(more.into_iter().filter(|problem| !known.contains(&problem.span.line)));
            (pipeline, problems)
        }
    };
    match pipeline {
        Some(pipeline) if problems.is_empty() => Ok(pipeline),
        _ => Err(Problems::new(name, text, problems)),
    }
}
