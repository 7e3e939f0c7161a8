//! The budget for batches in memory: a lease for each, from decoded to written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use towpath_core::{ByteSize, Metrics};

/// One permit stands for this many bytes, so that a budget of terabytes fits a semaphore.
const UNIT: u64 = 1 << 10;

/// Bytes that all streams of a run share. Waiters are served in order.
#[derive(Debug, Clone)]
pub(crate) struct MemoryBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free: Arc<Semaphore>,
    units: u32,
    in_use: AtomicU64,
    peak: AtomicU64,
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    permit: OwnedSemaphorePermit,
    budget: MemoryBudget,
}

impl MemoryBudget {
    pub(crate) fn new(size: ByteSize) -> Self {
        let units = u32::try_from((size.bytes() / UNIT).max(1)).unwrap_or(u32::MAX / 8);
        let free = Arc::new(Semaphore::new(units as usize));
        Self(Arc::new(Inner { free, units, in_use: AtomicU64::new(0), peak: AtomicU64::new(0) }))
    }

    /// Waits until so many bytes are free. What is larger than the whole budget waits for all of it, and then goes
    /// alone.
    pub(crate) async fn lease(&self, bytes: usize, metrics: &Metrics) -> Lease {
        let units = self.units(bytes);
        let free = &self.0.free;
        let permit = if let Ok(permit) = free.clone().try_acquire_many_owned(units) {
            permit
        } else {
            let started = tokio::time::Instant::now();
            let permit = free.clone().acquire_many_owned(units).await;
            metrics.add_memory_wait(started.elapsed());
            permit.expect("the budget's semaphore is never closed")
        };
        self.count(units);
        Lease { permit, budget: self.clone() }
    }

    /// The greatest part that was in use at once, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.0.peak.load(Relaxed) * UNIT
    }

    /// How many bytes are in use.
    #[cfg(test)]
    pub(crate) fn in_use(&self) -> u64 {
        self.0.in_use.load(Relaxed) * UNIT
    }

    fn units(&self, bytes: usize) -> u32 {
        u32::try_from((bytes as u64).div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.0.units)
    }

    fn count(&self, units: u32) {
        let now = self.0.in_use.fetch_add(u64::from(units), Relaxed) + u64::from(units);
        self.0.peak.fetch_max(now, Relaxed);
    }
}

impl Lease {
    /// Both leases as one.
    pub(crate) fn merge(&mut self, mut other: Self) {
        if let Some(permit) = other.permit.split(other.permit.num_permits()) {
            self.permit.merge(permit);
        }
    }

    /// Gives back what is more than so many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let (units, held) = (self.budget.units(bytes) as usize, self.permit.num_permits());
        if let Some(rest) = self.permit.split(held.saturating_sub(units)) {
            self.budget.0.in_use.fetch_sub(rest.num_permits() as u64, Relaxed);
        }
    }

    /// This lease for so many bytes: gives back what is too much. What is missing is waited for with nothing held, so that
    /// leases can never wait for each other; the batch in hand is over the budget only while its reader waits.
    pub(crate) async fn resize(mut self, bytes: usize, metrics: &Metrics) -> Self {
        let (units, held) = (self.budget.units(bytes) as usize, self.permit.num_permits());
        if units > held {
            let budget = self.budget.clone();
            drop(self);
            return budget.lease(bytes, metrics).await;
        }
        self.shrink(bytes);
        self
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.0.in_use.fetch_sub(self.permit.num_permits() as u64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn budget(kib: u64) -> MemoryBudget {
        MemoryBudget::new(ByteSize::kib(kib))
    }

    #[tokio::test]
    async fn a_lease_waits_until_enough_is_given_back() {
        let (budget, metrics) = (budget(10), Metrics::default());
        let first = budget.lease(8 << 10, &metrics).await;
        let mut second = Box::pin(budget.lease(4 << 10, &metrics));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        second.await;
        assert_eq!(budget.peak(), 8 << 10);
    }

    #[tokio::test]
    async fn a_batch_larger_than_the_budget_goes_alone() {
        let (budget, metrics) = (budget(10), Metrics::default());
        let all = budget.lease(1 << 30, &metrics).await;
        assert!(Box::pin(budget.lease(1, &metrics)).now_or_never().is_none());
        drop(all);
        assert!(Box::pin(budget.lease(1, &metrics)).now_or_never().is_some());
    }

    #[tokio::test]
    async fn growing_leases_never_wait_for_each_other() {
        let (budget, metrics) = (budget(10), Metrics::default());
        let (a, b) = (budget.lease(5 << 10, &metrics).await, budget.lease(5 << 10, &metrics).await);
        let grow = |lease: Lease| {
            let metrics = &metrics;
            async move { drop(lease.resize(8 << 10, metrics).await) }
        };
        futures::future::join(grow(a), grow(b)).await;
        assert_eq!(budget.0.free.available_permits(), 10);
    }

    #[tokio::test]
    async fn merged_leases_are_given_back_together() {
        let (budget, metrics) = (budget(10), Metrics::default());
        let (mut lease, other) =
            (budget.lease(2 << 10, &metrics).await, budget.lease(3 << 10, &metrics).await);
        lease.merge(other);
        assert_eq!(budget.0.free.available_permits(), 5);
        lease.shrink(1 << 10);
        assert_eq!((budget.0.free.available_permits(), budget.0.in_use.load(Relaxed)), (9, 1));
        drop(lease);
        assert_eq!((budget.0.free.available_permits(), budget.0.in_use.load(Relaxed)), (10, 0));
    }

    #[tokio::test]
    async fn a_smaller_batch_gives_the_rest_back() {
        let (budget, metrics) = (budget(10), Metrics::default());
        let lease = budget.lease(10 << 10, &metrics).await.resize(1 << 10, &metrics).await;
        assert_eq!(budget.0.free.available_permits(), 9);
        drop(lease);
        assert_eq!((budget.0.free.available_permits(), budget.0.in_use.load(Relaxed)), (10, 0));
    }
}
