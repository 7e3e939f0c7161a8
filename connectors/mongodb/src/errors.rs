//! From the driver's errors to ours.
//!
//! The codes are those of <https://www.mongodb.com/docs/manual/reference/error-codes/>.

use mongodb::error::{CommandError, ErrorKind as DriverKind, WriteFailure};
use towpath_core::{Error, ErrorKind, Retry};

/// The history that a snapshot needs is gone.
const SNAPSHOT_TOO_OLD: i32 = 239;
/// A snapshot cannot be had here.
const NO_SNAPSHOT: [i32; 5] = [20, 72, 123, 246, 50768];
/// A value of a unique index is there already.
pub(crate) const DUPLICATE_KEY: i32 = 11000;

/// An error of the driver, with what was being done.
pub(crate) fn failed(what: &str, error: &mongodb::error::Error) -> Error {
    let unavailable = |text: String| Error::new(ErrorKind::Unavailable, text);
    let mapped = match &*error.kind {
        DriverKind::Command(refusal) => refused(what, refusal),
        DriverKind::Write(WriteFailure::WriteConcernError(concern)) => {
            coded(what, concern.code, &concern.code_name, &concern.message)
        }
        DriverKind::Write(WriteFailure::WriteError(write)) => {
            coded(what, write.code, write.code_name.as_deref().unwrap_or_default(), &write.message)
        }
        DriverKind::InsertMany(many) => match (&many.write_concern_error, &many.write_errors) {
            (Some(concern), _) => coded(what, concern.code, &concern.code_name, &concern.message),
            (None, Some(writes)) if !writes.is_empty() => coded(what, writes[0].code, "", &writes[0].message),
            _ => Error::new(ErrorKind::Unexpected, format!("documents were not inserted while {what}")),
        },
        DriverKind::Authentication { message, .. } => {
            Error::new(ErrorKind::Unauthenticated, format!("the server does not let us in: {message}"))
                .help("check `user`, `password` and `auth_source`")
        }
        DriverKind::ServerSelection { message, .. } => no_server(what, message),
        DriverKind::Io(cause) => {
            unavailable(format!("the connection to the server broke off while {what}: {cause}"))
        }
        DriverKind::ConnectionPoolCleared { .. } => {
            unavailable(format!("the connection to the server broke off while {what}"))
        }
        DriverKind::DnsResolve { message, .. } => {
            unavailable(format!("no address was found while {what}: {message}"))
        }
        DriverKind::InvalidTlsConfig { message, .. } => Error::config(message.clone()),
        DriverKind::InvalidArgument { message, .. } => Error::config(format!("{message} (while {what})")),
        DriverKind::IncompatibleServer { message, .. } => Error::unsupported(message.clone()),
        other => Error::new(ErrorKind::Unexpected, format!("the driver failed while {what}: {other}")),
    };
    mapped.connector(crate::NAME)
}

fn no_server(what: &str, message: &str) -> Error {
    let error = Error::new(ErrorKind::Unavailable, format!("no server can be used while {what}: {message}"));
    if message.contains("certificate") {
        return error
            .retry(Retry::Never)
            .help("set `tls_ca_file` to the authority that signed the servers' certificates");
    }
    error.help("are the servers running, and does `url` name them and their replica set?")
}

/// What the server said.
fn refused(what: &str, refusal: &CommandError) -> Error {
    coded(what, refusal.code, &refusal.code_name, &refusal.message)
}

/// An error that the server told by its code.
pub(crate) fn coded(what: &str, code: i32, name: &str, message: &str) -> Error {
    let (kind, retry) = classify(code);
    let text = message.split(" Full error:").next().unwrap_or(message);
    let shown = if name.is_empty() { code.to_string() } else { format!("{code} {name}") };
    let error = Error::new(kind, format!("{text} (while {what})"))
        .retry(retry)
        .detail("code", shown)
        .connector(crate::NAME);
    match help(code) {
        Some(help) => error.help(help),
        None => error,
    }
}

