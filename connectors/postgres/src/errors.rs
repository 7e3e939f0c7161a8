//! From the driver's errors to ours.
//!
//! The codes are those of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use tokio_postgres::error::{DbError, SqlState};
use towpath_core::{Error, ErrorKind, Retry};

/// An error of the driver, with what was being done.
pub(crate) fn failed(what: &str, error: tokio_postgres::Error) -> Error {
    let mapped = match error.as_db_error() {
        Some(refusal) => refused(what, refusal),
        None if error.is_closed() || is_io(&error) => {
            Error::new(ErrorKind::Unavailable, format!("the connection to the server broke off while {what}"))
        }
        None => connecting(what, &error),
    };
    mapped.source(error).connector(crate::NAME)
}

/// An error before there was a connection, or one that no server caused.
fn connecting(what: &str, error: &tokio_postgres::Error) -> Error {
    let text = chain(error);
    if text.contains("certificate") {
        return Error::new(
            ErrorKind::Unavailable,
            format!("the server's certificate was refused while {what}"),
        )
        .retry(Retry::Never)
        .help("set `sslrootcert` to the authority that signed it, or choose another `sslmode`");
    }
    if text.contains("server does not support TLS") {
        return Error::new(ErrorKind::Unavailable, format!("the server does not encrypt, seen while {what}"))
            .retry(Retry::Never)
            .help("`sslmode: disable` or `prefer` would send everything in the clear");
    }
    if text.contains("password missing") {
        return Error::new(ErrorKind::Unauthenticated, "the server asks for a password, and none is set")
            .help("set `password`, `password_file` or `passfile`");
    }
    if text.contains("error connecting to server") || text.contains("timed out") || text.contains("timeout") {
        return Error::new(ErrorKind::Unavailable, format!("the server cannot be reached while {what}"));
    }
    Error::new(ErrorKind::Unexpected, format!("the driver failed while {what}"))
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return !error.to_string().contains("certificate");
        }
        cause = error.source();
    }
    false
}

fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What the server said.
fn refused(what: &str, refusal: &DbError) -> Error {
    let code = refusal.code();
    let (kind, retry) = classify(code);
    let mut error = Error::new(kind, format!("{} (while {what})", refusal.message())).retry(retry);
    error = error.detail("code", code.code());
    for (name, value) in [
        ("detail", refusal.detail()),
        ("hint", refusal.hint()),
        ("constraint", refusal.constraint()),
        ("where", refusal.where_()),
    ] {
        if let Some(value) = value {
            error = error.detail(name, value);
        }
    }
    match help(code) {
        Some(help) => error.help(help),
        None => error,
    }
}

fn classify(code: &SqlState) -> (ErrorKind, Retry) {
    use ErrorKind::{
        Config, Conflict, DataInvalid, NotFound, PermissionDenied, SchemaMismatch, Unauthenticated,
        Unavailable, Unexpected, Unsupported,
    };
    let text = code.code();
    match text {
        // Another transaction was in the way: nothing of ours happened.
        // Replay conflicts on a standby, and servers that start or stop.
        "40001" | "40P01" | "55P03" | "57P01" | "57P02" | "57P03" | "57P05" => {
            (Unavailable, Retry::Transient)
        }
        // A database, schema, table or column that is not there.
        "3D000" | "3F000" | "42P01" | "42703" => (NotFound, Retry::Never),
        // The time limit that our own options set, and a server without room.
        "57014" | "53100" | "53200" => (Unavailable, Retry::Never),
        "42501" => (PermissionDenied, Retry::Never),
        // A query of the source that writes, or a replica where rows are to go.
        "25006" => (Unsupported, Retry::Never),
        "42601" | "42P02" | "42883" | "42702" | "42P10" | "42804" => (Config, Retry::Never),
        "22P02" | "22P04" => (DataInvalid, Retry::Never),
        _ => match &text[..2] {
            "08" | "53" | "58" | "XX" => (Unavailable, Retry::Transient),
            "28" => (Unauthenticated, Retry::Never),
            "22" | "23" => (DataInvalid, Retry::Never),
            "25" => (Conflict, Retry::Never),
            "42" => (SchemaMismatch, Retry::Never),
            "0A" => (Unsupported, Retry::Never),
            _ => (Unexpected, Retry::Never),
        },
    }
}

fn help(code: &SqlState) -> Option<&'static str> {
    Some(match code.code() {
        "28P01" | "28000" => "check `user` and `password`, and who may connect in pg_hba.conf",
        "3D000" => "check `database`",
        "42P01" => "check `table`, with its schema: `schema.table`; `towpath discover` lists what there is",
        "57014" => "raise `statement_timeout`, or read less at once",
        "53300" => "lower `max_connections`, or raise the server's",
        "25006" => {
            "a `query` of the source must only read; for a sink, `target_session_attrs: read-write` finds the primary"
        }
        "55P03" => "another session holds a lock; raise `lock_timeout`",
        "42501" => "`towpath check` tells which GRANT is missing",
        _ => return None,
    })
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
            ("40P01", ErrorKind::Unavailable, Retry::Transient),
            ("57P01", ErrorKind::Unavailable, Retry::Transient),
            ("08006", ErrorKind::Unavailable, Retry::Transient),
            ("28P01", ErrorKind::Unauthenticated, Retry::Never),
            ("42P01", ErrorKind::NotFound, Retry::Never),
            ("42501", ErrorKind::PermissionDenied, Retry::Never),
            ("23505", ErrorKind::DataInvalid, Retry::Never),
            ("53100", ErrorKind::Unavailable, Retry::Never),
            ("53300", ErrorKind::Unavailable, Retry::Transient),
            ("25006", ErrorKind::Unsupported, Retry::Never),
        ] {
            assert_eq!(classify(&SqlState::from_code(code)), (kind, retry), "{code}");
        }
    }
}
