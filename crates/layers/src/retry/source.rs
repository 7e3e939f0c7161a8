//! Retries around a source. Streams that break off are opened again behind the last thing that they gave.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use towpath_core::{
    Batch, BatchStream, Context, Dataset, DynSource, PlanStream, Planned, Position, Result, Resume, ScanPlan,
    ScanRequest, SourceCapabilities, Split,
};

use super::policy::{Attempts, RetryPolicy};

/// A source that tries again. What it gives has no gaps and nothing twice:
///
/// - planning goes on behind the last split;
/// - a read goes on behind the last batch, where the source can do that ([`Resume::Exact`]);
/// - a read that can only start again ([`Resume::Split`]) does so before its first batch. After that its rows may have
///   been written, so the error is passed on as it is, and the engine starts the split again with a new writer;
/// - a read that cannot be repeated ([`Resume::None`]) is not.
///
/// The inner read is opened when the stream is first polled, so opening is retried as well.
pub struct RetrySource {
    inner: Arc<dyn DynSource>,
    policy: RetryPolicy,
}

impl RetrySource {
    /// Tries again what this source fails at.
    pub fn new(inner: Arc<dyn DynSource>, policy: RetryPolicy) -> Self {
        Self { inner, policy }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynSource for RetrySource {
    fn capabilities(&self) -> SourceCapabilities {
        self.inner.capabilities()
    }

    fn parent_fields(&self) -> Option<Vec<String>> {
        self.inner.parent_fields()
    }

    async fn check(&self, cx: &Context) -> Result<()> {
        self.policy.call(cx, "check", || self.inner.check(cx)).await
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>> {
        self.policy.call(cx, "discover", || self.inner.discover(cx)).await
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        let mut plan = self.policy.call(cx, "plan", || self.inner.plan(cx, request)).await?;
        let mut request = request.clone();
        // A plan that is made again ends where the first one meant to.
        if let (Some(cursor), Some(until)) = (&mut request.cursor, &plan.until) {
            cursor.until = Some(until.clone());
        }
        plan.splits = resumed(Planning {
            source: self.inner.clone(),
            cx: cx.clone(),
            request,
            steps: Some(plan.splits),
            attempts: self.policy.attempts("plan"),
        });
        Ok(plan)
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        Ok(resumed(Reading {
            source: self.inner.clone(),
            cx: cx.clone(),
            split: split.clone(),
            from,
            resume: self.inner.capabilities().resume,
            has_given: false,
            batches: None,
            attempts: self.policy.attempts("read"),
        }))
    }
}

/// A stream that can be opened again.
#[async_trait]
trait Resumable: Send + 'static {
    type Item: Send + 'static;
    async fn next(&mut self) -> Option<Result<Self::Item>>;
}

/// The stream of what is resumed; it ends after its first error.
fn resumed<R: Resumable>(resumable: R) -> BoxStream<'static, Result<R::Item>> {
    // It is handed on with each item, and is large.
    stream::unfold(Some(Box::new(resumable)), |resumable| async {
        let mut resumable = resumable?;
        let item = resumable.next().await?;
        let rest = item.is_ok().then_some(resumable);
        Some((item, rest))
    })
    .boxed()
}

struct Planning {
    source: Arc<dyn DynSource>,
    cx: Context,
    /// The request that plans on behind what was given.
    request: ScanRequest,
    steps: Option<PlanStream>,
    attempts: Attempts,
}

#[async_trait]
impl Resumable for Planning {
    type Item = Planned;

    async fn next(&mut self) -> Option<Result<Planned>> {
        loop {
            let step = match &mut self.steps {
                Some(steps) => steps.next().await,
                None => match self.source.plan(&self.cx, &self.request).await {
                    Ok(plan) => {
                        self.steps = Some(plan.splits);
                        continue;
                    }
                    Err(error) => Some(Err(error)),
                },
            };
            match step {
                None => return None,
                Some(Ok(planned)) => {
                    if let Planned::Split { resume, .. } = &planned {
                        self.request.planned = resume.clone();
                    }
                    self.attempts.start_anew();
                    return Some(Ok(planned));
                }
                Some(Err(error)) => {
                    // Frees its connection before the wait.
                    self.steps = None;
                    if let Err(error) = self.attempts.wait_after(&self.cx, error).await {
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}

struct Reading {
    source: Arc<dyn DynSource>,
    cx: Context,
    split: Split,
    /// Behind what was given.
    from: Position,
    resume: Resume,
    has_given: bool,
    batches: Option<BatchStream>,
    attempts: Attempts,
}

impl Reading {
    fn may_go_on(&self) -> bool {
        match self.resume {
            Resume::None => false,
            Resume::Split => !self.has_given,
            Resume::Run | Resume::Exact => true,
        }
    }

    fn give(&mut self, batch: Batch) -> Batch {
        self.has_given = true;
        if batch.resume != self.from {
            self.from = batch.resume.clone();
            self.attempts.start_anew();
        }
        batch
    }
}

#[async_trait]
impl Resumable for Reading {
    type Item = Batch;

    async fn next(&mut self) -> Option<Result<Batch>> {
        loop {
            let item = match &mut self.batches {
                Some(batches) => batches.next().await,
                None => match self.source.read(&self.cx, &self.split, self.from.clone()) {
                    Ok(batches) => {
                        self.batches = Some(batches);
                        continue;
                    }
                    Err(error) => Some(Err(error)),
                },
            };
            match item {
                None => return None,
                Some(Ok(batch)) => return Some(Ok(self.give(batch))),
                // Everything had been read when it failed.
                Some(Err(error)) if error.is_retryable() && self.has_given && self.from == Position::End => {
                    tracing::debug!(stream = self.cx.stream(), split = %self.split.id, %error, "failed after the end");
                    return None;
                }
                Some(Err(error)) => {
                    // Frees its connection before the wait.
                    self.batches = None;
                    if !self.may_go_on() {
                        return Some(Err(error));
                    }
                    if let Err(error) = self.attempts.wait_after(&self.cx, error).await {
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}
