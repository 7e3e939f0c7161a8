//! Reading: right, resumable behind every batch, as the capabilities say.

use futures::StreamExt;
use towpath_core::{Batch, Position, Pushdown, Resume, Retry, Split};

use super::{Broken, Kept, Opened, SourceFixture, Verdict, ensure, only_splits, rows_of, same_rows};
use crate::conformance::through_json;
use crate::rows;

/// Reading gives the seeded rows, none rejected, in the columns that the plan tells.
pub async fn reading_gives_what_was_seeded(fixture: &dyn SourceFixture) -> Verdict {
    let seeded = fixture.rows();
    ensure!(!seeded.is_empty(), "the fixture seeds no rows");
    let opened = Opened::new(fixture).await?;
    let (plan, steps) = opened.plan(&fixture.request()).await?;
    let mut found = Vec::new();
    for split in only_splits(&steps) {
        for batch in opened.read(split, Position::Start).await? {
            ensure!(batch.rejected.is_empty(), "good rows are rejected: {:?}", batch.rejected);
            if let Some(schema) = &plan.schema {
                columns_as_planned(schema, &batch)?;
            }
            found.extend(rows_of(&[batch]));
        }
    }
    same_rows(&seeded, &found, "reading")?;
    Ok(Kept::Proven)
}

fn columns_as_planned(planned: &arrow_schema::Schema, batch: &Batch) -> Result<(), Broken> {
    for field in batch.rows.schema_ref().fields() {
        let told = planned.field_with_name(field.name()).ok().map(arrow_schema::Field::data_type);
        ensure!(
            told == Some(field.data_type()),
            "column `{}` is read as {}, and the plan told {told:?}",
            field.name(),
            field.data_type()
        );
    }
    Ok(())
}

/// For every split and every batch: read up to it, die, and let a new process read on from the position.
pub async fn killing_after_every_batch_and_resuming_loses_and_doubles_nothing(
    fixture: &dyn SourceFixture,
) -> Verdict {
    let opened = Opened::new(fixture).await?;
    let resume = opened.source.capabilities().resume;
    if resume == Resume::None {
        return Ok(Kept::not_applicable("the source can be read once only"));
    }
    let mut most = 0;
    for split in opened.splits(&fixture.request()).await? {
        let whole = opened.read(&split, Position::Start).await?;
        most = most.max(whole.len());
        for killed_after in 0..=whole.len() {
            let rest_is_right = dies_and_resumes(fixture, &split, &whole, killed_after, resume).await;
            rest_is_right.map_err(|broken| {
                broken.when(format!("split {} killed after batch {killed_after}", split.id))
            })?;
        }
    }
    ensure!(most > 1, "the fixture has no split with two batches; seed more rows or read smaller batches");
    Ok(Kept::Proven)
}

async fn dies_and_resumes(
    fixture: &dyn SourceFixture,
    split: &Split,
    whole: &[Batch],
    killed_after: usize,
    resume: Resume,
) -> Result<(), Broken> {
    let mut kept = Opened::new(fixture).await?.read_some(split, Position::Start, killed_after).await?;
    if kept.len() < killed_after {
        // Rows that are streamed may come in fewer batches, but then these are all of them.
        same_rows(&rows_of(whole), &rows_of(&kept), "reading it once more")?;
    }
    let behind = kept.last().map_or(Position::Start, |batch| batch.resume.clone());
    let position = match resume {
        Resume::Exact => behind,
        Resume::Run => {
            goes_on_within_the_run(fixture, split, whole, killed_after).await?;
            later_runs_start_again(fixture, split, behind).await?;
            kept.clear();
            Position::Start
        }
        Resume::Split | Resume::None => {
            kept.clear();
            Position::Start
        }
    };
    let (split, position) = (through_json(split)?, through_json(&position)?);
    if position != Position::End {
        kept.extend(Opened::new(fixture).await?.read(&split, position.clone()).await?);
    }
    same_rows(&rows_of(whole), &rows_of(&kept), &format!("reading on from {position:?}"))?;
    let rejected = |batches: &[Batch]| batches.iter().map(|batch| batch.rejected.len()).sum::<usize>();
    let (expected, found) = (rejected(whole), rejected(&kept));
    ensure!(
        expected == found,
        "{expected} rows were rejected at first, {found} when reading on from {position:?}"
    );
    Ok(())
}

