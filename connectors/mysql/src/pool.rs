//! Connections that are kept for the next who asks, and no more than allowed.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use towpath_core::{Context, Error, Result};

use crate::client::{Client, Role};
use crate::config::ConnectionOptions;

/// The connections of one side, shared by all streams of a connection.
pub(crate) struct Pool {
    options: ConnectionOptions,
    role: Role,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Client>>,
}

impl Pool {
    /// The pool that the streams of this connection share, with all connections that are allowed.
    pub(crate) fn shared(cx: &Context, options: &ConnectionOptions, role: Role) -> Result<Arc<Self>> {
        let pool = || Ok(Self::new(options.clone(), role, options.max_connections));
        cx.connection().shared(&key(options, role), pool)
    }

    /// A pool of its own with so many connections.
    pub(crate) fn new(options: ConnectionOptions, role: Role, most: usize) -> Self {
        Self { options, role, permits: Arc::new(Semaphore::new(most)), idle: Mutex::default() }
    }

    /// How it connects.
    pub(crate) fn options(&self) -> &ConnectionOptions {
        &self.options
    }

    /// Waits until there may be one more connection, and makes it or takes one that is kept. The session may hold
    /// variables, temporary tables and locks of the one before: leave none.
    pub(crate) async fn get(self: &Arc<Self>, cx: &Context) -> Result<Pooled> {
        let permit = tokio::select! {
            permit = cx.wait_for(self.permits.clone().acquire_owned()) => {
                permit.map_err(|error| Error::unexpected("the pool is closed").source(error))?
            }
            () = cx.cancellation().cancelled() => return Err(Error::cancelled().connector(crate::NAME)),
        };
        let client = match self.kept().await {
            Some(client) => client,
            None => self.connect(cx).await?,
        };
        Ok(Pooled { client: Some(client), pool: self.clone(), _permit: permit })
    }

    async fn connect(&self, cx: &Context) -> Result<Client> {
        tokio::select! {
            client = Client::connect(&self.options, self.role) => client,
            () = cx.cancellation().cancelled() => Err(Error::cancelled().connector(crate::NAME)),
        }
    }

    /// A connection that is kept and still good.
    async fn kept(&self) -> Option<Client> {
        loop {
            let mut client = self.lock().pop()?;
            if client.ping().await.is_ok() {
                return Some(client);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Options that differ must not share, and their text leaves the password out.
pub(crate) fn key(options: &ConnectionOptions, role: Role) -> String {
    let mut hasher = DefaultHasher::new();
    options.hash(&mut hasher);
    format!("{role:?} {:016x}", hasher.finish())
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("options", &self.options)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// A connection of the pool. Dropping it gives it back, unless it is in the middle of something or of a transaction.
pub(crate) struct Pooled {
    client: Option<Client>,
    pool: Arc<Pool>,
    /// Given back behind the client.
    _permit: OwnedSemaphorePermit,
}

impl Deref for Pooled {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client.as_ref().expect("the client is there until it is dropped")
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Client {
        self.client.as_mut().expect("the client is there until it is dropped")
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(client) = self.client.take().filter(Client::is_idle) {
            self.pool.lock().push(client);
        }
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pooled").field(&self.client).finish()
    }
}
