//! The checkpoint that lives with the rows.

use serde_json::json;
use towpath_core::{Checkpoint, Position};

use super::load::spec;
use super::{
    Broken, Kept, Load, STREAM, SinkFixture, Verdict, adding, capabilities, ensure, first_disposition,
    nothing_left, people, remembers, require, rows_are, run_id,
};

/// A commit without rows, before any column is known, moves the checkpoint and nothing else.
pub async fn commit_without_rows_stores_progress(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    require!(remembers(&capabilities), "the target does not hold the checkpoint");
    let Some(disposition) = adding(&capabilities) else {
        return Ok(Kept::not_applicable("a `replace` commits once, at its end"));
    };
    let mut load = Load::begin(fixture, STREAM, &run_id(1), disposition).await?;
    load.commit(&load.token(7), Vec::new()).await?;
    rows_are(fixture, STREAM, &[], "after a commit without rows").await?;
    let next = Load::begin(fixture, STREAM, &run_id(2), disposition).await?;
    same_progress(&load.checkpoint, &next.begun.checkpoint)?;
    Ok(Kept::Proven)
}

/// `begin` gives the next run what the last one committed: positions of an interrupted run, the cursor of a finished.
pub async fn checkpoint_comes_back_at_begin(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    require!(remembers(&capabilities), "the target does not hold the checkpoint");
    let disposition = first_disposition(&capabilities);
    let cx = fixture.context();
    let sink = fixture.open(&cx, STREAM).await?;
    let held = sink.checkpoint(&cx, &spec(STREAM, &run_id(1), disposition)).await?;
    ensure!(held.is_none(), "an empty target tells a checkpoint: {held:?}");

    let mut load = Load::begin(fixture, STREAM, &run_id(1), disposition).await?;
    ensure!(!load.begun.checkpoint.is_under_way(), "an empty target tells of a run under way");
    ensure!(load.begun.checkpoint.run == run_id(1), "the begun run is not the one that was asked for");
    if adding(&capabilities).is_some() {
        let staged = load.stage(&[people(1..4)]).await?;
        load.commit(&load.token(1), vec![staged]).await?;
        let held = load.held().await?;
        ensure!(
            held.as_ref() == Some(&load.checkpoint),
            "the target must hold {:?}, and tells {held:?}",
            load.checkpoint
        );
        let interrupted = load.checkpoint;
        load = Load::begin(fixture, STREAM, &run_id(2), disposition).await?;
        same_progress(&interrupted, &load.begun.checkpoint)?;
        let position =
            load.begun.checkpoint.progress.as_ref().and_then(|progress| progress.position(&"only".into()));
        ensure!(
            position == Some(&Position::At(json!({ "step": 1 }))),
            "the split must go on behind step 1, and goes on at {position:?}"
        );
    }
    load.finish(&[people(4..6)]).await?;
    let held = load.held().await?;
    ensure!(
        held.as_ref() == Some(&load.checkpoint),
        "the target must hold {:?}, and tells {held:?}",
        load.checkpoint
    );

    if adding(&capabilities).is_some() {
        let next = Load::begin(fixture, STREAM, &run_id(3), disposition).await?;
        same_progress(&load.checkpoint, &next.begun.checkpoint)?;
        ensure!(
            next.begun.checkpoint.cursor == Some(json!("2026-01-31")),
            "the cursor of the finished run is lost"
        );
        rows_are(fixture, STREAM, &[people(1..6)], "after `begin`").await?;
    }
    Ok(Kept::Proven)
}

/// `forget` makes the next run the first one, and leaves the rows.
pub async fn forgetting_removes_the_checkpoint_and_keeps_the_rows(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    let disposition = first_disposition(&capabilities);
    let cx = fixture.context();
    let sink = fixture.open(&cx, STREAM).await?;
    let load = spec(STREAM, &run_id(1), disposition);
    sink.forget(&cx, &load).await.map_err(|error| Broken::from(error).when("forget where nothing is"))?;
    require!(remembers(&capabilities), "the target does not hold the checkpoint");

    Load::begin(fixture, STREAM, &run_id(1), disposition).await?.finish(&[people(1..4)]).await?;
    Load::begin(fixture, STREAM, &run_id(2), disposition).await?.stage(&[people(4..6)]).await?;
    sink.forget(&cx, &load).await.map_err(|error| Broken::from(error).when("forget"))?;
    let held = sink.checkpoint(&cx, &load).await?;
    ensure!(held.is_none(), "the target tells a checkpoint after `forget`: {held:?}");
    rows_are(fixture, STREAM, &[people(1..4)], "after `forget`").await?;
    nothing_left(async || fixture.leftovers().await).await?;
    let next = Load::begin(fixture, STREAM, &run_id(3), disposition).await?;
    same_progress(&Checkpoint::default(), &next.begun.checkpoint)?;
    Ok(Kept::Proven)
}

/// Whether everything but the run and its count is the same.
fn same_progress(held: &Checkpoint, begun: &Checkpoint) -> Result<(), Broken> {
    let same = (&held.since, &held.cursor, &held.progress) == (&begun.since, &begun.cursor, &begun.progress);
    ensure!(same, "the target holds {held:?}, and `begin` gives {begun:?}");
    Ok(())
}
