//! Which stream writes to a path without `{stream}`, so that two streams of one run do not overwrite each other.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use towpath_core::{Error, LoadSpec, Result};
use towpath_files::sink::Target;

/// Which run and stream write to a path. All streams of a run are in one process.
static CLAIMS: LazyLock<Mutex<HashMap<String, (String, String)>>> = LazyLock::new(Mutex::default);

/// Claims the path for a stream of this run. An earlier run's claim counts no more.
///
/// # Errors
/// `Config` when another stream of the same run has it.
pub(super) fn claim(bucket: &str, target: &Target, load: &LoadSpec) -> Result<()> {
    let path = target.template().text();
    if target.template().names_stream() {
        return Ok(());
    }
    let own = (load.run.clone(), load.stream.clone());
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    match claims.insert(format!("{bucket}/{path}"), own) {
        Some((run, stream)) if run == load.run && stream != load.stream => {
            let message =
                format!("stream `{stream}` writes to the same path, and one would overwrite the other");
            Err(Error::config(message)
                .detail("path", path)
                .help("put `{stream}` into the path, or give each stream a path of its own"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use towpath_core::WriteDisposition;
    use towpath_files::sink::SinkOptions;

    use super::*;

    fn target(path: &str) -> Target {
        let options = SinkOptions {
            path: path.to_owned(),
            partition_by: Vec::new(),
            max_rows_per_file: None,
            max_bytes_per_file: None,
            format: None,
            compression: None,
        };
        Target::new(options).unwrap()
    }

    #[test]
    fn a_path_belongs_to_one_stream_of_a_run() {
        let claim = |path: &str, run: &str, stream: &str| {
            claim("s3://claims", &target(path), &LoadSpec::new("p", stream, run, WriteDisposition::Append))
        };
        claim("out/{part}.csv", "run1", "a").unwrap();
        claim("out/{part}.csv", "run1", "a").unwrap();
        claim("out/{stream}/{part}.csv", "run1", "b").unwrap();
        let error = claim("out/{part}.csv", "run1", "b").unwrap_err().to_string();
        assert!(
            error.contains("stream `a` writes to the same path") && error.contains("{stream}"),
            "{error}"
        );
        claim("out/{part}.csv", "run2", "b").unwrap();
    }
}
