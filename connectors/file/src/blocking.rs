//! File system calls block, so they run on tokio's threads for that.

use tokio::task::{JoinHandle, spawn_blocking};
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
    handle.await.unwrap_or_else(|error| {
        Err(Error::unexpected("file system work ended early")
            .source(error)
            .connector(crate::errors::CONNECTOR))
    })
}
