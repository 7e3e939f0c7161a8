//! Watches the time of calls and streams.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, Either, FutureExt, select};
use futures::stream::{BoxStream, Stream, StreamExt};
use towpath_core::{Context, Error, HumanDuration, PermitWaits, Result};

/// A timer that fires this much too late was not listened to: the consumer was busy with other things, and the source
/// could not go on. It gets its time again.
const LATE: Duration = Duration::from_secs(1);

/// The context of an operation, and whether it waits for a permit.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    pub(super) cx: Context,
    waits: PermitWaits,
    operation: &'static str,
}

impl Watch {
    pub(super) fn new(cx: &Context, operation: &'static str) -> Self {
        let (cx, waits) = cx.with_permit_waits();
        Self { cx, waits, operation }
    }

    /// The same context for another of its operations.
    pub(super) fn operation(&self, operation: &'static str) -> Self {
        Self { operation, ..self.clone() }
    }

    /// Ends a call that takes too long.
    pub(super) async fn call<T>(
        &self,
        limit: Option<HumanDuration>,
        mut call: BoxFuture<'_, Result<T>>,
    ) -> Result<T> {
        let Some(limit) = limit else { return call.await };
        loop {
            match select(call, self.cx.clock().sleep(limit.get())).await {
                Either::Left((result, _)) => return result,
                Either::Right(((), unfinished)) if self.waits.any() => call = unfinished,
                Either::Right(_) => return Err(self.timed_out(limit, "timeout.operation")),
            }
        }
    }

    /// Ends a stream that takes too long for its next item.
    pub(super) fn stream<T: 'static>(
        self,
        limit: Option<HumanDuration>,
        inner: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        match limit {
            None => inner,
            Some(limit) => IdleStream { inner: Some(inner), watch: self, limit, timer: None }.boxed(),
        }
    }

    fn timed_out(&self, limit: HumanDuration, option: &str) -> Error {
        Error::unavailable(format!("no answer within {limit}"))
            .operation(self.operation)
            .help(format!("raise `{option}` if it may take longer"))
    }
}

/// A stream that must not be idle. The timer runs from the poll that found nothing to the next item, so it does not
/// count the time in which nobody asks.
struct IdleStream<T> {
    /// `None` when it has ended.
    inner: Option<BoxStream<'static, Result<T>>>,
    watch: Watch,
    limit: HumanDuration,
    timer: Option<Timer>,
}

struct Timer {
    due: Instant,
    sleep: BoxFuture<'static, ()>,
}

impl<T> IdleStream<T> {
    fn start_timer(&self) -> Timer {
        let clock = self.watch.cx.clock();
        Timer { due: clock.monotonic() + self.limit.get(), sleep: clock.sleep(self.limit.get()) }
    }

    /// Completes when the time is over.
    fn poll_timer(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            let mut timer = self.timer.take().unwrap_or_else(|| self.start_timer());
            if timer.sleep.poll_unpin(task).is_pending() {
                self.timer = Some(timer);
                return Poll::Pending;
            }
            let late = self.watch.cx.clock().monotonic().saturating_duration_since(timer.due);
            if late < LATE && !self.watch.waits.any() {
                return Poll::Ready(());
            }
        }
    }
}

impl<T> Stream for IdleStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        if let Poll::Ready(item) = inner.poll_next_unpin(task) {
            self.timer = None;
            return Poll::Ready(item);
        }
        ready!(self.poll_timer(task));
        // Dropping it frees its connection.
        self.inner = None;
        Poll::Ready(Some(Err(self.watch.timed_out(self.limit, "timeout.idle"))))
    }
}
