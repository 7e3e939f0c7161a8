//! The work of a connection: done by a task of its own, or by whoever reads or writes many rows over it.
//!
//! Rows come a few KiB at a time. From one task to another that is a wake-up each, and a change of thread; within one task
//! it is a function call.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::Stream;
use tokio::task::JoinHandle;

use crate::wire::{Aside, Frames};

type Connection = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// A connection at work. It is closed when this is dropped.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    aside: Aside,
    task: JoinHandle<()>,
}

struct Shared(Mutex<State>);

struct State {
    /// Gone once it has ended.
    connection: Option<Connection>,
    /// Whether somebody else does the work.
    is_lent: bool,
    /// Wakes the task when it has to go on.
    task: Option<Waker>,
}

impl Driver {
    /// Begins to work in the background. Rows that come wait aside.
    pub(crate) fn spawn(
        connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
        aside: Aside,
    ) -> Self {
        let state = State { connection: Some(Box::pin(connection)), is_lent: false, task: None };
        let shared = Arc::new(Shared(Mutex::new(state)));
        let worker = shared.clone();
        let task = tokio::spawn(std::future::poll_fn(move |cx| worker.work_in_background(cx)));
        Self { shared, aside, task }
    }

    /// Rows that are read by the task that asks for them.
    pub(crate) fn read<S>(&self, rows: S) -> Driven<S> {
        Driven { rows, aside: self.aside.clone(), loan: self.lend() }
    }

    /// Sends messages with rows, by the task that waits for it. When it is done they are on their way, or the connection
    /// has ended, as the driver's own sink tells when it is finished.
    pub(crate) async fn write(&self, messages: Bytes) {
        let loan = self.lend();
        self.aside.send(messages);
        std::future::poll_fn(|cx| {
            let ended = loan.0.state().work(cx).is_ready();
            if ended || self.aside.is_sent() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn lend(&self) -> Loan {
        self.shared.state().is_lent = true;
        Loan(self.shared.clone())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
        let connection = self.shared.state().connection.take();
        drop(connection);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_in_background(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        state.task = Some(cx.waker().clone());
        if state.is_lent { Poll::Pending } else { state.work(cx) }
    }
}

impl State {
    /// Does what can be done now.
    fn work(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(()) };
        let Poll::Ready(ended) = connection.as_mut().poll(cx) else { return Poll::Pending };
        self.connection = None;
        // Whoever waits for an answer gets the error too.
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to Postgres ended");
        }
        Poll::Ready(())
    }
}

/// What is read over a connection, which does its work meanwhile. One at a time.
///
/// The driver's own stream tells how the rows end. The rows themselves never get there.
pub(crate) struct Driven<S> {
    rows: S,
    aside: Aside,
    loan: Loan,
}

/// The work of a connection, done by who holds this. When it is dropped, the connection's own task goes on.
struct Loan(Arc<Shared>);

impl<S, E> Driven<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    fn poll_ready_rows(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frames, E>>> {
        if let Some(frames) = self.aside.take() {
            return Poll::Ready(Some(Ok(frames)));
        }
        Pin::new(&mut self.rows).poll_next(cx).map(|end| match end {
            Some(Ok(_)) => unreachable!("rows are put aside before the driver sees them"),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        })
    }
}

impl<S, E> Stream for Driven<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<Frames, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(rows) = self.poll_ready_rows(cx) {
            return Poll::Ready(rows);
        }
        // When it has ended, the rows tell why.
        let _ = self.loan.0.state().work(cx);
        self.poll_ready_rows(cx)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let task = {
            let mut state = self.0.state();
            state.is_lent = false;
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use futures::channel::mpsc;

    /// The driver's stream: it ends when its sender is gone, and no rows come by it.
    type End = mpsc::UnboundedReceiver<Result<Bytes, ()>>;

    #[tokio::test]
    async fn a_reader_does_the_work_itself_and_hands_it_back() {
        let (sender, receiver): (_, End) = mpsc::unbounded();
        let workers: Arc<Mutex<Vec<Option<tokio::task::Id>>>> = Arc::default();
        let aside = Aside::default();
        let (noted, come) = (workers.clone(), aside.clone());
        let connection = std::future::poll_fn(move |_| {
            noted.lock().unwrap().push(tokio::task::try_id());
            come.put(Frames::from(&b"row"[..]));
            Poll::Pending
        });
        let driver = Driver::spawn(connection, aside);
        let mut rows = driver.read(receiver);
        for _ in 0..3 {
            rows.next().await.unwrap().unwrap();
            tokio::task::yield_now().await;
        }
        // A test is no task that was spawned.
        assert_eq!(*workers.lock().unwrap(), [None; 3]);
        drop(rows);
        while workers.lock().unwrap().last() == Some(&None) {
            tokio::task::yield_now().await;
        }
        drop(sender);
    }

    #[tokio::test]
    async fn rows_end_when_the_connection_does_and_not_before_those_that_came() {
        let (sender, receiver): (_, End) = mpsc::unbounded();
        let aside = Aside::default();
        let come = aside.clone();
        let driver = Driver::spawn(
            async move {
                come.put(Frames::from(&b"last"[..]));
                drop(sender);
                Ok(())
            },
            aside,
        );
        let mut rows = driver.read(receiver);
        assert_eq!(rows.next().await, Some(Ok(Frames::from(&b"last"[..]))));
        assert_eq!(rows.next().await, None);
    }

    #[tokio::test]
    async fn a_writer_does_the_work_itself_until_its_rows_went() {
        let workers: Arc<Mutex<Vec<Option<tokio::task::Id>>>> = Arc::default();
        let aside = Aside::default();
        let (noted, going) = (workers.clone(), aside.clone());
        let connection = std::future::poll_fn(move |cx| {
            let mut noted = noted.lock().unwrap();
            noted.push(tokio::task::try_id());
            // All at the third time.
            going.send(Bytes::from_static(&b"rows"[..if noted.len() < 3 { 4 } else { 0 }]));
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let driver = Driver::spawn(connection, aside.clone());
        driver.write(Bytes::from_static(b"rows")).await;
        assert!(aside.is_sent());
        // A test is no task that was spawned.
        assert_eq!(*workers.lock().unwrap(), [None; 3]);
    }

    #[tokio::test]
    async fn a_writer_does_not_wait_for_a_connection_that_ended() {
        let aside = Aside::default();
        let driver = Driver::spawn(std::future::ready(Ok(())), aside.clone());
        driver.write(Bytes::from_static(b"rows")).await;
        assert!(!aside.is_sent());
    }
}
