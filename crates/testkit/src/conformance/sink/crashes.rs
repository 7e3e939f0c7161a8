//! Crashes, fencing and cleaning up: no row is lost, doubled, seen too early, or left lying around.

use towpath_core::{Committed, ErrorKind, SinkCapabilities, WriteDisposition};

use super::{
    Broken, Kept, Load, STREAM, SinkFixture, Verdict, adding, capabilities, ensure, nothing_left, people,
    remembers, require, rows_are, run_id, stages, through_json,
};

/// Proves a promise for each write disposition that the sink knows, on a target of its own.
async fn for_each_disposition(
    capabilities: &SinkCapabilities,
    proof: impl AsyncFn(&str, WriteDisposition) -> Result<(), Broken>,
) -> Verdict {
    for &disposition in &capabilities.dispositions {
        let name = format!("{disposition:?}").to_lowercase();
        let proven = proof(&format!("{STREAM}_{name}"), disposition).await;
        proven.map_err(|broken| broken.when(format!("with `{name}`")))?;
    }
    Ok(Kept::Proven)
}

/// Written and staged rows show only with their commit, which shows all of them.
pub async fn nothing_is_visible_before_the_commit(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    require!(stages(&capabilities), "the sink does not deliver exactly once, so rows may show early");
    for_each_disposition(&capabilities, async |stream: &str, disposition| {
        visible_with_the_commit(fixture, stream, disposition).await
    })
    .await
}

async fn visible_with_the_commit(
    fixture: &dyn SinkFixture,
    stream: &str,
    disposition: WriteDisposition,
) -> Result<(), Broken> {
    let mut load = Load::begin(fixture, stream, &run_id(1), disposition).await?;
    load.evolve(&people(0..0).schema()).await?;
    rows_are(fixture, stream, &[], "after `evolve`").await?;
    let part = load.next_part();
    let mut writer = load.sink.writer(&load.cx, &load.begun, part).await?;
    writer.write(people(1..500)).await?;
    rows_are(fixture, stream, &[], "after `write`").await?;
    let staged = writer.finish().await?;
    rows_are(fixture, stream, &[], "after `finish`").await?;
    load.commit(&load.last_token(), vec![staged]).await?;
    rows_are(fixture, stream, &[people(1..500)], "after the commit").await?;
    Ok(())
}

/// A commit whose answer was lost is made again, by the same sink and by a new one: the rows land once.
pub async fn the_same_token_twice_lands_once(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    require!(remembers(&capabilities), "the target does not remember tokens");
    for_each_disposition(&capabilities, async |stream: &str, disposition| {
        repeated(fixture, stream, disposition).await
    })
    .await
}

async fn repeated(
    fixture: &dyn SinkFixture,
    stream: &str,
    disposition: WriteDisposition,
) -> Result<(), Broken> {
    let mut load = Load::begin(fixture, stream, &run_id(1), disposition).await?;
    let staged = load.stage(&[people(1..20)]).await?;
    let token = load.last_token();
    load.commit(&token, vec![staged.clone()]).await?;
    let again = load.try_commit(&token, vec![staged.clone()]).await;
    answers_already(&again.map_err(|error| Broken::from(error).when("the same commit again"))?)?;
    rows_are(fixture, stream, &[people(1..20)], "after the same token twice").await?;

    let elsewhere = fixture.open(&load.cx, stream).await?;
    let again = elsewhere.commit(&load.cx, &load.begun, &token, vec![staged]).await;
    answers_already(&again.map_err(|error| Broken::from(error).when("the same commit by a new process"))?)?;
    rows_are(fixture, stream, &[people(1..20)], "after the same token by a new process").await?;
    nothing_left(async || fixture.leftovers().await).await?;
    Ok(())
}

fn answers_already(answer: &Committed) -> Result<(), Broken> {
    ensure!(
        *answer == Committed::AlreadyApplied,
        "a token that was applied before was answered with {answer:?}"
    );
    Ok(())
}

/// A run that dies with staged rows leaves none: the next run throws them away, writes them anew, and they land once.
pub async fn a_crash_between_finish_and_commit_is_healed(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    require!(stages(&capabilities), "the sink does not deliver exactly once, so rows may land twice");
    for_each_disposition(&capabilities, async |stream: &str, disposition| {
        healed(fixture, stream, disposition).await
    })
    .await
}

