//! What the operating system's errors mean for a person, in one place.

use std::fmt::Display;
use std::io;

use towpath_core::{Error, ErrorKind, Retry};

use towpath_files::FileEntry;

pub(crate) const CONNECTOR: &str = "file";

/// The error of a system call on a path. The operation is a verb: `read`, `list`, `write`, `commit`.
pub(crate) fn io_error(error: io::Error, operation: &'static str, path: impl Display) -> Error {
    use io::ErrorKind as Io;
    let (kind, message, help) = match error.kind() {
        Io::NotFound => (ErrorKind::NotFound, "no such file or folder", Some("check `path`")),
        Io::PermissionDenied => (
            ErrorKind::PermissionDenied,
            "access is denied",
            Some("give the user that runs towpath access to it"),
        ),
        Io::ReadOnlyFilesystem => (
            ErrorKind::PermissionDenied,
            "the file system is read-only",
            Some("write to another folder, or mount it for writing"),
        ),
        Io::NotADirectory => {
            (ErrorKind::Config, "a part of the path is a file and not a folder", Some("check `path`"))
        }
        Io::IsADirectory => {
            (ErrorKind::Config, "it is a folder and not a file", Some("name a file in it, or use a glob"))
        }
        Io::InvalidFilename => {
            (ErrorKind::Config, "the file system cannot hold this name", Some("shorten it"))
        }
        Io::CrossesDevices => (
            ErrorKind::Unsupported,
            "the file cannot be moved into place, because the folder lies on another file system",
            Some("let the folder of `path` and what is below it lie on one file system"),
        ),
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => (
            ErrorKind::Unavailable,
            "there is no space left",
            Some("free some space and run again: what was committed is intact"),
        ),
        Io::Unsupported => (ErrorKind::Unsupported, "the file system cannot do this", None),
        _ if is_out_of_handles(&error) => (
            ErrorKind::Unavailable,
            "too many files are open",
            Some("raise the limit (`ulimit -n`), or lower `max_in_flight`"),
        ),
        _ => return Error::from(error).connector(CONNECTOR).operation(operation).detail("path", path),
    };
    let full = message == "there is no space left";
    let wrapped = Error::new(kind, message)
        .connector(CONNECTOR)
        .operation(operation)
        .detail("path", path)
        .source(error);
    let wrapped = if full { wrapped.retry(Retry::Never) } else { wrapped };
    match help {
        Some(help) => wrapped.help(help),
        None => wrapped,
    }
}

/// `EMFILE` and `ENFILE`, for which the standard library has no kind.
fn is_out_of_handles(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// The file is not what was planned.
pub(crate) fn changed(planned: &FileEntry, size: u64, modified: i64) -> Error {
    towpath_files::changed(planned, &FileEntry { size, modified, ..planned.clone() }).connector(CONNECTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: io::ErrorKind) -> Error {
        io_error(kind.into(), "write", "out/a.csv")
    }

    #[test]
    fn an_error_names_the_path_and_what_to_do() {
        let denied = error(io::ErrorKind::PermissionDenied);
        assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
        assert_eq!(
            denied.to_string(),
            "file: write: access is denied (path: out/a.csv): permission denied; \
             give the user that runs towpath access to it"
        );
    }

    #[test]
    fn a_full_disk_is_not_tried_again() {
        let full = error(io::ErrorKind::StorageFull);
        assert_eq!((full.kind(), full.is_retryable()), (ErrorKind::Unavailable, false));
        assert!(full.to_string().contains("what was committed is intact"), "{full}");
    }

    #[cfg(unix)]
    #[test]
    fn too_many_open_files_are_tried_again() {
        let full = io_error(io::Error::from_raw_os_error(24), "read", "a.csv");
        assert!(full.is_retryable());
        assert!(full.to_string().contains("ulimit -n"), "{full}");
    }
}
