//! Stopping: nothing is left behind, and nothing that was cut looks finished.

use futures::StreamExt;
use towpath_core::{Batch, BatchStream, Cancellation, Error, ErrorKind, Json, Position};

use super::{Broken, Kept, Opened, SourceFixture, Verdict, ensure, rows_of, same_rows};
use crate::conformance::nothing_left;

/// Dropping a plan or a read at any point leaves no connection, file or task, and disturbs no other read.
pub async fn dropping_in_mid_stream_leaves_nothing_behind(fixture: &dyn SourceFixture) -> Verdict {
    let opened = Opened::new(fixture).await?;
    let request = fixture.request();
    let mut steps = opened.source.plan(&opened.cx, &request).await?.splits;
    steps.next().await.transpose()?;
    drop(steps);
    for split in opened.splits(&request).await? {
        drop(opened.source.read(&opened.cx, &split, Position::Start)?);
        for batches in 1..=2 {
            opened.read_some(&split, Position::Start, batches).await?;
        }
    }
    let found = opened.rows(&request).await?;
    same_rows(&fixture.rows(), &found, "reading after others were dropped")?;
    drop(opened);
    nothing_left(async || fixture.leftovers().await).await?;
    Ok(Kept::Proven)
}

/// A read whose context is cancelled ends with `Cancelled`, or with all its rows; it never looks finished too early.
pub async fn cancelled_context_stops(fixture: &dyn SourceFixture) -> Verdict {
    let whole = Opened::new(fixture).await?;
    for split in whole.splits(&fixture.request()).await? {
        let expected = rows_of(&whole.read(&split, Position::Start).await?);
        for batches_before in 0..=1 {
            let cancellation = Cancellation::new();
            let cx = fixture.context().with_cancellation(cancellation.clone());
            let opened = Opened::with(fixture, cx).await?;
            let mut found = Vec::new();
            let mut stream = opened.source.read(&opened.cx, &split, Position::Start)?;
            for _ in 0..batches_before {
                found.extend(stream.next().await.transpose()?);
            }
            cancellation.cancel();
            let outcome = drain(&mut stream, &mut found).await;
            let honest = ended_honestly(outcome, &mut stream, &rows_of(&found), &expected).await;
            honest.map_err(|broken| broken.when(format!("split {} cancelled", split.id)))?;
        }
    }
    Ok(Kept::Proven)
}

async fn drain(stream: &mut BatchStream, found: &mut Vec<Batch>) -> std::result::Result<(), Error> {
    while let Some(batch) = stream.next().await {
        found.push(batch?);
    }
    Ok(())
}

async fn ended_honestly(
    outcome: std::result::Result<(), Error>,
    stream: &mut BatchStream,
    found: &[Json],
    expected: &[Json],
) -> Result<(), Broken> {
    let Err(error) = outcome else {
        return same_rows(expected, found, "the read ended as if it were finished");
    };
    ensure!(
        error.kind() == ErrorKind::Cancelled,
        "it must fail with `Cancelled`, and failed with {:?}: {error}",
        error.kind()
    );
    ensure!(stream.next().await.is_none(), "the stream goes on behind its error");
    Ok(())
}