async fn healed(
    fixture: &dyn SinkFixture,
    stream: &str,
    disposition: WriteDisposition,
) -> Result<(), Broken> {
    let mut dying = Load::begin(fixture, stream, &run_id(1), disposition).await?;
    let (first, second) = (dying.stage(&[people(1..10)]).await?, dying.stage(&[people(10..20)]).await?);
    drop((dying, first, second));

    let mut next = Load::begin(fixture, stream, &run_id(2), disposition).await?;
    rows_are(fixture, stream, &[], "after `begin` behind a crash").await?;
    nothing_left(async || fixture.leftovers().await)
        .await
        .map_err(|broken| broken.when("after `begin` behind a crash"))?;
    next.finish(&[people(1..10), people(10..20)]).await?;
    rows_are(fixture, stream, &[people(1..20)], "after the run behind a crash").await?;
    Ok(())
}

/// A run that another one followed cannot commit any more; the other one can.
pub async fn a_fenced_run_gets_conflict(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    require!(remembers(&capabilities), "the target does not remember runs");
    for_each_disposition(&capabilities, async |stream: &str, disposition| {
        fenced(fixture, stream, disposition, &capabilities).await
    })
    .await
}

async fn fenced(
    fixture: &dyn SinkFixture,
    stream: &str,
    disposition: WriteDisposition,
    capabilities: &SinkCapabilities,
) -> Result<(), Broken> {
    let mut first = Load::begin(fixture, stream, &run_id(1), disposition).await?;
    let stale = first.stage(&[people(1..10)]).await?;
    let mut second = Load::begin(fixture, stream, &run_id(2), disposition).await?;
    conflicts(&first, vec![stale.clone()], "before the newer run has committed").await?;
    if stages(capabilities) {
        rows_are(fixture, stream, &[], "after the commit of a fenced run").await?;
    }
    second.finish(&[people(1..10)]).await?;
    conflicts(&first, vec![stale], "after the newer run has committed").await?;
    if stages(capabilities) {
        rows_are(fixture, stream, &[people(1..10)], "after the newer run").await?;
    }
    Ok(())
}

async fn conflicts(fenced: &Load, staged: Vec<towpath_core::Staged>, when: &str) -> Result<(), Broken> {
    match fenced.try_commit(&fenced.token(1), staged).await {
        Err(error) if error.kind() == ErrorKind::Conflict && !error.is_retryable() => Ok(()),
        Err(error) => Err(Broken::new(format!(
            "a fenced run must fail with `Conflict` {when}, and not be retried; it failed with {error:?}"
        ))),
        Ok(committed) => Err(Broken::new(format!("a fenced run committed {when}: {committed:?}"))),
    }
}

/// Aborted rows are gone, never show, and do not harm what the run goes on to write.
pub async fn abort_leaves_nothing(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    require!(stages(&capabilities), "the sink does not deliver exactly once, so rows may show early");
    for_each_disposition(&capabilities, async |stream: &str, disposition| {
        aborted(fixture, stream, disposition).await
    })
    .await
}

async fn aborted(
    fixture: &dyn SinkFixture,
    stream: &str,
    disposition: WriteDisposition,
) -> Result<(), Broken> {
    let mut load = Load::begin(fixture, stream, &run_id(1), disposition).await?;
    let kept = load.stage(&[people(1..5)]).await?;
    let thrown = vec![load.stage(&[people(5..10)]).await?, load.stage(&[people(10..15)]).await?];
    load.abort(thrown.clone()).await?;
    // A retried abort finds nothing to do.
    load.abort(thrown).await?;
    load.commit(&load.last_token(), vec![kept]).await?;
    rows_are(fixture, stream, &[people(1..5)], "after `abort` of other rows").await?;
    nothing_left(async || fixture.leftovers().await).await?;
    Ok(())
}

/// `sweep` throws away what a run has staged that was killed, tells it, and leaves checkpoint and rows.
pub async fn sweeping_throws_away_what_was_never_committed(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    require!(stages(&capabilities), "the sink does not deliver exactly once, so rows may show early");
    for_each_disposition(&capabilities, async |stream: &str, disposition| {
        swept(fixture, stream, disposition).await
    })
    .await
}

