//! Readers that all show the database at one moment.
//!
//! A transaction with a consistent snapshot cannot be shared among connections, as it can in Postgres. So all connections
//! of a snapshot are opened at once, and their transactions are begun while nothing is written: under a lock of all tables
//! that is held for an instant, or, in MariaDB, without one, when the position of the binary log is the same in each. Then
//! the connections are lent to whoever reads.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use towpath_core::{Context, Error, ErrorKind, Result, Retry};

use crate::catalog::grant_to_lock;
use crate::client::{Client, Role};
use crate::config::{ConnectionOptions, SnapshotMode};
use crate::pool::{Pool, Pooled};

/// How many seconds the lock waits for statements of others by default. They in turn wait for it, so it is short.
const LOCK_PATIENCE: u64 = 5;
/// How often transactions are begun to find them at one position of the binary log.
const ATTEMPTS: u32 = 20;
const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// Numbers snapshots.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Connections whose transactions show one moment.
pub(crate) struct Snapshot {
    id: u64,
    /// Those that nobody reads with. One may be in the middle of rows that nobody wants any more.
    idle: Mutex<Vec<Client>>,
    /// As many as there are idle ones; closed when none is left.
    permits: Arc<Semaphore>,
    alive: AtomicUsize,
    /// Why it may not be one moment.
    caveat: Option<String>,
}

impl Snapshot {
    /// Opens connections and begins their transactions at one moment, as far as that can be had.
    pub(crate) async fn take(
        cx: &Context,
        control: &Arc<Pool>,
        most: usize,
        mode: SnapshotMode,
    ) -> Result<Self> {
        let mut asking = control.get(cx).await?;
        let mut clients = open(control.options(), most).await?;
        let caveat = begin(&mut clients, &mut asking, control).await?;
        if let (SnapshotMode::Required, Some(caveat)) = (mode, &caveat) {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                format!("no snapshot could be taken: {caveat}"),
            )
            .connector(crate::NAME)
            .help("set `snapshot: auto` to go on without one"));
        }
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            permits: Arc::new(Semaphore::new(clients.len())),
            alive: AtomicUsize::new(clients.len()),
            idle: Mutex::new(clients),
            caveat,
        })
    }

    /// Which one it is.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Why its transactions may not show one moment.
    pub(crate) fn caveat(&self) -> Option<&str> {
        self.caveat.as_deref()
    }

    /// Whether all its connections are lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.alive.load(Ordering::SeqCst) == 0
    }

    /// Waits for a connection. `None` when all are lost.
    pub(crate) async fn reader(
        self: &Arc<Self>,
        cx: &Context,
        control: &Arc<Pool>,
    ) -> Result<Option<Reader>> {
        loop {
            let permit = tokio::select! {
                permit = cx.wait_for(self.permits.clone().acquire_owned()) => permit,
                () = cx.cancellation().cancelled() => return Err(Error::cancelled().connector(crate::NAME)),
            };
            let Ok(permit) = permit else { return Ok(None) };
            let client = self.lock().pop().expect("a permit stands for an idle connection");
            let mut reader =
                Reader::Shared { client: Some(client), permit: Some(permit), snapshot: self.clone() };
            if reader.settle(cx, control).await.is_ok() {
                return Ok(Some(reader));
            }
            reader.lose();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("id", &self.id).field("alive", &self.alive).finish_non_exhaustive()
    }
}

