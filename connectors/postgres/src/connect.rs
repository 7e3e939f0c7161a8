//! Sessions: connected, encrypted as asked, with settings that make values look the same everywhere.

use std::fmt::{self, Write};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::{Client, Config, CopyOutStream, NoTls, SimpleQueryMessage};
use towpath_core::{Error, Result};

use crate::config::{ConnectionOptions, Host, SslMode, TargetSessionAttrs};
use crate::driver::{Driven, Driver};
use crate::errors::failed;
use crate::socket::{self, Socket};
use crate::tls::Tls;
use crate::wire::{Aside, Wire};

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
    /// `Unavailable`, `Unauthenticated`, `Config`: what the last of them said.
    pub(crate) async fn connect(options: &ConnectionOptions) -> Result<Self> {
        let mut refusal = Error::unexpected("there is no server");
        for host in &options.hosts {
            match Self::connect_to(host, options).await {
                Ok(session) => return Ok(session),
                Err(error) => refusal = error,
            }
        }
        Err(refusal.connector(crate::NAME).detail("server", options.servers()))
    }

    async fn connect_to(host: &Host, options: &ConnectionOptions) -> Result<Self> {
        let socket = socket::open(host, options).await.map_err(|error| {
            Error::unavailable("the server cannot be reached").source(error).help("check `host` and `port`")
        })?;
        let beginning = async {
            let session = Self::begin(socket, host, options).await?;
            session.must_be(options.target_session_attrs).await?;
            Ok(session)
        };
        tokio::time::timeout(options.connect_timeout, beginning).await.unwrap_or_else(|_| {
            let error = Error::unavailable("the server did not answer in time");
            Err(error.help("check `host` and `port`, or raise `connect_timeout`"))
        })
    }

    /// Encrypts as asked, and logs in.
    async fn begin(socket: Socket, host: &Host, options: &ConnectionOptions) -> Result<Self> {
        let (config, aside) = (driver_config(options), Aside::default());
        let cannot = |error| failed("connecting", error);
        if options.sslmode == SslMode::Disable {
            let wire = Wire::new(socket, aside.clone());
            let (client, connection) = config.connect_raw(wire, NoTls).await.map_err(cannot)?;
            return Ok(Self { client, driver: Driver::spawn(connection, aside) });
        }
        let wire = Wire::behind_an_answer(socket, aside.clone());
        let tls = Tls::to(&host.name, options)?;
        let (client, connection) = config.connect_raw(wire, tls).await.map_err(cannot)?;
        Ok(Self { client, driver: Driver::spawn(connection, aside) })
    }

    /// Asks a server whether it takes writes, where that matters.
    async fn must_be(&self, wanted: TargetSessionAttrs) -> Result<()> {
        let (value, refusal) = match wanted {
            TargetSessionAttrs::Any => return Ok(()),
            TargetSessionAttrs::ReadWrite => ("off", "the server takes no writes"),
            TargetSessionAttrs::ReadOnly => ("on", "the server takes writes"),
        };
        let sql = "SHOW transaction_read_only";
        let messages = self.client.simple_query(sql).await.map_err(|error| failed("connecting", error))?;
        let is_wanted = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => row.get(0) == Some(value),
            _ => false,
        };
        if messages.iter().any(is_wanted) {
            return Ok(());
        }
        Err(Error::unavailable(refusal).help("`target_session_attrs` asks for another one"))
    }

    /// The driver's client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Reads many rows, with the connection's work done in the reader's own task.
    pub(crate) fn read(&self, rows: CopyOutStream) -> Driven<Pin<Box<CopyOutStream>>> {
        self.driver.read(Box::pin(rows))
    }

    /// Sends rows, as messages, in the midst of a `COPY` whose sink is finished next.
    pub(crate) async fn write(&self, messages: Bytes) {
        self.driver.write(messages).await;
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

/// Who we are, for one server.
fn driver_config(options: &ConnectionOptions) -> Config {
    let mut config = Config::new();
    config
        .user(&options.user)
        .dbname(&options.database)
        .application_name(&options.application_name)
        .ssl_mode(match options.sslmode {
            SslMode::Disable => tokio_postgres::config::SslMode::Disable,
            SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                tokio_postgres::config::SslMode::Require
            }
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
    fn behind_a_pooler_each_transaction_removes_what_others_prepared() {
        assert!(!settings(&options(&Raw::default())).contains("DEALLOCATE"));
        assert!(
            settings(&options(&Raw { transaction_pooling: true, ..Raw::default() }))
                .contains("DEALLOCATE ALL")
        );
    }
}
