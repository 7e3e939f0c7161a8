//! File system calls block, so they run on tokio's threads for that.

use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use towpath_core::{Error, Result};

/// Runs work that blocks.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    joined(spawn_blocking(work)).await
}

/// Waits for blocking work that was started earlier.
pub(crate) async fn joined<T>(handle: JoinHandle<Result<T>>) -> Result<T> {
    ended(handle.await)
}

/// What came of work that has ended, or how it ended before.
pub(crate) fn ended<T>(work: std::result::Result<Result<T>, JoinError>) -> Result<T> {
    work.unwrap_or_else(|error| {
        Err(Error::unexpected("file system work ended early")
            .source(error)
            .connector(crate::errors::CONNECTOR))
    })
}
