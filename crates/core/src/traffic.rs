//! What a run hears from servers: as it comes, kept in a recording as well, or out of a recording alone.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::{Json, Result};

/// Where the answers of servers come from, and whether they are kept.
///
/// A connector whose requests can be told apart by a text honours it: it keeps each exchange without its secrets, and asks
/// no server where answers come out of a recording.
#[derive(Clone, Default)]
pub enum Traffic {
    /// From servers.
    #[default]
    Live,
    /// From servers, and they are kept.
    Recorded(Arc<dyn Recorder>),
    /// Out of a recording. Nothing goes over a network.
    Replayed(Arc<dyn Recording>),
}

/// A request and the head of its answer. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// What was asked for: the same text for the same request, in this run and the next.
    pub asked: String,
    /// More of the request, for people.
    pub request: Json,
    /// The head of the answer, as the connector wants it back.
    pub answer: Json,
}

/// A piece of an exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The number of the exchange, from [`Recorder::number`].
    pub exchange: u64,
    /// The exchange, with its first piece.
    pub head: Option<Exchange>,
    /// Bytes of the answer's body.
    pub body: Vec<u8>,
    /// What is behind them.
    pub then: Then,
}

/// What is behind a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// Another one.
    More,
    /// The end of the answer.
    End,
    /// An end before the end, with its reason.
    Cut(String),
}

/// Keeps exchanges.
#[async_trait]
pub trait Recorder: Send + Sync {
    /// When the run began.
    fn began(&self) -> SystemTime;

    /// The number of an exchange that begins.
    fn number(&self) -> u64;

    /// Keeps a piece, once there is room for it.
    ///
    /// # Errors
    /// When the recording cannot be written.
    async fn keep(&self, piece: Piece) -> Result<()>;

    /// Keeps the last piece of an exchange that nobody reads on, without waiting.
    fn keep_last(&self, piece: Piece);
}

/// Gives exchanges back.
#[async_trait]
pub trait Recording: Send + Sync {
    /// When the recorded run began.
    fn began(&self) -> SystemTime;

    /// The next answer to this: the first time the first one, then the second one.
    ///
    /// # Errors
    /// `Config` names what was asked for, when there is no further answer.
    async fn answer(&self, asked: &str) -> Result<Answered>;
}

/// An answer out of a recording.
pub struct Answered {
    /// Its head.
    pub head: Json,
    /// Its body, with an error where it was cut.
    pub body: BoxStream<'static, Result<Vec<u8>>>,
}

impl Traffic {
    /// Whether answers come out of a recording.
    pub fn is_replayed(&self) -> bool {
        matches!(self, Self::Replayed(_))
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "Live",
            Self::Recorded(_) => "Recorded",
            Self::Replayed(_) => "Replayed",
        })
    }
}
