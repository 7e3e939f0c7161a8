//! What a connector may use of its surroundings: cancellation, clock, CPU pool, limits, metrics, shared clients.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use futures::channel::oneshot;
use futures::future::{BoxFuture, Either, select};
use futures::poll;

use crate::{Cancellation, Connection, Error, Metrics, Outside, Permit, Realm, Result, Traffic, Unlimited};

/// A bag of capabilities, cheap to clone. It is not a handle to the engine.
#[derive(Clone)]
pub struct Context {
    shared: Arc<Shared>,
    cancellation: Cancellation,
    waits: PermitWaits,
}

/// What is the same for all operations of a stream.
#[derive(Clone)]
struct Shared {
    stream: Arc<str>,
    connection: Arc<Connection>,
    clock: Arc<dyn Clock>,
    cpu: Arc<dyn CpuPool>,
    metrics: Arc<Metrics>,
    traffic: Traffic,
    outside: Outside,
    copier: Option<Realm>,
}

impl Context {
    /// Starts a context with this clock. Without further settings: no limits, no stream name, never cancelled, and CPU
    /// work runs where it is called.
    pub fn builder(clock: Arc<dyn Clock>) -> ContextBuilder {
        ContextBuilder {
            shared: Shared {
                stream: "".into(),
                connection: Arc::new(Connection::new("", Arc::new(Unlimited))),
                clock,
                cpu: Arc::new(Inline),
                metrics: Arc::default(),
                traffic: Traffic::Live,
                outside: Outside::default(),
                copier: None,
            },
            cancellation: Cancellation::new(),
        }
    }

    /// The stream on whose behalf this is done; empty where it is none.
    pub fn stream(&self) -> &str {
        &self.shared.stream
    }

    /// The connection, with its limits and what its streams share.
    pub fn connection(&self) -> &Connection {
        &self.shared.connection
    }

    /// Whether and when to stop.
    pub fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// The time. Use it and nothing else, so that tests can turn it.
    pub fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// The clock, to be kept.
    pub fn clock_arc(&self) -> Arc<dyn Clock> {
        self.shared.clock.clone()
    }

    /// Where the answers of servers come from, and whether they are kept.
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// What was filled into the pipeline file from outside, which no message and no recording may show.
    pub fn outside(&self) -> &Outside {
        &self.shared.outside
    }

    /// The realm out of which the stream's sink has bytes copied by the service. A source of files as they are that is of the
    /// same one may name bytes instead of reading them: its rows then have the columns of
    /// [`reference_schema`](crate::reference_schema). `None` where bytes are wanted, also by a step in between.
    pub fn copier(&self) -> Option<&Realm> {
        self.shared.copier.as_ref()
    }

    /// The time of day for what depends on when a run began, such as a window that ends now. Where answers come out of a
    /// recording, it is that of the recorded run, so that the same requests are made.
    pub fn began(&self) -> SystemTime {
        match &self.shared.traffic {
            Traffic::Live => self.shared.clock.now(),
            Traffic::Recorded(recorder) => recorder.began(),
            Traffic::Replayed(recording) => recording.began(),
        }
    }

