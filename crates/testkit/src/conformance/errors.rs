//! Broken configurations, and what their errors must be like.

use std::fmt::Write;
use std::future::Future;

use futures::StreamExt;
use futures::future::BoxFuture;
use serde_json::json;
use towpath_core::{
    Advance, CommitToken, Connector, Context, Error, ErrorKind, Json, LoadSpec, Planned, Position, Result,
    ScanRequest,
};

use super::{Broken, Kept, Verdict, ensure, no_secret_in};
use crate::rows;

/// Something that must fail, and how.
pub struct ErrorCase {
    name: String,
    kind: ErrorKind,
    mentions: Vec<String>,
    attempt: BoxFuture<'static, Result<()>>,
}

impl ErrorCase {
    /// An attempt that must fail with this kind.
    pub fn new(
        name: impl Into<String>,
        kind: ErrorKind,
        attempt: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Self {
        Self { name: name.into(), kind, mentions: Vec::new(), attempt: Box::pin(attempt) }
    }

    /// A source with these options: opening, checking, planning or reading it must fail.
    pub fn source(
        name: impl Into<String>,
        kind: ErrorKind,
        connector: Connector,
        options: Json,
        cx: &Context,
    ) -> Self {
        let cx = cx.clone();
        Self::new(name, kind, async move { read_everything(connector, options, &cx).await })
    }

    /// A sink with these options: opening, checking, beginning, writing or committing must fail.
    pub fn sink(
        name: impl Into<String>,
        kind: ErrorKind,
        connector: Connector,
        options: Json,
        cx: &Context,
    ) -> Self {
        let cx = cx.clone();
        Self::new(name, kind, async move { write_a_row(connector, options, &cx).await })
    }

    /// A text that the error must contain, for example the path that does not exist.
    pub fn mentions(mut self, text: impl Into<String>) -> Self {
        self.mentions.push(text.into());
        self
    }

    /// Makes the attempt.
    async fn error(self) -> Result<(Error, ErrorKind, Vec<String>, String), Broken> {
        match self.attempt.await {
            Ok(()) => {
                Err(Broken::new(format!("`{}` must fail with {:?}, and succeeded", self.name, self.kind)))
            }
            Err(error) => Ok((error, self.kind, self.mentions, self.name)),
        }
    }
}

async fn read_everything(connector: Connector, options: Json, cx: &Context) -> Result<()> {
    let entry = connector.source_entry().expect("the connector has a source");
    let source = entry.open(options, cx).await?;
    source.check(cx).await?;
    let mut steps = source.plan(cx, &ScanRequest::default()).await?.splits;
    while let Some(step) = steps.next().await {
        if let Planned::Split { split, .. } = step? {
            let mut batches = source.read(cx, &split, Position::Start)?;
            while let Some(batch) = batches.next().await {
                batch?;
            }
        }
    }
    Ok(())
}

async fn write_a_row(connector: Connector, options: Json, cx: &Context) -> Result<()> {
    let entry = connector.sink_entry().expect("the connector has a sink");
    let sink = entry.open(options, cx).await?;
    let disposition = sink.capabilities().dispositions[0];
    let load = LoadSpec::new("conformance", "broken", "run-1", disposition).key(vec!["id".to_owned()]);
    sink.check(cx, &load).await?;
    let begun = sink.begin(cx, &load).await?;
    let rows = rows::batch("id: int64, name: string", &json!([[1, "one"]]));
    let begun = sink.evolve(cx, &begun, &rows.schema()).await?;
    let mut writer = sink.writer(cx, &begun, 0).await?;
    writer.write(rows).await?;
    let staged = writer.finish().await?;
    let planned =
        begun.checkpoint.progress.as_ref().map_or(Position::Start, |progress| progress.planned.clone());
    let mut token = CommitToken::default();
    (token.version, token.epoch, token.sequence) = (1, begun.checkpoint.epoch, begun.checkpoint.sequence + 1);
    token.run.clone_from(&begun.checkpoint.run);
    token.planned = Advance { from: planned.clone(), to: planned };
    sink.commit(cx, &begun, &token, vec![staged]).await.map(drop)
}

/// Kinds that a second attempt cannot heal.
const FINAL: [ErrorKind; 7] = [
    ErrorKind::Config,
    ErrorKind::Unauthenticated,
    ErrorKind::PermissionDenied,
    ErrorKind::NotFound,
    ErrorKind::SchemaMismatch,
    ErrorKind::Conflict,
    ErrorKind::Unsupported,
];

/// Each case fails with its kind, names its connector, says what it must, and is retryable only where that can help.
pub(super) async fn are_classified(cases: Vec<ErrorCase>) -> Verdict {
    ensure!(
        !cases.is_empty(),
        "the fixture gives no broken configuration; every connector can be configured wrong"
    );
    for case in cases {
        let (error, kind, mentions, name) = case.error().await?;
        ensure!(
            error.kind() == kind,
            "`{name}` must fail with {kind:?}, and failed with {:?}: {error}",
            error.kind()
        );
        ensure!(error.connector_name().is_some(), "`{name}` failed without naming its connector: {error}");
        ensure!(!error.message().trim().is_empty(), "`{name}` failed without a message");
        for text in mentions {
            ensure!(error.to_string().contains(&text), "`{name}` must mention `{text}`, and says: {error}");
        }
        let futile = FINAL.contains(&kind) && error.is_retryable();
        ensure!(!futile, "`{name}` is retryable, and trying again cannot help: {error}");
    }
    Ok(Kept::Proven)
}

/// No case shows a secret, in any form that gets printed.
pub(super) async fn show_no_secret(cases: Vec<ErrorCase>, secrets: &[String]) -> Result<(), Broken> {
    for case in cases {
        let (error, _, _, name) = case.error().await?;
        let mut text = format!("{error}\n{error:?}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            let _ = write!(text, "\n{error}\n{error:?}");
            cause = error.source();
        }
        no_secret_in(secrets, &format!("the error of `{name}`"), &text)?;
    }
    Ok(())
}
