//! The threads for work that keeps a processor busy.

use std::fmt;

use rayon::{ThreadPool, ThreadPoolBuilder};
use towpath_core::{CpuPool, Error, Job, Result};

/// A pool of its own threads, named `towpath-cpu-N`. Jobs start in the order in which they were queued.
pub struct RayonPool(ThreadPool);

impl RayonPool {
    /// Starts this many threads; with 0, one for each processor.
    ///
    /// # Errors
    /// `Unexpected` when the system refuses a thread.
    pub fn new(threads: usize) -> Result<Self> {
        ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("towpath-cpu-{index}"))
            .build()
            .map(Self)
            .map_err(|error| Error::unexpected("cannot start the CPU threads").source(error))
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.0.current_num_threads()
    }
}

#[deny(clippy::missing_trait_methods)]
impl CpuPool for RayonPool {
    fn spawn(&self, job: Job) {
        self.0.spawn_fifo(job);
    }
}

impl fmt::Debug for RayonPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RayonPool").field("threads", &self.threads()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use towpath_core::Context;

    use super::*;
    use crate::TokioClock;

    fn context(threads: usize) -> Context {
        let pool = Arc::new(RayonPool::new(threads).unwrap());
        Context::builder(Arc::new(TokioClock)).cpu(pool).build()
    }

    #[tokio::test]
    async fn work_runs_on_threads_of_its_own() {
        let name = context(1).cpu(|| Ok(std::thread::current().name().map(str::to_owned))).await.unwrap();
        assert_eq!(name.as_deref(), Some("towpath-cpu-0"));
    }

    #[tokio::test]
    async fn a_panic_ends_the_job_and_not_the_pool() {
        let context = context(1);
        let error = context.cpu::<(), _>(|| panic!("boom")).await.unwrap_err();
        assert!(error.to_string().contains("boom"), "{error}");
        assert_eq!(context.cpu(|| Ok(7)).await.unwrap(), 7);
    }

    #[test]
    fn the_number_of_threads_is_what_was_asked_for() {
        assert_eq!(RayonPool::new(3).unwrap().threads(), 3);
        assert!(RayonPool::new(0).unwrap().threads() > 0);
    }
}