/// The same source reads on behind the batch.
async fn goes_on_within_the_run(
    fixture: &dyn SourceFixture,
    split: &Split,
    whole: &[Batch],
    cut_after: usize,
) -> Result<(), Broken> {
    let opened = Opened::new(fixture).await?;
    let mut kept = opened.read_some(split, Position::Start, cut_after).await?;
    let position = kept.last().map_or(Position::Start, |batch| batch.resume.clone());
    if position != Position::End {
        kept.extend(opened.read(split, position.clone()).await?);
    }
    same_rows(&rows_of(whole), &rows_of(&kept), &format!("reading on from {position:?} within the run"))
}

/// A source that is opened anew says that the position does not hold any more.
async fn later_runs_start_again(
    fixture: &dyn SourceFixture,
    split: &Split,
    position: Position,
) -> Result<(), Broken> {
    let Position::At(_) = position else { return Ok(()) };
    let later = Opened::new(fixture).await?;
    let outcome = match later.source.read(&later.cx, split, position.clone()) {
        Ok(mut batches) => batches.next().await.transpose(),
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if error.retry_policy() == Retry::Restart => Ok(()),
        Err(error) => Err(Broken::new(format!(
            "{position:?} in a later run must ask to `Restart`, and failed: {error:?}"
        ))),
        Ok(_) => Err(Broken::new(format!("{position:?} of an earlier run is read as if it still held"))),
    }
}

/// Order, positions and pushed down columns are as the capabilities and the plan say.
pub async fn capabilities_match_behaviour(fixture: &dyn SourceFixture) -> Verdict {
    let opened = Opened::new(fixture).await?;
    let capabilities = opened.source.capabilities();
    let again = Opened::new(fixture).await?.source.capabilities();
    ensure!(capabilities == again, "the same options give once {capabilities:?}, once {again:?}");
    for split in opened.splits(&fixture.request()).await? {
        let batches = opened.read(&split, Position::Start).await?;
        if capabilities.resume == Resume::Exact {
            let lost = batches.iter().any(|batch| batch.resume == Position::Start);
            ensure!(!lost, "split {} resumes exactly, yet the position after a batch is `Start`", split.id);
        }
        if let Some(early) = batches.iter().rev().skip(1).find(|batch| batch.resume == Position::End) {
            return Err(Broken::new(format!("split {} goes on behind `End`: {early:?}", split.id)));
        }
        if let (true, Some(field)) = (capabilities.ordered, fixture.cursor()) {
            let found = rows_of(&batches);
            let in_order = found.is_sorted_by(|a, b| rows::compare(&a[&field], &b[&field]).is_le());
            ensure!(in_order, "split {} is said to be ordered, and `{field}` goes back", split.id);
        }
    }
    ensure!(
        !capabilities.ordered || fixture.cursor().is_some(),
        "the source is said to be ordered, and the fixture names no cursor to prove it"
    );
    columns_are_as_exact_as_told(fixture).await?;
    Ok(Kept::Proven)
}

async fn columns_are_as_exact_as_told(fixture: &dyn SourceFixture) -> Result<(), Broken> {
    let seeded = fixture.rows();
    let Some(name) = seeded.first().and_then(|row| row.as_object()?.keys().next_back().cloned()) else {
        return Err(Broken::new("the fixture seeds no rows"));
    };
    let opened = Opened::new(fixture).await?;
    let mut request = fixture.request();
    request.columns = Some(vec![name.clone()]);
    let (plan, steps) = opened.plan(&request).await?;
    let mut found = Vec::new();
    for split in only_splits(&steps) {
        let batches = opened.read(split, Position::Start).await?;
        for batch in batches.iter().filter(|_| plan.columns == Pushdown::Exact) {
            let others = batch.rows.schema_ref().fields().iter().any(|field| *field.name() != name);
            ensure!(
                !others,
                "only `{name}` was asked for, exactly, and these came: {}",
                batch.rows.schema_ref()
            );
        }
        found.extend(rows_of(&batches));
    }
    let only = |rows: &[towpath_core::Json]| -> Vec<_> {
        rows.iter().map(|row| serde_json::json!({ name.clone(): row[&name] })).collect()
    };
    same_rows(&only(&seeded), &only(&found), &format!("reading only `{name}`"))
}
