//! Sessions: connected, encrypted as asked, with settings that make values look the same everywhere.

use std::fmt::{self, Write};
use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use towpath_core::{Error, ErrorKind, Result};
use towpath_tls::client_config;

use crate::config::{ConnectionOptions, SslMode, TargetSessionAttrs};
use crate::driver::{Driven, Driver};
use crate::errors::failed;
use crate::tls::Tls;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Reads, in transactions that cannot write.
    Source,
    /// Writes.
    Sink,
}

/// A connection. Dropping it closes it at once, whatever it is in the middle of.
pub(crate) struct Session {
    client: Client,
    driver: Driver,
}

impl Session {
    /// Connects to the first server that will do.
    ///
    /// # Errors
    /// `Unavailable`, `Unauthenticated`, `Config`.
    pub(crate) async fn connect(options: &ConnectionOptions) -> Result<Self> {
        let connecting = async {
            let config = driver_config(options);
            if options.sslmode == SslMode::Disable {
                let (client, connection) =
                    config.connect(NoTls).await.map_err(|error| cannot(options, error))?;
                return Ok(Self::driven(client, connection));
            }
            let tls = Tls(MakeRustlsConnect::new(client_config(options.trust(), &options.files)?));
            let (client, connection) = config.connect(tls).await.map_err(|error| cannot(options, error))?;
            Ok(Self::driven(client, connection))
        };
        match tokio::time::timeout(options.connect_timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "the server did not answer in time")
                .connector(crate::NAME)
                .detail("server", options.servers())
                .help("check `host` and `port`, or raise `connect_timeout`")),
        }
    }

    fn driven(
        client: Client,
        connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
    ) -> Self {
        Self { client, driver: Driver::spawn(connection) }
    }

    /// The driver's client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Reads many rows, with the connection's work done in the reader's own task.
    pub(crate) fn read<S>(&self, rows: S) -> Driven<S> {
        self.driver.read(rows)
    }

    /// Statements without parameters and results.
    ///
    /// # Errors
    /// The server's.
    pub(crate) async fn execute(&self, what: &str, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|error| failed(what, error))
    }

    /// Whether it can be used again.
    pub(crate) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

fn cannot(options: &ConnectionOptions, error: tokio_postgres::Error) -> Error {
    failed("connecting", error).detail("server", options.servers())
}

fn driver_config(options: &ConnectionOptions) -> Config {
    let mut config = Config::new();
    for host in &options.hosts {
        config.host(&host.name).port(host.port);
    }
    config
        .user(&options.user)
        .dbname(&options.database)
        .application_name(&options.application_name)
        .connect_timeout(options.connect_timeout)
        .keepalives_idle(options.keepalive)
        .ssl_mode(match options.sslmode {
            SslMode::Disable => tokio_postgres::config::SslMode::Disable,
            SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                tokio_postgres::config::SslMode::Require
            }
        })
        .target_session_attrs(match options.target_session_attrs {
            TargetSessionAttrs::Any => tokio_postgres::config::TargetSessionAttrs::Any,
            TargetSessionAttrs::ReadWrite => tokio_postgres::config::TargetSessionAttrs::ReadWrite,
            TargetSessionAttrs::ReadOnly => tokio_postgres::config::TargetSessionAttrs::ReadOnly,
        });
    if let Some(password) = &options.password {
        config.password(password.expose());
    }
    config
}

/// Settings of a transaction. They are set in each one, and not for the session, so that they hold behind a pooler that
/// gives each transaction another session of the server.
pub(crate) fn settings(options: &ConnectionOptions) -> String {
    let milliseconds = |limit: Option<Duration>| limit.map(|limit| limit.as_millis().max(1));
    let mut sql = String::from(
        "SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'iso_8601'; SET LOCAL TimeZone = 'UTC'; \
         SET LOCAL lc_monetary = 'C'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; \
         SET LOCAL xmloption = 'content'; SET LOCAL idle_in_transaction_session_timeout = 0; ",
    );
    if options.transaction_pooling {
        // Whoever had this session of the server before may have used the names that the driver is about to use.
        sql.push_str("DEALLOCATE ALL; ");
    }
    // Without a limit of ours, that of the server must not end what may take long by right.
    let statement = milliseconds(options.statement_timeout).unwrap_or(0);
    write!(sql, "SET LOCAL statement_timeout = {statement}; ").expect("a String takes all text");
    if let Some(lock) = milliseconds(options.lock_timeout) {
        write!(sql, "SET LOCAL lock_timeout = {lock}; ").expect("a String takes all text");
    }
    sql
}

#[cfg(test)]
mod tests {
    use towpath_core::Secret;

    use super::*;
    use crate::config::Raw;

    fn options(raw: &Raw<'_>) -> ConnectionOptions {
        let url = Secret::new("postgres://db.example".to_owned());
        ConnectionOptions::resolve(&Raw { url: Some(&url), ..*raw }).unwrap()
    }

    #[test]
    fn the_network_is_asked_as_often_as_the_option_says() {
        let idle = |raw: &Raw<'_>| driver_config(&options(raw)).get_keepalives_idle();
        assert_eq!(idle(&Raw::default()), Duration::from_mins(1));
        let five = serde_json::from_value(serde_json::json!("5s")).unwrap();
        assert_eq!(idle(&Raw { keepalive: Some(five), ..Raw::default() }), Duration::from_secs(5));
    }

    #[test]
    fn behind_a_pooler_each_transaction_removes_what_others_prepared() {
        assert!(!settings(&options(&Raw::default())).contains("DEALLOCATE"));
        assert!(
            settings(&options(&Raw { transaction_pooling: true, ..Raw::default() }))
                .contains("DEALLOCATE ALL")
        );
    }
}
