//! One moment for all that is read.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bson::{Document, Timestamp, doc};
use tokio::sync::Mutex;
use towpath_core::{Context, Error, ErrorKind, Result, Retry};

use super::Shared;
use crate::config::{MongodbSourceConfig, ReadConcernLevel, SnapshotMode};
use crate::errors::{failed, has_no_snapshot};

/// The moment that a source shows.
#[derive(Debug)]
pub(super) struct Snapshot {
    mode: SnapshotMode,
    otherwise: Option<ReadConcernLevel>,
    state: Mutex<State>,
    must_be_one: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Unknown,
    At(Timestamp),
    None,
}

impl Snapshot {
    pub(super) fn new(config: &MongodbSourceConfig) -> Self {
        let mode = match (config.snapshot, config.read_concern) {
            (SnapshotMode::Auto, Some(_)) => SnapshotMode::Off,
            (mode, _) => mode,
        };
        Self {
            mode,
            otherwise: config.read_concern,
            state: Mutex::new(State::Unknown),
            must_be_one: AtomicBool::new(false),
        }
    }

    pub(super) fn is_off(&self) -> bool {
        self.mode == SnapshotMode::Off
    }

    /// Rows will stand instead of all others: another moment must not take the place of one that is lost.
    pub(super) fn must_be_one(&self) {
        self.must_be_one.store(true, Relaxed);
    }

    /// What each query is told about what it sees.
    pub(super) async fn read_concern(&self, shared: &Shared, cx: &Context) -> Result<Option<Document>> {
        let otherwise = || self.otherwise.map(|level| doc! { "level": level.as_str() });
        Ok(match self.moment(shared, cx).await? {
            Some(moment) => Some(doc! { "level": "snapshot", "atClusterTime": moment }),
            None => otherwise(),
        })
    }

    /// The moment that all queries see, if there is one.
    pub(super) async fn moment(&self, shared: &Shared, cx: &Context) -> Result<Option<Timestamp>> {
        if self.is_off() {
            return Ok(None);
        }
        let mut state = self.state.lock().await;
        if *state == State::Unknown {
            *state = self.take(shared, cx).await?;
        }
        Ok(if let State::At(moment) = *state { Some(moment) } else { None })
    }

    async fn take(&self, shared: &Shared, cx: &Context) -> Result<State> {
        let collection = shared.collection()?;
        let command = doc! {
            "aggregate": collection, "pipeline": [{ "$limit": 1 }, { "$project": { "_id": 1 } }], "cursor": {},
            "readConcern": { "level": "snapshot" },
        };
        let refused = match shared.server.try_ask(cx, command).await? {
            Ok(answer) => {
                let moment =
                    answer.get_document("cursor").and_then(|cursor| cursor.get_timestamp("atClusterTime"));
                if let Ok(moment) = moment {
                    return Ok(State::At(moment));
                }
                "the server does not tell the moment of a snapshot".to_owned()
            }
            Err(error) if has_no_snapshot(&error) => failed("taking a snapshot", &error).message().to_owned(),
            Err(error) => return Err(failed("taking a snapshot", &error)),
        };
        if self.mode == SnapshotMode::Required {
            return Err(Error::unsupported(format!("there is no snapshot of this collection: {refused}"))
                .connector(crate::NAME)
                .help("snapshots take a replica set of version 5 or newer; `snapshot: auto` goes without"));
        }
        cx.metrics().warn(format!(
            "collection `{collection}` was read without a snapshot: pieces may show it at different moments ({refused})"
        ));
        Ok(State::None)
    }

    /// The server has no history any more of the moment.
    pub(super) async fn lost(&self, cx: &Context, error: Error) -> Error {
        if self.mode == SnapshotMode::Required || self.must_be_one.load(Relaxed) {
            return error;
        }
        let mut state = self.state.lock().await;
        *state = State::None;
        cx.metrics().warn(
            "the snapshot was older than the history that the server keeps: rows behind that are of later moments",
        );
        Error::new(ErrorKind::Unavailable, "the snapshot is lost; reading goes on without it")
            .retry(Retry::Transient)
    }
}