fn classify(code: i32) -> (ErrorKind, Retry) {
    use ErrorKind::{
        Config, Conflict, DataInvalid, NotFound, PermissionDenied, Unauthenticated, Unavailable, Unexpected,
        Unsupported,
    };
    match code {
        // Members that change their roles, stop or cannot be reached, and cursors that are gone with them.
        6 | 7 | 24 | 43 | 63 | 64 | 89 | 91 | 112 | 133 | 134 | 150 | 175 | 189 | 202 | 234 | 237 | 246
        | 251 | 262 | 317 | 358 | 384 | 9001 | 10058 | 10107 | 11600 | 11601 | 11602 | 13388 | 13435
        | 13436 => (Unavailable, Retry::Transient),
        // The time limit that our own options set, history that is gone, and a server without room.
        50 | SNAPSHOT_TOO_OLD | 14031 => (Unavailable, Retry::Never),
        13 => (PermissionDenied, Retry::Never),
        11 | 18 | 8000 => (Unauthenticated, Retry::Never),
        26 => (NotFound, Retry::Never),
        48 | 68 | 85 | 86 => (Conflict, Retry::Never),
        59 | 115 | 20 | 263 => (Unsupported, Retry::Never),
        10334 | DUPLICATE_KEY | 11001 | 121 | 22 => (DataInvalid, Retry::Never),
        2
        | 4
        | 9
        | 14
        | 15
        | 16
        | 17
        | 27
        | 29
        | 40
        | 52
        | 56
        | 72
        | 73
        | 166..=168
        | 241
        | 10000..=69999 => (Config, Retry::Never),
        _ => (Unexpected, Retry::Never),
    }
}

fn help(code: i32) -> Option<&'static str> {
    Some(match code {
        13 => "`towpath check` tells which privilege is missing",
        18 | 8000 => "check `user`, `password` and `auth_source`",
        50 => "raise `max_time`, or read less at once",
        SNAPSHOT_TOO_OLD => {
            "raise the server's `minSnapshotHistoryWindowInSeconds`, or set `snapshot: off`: rows are then of several moments"
        }
        _ => return None,
    })
}

/// The code that the server gave.
pub(crate) fn code(error: &mongodb::error::Error) -> Option<i32> {
    match &*error.kind {
        DriverKind::Command(refusal) => Some(refusal.code),
        DriverKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        _ => None,
    }
}

/// Whether the history of a snapshot is gone.
pub(crate) fn is_too_old(error: &mongodb::error::Error) -> bool {
    code(error) == Some(SNAPSHOT_TOO_OLD)
}

/// Whether the server said that it has no snapshots, or none of this collection.
pub(crate) fn has_no_snapshot(error: &mongodb::error::Error) -> bool {
    code(error).is_some_and(|code| NO_SNAPSHOT.contains(&code))
}

/// A wrong option.
pub(crate) fn config(message: impl Into<String>) -> Error {
    Error::config(message).connector(crate::NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_classified_for_people_and_for_retries() {
        for (code, kind, retry) in [
            (43, ErrorKind::Unavailable, Retry::Transient),
            (189, ErrorKind::Unavailable, Retry::Transient),
            (11602, ErrorKind::Unavailable, Retry::Transient),
            (50, ErrorKind::Unavailable, Retry::Never),
            (239, ErrorKind::Unavailable, Retry::Never),
            (13, ErrorKind::PermissionDenied, Retry::Never),
            (18, ErrorKind::Unauthenticated, Retry::Never),
            (8000, ErrorKind::Unauthenticated, Retry::Never),
            (26, ErrorKind::NotFound, Retry::Never),
            (11000, ErrorKind::DataInvalid, Retry::Never),
            (121, ErrorKind::DataInvalid, Retry::Never),
            (40324, ErrorKind::Config, Retry::Never),
            (2, ErrorKind::Config, Retry::Never),
        ] {
            assert_eq!(classify(code), (kind, retry), "{code}");
        }
    }
}
