//! One moment for all splits and all streams of a connection.
//!
//! A transaction of its own holds the snapshot and exports it; every transaction that reads takes it over.
//! <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION>

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::{Mutex, OwnedSemaphorePermit};
use towpath_core::{Context, Error, ErrorKind, Result};
use towpath_sql::Dialect;

use crate::connect::{Session, settings};
use crate::errors::failed;
use crate::pool::{Pool, Pooled};

/// The snapshot of a connection, made by the first who needs it.
pub(crate) struct Snapshots {
    pool: Arc<Pool>,
    wanted: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Room in the pool for the transaction that holds the snapshot.
    room: Option<OwnedSemaphorePermit>,
    held: Option<Arc<Snapshot>>,
    /// The server gave none, so everybody reads what is there when they read.
    refused: bool,
}

/// A moment, as long as the transaction that holds it lives.
pub(crate) struct Snapshot {
    /// What other transactions call it.
    name: String,
    /// Tells it from those of other runs and of a server that was restarted.
    token: String,
    holder: Session,
    /// Statements of the holder, one at a time.
    turn: Mutex<()>,
    /// Somebody found out that it is gone.
    lost: AtomicBool,
}

/// A transaction that reads.
pub(crate) struct Reading {
    pub(crate) session: Pooled,
    /// The token of its snapshot, if it has one.
    pub(crate) token: Option<String>,
    snapshot: Option<Arc<Snapshot>>,
}

impl Snapshots {
    pub(crate) fn new(pool: Arc<Pool>, wanted: bool) -> Self {
        Self { pool, wanted, state: Mutex::default() }
    }

    /// Begins a transaction that reads, in the snapshot if there is one. `one_snapshot`: it must be the same as before.
    ///
    /// # Errors
    /// `Unavailable`, finally, when the snapshot was lost and none but that will do.
    pub(crate) async fn begin(&self, cx: &Context, one_snapshot: bool) -> Result<Reading> {
        let snapshot = if self.wanted { self.snapshot(cx, one_snapshot).await? } else { None };
        let Some(snapshot) = snapshot else {
            let session = self.pool.begin(cx, "beginning to read", &self.begin_sql(None)).await?;
            return Ok(Reading { session, token: None, snapshot: None });
        };
        let sql = self.begin_sql(Some(&snapshot.name));
        match self.pool.begin(cx, "taking over the snapshot", &sql).await {
            Ok(session) => {
                Ok(Reading { session, token: Some(snapshot.token.clone()), snapshot: Some(snapshot) })
            }
            Err(error) if snapshot.is_alive().await => Err(match error.kind() {
                // The server knows no snapshot of this name, although it is there.
                ErrorKind::DataInvalid => error.help(
                    "set `snapshot: false` where a pooler or balancer sends connections to more than one server",
                ),
                _ => error,
            }),
            // The server is gone, or ended the holder: the next attempt takes another snapshot.
            Err(error) => {
                Err(Error::unavailable("the snapshot is gone").connector(crate::NAME).source(error))
            }
        }
    }

    fn begin_sql(&self, snapshot: Option<&str>) -> String {
        let take_over =
            snapshot.map(|name| format!("SET TRANSACTION SNAPSHOT {}; ", Dialect::Postgres.literal(name)));
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ";
        [begin, &take_over.unwrap_or_default(), &settings(self.pool.options())].concat()
    }

    async fn snapshot(&self, cx: &Context, one_snapshot: bool) -> Result<Option<Arc<Snapshot>>> {
        let mut state = self.state.lock().await;
        if state.refused {
            return Ok(None);
        }
        if let Some(held) = &state.held {
            if held.is_open() {
                return Ok(Some(held.clone()));
            }
            if one_snapshot {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "the server ended the transaction that held the snapshot",
                )
                .connector(crate::NAME)
                .help("run again: all rows of a `replace` are of one moment, so it starts anew"));
            }
            cx.metrics().warn(
                "the snapshot was lost with its connection, and the rest was read in a later one: the rows are of more \
                 than one moment",
            );
        }
        if state.room.is_none() {
            state.room = Some(self.pool.reserve(cx).await?);
        }
        match self.take().await {
            Ok(snapshot) => {
                let snapshot = Arc::new(snapshot);
                state.held = Some(snapshot.clone());
                Ok(Some(snapshot))
            }
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Conflict) => {
                cx.metrics().warn(format!(
                    "there is no snapshot, so splits may be of different moments: {}",
                    error.message()
                ));
                state.refused = true;
                state.room = None;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn take(&self) -> Result<Snapshot> {
        let holder = Session::connect(self.pool.options()).await?;
        holder.execute("beginning a snapshot", &self.begin_sql(None)).await?;
        let row = holder
            .client()
            .query_one("SELECT pg_export_snapshot(), pg_backend_pid(), pg_postmaster_start_time()::text", &[])
            .await
            .map_err(|error| failed("exporting a snapshot", error))?;
        let (name, process, started): (String, i32, String) = (row.get(0), row.get(1), row.get(2));
        Ok(Snapshot {
            token: format!("{name} {process} {started}"),
            name,
            holder,
            turn: Mutex::default(),
            lost: AtomicBool::new(false),
        })
    }
}

impl Snapshot {
    fn is_open(&self) -> bool {
        !self.lost.load(Relaxed) && self.holder.is_open()
    }

    /// Asks the server. A connection that the server has ended looks open for a moment more.
    async fn is_alive(&self) -> bool {
        let _turn = self.turn.lock().await;
        let alive = self.holder.execute("asking for the snapshot", "SELECT 1").await.is_ok();
        self.lost.fetch_or(!alive, Relaxed);
        alive
    }
}

impl Reading {
    /// Keeps a table from being rewritten or dropped as long as the snapshot lives, which only stops who would do that. A
    /// table that cannot be locked is read all the same.
    pub(crate) async fn pin(&self, relation: &str) {
        let Some(snapshot) = &self.snapshot else { return };
        let _turn = snapshot.turn.lock().await;
        let lock =
            format!("SAVEPOINT pin; LOCK TABLE {relation} IN ACCESS SHARE MODE; RELEASE SAVEPOINT pin");
        if let Err(error) = snapshot.holder.execute("locking a table", &lock).await {
            tracing::debug!(%error, relation, "the table is not kept from being rewritten");
            let back = "ROLLBACK TO SAVEPOINT pin; RELEASE SAVEPOINT pin";
            if let Err(error) = snapshot.holder.execute("leaving a savepoint", back).await {
                tracing::debug!(%error, "the snapshot is lost");
            }
        }
    }

    /// Ends the transaction and keeps the connection for others.
    pub(crate) async fn end(self) -> Result<()> {
        self.session.execute("ending to read", "COMMIT").await?;
        self.session.give_back();
        Ok(())
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots").field("pool", &self.pool).finish_non_exhaustive()
    }
}
