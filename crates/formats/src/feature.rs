//! What a binary lacks.

use towpath_core::Error;

/// The error of a format (or codec) that this binary was built without.
#[allow(dead_code, reason = "a build with all features lacks nothing")]
pub(crate) fn lacks(what: &str, feature: &str) -> Error {
    Error::config(format!("this towpath lacks the {what} `{feature}`; build it with --features {feature}"))
}