    /// The stream's counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// Runs work that keeps a processor busy (parsing, decompressing, encoding) on the CPU pool, so that the event
    /// loop never stalls. The work must not block on I/O.
    ///
    /// # Errors
    /// What the work returns; `Unexpected` when it panics.
    pub async fn cpu<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let (metrics, clock, queued) =
            (self.shared.metrics.clone(), self.shared.clock.clone(), self.shared.clock.monotonic());
        self.shared.cpu.spawn(Box::new(move || {
            let started = clock.monotonic();
            metrics.add_cpu_wait(started.saturating_duration_since(queued));
            let outcome = catch_unwind(AssertUnwindSafe(work));
            metrics.add_cpu(clock.monotonic().saturating_duration_since(started));
            // The receiver is gone when the stream was stopped; then nobody wants the result.
            let _ = sender.send(outcome);
        }));
        match receiver.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Error::unexpected(format!("a CPU job panicked: {}", panic_text(&*panic)))),
            Err(oneshot::Canceled) => Err(Error::unexpected("the CPU pool dropped a job")),
        }
    }

    /// Sleeps, unless the run is cancelled first.
    ///
    /// # Errors
    /// `Cancelled`.
    pub async fn sleep(&self, duration: Duration) -> Result<()> {
        match select(self.shared.clock.sleep(duration), self.cancellation.cancelled()).await {
            Either::Left(_) => Ok(()),
            Either::Right(_) => Err(Error::cancelled()),
        }
    }

    /// Waits until the limits of the connection let one more request to this origin start, and counts the request and
    /// the wait. `origin` separates servers behind one connection; with one server it is `""`.
    ///
    /// Hold the permit until the answer's last byte has arrived, then call [`Permit::finish`].
    ///
    /// # Errors
    /// `Cancelled`.
    pub async fn permit(&self, origin: &str) -> Result<Permit> {
        self.cancellation.check()?;
        let _waiting = self.waits.start();
        let asked = self.shared.clock.monotonic();
        let mut acquiring = self.shared.connection.limiter().acquire(origin);
        // Mostly it is granted at once, and nobody need listen to the end of the run.
        let permit = match poll!(&mut acquiring) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => match select(acquiring, self.cancellation.cancelled()).await {
                Either::Left((permit, _)) => Some(permit),
                Either::Right(_) => None,
            },
        };
        self.shared.metrics.add_limiter_wait(self.shared.clock.monotonic().saturating_duration_since(asked));
        let permit = permit.ok_or_else(Error::cancelled)?;
        self.shared.metrics.add_requests(1);
        Ok(permit)
    }

    /// Waits for something that a connector itself limits, such as a connection of its pool. As with a permit, no server can
    /// be blamed for the time that it takes.
    pub async fn wait_for<T>(&self, ours: impl Future<Output = T>) -> T {
        let _waiting = self.waits.start();
        let asked = self.shared.clock.monotonic();
        let granted = ours.await;
        self.shared.metrics.add_limiter_wait(self.shared.clock.monotonic().saturating_duration_since(asked));
        granted
    }

    /// The same context, and a view of whether anybody who was given it waits for a [`permit`](Self::permit). Then it is
    /// our own limits that hold a request back, and not the server: for timeouts.
    pub fn with_permit_waits(&self) -> (Self, PermitWaits) {
        let waits = PermitWaits::default();
        (Self { waits: waits.clone(), ..self.clone() }, waits)
    }

    /// The same context for another stream's counters and cancellation.
    pub fn for_stream(&self, stream: &str, metrics: Arc<Metrics>, cancellation: Cancellation) -> Self {
        let shared = Shared { stream: stream.into(), metrics, ..Shared::clone(&self.shared) };
        Self { shared: Arc::new(shared), cancellation, waits: self.waits.clone() }
    }

    /// The same context with another connection.
    pub fn for_connection(&self, connection: Arc<Connection>) -> Self {
        let shared = Shared { connection, ..Shared::clone(&self.shared) };
        Self { shared: Arc::new(shared), ..self.clone() }
    }

    /// The same context for a source whose bytes may be named to a sink that copies out of this realm.
    pub fn with_copier(&self, copier: Option<Realm>) -> Self {
        let shared = Shared { copier, ..Shared::clone(&self.shared) };
        Self { shared: Arc::new(shared), ..self.clone() }
    }

    /// The same context with another cancellation.
    pub fn with_cancellation(&self, cancellation: Cancellation) -> Self {
        Self { cancellation, ..self.clone() }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("stream", &self.shared.stream)
            .field("connection", &self.shared.connection.name())
            .finish_non_exhaustive()
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// How many calls of [`Context::permit`] wait at this moment.
#[derive(Debug, Clone, Default)]
pub struct PermitWaits(Arc<AtomicUsize>);

impl PermitWaits {
    /// Whether at least one waits.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    fn start(&self) -> PermitWait<'_> {
        self.0.fetch_add(1, Ordering::SeqCst);
        PermitWait(self)
    }
}

/// Ends the wait when it is granted, cancelled or dropped.
struct PermitWait<'a>(&'a PermitWaits);

impl Drop for PermitWait<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Builds a [`Context`].
pub struct ContextBuilder {
    shared: Shared,
    cancellation: Cancellation,
}

impl ContextBuilder {
    /// Names the stream.
    pub fn stream(mut self, stream: &str) -> Self {
        self.shared.stream = stream.into();
        self
    }

    /// Sets the connection.
    pub fn connection(mut self, connection: Arc<Connection>) -> Self {
        self.shared.connection = connection;
        self
    }

    /// Sets the cancellation.
    pub fn cancellation(mut self, cancellation: Cancellation) -> Self {
        self.cancellation = cancellation;
        self
    }

