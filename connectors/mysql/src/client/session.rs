//! How a session is set up, so that nothing depends on how a server or a user is configured.

use std::time::Duration;

use super::Server;
use crate::config::ConnectionOptions;

/// What the connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It reads; the server refuses that it writes.
    Source,
    /// It writes.
    Sink,
}

/// How long the server waits, in seconds, for us to take what it sends or to ask for more: a reader is slow where its
/// sink is.
const PATIENCE: u32 = 24 * 60 * 60;

const READING: &str = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION";
/// With a zero for a column that counts by itself kept as it is.
const WRITING: &str =
    "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO";

/// The statements that set a session up.
pub(super) fn statements(options: &ConnectionOptions, role: Role, server: Server) -> Vec<String> {
    let mode = match role {
        Role::Source => READING,
        Role::Sink => WRITING,
    };
    let mut settings = vec![
        "time_zone = '+00:00'".to_owned(),
        format!("sql_mode = '{mode}'"),
        format!("net_write_timeout = {PATIENCE}"),
        format!("net_read_timeout = {PATIENCE}"),
        format!("wait_timeout = {PATIENCE}"),
    ];
    if let Some(timeout) = options.statement_timeout {
        settings.push(if server.is_mariadb {
            format!("max_statement_time = {}", timeout.as_secs_f64())
        } else {
            format!("max_execution_time = {}", timeout.as_millis().max(1))
        });
    }
    if let Some(timeout) = options.lock_timeout {
        let seconds = whole_seconds(timeout);
        settings.push(format!("lock_wait_timeout = {seconds}"));
        settings.push(format!("innodb_lock_wait_timeout = {seconds}"));
    }
    if role == Role::Sink {
        // Each row of a load that the server complains of is to be named.
        settings.push("max_error_count = 65535".to_owned());
    }
    let mut statements = vec!["SET NAMES utf8mb4".to_owned(), format!("SET SESSION {}", settings.join(", "))];
    if role == Role::Source {
        statements.push("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY".to_owned());
    }
    statements
}

/// The server counts in seconds, from one.
fn whole_seconds(timeout: Duration) -> u64 {
    timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0)
}
