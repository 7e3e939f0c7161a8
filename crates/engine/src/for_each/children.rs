//! The child's splits for one row of its parent.
//!
//! Planning may wait, for example for a server that is asked whether a document has changed. So it is done in a task of its
//! own, and for some rows at once.

use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use towpath_core::{Context, DynSource, Error, Json, Planned, Position, Result, ScanRequest, Split};

/// How many steps wait to be taken.
const STEPS: usize = 4;

/// What comes next.
pub(super) enum Next {
    /// Planning has begun; rows behind this value of the cursor are wanted, if that is not the last value.
    Begun { after: Option<Json> },
    /// A split; planning goes on behind it at `resume`.
    Split { split: Split, resume: Position },
    /// There are no more.
    Done {
        /// What the source wants to get the next time.
        since: Option<Position>,
    },
}

/// The splits of a row, as they are planned.
pub(super) struct Children {
    steps: mpsc::Receiver<Result<Next>>,
    task: JoinHandle<()>,
}

impl Drop for Children {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Children {
    /// Begins to plan.
    pub(super) fn plan(child: Arc<dyn DynSource>, cx: Context, request: ScanRequest) -> Self {
        let (sender, steps) = mpsc::channel(STEPS);
        let task = tokio::spawn(async move {
            let planned = plan(&*child, &cx, &request, &sender).await;
            // Nobody listens when the planning of all rows has ended.
            let _ = match planned {
                Ok(since) => sender.send(Ok(Next::Done { since })).await,
                Err(error) => sender.send(Err(error)).await,
            };
        });
        Self { steps, task }
    }

    /// What comes next; nothing more after an error or the end.
    pub(super) async fn next(&mut self) -> Result<Next> {
        if let Some(step) = self.steps.recv().await {
            return step;
        }
        let ended = (&mut self.task).await;
        let why = ended.err().map(|panic| panic.to_string()).unwrap_or_default();
        Err(Error::unexpected(format!("planning for a row of the parent ended: {why}")))
    }
}

async fn plan(
    child: &dyn DynSource,
    cx: &Context,
    request: &ScanRequest,
    steps: &mpsc::Sender<Result<Next>>,
) -> Result<Option<Position>> {
    let mut plan = child.plan(cx, request).await?;
    let mut since = None;
    let mut next = Next::Begun { after: plan.after.take() };
    while steps.send(Ok(next)).await.is_ok() {
        next = loop {
            match plan.splits.next().await.transpose()? {
                None => return Ok(since),
                Some(Planned::Complete { since: left }) => since = Some(left),
                Some(Planned::Split { split, resume }) => break Next::Split { split, resume },
            }
        };
    }
    Ok(None)
}
