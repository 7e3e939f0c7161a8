//! Planning: deterministic, disjoint, complete, resumable.

use std::collections::HashSet;

use serde_json::json;
use towpath_core::{CursorRange, ErrorKind, Json, Planned, Position, Pushdown, ScanRequest};

use super::{Kept, Opened, SourceFixture, Verdict, ensure, only_splits, rows_of, same_rows};
use crate::conformance::{Broken, through_json};
use crate::rows;

/// What a step is, apart from the estimate, which may change as data grows.
fn identity(step: &Planned) -> Json {
    match step {
        Planned::Split { split, resume } => json!([split.id, split.version, split.payload, resume]),
        Planned::Complete { since } => json!(["complete", since]),
    }
}

fn identities(steps: &[Planned]) -> Vec<Json> {
    steps.iter().map(identity).collect()
}

/// The same request gives the same steps, from the same source and from one opened anew.
pub async fn plan_is_deterministic(fixture: &dyn SourceFixture) -> Verdict {
    let request = fixture.request();
    let opened = Opened::new(fixture).await?;
    let first = opened.steps(&request).await?;
    let again = opened.steps(&request).await?;
    let anew = Opened::new(fixture).await?.steps(&request).await?;
    ensure!(!first.is_empty(), "the plan has no splits");
    ensure!(identities(&first) == identities(&again), "the same source plans once {first:?}, once {again:?}");
    ensure!(identities(&first) == identities(&anew), "one source plans {first:?}, a new one {anew:?}");
    Ok(Kept::Proven)
}

/// Ids are unique; splits that are read all at once share no row and leave none out.
pub async fn splits_are_disjoint_and_complete(fixture: &dyn SourceFixture) -> Verdict {
    let opened = Opened::new(fixture).await?;
    let splits = opened.splits(&fixture.request()).await?;
    ensure!(splits.len() > 1, "the fixture gives one split only; seed more or cut smaller");
    let ids: HashSet<_> = splits.iter().map(|split| &split.id).collect();
    ensure!(ids.len() == splits.len(), "two splits have the same id: {splits:?}");
    let reads = splits.iter().map(|split| opened.read(split, Position::Start));
    let read = futures::future::try_join_all(reads).await?;
    let found: Vec<Json> = read.iter().flat_map(|batches| rows_of(batches)).collect();
    same_rows(&fixture.rows(), &found, "all splits together")?;
    Ok(Kept::Proven)
}

/// Planning that goes on behind any step, in a new process, gives exactly the steps behind it.
pub async fn planning_resumes_behind_every_step(fixture: &dyn SourceFixture) -> Verdict {
    let mut request = fixture.request();
    let (plan, steps) = Opened::new(fixture).await?.plan(&request).await?;
    if let Some(cursor) = &mut request.cursor {
        cursor.until = plan.until;
    }
    for (index, step) in steps.iter().enumerate() {
        let Planned::Split { split, resume } = step else { continue };
        request.planned = through_json(resume)?;
        let rest = Opened::new(fixture).await?.steps(&request).await?;
        let expected = identities(&steps[index + 1..]);
        let found = identities(&rest);
        ensure!(
            found == expected,
            "planning behind split {} must give {expected:?}, and gave {found:?}",
            split.id
        );
    }
    Ok(Kept::Proven)
}

/// A split and its positions mean the same to another process; a split of an unknown version is refused.
pub async fn splits_and_positions_survive_serde(fixture: &dyn SourceFixture) -> Verdict {
    let opened = Opened::new(fixture).await?;
    for split in opened.splits(&fixture.request()).await? {
        let copy = through_json(&split)?;
        ensure!(copy == split, "a split changed on its way through JSON: {split:?} became {copy:?}");
        let batches = opened.read(&split, Position::Start).await?;
        for batch in &batches {
            let position = through_json(&batch.resume)?;
            ensure!(
                position == batch.resume,
                "a position changed on its way through JSON: {:?}",
                batch.resume
            );
        }
        let elsewhere = Opened::new(fixture).await?.read(&copy, Position::Start).await?;
        same_rows(&rows_of(&batches), &rows_of(&elsewhere), &format!("split {} read elsewhere", split.id))?;
        let mut newer = split;
        newer.version = u16::MAX;
        refuses_version(&opened, &newer).await?;
    }
    Ok(Kept::Proven)
}

