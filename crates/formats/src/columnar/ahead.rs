//! Work that is under way before its result is wanted.

use std::task::{Context, Poll, Waker, ready};

use futures::FutureExt;
use futures::future::{BoxFuture, poll_fn};

/// A future that has been started: a job that it gives to another thread runs from now on.
pub(super) struct Ahead<T> {
    future: BoxFuture<'static, T>,
    output: Option<T>,
}

impl<T> Ahead<T> {
    /// Starts it.
    pub(super) fn start(future: impl Future<Output = T> + Send + 'static) -> Self {
        let mut ahead = Self { future: future.boxed(), output: None };
        // Whoever waits for it later is woken; nobody waits for it now.
        let _ = ahead.poll(&mut Context::from_waker(Waker::noop()));
        ahead
    }

    /// Its result.
    pub(super) async fn take(mut self) -> T {
        poll_fn(|cx| self.poll(cx)).await;
        self.output.expect("it was polled until it was done")
    }

    /// Its result, while another goes on as well.
    pub(super) async fn take_beside<U>(mut self, other: &mut Option<Ahead<U>>) -> T {
        poll_fn(|cx| {
            if let Some(other) = other {
                let _ = other.poll(cx);
            }
            self.poll(cx)
        })
        .await;
        self.output.expect("it was polled until it was done")
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.output.is_none() {
            self.output = Some(ready!(self.future.poll_unpin(cx)));
        }
        Poll::Ready(())
    }
}
