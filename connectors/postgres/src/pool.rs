//! Connections that are kept for the next who asks, and no more than allowed.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use towpath_core::{Context, Error, Result};

use crate::config::ConnectionOptions;
use crate::connect::{Role, Session};

/// The connections of one side, shared by all streams of a connection.
pub(crate) struct Pool {
    options: ConnectionOptions,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
}

impl Pool {
    /// The pool that the streams of this connection share.
    pub(crate) fn shared(cx: &Context, options: &ConnectionOptions, role: Role) -> Result<Arc<Self>> {
        cx.connection().shared(&key(options, role), || Ok(Self::new(options.clone())))
    }

    fn new(options: ConnectionOptions) -> Self {
        let permits = Arc::new(Semaphore::new(options.max_connections));
        Self { options, permits, idle: Mutex::default() }
    }

    /// How it connects.
    pub(crate) fn options(&self) -> &ConnectionOptions {
        &self.options
    }

    /// Waits until there may be one more connection, and makes it or takes one that is kept.
    ///
    /// # Errors
    /// `Cancelled`, and those of connecting.
    pub(crate) async fn get(self: &Arc<Self>, cx: &Context) -> Result<Pooled> {
        let getting = async {
            let permit = self.reserve(cx).await?;
            let kept = self.kept();
            let is_kept = kept.is_some();
            let session = match kept {
                Some(session) => session,
                None => Session::connect(&self.options).await?,
            };
            Ok(Pooled { session: Some(session), is_kept, pool: self.clone(), _permit: permit })
        };
        tokio::select! {
            session = getting => session,
            () = cx.cancellation().cancelled() => Err(Error::cancelled().connector(crate::NAME)),
        }
    }

    /// Keeps room for a connection that is not of the pool, for as long as the permit lives.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(crate) async fn reserve(&self, cx: &Context) -> Result<OwnedSemaphorePermit> {
        tokio::select! {
            permit = self.permits.clone().acquire_owned() => {
                permit.map_err(|error| Error::unexpected("the pool is closed").source(error))
            }
            () = cx.cancellation().cancelled() => Err(Error::cancelled().connector(crate::NAME)),
        }
    }

    /// A connection in which these statements have begun a transaction. One that was kept may have been ended by the server
    /// meanwhile; then another takes its place.
    ///
    /// # Errors
    /// As [`get`](Self::get), and the server's.
    pub(crate) async fn begin(self: &Arc<Self>, cx: &Context, what: &str, sql: &str) -> Result<Pooled> {
        loop {
            let session = self.get(cx).await?;
            match session.execute(what, sql).await {
                Ok(()) => return Ok(session),
                Err(error) if session.is_kept && error.is_retryable() => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn kept(&self) -> Option<Session> {
        let mut idle = self.lock();
        while let Some(session) = idle.pop() {
            if session.is_open() {
                return Some(session);
            }
        }
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Options that differ must not share, and their text leaves the password out.
fn key(options: &ConnectionOptions, role: Role) -> String {
    let mut hasher = DefaultHasher::new();
    options.hash(&mut hasher);
    format!("{role:?} {:016x}", hasher.finish())
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A connection of the pool. Dropping it closes it, unless it was [given back](Self::give_back): it may be in the middle of
/// something.
pub(crate) struct Pooled {
    session: Option<Session>,
    /// Whether somebody has used it before.
    is_kept: bool,
    pool: Arc<Pool>,
    /// Given back behind the session.
    _permit: OwnedSemaphorePermit,
}

impl Pooled {
    /// Keeps the connection for others. It must be idle, outside of a transaction.
    pub(crate) fn give_back(mut self) {
        // Behind a pooler, what the driver has prepared is in a session of the server that others have by now.
        if self.pool.options.transaction_pooling {
            return;
        }
        if let Some(session) = self.session.take().filter(Session::is_open) {
            self.pool.lock().push(session);
        }
    }
}

impl Deref for Pooled {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("the session is there until it is given back")
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pooled").field(&self.session).finish()
    }
}
