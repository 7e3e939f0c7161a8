//! `LOAD DATA LOCAL INFILE` from memory.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use towpath_core::{Error, Result};

use super::Client;
use super::reply::{Outcome, Reply};

/// How much goes into one packet: every server takes that much.
const PACKET: usize = 1 << 20;

impl Client {
    /// Runs `LOAD DATA LOCAL INFILE 'any name' ...` with this data for the file. When the data ends with an error, the
    /// connection is broken and the server applies nothing.
    pub(crate) async fn load<S>(&mut self, sql: &str, data: S) -> Result<Outcome>
    where
        S: Stream<Item = Result<Bytes>> + Send,
    {
        self.begin_query(sql).await?;
        let packet = self.wire.read().await?;
        match self.answer(&packet)? {
            Reply::WantsData => {}
            Reply::Done(outcome) => return self.end_of_results(outcome).await,
            Reply::Columns(_) => return Err(Error::unexpected("a load gave rows").connector(crate::NAME)),
        }
        let mut data = std::pin::pin!(data);
        while let Some(piece) = data.next().await {
            for packet in piece?.chunks(PACKET) {
                self.wire.write(packet).await?;
            }
        }
        self.end_data().await
    }

    /// Gives no data to a statement that must not ask for any.
    pub(super) async fn refuse_load<T>(&mut self) -> Result<T> {
        self.end_data().await?;
        Err(Error::config("a statement asked for a file of this machine").connector(crate::NAME))
    }

    /// Says that no more data comes.
    async fn end_data(&mut self) -> Result<Outcome> {
        self.wire.write(&[]).await?;
        let packet = self.wire.read().await?;
        match self.answer(&packet)? {
            Reply::Done(outcome) => self.end_of_results(outcome).await,
            _ => Err(crate::errors::malformed("an answer to a load")),
        }
    }
}