async fn swept(fixture: &dyn SinkFixture, stream: &str, disposition: WriteDisposition) -> Result<(), Broken> {
    let mut load = Load::begin(fixture, stream, &run_id(1), disposition).await?;
    let kept = load.stage(&[people(1..5)]).await?;
    load.commit(&load.last_token(), vec![kept]).await?;
    let mut killed = Load::begin(fixture, stream, &run_id(2), disposition).await?;
    killed.stage(&[people(5..10)]).await?;
    let spec = killed.begun.load.clone();
    drop(killed);
    let cx = fixture.context();
    let sink = fixture.open(&cx, stream).await?;
    let before = sink.checkpoint(&cx, &spec).await?;
    let swept = sink.sweep(&cx, &spec).await.map_err(|error| Broken::from(error).when("sweep"))?;
    ensure!(!swept.is_empty(), "`sweep` told nothing of the rows that a killed run had staged");
    nothing_left(async || fixture.leftovers().await).await?;
    rows_are(fixture, stream, &[people(1..5)], "after `sweep`").await?;
    ensure!(sink.checkpoint(&cx, &spec).await? == before, "`sweep` changed the checkpoint");
    let again = sink.sweep(&cx, &spec).await?;
    ensure!(again.is_empty(), "a second `sweep` found something: {again:?}");
    Ok(())
}

/// A writer that is dropped before `finish` has staged nothing.
pub async fn dropping_a_writer_leaves_nothing(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    require!(stages(&capabilities), "the sink does not deliver exactly once, so rows may show early");
    for_each_disposition(&capabilities, async |stream: &str, disposition| {
        dropped(fixture, stream, disposition).await
    })
    .await
}

async fn dropped(
    fixture: &dyn SinkFixture,
    stream: &str,
    disposition: WriteDisposition,
) -> Result<(), Broken> {
    let mut load = Load::begin(fixture, stream, &run_id(1), disposition).await?;
    load.evolve(&people(0..0).schema()).await?;
    for batches in 0..3 {
        let part = load.next_part();
        let mut writer = load.sink.writer(&load.cx, &load.begun, part).await?;
        for _ in 0..batches {
            writer.write(people(1..500)).await?;
        }
        drop(writer);
    }
    nothing_left(async || fixture.leftovers().await).await?;
    load.finish(&[people(1..3)]).await?;
    rows_are(fixture, stream, &[people(1..3)], "after a load in which writers were dropped").await?;
    Ok(())
}

/// What was begun and staged here can be committed by another process.
pub async fn stale_staged_survives_serde(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    for_each_disposition(&capabilities, async |stream: &str, disposition| {
        committed_elsewhere(fixture, stream, disposition, &capabilities).await
    })
    .await
}

async fn committed_elsewhere(
    fixture: &dyn SinkFixture,
    stream: &str,
    disposition: WriteDisposition,
    capabilities: &SinkCapabilities,
) -> Result<(), Broken> {
    let mut load = Load::begin(fixture, stream, &run_id(1), disposition).await?;
    let staged = vec![load.stage(&[people(1..10)]).await?, load.stage(&[people(10..20)]).await?];
    let token = load.last_token();
    let moved = (through_json(&load.begun)?, through_json(&token)?, through_json(&staged)?);
    ensure!(
        moved == (load.begun.clone(), token, staged),
        "a load changed on its way through JSON: {moved:?}"
    );
    let (begun, token, staged) = moved;
    drop(load);

    let cx = fixture.context();
    let elsewhere = fixture.open(&cx, stream).await?;
    let committed = elsewhere.commit(&cx, &begun, &token, staged).await;
    let committed = committed.map_err(|error| Broken::from(error).when("commit by another process"))?;
    ensure!(committed == Committed::Applied, "the commit by another process was answered with {committed:?}");
    rows_are(fixture, stream, &[people(1..20)], "after a commit by another process").await?;
    if let Some(disposition) = adding(capabilities) {
        Load::begin(fixture, stream, &run_id(2), disposition).await?.finish(&[people(20..22)]).await?;
        rows_are(fixture, stream, &[people(1..22)], "after the run behind it").await?;
    }
    Ok(())
}
