//! Failures of MySQL and MariaDB as errors of the contract: what kind, whether to try again, what to do.

use std::fmt;
use std::io;

use towpath_core::{Error, ErrorKind, Retry};

use crate::NAME;

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) code: u16,
    /// The five characters of SQLSTATE.
    pub(crate) state: String,
    pub(crate) message: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The name of the detail that holds the server's number of an error.
const CODE: &str = "code";

impl From<ServerError> for Error {
    fn from(error: ServerError) -> Self {
        let (kind, retry, help) = classify(error.code, &error.state);
        let mapped = Error::new(kind, error.message)
            .retry(retry)
            .connector(NAME)
            .detail(CODE, format!("{} {}", error.code, error.state));
        if help.is_empty() { mapped } else { mapped.help(help) }
    }
}

/// The server's number of an error, if the server said it.
pub(crate) fn code(error: &Error) -> Option<u16> {
    error.detail_value(CODE)?.split(' ').next()?.parse().ok()
}

/// The connection broke.
pub(crate) fn lost(error: io::Error) -> Error {
    Error::unavailable("the connection to the server broke").connector(NAME).source(error)
}

/// The server sent what its protocol does not know.
pub(crate) fn malformed(what: &str) -> Error {
    Error::unexpected(format!("the server sent {what}, which its protocol does not know")).connector(NAME)
}

/// A wrong option.
pub(crate) fn config(message: impl Into<String>) -> Error {
    Error::config(message).connector(NAME)
}

fn classify(code: u16, state: &str) -> (ErrorKind, Retry, &'static str) {
    use ErrorKind::{
        Config, DataInvalid, NotFound, PermissionDenied, RateLimited, Unauthenticated, Unavailable,
        Unexpected, Unsupported,
    };
    use Retry::{Never, Transient};
    match code {
        1045 | 1698 => (Unauthenticated, Never, "check `user` and `password`"),
        1130 => {
            (Unauthenticated, Never, "the server lets no user in from this machine: create the user for it")
        }
        1251 | 1524 | 2059 => {
            (Unauthenticated, Never, "give the user an authentication plugin that both sides know")
        }
        1820 | 1862 | 3118 | 4151 => (Unauthenticated, Never, "let an administrator unlock the account"),
        1044 | 1142 | 1143 | 1227 | 1370 => {
            (PermissionDenied, Never, "grant the user what the message names")
        }
        1792 => (PermissionDenied, Never, "a source only reads: write a SELECT"),
        1290 | 1836 => (PermissionDenied, Never, "the server is read only: connect to the primary"),
        1049 => (NotFound, Never, "check `database`"),
        1051 | 1109 | 1146 => {
            (NotFound, Never, "check the table's name; `towpath discover` lists what is there")
        }
        1054 => (NotFound, Never, "check the column's name"),
        1040 | 1203 | 1226 => (RateLimited, Transient, "lower `max_connections`"),
        // Lock time-outs, deadlocks, a table that changed below a snapshot.
        1205 | 1213 | 1412 | 1614 => (Unavailable, Transient, ""),
        // Shutdowns, kills, broken packets.
        1042 | 1053 | 1077 | 1079 | 1080 | 1152..=1161 | 1184 | 1317 | 1927 | 2006 | 2013 | 4031 => {
            (Unavailable, Transient, "")
        }
        1129 => (Unavailable, Never, "let an administrator run `FLUSH HOSTS`"),
        1021 | 1114 | 1041 => (Unavailable, Never, "the server has no space left"),
        1907 | 1969 | 3024 => (Unavailable, Never, "raise `statement_timeout`"),
        1148 | 3948 | 3950 | 4166 => (Unsupported, Never, "the server forbids LOAD DATA LOCAL"),
        1048
        | 1062
        | 1136
        | 1261..=1265
        | 1292
        | 1364
        | 1366
        | 1367
        | 1406
        | 1411
        | 1451
        | 1452
        | 1526
        | 1586
        | 1690
        | 3140..=3158
        | 3819
        | 4025 => (DataInvalid, Never, ""),
        1064 => (Config, Never, "check the SQL"),
        _ => match state.get(..2) {
            Some("08" | "40") => (Unavailable, Transient, ""),
            Some("28") => (Unauthenticated, Never, ""),
            Some("42") => (Config, Never, ""),
            Some("22" | "23") => (DataInvalid, Never, ""),
            Some("0A") => (Unsupported, Never, ""),
            _ => (Unexpected, Never, ""),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u16, state: &str) -> Error {
        ServerError { code, state: state.to_owned(), message: "it failed".to_owned() }.into()
    }

    #[test]
    fn what_a_second_attempt_can_heal_is_transient() {
        for code in [1040, 1053, 1205, 1213, 1317, 1412, 1927, 2013] {
            assert!(error(code, "HY000").is_retryable(), "{code}");
        }
        assert!(error(9999, "08S01").is_retryable());
        assert!(error(9999, "40001").is_retryable());
    }

    #[test]
    fn what_stays_wrong_is_final_and_has_its_kind() {
        for (code, kind) in [
            (1045, ErrorKind::Unauthenticated),
            (1142, ErrorKind::PermissionDenied),
            (1146, ErrorKind::NotFound),
            (1064, ErrorKind::Config),
            (1062, ErrorKind::DataInvalid),
            (1969, ErrorKind::Unavailable),
            (3948, ErrorKind::Unsupported),
        ] {
            let error = error(code, "HY000");
            assert_eq!((error.kind(), error.is_retryable()), (kind, false), "{code}");
        }
    }

    #[test]
    fn the_number_of_an_error_is_told_and_found_again() {
        let error = error(1146, "42S02");
        assert!(error.to_string().starts_with("mysql: it failed (code: 1146 42S02)"), "{error}");
        assert_eq!(code(&error), Some(1146));
    }
}
