//! What a binary lacks.

use towpath_core::Error;

/// The error of a format (or codec) that this binary was built without.
#[allow(dead_code, reason = "a build with all features lacks nothing")]
pub(crate) fn lacks(what: &str, feature: &str) -> Error {
    Error::config(format!("this towpath lacks the {what} `{feature}`; build it with --features {feature}"))
}

/// The error for `format: bytes` where rows are read or written.
pub(crate) fn no_rows() -> Error {
    Error::config("`format: bytes` means whole files, which are not read or written as rows here")
        .help("choose a format of rows, such as csv, ndjson, json, parquet, arrow or avro")
}