    /// Sets the pool for CPU work.
    pub fn cpu(mut self, cpu: Arc<dyn CpuPool>) -> Self {
        self.shared.cpu = cpu;
        self
    }

    /// Sets where answers come from.
    pub fn traffic(mut self, traffic: Traffic) -> Self {
        self.shared.traffic = traffic;
        self
    }

    /// Sets what was filled into the pipeline file from outside.
    pub fn outside(mut self, outside: Outside) -> Self {
        self.shared.outside = outside;
        self
    }

    /// Sets the counters.
    pub fn metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.shared.metrics = metrics;
        self
    }

    /// The context.
    pub fn build(self) -> Context {
        let Self { shared, cancellation } = self;
        Context { shared: Arc::new(shared), cancellation, waits: PermitWaits::default() }
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync {
    /// The time of day.
    fn now(&self) -> SystemTime;
    /// A time that only grows, for measuring.
    fn monotonic(&self) -> Instant;
    /// Completes after this long.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// A job of the CPU pool.
pub type Job = Box<dyn FnOnce() + Send>;

/// Threads for work that keeps a processor busy.
pub trait CpuPool: Send + Sync {
    /// Queues a job. It must not wait.
    fn spawn(&self, job: Job);
}

/// Runs each job at once where it is called.
struct Inline;

impl CpuPool for Inline {
    fn spawn(&self, job: Job) {
        job();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limiter;
    use futures::executor::block_on;

    struct StoppedClock(Instant);

    impl Clock for StoppedClock {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
        fn monotonic(&self) -> Instant {
            self.0
        }
        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    fn context() -> Context {
        Context::builder(Arc::new(StoppedClock(Instant::now()))).build()
    }

    #[test]
    fn a_panic_in_a_cpu_job_is_an_error() {
        let error = block_on(context().cpu::<(), _>(|| panic!("boom"))).unwrap_err();
        assert_eq!(error.to_string(), "a CPU job panicked: boom");
    }

    #[test]
    fn a_sleep_ends_when_the_run_is_cancelled() {
        let context = context();
        context.cancellation().cancel();
        let error = block_on(context.sleep(Duration::from_hours(1))).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Cancelled);
    }

    /// Grants a permit the moment somebody asks, or never.
    #[derive(Debug)]
    struct Gate {
        open: bool,
    }

    #[async_trait::async_trait]
    impl Limiter for Gate {
        async fn acquire(&self, _origin: &str) -> Permit {
            if self.open { Permit::new(Instant::now(), |_, _| {}) } else { std::future::pending().await }
        }

        fn pause(&self, _origin: &str, _pause: Duration) {}
    }

    fn context_behind(open: bool) -> Context {
        context().for_connection(Arc::new(Connection::new("shop", Arc::new(Gate { open }))))
    }

    #[test]
    fn a_permit_counts_a_request() {
        let context = context_behind(true);
        drop(block_on(context.permit("")).unwrap());
        assert_eq!(context.metrics().snapshot().requests, 1);
    }

    #[test]
    fn waiting_for_a_permit_ends_when_the_run_is_cancelled() {
        let context = context_behind(false);
        let cancellation = context.cancellation().clone();
        let waiting = std::thread::spawn(move || {
            let error = block_on(context.permit("")).unwrap_err();
            (error.kind(), context.metrics().snapshot().requests)
        });
        cancellation.cancel();
        assert_eq!(waiting.join().unwrap(), (crate::ErrorKind::Cancelled, 0));
    }

    #[test]
    fn a_wait_for_a_permit_is_seen_until_it_is_given_up() {
        let (context, waits) = context_behind(false).with_permit_waits();
        let mut asking = Box::pin(context.permit(""));
        assert!(futures::FutureExt::now_or_never(&mut asking).is_none());
        assert!(waits.any());
        drop(asking);
        assert!(!waits.any());
    }

    #[test]
    fn a_wait_for_a_pool_is_seen_like_one_for_a_permit() {
        let (context, waits) = context().with_permit_waits();
        let mut waiting = Box::pin(context.wait_for(std::future::pending::<()>()));
        assert!(futures::FutureExt::now_or_never(&mut waiting).is_none());
        assert!(waits.any());
        drop(waiting);
        assert!(!waits.any());
        assert_eq!(block_on(context.wait_for(async { 7 })), 7);
    }
}