async fn refuses_version(opened: &Opened, newer: &towpath_core::Split) -> Result<(), Broken> {
    use futures::StreamExt;
    let outcome = match opened.source.read(&opened.cx, newer, Position::Start) {
        Ok(mut batches) => batches.next().await.transpose().map(drop),
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
        Err(error) => Err(Broken::new(format!(
            "a split of an unknown version must be `Unsupported`, and is {:?}: {error}",
            error.kind()
        ))),
        Ok(()) => {
            Err(Broken::new(format!("a split of version {} is read as if it were known", newer.version)))
        }
    }
}

/// With a cursor range, the source gives all rows of the range, and none outside of it where it says `Exact`.
pub async fn cursor_ranges_are_kept(fixture: &dyn SourceFixture) -> Verdict {
    let Some(field) = fixture.cursor() else {
        return Ok(Kept::not_applicable("the fixture has no cursor"));
    };
    let all = fixture.rows();
    let mut values: Vec<&Json> =
        all.iter().map(|row| &row[&field]).filter(|value| !value.is_null()).collect();
    values.sort_by(|a, b| rows::compare(a, b));
    values.dedup();
    ensure!(values.len() > 2, "the fixture needs three different values of `{field}` or more");
    let (middle, last) = (values[values.len() / 2].clone(), values[values.len() - 1].clone());
    let mut ranges = vec![
        (None, None),
        (Some(middle.clone()), None),
        (Some(last), None),
        (None, Some(middle.clone())),
        (Some(values[0].clone()), Some(middle)),
    ];
    for (after, until) in ranges.drain(..) {
        range_is_kept(fixture, &all, CursorRange::new(&field, after, until)).await?;
    }
    Ok(Kept::Proven)
}

async fn range_is_kept(fixture: &dyn SourceFixture, all: &[Json], range: CursorRange) -> Result<(), Broken> {
    let mut request: ScanRequest = fixture.request();
    request.cursor = Some(range.clone());
    let opened = Opened::new(fixture).await?;
    let (plan, steps) = opened.plan(&request).await?;
    let mut found = Vec::new();
    for split in only_splits(&steps) {
        found.extend(rows_of(&opened.read(split, Position::Start).await?));
    }
    let within = |row: &&Json| {
        let value = &row[&range.field];
        !value.is_null()
            && range.after.as_ref().is_none_or(|after| rows::compare(value, after).is_gt())
            && range.until.as_ref().is_none_or(|until| rows::compare(value, until).is_le())
    };
    let expected: Vec<Json> = all.iter().filter(within).cloned().collect();
    if plan.cursor != Pushdown::Exact {
        found.retain(|row| within(&row));
    }
    same_rows(&expected, &found, &format!("rows with {range:?} pushed down as {:?}", plan.cursor))
}

/// A run that follows a complete one gets none of the rows again, as long as nothing changed.
pub async fn what_is_complete_is_not_read_again(fixture: &dyn SourceFixture) -> Verdict {
    let opened = Opened::new(fixture).await?;
    let mut request = fixture.request();
    let steps = opened.steps(&request).await?;
    let Some(Planned::Complete { since }) = steps.last() else {
        let early = steps.iter().any(|step| matches!(step, Planned::Complete { .. }));
        ensure!(!early, "`Complete` must be the last step");
        return Ok(Kept::not_applicable("the source leaves nothing for the next run"));
    };
    request.since = through_json(since)?;
    let next = Opened::new(fixture).await?;
    let found = next.rows(&request).await?;
    same_rows(&[], &found, "a run behind a complete one")?;
    let steps = next.steps(&request).await?;
    ensure!(
        matches!(steps.last(), Some(Planned::Complete { .. })),
        "the run behind a complete one leaves nothing for the run behind it"
    );
    Ok(Kept::Proven)
}
