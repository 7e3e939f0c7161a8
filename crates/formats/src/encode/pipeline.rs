//! Work that runs at once and comes out in order.

use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use towpath_core::Result;

/// Jobs under way, in the order in which their results are wanted.
pub(super) struct Pipeline<T> {
    jobs: FuturesOrdered<BoxFuture<'static, Result<T>>>,
    limit: usize,
}

impl<T: Send + 'static> Pipeline<T> {
    /// At most this many jobs.
    pub(super) fn new(limit: usize) -> Self {
        Self { jobs: FuturesOrdered::new(), limit }
    }

    /// Whether a result must be taken before the next job.
    pub(super) fn is_full(&self) -> bool {
        self.jobs.len() >= self.limit
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Adds a job. It starts with the next look at the results.
    pub(super) fn push(&mut self, job: impl Future<Output = Result<T>> + Send + 'static) {
        self.jobs.push_back(job.boxed());
    }

    /// The next result, in order, if it is there. Starts all jobs that were added.
    pub(super) fn try_next(&mut self) -> Option<Result<T>> {
        self.jobs.next().now_or_never().flatten()
    }

    /// The next result, in order; `None` when there are no jobs.
    pub(super) async fn next(&mut self) -> Option<Result<T>> {
        self.jobs.next().await
    }
}
