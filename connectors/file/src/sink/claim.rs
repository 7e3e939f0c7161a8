//! Which stream writes a plain file, so that two streams of one run do not overwrite each other.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use towpath_core::{Error, LoadSpec, Result};

use crate::errors::{CONNECTOR, io_error};
use towpath_files::names::encode;

/// Claims a file below `base` for a stream of this run. An earlier run's claim counts no more.
///
/// # Errors
/// `Config` when another stream of the same run has it.
pub(super) fn claim(base: &Path, file: &str, load: &LoadSpec) -> Result<()> {
    // No pipeline's folder begins with a dot.
    let folder = base.join(".towpath").join(".claims");
    let path = folder.join(encode(file));
    let own = format!("{}\n{}", load.run, load.stream);
    let exchange = || -> io::Result<String> {
        fs::create_dir_all(&folder)?;
        let mut claims =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        claims.lock()?;
        let mut held = String::new();
        claims.read_to_string(&mut held)?;
        if !held.starts_with(&format!("{}\n", load.run)) {
            claims.set_len(0)?;
            claims.rewind()?;
            claims.write_all(own.as_bytes())?;
            held.clone_from(&own);
        }
        Ok(held)
    };
    let held = exchange().map_err(|error| io_error(error, "begin", path.display()))?;
    match held.split_once('\n') {
        Some((_, stream)) if stream != load.stream => Err(Error::config(format!(
            "stream `{stream}` writes the same file, and one would overwrite the other"
        ))
        .connector(CONNECTOR)
        .detail("path", base.join(file).display())
        .help("put `{stream}` into the path, or give each stream a path of its own")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use towpath_core::WriteDisposition;

    use super::*;

    fn load(run: &str, stream: &str) -> LoadSpec {
        LoadSpec::new("p", stream, run, WriteDisposition::Replace)
    }

    #[test]
    fn a_file_belongs_to_one_stream_of_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let claim = |file, run, stream| claim(folder.path(), file, &load(run, stream));
        claim("out.csv", "run1", "a").unwrap();
        claim("out.csv", "run1", "a").unwrap();
        claim("other.csv", "run1", "b").unwrap();
        let error = claim("out.csv", "run1", "b").unwrap_err().to_string();
        assert!(error.contains("stream `a` writes the same file") && error.contains("out.csv"), "{error}");
        claim("out.csv", "run2", "b").unwrap();
    }
}