/// As many connections as wanted, or as the server gives.
async fn open(options: &ConnectionOptions, most: usize) -> Result<Vec<Client>> {
    let connecting = (0..most).map(|_| Client::connect(options, Role::Source));
    let mut clients = Vec::with_capacity(most);
    let mut refused = None;
    for outcome in join_all(connecting).await {
        match outcome {
            Ok(client) => clients.push(client),
            Err(error) if error.kind() == ErrorKind::RateLimited => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(error) if clients.is_empty() => Err(error),
        _ => Ok(clients),
    }
}

/// Begins the transactions, and says why they may not show one moment.
async fn begin(clients: &mut [Client], control: &mut Pooled, pool: &Pool) -> Result<Option<String>> {
    if clients.len() == 1 {
        return begin_all(clients).await.map(|()| None);
    }
    let Err(refusal) = under_lock(clients, control, pool).await? else { return Ok(None) };
    let caveat = if refusal.kind() == ErrorKind::PermissionDenied {
        let grant = grant_to_lock(control).await?;
        format!("the user may not hold all tables for an instant, which takes `{grant}`")
    } else {
        format!("the tables could not be held for an instant: {refusal}")
    };
    for _ in 0..ATTEMPTS {
        begin_all(clients).await?;
        if at_one_position(clients).await? {
            return Ok(None);
        }
    }
    Ok(Some(caveat))
}

/// Begins the transactions while nobody may write. A refusal of the lock is no error.
async fn under_lock(clients: &mut [Client], control: &mut Pooled, pool: &Pool) -> Result<Result<(), Error>> {
    let is_short = pool.options().lock_timeout.is_none();
    // Should this be left off half way, the lock must end at once, and with it the session.
    control.holds_something(true);
    if is_short {
        control.execute(&format!("SET SESSION lock_wait_timeout = {LOCK_PATIENCE}")).await?;
    }
    let locked = control.execute("FLUSH TABLES WITH READ LOCK").await;
    let outcome = match locked {
        Err(error) if control.is_broken() => return Err(error),
        Err(refusal) => Ok(Err(refusal)),
        Ok(_) => {
            let begun = begin_all(clients).await;
            control.execute("UNLOCK TABLES").await?;
            begun.map(Ok)
        }
    };
    if is_short {
        control.execute("SET SESSION lock_wait_timeout = DEFAULT").await?;
    }
    control.holds_something(false);
    outcome
}

async fn begin_all(clients: &mut [Client]) -> Result<()> {
    for outcome in join_all(clients.iter_mut().map(|client| client.execute(BEGIN))).await {
        outcome?;
    }
    Ok(())
}

/// MariaDB tells at which position of the binary log a snapshot stands.
async fn at_one_position(clients: &mut [Client]) -> Result<bool> {
    let positions = clients.iter_mut().map(|client| client.query("SHOW STATUS LIKE 'binlog_snapshot_%'"));
    let positions = join_all(positions).await.into_iter().collect::<Result<Vec<_>>>()?;
    let is_known = positions[0].iter().any(|row| {
        row.len() == 2
            && row[0].as_deref().is_some_and(|name| name.eq_ignore_ascii_case("binlog_snapshot_file"))
            && row[1].as_deref().is_some_and(|file| !file.is_empty())
    });
    Ok(is_known && positions.windows(2).all(|pair| pair[0] == pair[1]))
}

/// A connection to read with. Dropping it gives it back.
#[derive(Debug)]
pub(crate) enum Reader {
    /// One that shows the database as it is.
    Own(Pooled),
    /// One of a snapshot.
    Shared { client: Option<Client>, permit: Option<OwnedSemaphorePermit>, snapshot: Arc<Snapshot> },
}

impl Reader {
    /// Makes a connection that was left in the middle of rows ready for others, and asks whether it still lives.
    async fn settle(&mut self, cx: &Context, control: &Arc<Pool>) -> Result<()> {
        if !self.has_rows() {
            return self.ping().await;
        }
        // The rest of the rows may be long: the server is told to stop.
        let id = self.id();
        control.get(cx).await?.execute(&format!("KILL QUERY {id}")).await?;
        self.drop_rows().await?;
        // The order to stop may come when the rows are at their end, and then strikes the next statement.
        match self.execute("DO 0").await {
            Err(error) if self.is_broken() => Err(error),
            _ => self.ping().await,
        }
    }

    /// Takes the connection out of its snapshot.
    fn lose(&mut self) {
        if let Self::Shared { client, permit, snapshot } = self {
            *client = None;
            let Some(permit) = permit.take() else { return };
            permit.forget();
            if snapshot.alive.fetch_sub(1, Ordering::SeqCst) == 1 {
                snapshot.permits.close();
            }
        }
    }
}

impl Deref for Reader {
    type Target = Client;

    fn deref(&self) -> &Client {
        match self {
            Self::Own(client) => client,
            Self::Shared { client, .. } => client.as_ref().expect("the client is there until it is dropped"),
        }
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Client {
        match self {
            Self::Own(client) => client,
            Self::Shared { client, .. } => client.as_mut().expect("the client is there until it is dropped"),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Self::Shared { client: client @ Some(_), snapshot, .. } = self
            && client.as_ref().is_some_and(|client| !client.is_broken())
        {
            snapshot.lock().extend(client.take());
        }
        // A connection that broke has no transaction any more.
        if matches!(self, Self::Shared { client: Some(_), .. }) {
            self.lose();
        }
    }
}

/// The connections that the streams of one connection read with.
pub(crate) struct Readers {
    /// To ask for columns, bounds and the like, and to read what needs no snapshot.
    control: Arc<Pool>,
    mode: SnapshotMode,
    /// How many connections a snapshot has.
    most: usize,
    snapshot: tokio::sync::Mutex<Option<Arc<Snapshot>>>,
}

impl Readers {
    pub(crate) fn shared(cx: &Context, options: &ConnectionOptions, mode: SnapshotMode) -> Result<Arc<Self>> {
        let key = format!("{} {mode:?}", crate::pool::key(options, Role::Source));
        cx.connection().shared(&key, || Ok(Self::new(options, mode)))
    }

    fn new(options: &ConnectionOptions, mode: SnapshotMode) -> Self {
        let all = options.max_connections;
        let asking = match mode {
            SnapshotMode::Off => all,
            _ if all >= 4 => 2,
            _ => 1,
        };
        let control = Arc::new(Pool::new(options.clone(), Role::Source, asking));
        Self { control, mode, most: all - asking, snapshot: tokio::sync::Mutex::default() }
    }

    /// Connections that show the database as it is.
    pub(crate) fn control(&self) -> &Arc<Pool> {
        &self.control
    }

    /// A connection to read with. `first` is the snapshot with which the stream began.
    pub(crate) async fn reader(&self, cx: &Context, first: &StreamSnapshot) -> Result<Reader> {
        if self.mode == SnapshotMode::Off {
            return self.control.get(cx).await.map(Reader::Own);
        }
        loop {
            let snapshot = self.current(cx).await?;
            first.accept(cx, &snapshot)?;
            if let Some(caveat) = snapshot.caveat() {
                cx.metrics()
                    .warn(format!("rows that changed during the run may be of different moments: {caveat}"));
            }
            if let Some(reader) = snapshot.reader(cx, &self.control).await? {
                return Ok(reader);
            }
        }
    }

    /// Proves that a snapshot can be taken.
    pub(crate) async fn check(&self, cx: &Context) -> Result<()> {
        const ENOUGH: usize = 2;
        Snapshot::take(cx, &self.control, self.most.min(ENOUGH), self.mode).await.map(drop)
    }

    async fn current(&self, cx: &Context) -> Result<Arc<Snapshot>> {
        let mut held = self.snapshot.lock().await;
        if let Some(snapshot) = &*held
            && !snapshot.is_lost()
        {
            return Ok(snapshot.clone());
        }
        let taken = tokio::select! {
            taken = Snapshot::take(cx, &self.control, self.most, self.mode) => Arc::new(taken?),
            () = cx.cancellation().cancelled() => return Err(Error::cancelled().connector(crate::NAME)),
        };
        *held = Some(taken.clone());
        Ok(taken)
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("control", &self.control).finish_non_exhaustive()
    }
}

/// Which snapshot a stream reads.
#[derive(Debug, Default)]
pub(crate) struct StreamSnapshot {
    id: AtomicU64,
    must_be_one: std::sync::atomic::AtomicBool,
}

impl StreamSnapshot {
    /// Says that all rows must be of one moment.
    pub(crate) fn must_be_one(&self) {
        self.must_be_one.store(true, Ordering::SeqCst);
    }

    fn accept(&self, cx: &Context, snapshot: &Snapshot) -> Result<()> {
        let before = self.id.swap(snapshot.id(), Ordering::SeqCst);
        if before == 0 || before == snapshot.id() {
            return Ok(());
        }
        if self.must_be_one.load(Ordering::SeqCst) {
            let text = "all connections of the snapshot broke, and the rows must be of one moment";
            let lost = Error::unavailable(text).retry(Retry::Never).connector(crate::NAME);
            return Err(lost.help("run again: it begins anew"));
        }
        cx.metrics().warn("all connections of the snapshot broke: rows behind that are of a later moment");
        Ok(())
    }
}
