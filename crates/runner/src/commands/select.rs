//! Some streams of a pipeline instead of all.

use towpath_core::ErrorKind;
use towpath_engine::Pipeline;

use crate::failed::{Exit, Failed};
use crate::nearest::nearest;

/// Keeps the streams of these names; all if there are none.
///
/// # Errors
/// That there is no stream of a name.
pub(crate) fn keep(pipeline: &mut Pipeline, names: &[String]) -> Result<(), Failed> {
    for name in names {
        if !pipeline.streams.iter().any(|stream| stream.name == *name) {
            let known: Vec<_> = pipeline.streams.iter().map(|stream| stream.name.as_str()).collect();
            let help = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the pipeline has {}", known.join(", ")),
            };
            return Err(Failed::usage(format!("there is no stream `{name}`"), Some(help)));
        }
    }
    if !names.is_empty() {
        pipeline.streams.retain(|stream| names.contains(&stream.name));
    }
    Ok(())
}

/// How a command ends in which these kinds of failures came up: wrong only if nothing but the configuration is.
pub(crate) fn exit_of(kinds: impl IntoIterator<Item = ErrorKind>) -> Exit {
    let exits: Vec<_> = kinds.into_iter().map(Exit::of_kind).collect();
    if exits.is_empty() {
        Exit::Done
    } else if exits.iter().all(|exit| *exit == Exit::Wrong) {
        Exit::Wrong
    } else {
        Exit::Incomplete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wrong_configuration_alone_makes_the_command_wrong() {
        assert_eq!(exit_of([]), Exit::Done);
        assert_eq!(exit_of([ErrorKind::Config]), Exit::Wrong);
        assert_eq!(exit_of([ErrorKind::Config, ErrorKind::NotFound]), Exit::Incomplete);
    }
}
