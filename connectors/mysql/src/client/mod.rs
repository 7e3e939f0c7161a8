//! A client of MySQL's protocol, made for moving many rows: what comes is handed on as it came, many rows at a time, and
//! what is loaded is sent from memory.
//!
//! Drivers make a value of each field, which costs more than everything else together. Here a read gives [`Rows`]: whole
//! packets of the binary protocol in one piece of memory, for `decode` to make columns of.

mod handshake;
mod load;
mod reply;
mod rows;
mod session;
mod statement;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::fmt;

use towpath_core::{Error, Result};

use crate::config::ConnectionOptions;

pub(crate) use handshake::Server;
pub(crate) use reply::{Outcome, length_encoded};
pub(crate) use rows::{Limit, Rows};
pub(crate) use session::Role;

use reply::{Reply, column, reply, text_row};
use wire::Wire;

/// The commands that we use.
mod command {
    pub(super) const QUERY: u8 = 0x03;
    pub(super) const PING: u8 = 0x0E;
    pub(super) const PREPARE: u8 = 0x16;
    pub(super) const CLOSE_STATEMENT: u8 = 0x19;
}

/// A connection to a server, with its session set up.
///
/// Every call must be awaited to its end: a client that was left in the middle of one is [`broken`](Self::is_broken) and
/// cannot be used any more, except that rows that were begun can be [read on](Self::next_rows).
pub(crate) struct Client {
    wire: Wire,
    id: u32,
    server: Server,
    state: State,
    in_transaction: bool,
    holds_something: bool,
}

/// What may be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// A command is under way; if nobody awaits it, the connection is of no use.
    Busy,
    /// Rows come, of the statement with this number.
    Rows {
        statement: u32,
    },
}

impl Client {
    /// Connects, tells who we are, and sets the session up.
    pub(crate) async fn connect(options: &ConnectionOptions, role: Role) -> Result<Self> {
        let connecting = Self::connect_now(options, role);
        let outcome = match tokio::time::timeout(options.connect_timeout, connecting).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::unavailable("the connection was not made in time")
                .help("check host and port, or raise `connect_timeout`")),
        };
        outcome.map_err(|error| {
            error.connector(crate::NAME).operation("connect").detail("server", &options.host)
        })
    }

    async fn connect_now(options: &ConnectionOptions, role: Role) -> Result<Self> {
        let greeted = handshake::greet(options).await?;
        let mut client = Self {
            wire: greeted.wire,
            id: greeted.id,
            server: greeted.server,
            state: State::Idle,
            in_transaction: false,
            holds_something: false,
        };
        for statement in session::statements(options, role, client.server) {
            client.execute(&statement).await?;
        }
        Ok(client)
    }

    /// The server's number of the connection, for `KILL`.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Which server it is.
    pub(crate) fn server(&self) -> Server {
        self.server
    }

    /// Whether it was left in the middle of something.
    pub(crate) fn is_broken(&self) -> bool {
        self.state == State::Busy
    }

    /// Whether rows of a statement are still to come.
    pub(crate) fn has_rows(&self) -> bool {
        matches!(self.state, State::Rows { .. })
    }

    /// Whether it can be given to somebody else as it is.
    pub(crate) fn is_idle(&self) -> bool {
        self.state == State::Idle && !self.in_transaction && !self.holds_something
    }

    /// Says whether the session holds something that nobody else must get, such as a lock: then it ends with the client,
    /// wherever a caller is left off.
    pub(crate) fn holds_something(&mut self, holds: bool) {
        self.holds_something = holds;
    }

    /// Asks whether the server is still there.
    pub(crate) async fn ping(&mut self) -> Result<()> {
        self.begin(&[command::PING]).await?;
        let packet = self.wire.read().await?;
        self.outcome(reply(&packet)).map(drop)
    }

    /// Runs a statement that gives no rows. Rows that it gives all the same are dropped.
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<Outcome> {
        self.begin_query(sql).await?;
        let packet = self.wire.read().await?;
        match self.answer(&packet)? {
            Reply::Done(outcome) => self.end_of_results(outcome).await,
            Reply::Columns(count) => {
                let (_, outcome) = self.text_rows(count).await?;
                self.end_of_results(outcome).await
            }
            Reply::WantsData => self.refuse_load().await,
        }
    }

    /// Runs a statement and takes all its rows as texts. For small answers: catalogs, bounds, checks.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        self.begin_query(sql).await?;
        let packet = self.wire.read().await?;
        match self.answer(&packet)? {
            Reply::Done(outcome) => self.end_of_results(outcome).await.map(|_| Vec::new()),
            Reply::Columns(count) => {
                let (rows, outcome) = self.text_rows(count).await?;
                self.end_of_results(outcome).await?;
                Ok(rows)
            }
            Reply::WantsData => self.refuse_load().await,
        }
    }

    async fn begin_query(&mut self, sql: &str) -> Result<()> {
        let mut payload = Vec::with_capacity(1 + sql.len());
        payload.push(command::QUERY);
        payload.extend_from_slice(sql.as_bytes());
        self.begin(&payload).await
    }

    async fn begin(&mut self, payload: &[u8]) -> Result<()> {
        if self.state != State::Idle {
            return Err(
                Error::unexpected("the connection is in the middle of something").connector(crate::NAME)
            );
        }
        self.state = State::Busy;
        self.wire.command(payload).await
    }

    /// What the server answered; an error ends the command.
    fn answer(&mut self, packet: &bytes::Bytes) -> Result<Reply> {
        match reply(packet) {
            Err(error) => {
                // Only an error that the server said leaves the connection as it should be.
                if crate::errors::code(&error).is_some() {
                    self.state = State::Idle;
                }
                Err(error)
            }
            answered => answered,
        }
    }

    fn outcome(&mut self, answer: Result<Reply>) -> Result<Outcome> {
        match answer? {
            Reply::Done(outcome) => Ok(self.done(outcome)),
            _ => Err(crate::errors::malformed("rows where none can be")),
        }
    }

    fn done(&mut self, outcome: Outcome) -> Outcome {
        self.state = State::Idle;
        self.in_transaction =
            outcome.status.contains(mysql_common::constants::StatusFlags::SERVER_STATUS_IN_TRANS);
        outcome
    }

    /// Drops what a procedure gives behind its first result.
    async fn end_of_results(&mut self, mut outcome: Outcome) -> Result<Outcome> {
        use mysql_common::constants::StatusFlags;
        while outcome.status.contains(StatusFlags::SERVER_MORE_RESULTS_EXISTS) {
            let packet = self.wire.read().await?;
            outcome = match self.answer(&packet)? {
                Reply::Done(outcome) => outcome,
                Reply::Columns(count) => self.text_rows(count).await?.1,
                Reply::WantsData => return Err(crate::errors::malformed("a request for data")),
            };
        }
        Ok(self.done(outcome))
    }

    async fn text_rows(&mut self, columns: usize) -> Result<(Vec<Vec<Option<String>>>, Outcome)> {
        for _ in 0..columns {
            column(&self.wire.read().await?)?;
        }
        let mut rows = Vec::new();
        loop {
            let packet = self.wire.read().await?;
            match packet.first() {
                Some(&reply::END) if packet.len() < wire::MAX_FRAME => {
                    return Ok((rows, reply::ok(&packet)?));
                }
                Some(&reply::ERROR) => {
                    self.state = State::Idle;
                    return Err(reply::server_error(&packet).into());
                }
                _ => rows.push(text_row(&packet, columns)?),
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}
