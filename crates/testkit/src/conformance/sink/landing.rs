//! How rows land: as written, beside, instead of all, instead of those with the same key, from many writers.

use arrow::array::RecordBatch;
use serde_json::json;
use towpath_core::DynWriter;
use towpath_core::WriteDisposition::{Append, Merge, Replace};

use super::{
    Broken, Kept, Load, STREAM, SinkFixture, Verdict, capabilities, ensure, first_disposition, nothing_left,
    people, require, rows_are, run_id,
};
use crate::rows;

/// More writers than this are not opened.
const MANY: usize = 8;

/// Rows come back unchanged: empty and odd texts, nulls, negative and large numbers, several batches of a writer.
pub async fn rows_come_back_as_written(fixture: &dyn SinkFixture) -> Verdict {
    let odd = json!([
        [4, ""],
        [5, null],
        [-6, "comma, \"quote\", 'apostrophe', tab\t, back\\slash, line\nend, return\r\nend"],
        [9_007_199_254_740_993_i64, "Grüße, 你好, 🚣, \u{202e}tfel"],
        [i64::MAX, " spaces at both ends "],
        [i64::MIN, "\\N"],
        [7, "NULL"],
        [8, "x".repeat(10_000)],
    ]);
    let batches = [people(1..4), rows::batch("id: int64, name: string", &odd), people(100..1100)];
    let capabilities = capabilities(fixture).await?;
    let mut load = Load::begin(fixture, STREAM, &run_id(1), first_disposition(&capabilities)).await?;
    load.finish(&batches).await?;
    rows_are(fixture, STREAM, &batches, "after the commit").await?;
    nothing_left(async || fixture.leftovers().await).await?;
    Ok(Kept::Proven)
}

/// `append` adds to what is there, within a run and from run to run, the same row again included.
pub async fn append_adds(fixture: &dyn SinkFixture) -> Verdict {
    require!(capabilities(fixture).await?.dispositions.contains(&Append), "the sink does not know `append`");
    let mut load = Load::begin(fixture, STREAM, &run_id(1), Append).await?;
    let staged = load.stage(&[people(1..4)]).await?;
    load.commit(&load.token(1), vec![staged]).await?;
    load.finish(&[people(4..6)]).await?;
    let mut next = Load::begin(fixture, STREAM, &run_id(2), Append).await?;
    next.finish(&[people(5..8)]).await?;
    rows_are(fixture, STREAM, &[people(1..4), people(4..6), people(5..8)], "after three commits").await?;
    Ok(Kept::Proven)
}

/// `replace` shows the old rows until the commit and only the new ones after it.
pub async fn replace_swaps_at_once_and_keeps_old_rows_until_then(fixture: &dyn SinkFixture) -> Verdict {
    require!(
        capabilities(fixture).await?.dispositions.contains(&Replace),
        "the sink does not know `replace`"
    );
    let old = [people(1..4)];
    Load::begin(fixture, STREAM, &run_id(1), Replace).await?.finish(&old).await?;
    rows_are(fixture, STREAM, &old, "after the first run").await?;

    let new = [people(3..9)];
    let mut load = Load::begin(fixture, STREAM, &run_id(2), Replace).await?;
    rows_are(fixture, STREAM, &old, "after `begin` of a `replace`").await?;
    load.evolve(&new[0].schema()).await?;
    rows_are(fixture, STREAM, &old, "after `evolve` of a `replace`").await?;
    let staged = load.stage(&new).await?;
    rows_are(fixture, STREAM, &old, "before the commit of a `replace`").await?;
    load.commit(&load.last_token(), vec![staged]).await?;
    rows_are(fixture, STREAM, &new, "after the commit of a `replace`").await?;
    nothing_left(async || fixture.leftovers().await).await?;
    Ok(Kept::Proven)
}

/// A `replace` by no rows leaves none: a source that became empty.
pub async fn replace_with_no_rows_empties(fixture: &dyn SinkFixture) -> Verdict {
    require!(
        capabilities(fixture).await?.dispositions.contains(&Replace),
        "the sink does not know `replace`"
    );
    Load::begin(fixture, STREAM, &run_id(1), Replace).await?.finish(&[people(1..4)]).await?;
    let mut load = Load::begin(fixture, STREAM, &run_id(2), Replace).await?;
    load.commit(&load.last_token(), Vec::new()).await?;
    rows_are(fixture, STREAM, &[], "after a `replace` by no rows").await?;
    Ok(Kept::Proven)
}

/// `merge` keeps the last row of each key, within a commit and from run to run, and leaves other keys alone.
pub async fn merge_replaces_by_key(fixture: &dyn SinkFixture) -> Verdict {
    require!(capabilities(fixture).await?.dispositions.contains(&Merge), "the sink does not know `merge`");
    let columns = "id: int64, name: string";
    Load::begin(fixture, STREAM, &run_id(1), Merge).await?.finish(&[people(1..4)]).await?;

    let first = rows::batch(columns, &json!([[2, "second"], [4, "early"], [4, "later"]]));
    let second = rows::batch(columns, &json!([[4, "last"], [5, null]]));
    let mut load = Load::begin(fixture, STREAM, &run_id(2), Merge).await?;
    load.finish(&[first, second]).await?;
    let left =
        [people(1..2), people(3..4), rows::batch(columns, &json!([[2, "second"], [4, "last"], [5, null]]))];
    rows_are(fixture, STREAM, &left, "after a `merge`").await?;

    let mut load = Load::begin(fixture, STREAM, &run_id(3), Merge).await?;
    load.finish(&[rows::batch(columns, &json!([[5, "five"]]))]).await?;
    let left =
        [people(1..2), people(3..4), rows::batch(columns, &json!([[2, "second"], [4, "last"], [5, "five"]]))];
    rows_are(fixture, STREAM, &left, "after a second `merge`").await?;
    Ok(Kept::Proven)
}

/// As many writers as the capabilities allow work at once, and one commit lands the rows of all.
pub async fn many_writers_at_once(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    let count = capabilities.max_writers.min(MANY);
    require!(count > 1, "the sink has one writer at a time");
    let mut load = Load::begin(fixture, STREAM, &run_id(1), first_disposition(&capabilities)).await?;
    load.evolve(&people(0..0).schema()).await?;
    let mut writers = Vec::new();
    for _ in 0..count {
        let part = load.next_part();
        writers.push(load.sink.writer(&load.cx, &load.begun, part).await?);
    }
    // Every writer is open and has written before any of them goes on.
    let mut batches: Vec<RecordBatch> = Vec::new();
    for round in 0..3 {
        let rows: Vec<_> =
            (0_i64..).step_by(10).skip(round * count).take(count).map(|id| people(id..id + 10)).collect();
        let all = writers.iter_mut().zip(rows.clone()).map(|(writer, rows)| writer.write(rows));
        futures::future::try_join_all(all).await.map_err(|error| Broken::from(error).when("write"))?;
        batches.extend(rows);
    }
    let staged = futures::future::try_join_all(writers.into_iter().map(DynWriter::finish)).await;
    let staged = staged.map_err(|error| Broken::from(error).when("finish"))?;
    let mut parts: Vec<u32> = staged.iter().map(|staged| staged.part).collect();
    parts.sort_unstable();
    parts.dedup();
    ensure!(parts.len() == count, "{count} writers gave receipts of the parts {parts:?}");
    load.commit(&load.last_token(), staged).await?;
    rows_are(fixture, STREAM, &batches, "after the commit of all writers").await?;
    Ok(Kept::Proven)
}

/// Where all rows end up behind each other, they lie in the order in which the commit gets what was staged, whoever staged
/// it first.
pub async fn one_sequence_lands_in_the_order_of_the_commit(fixture: &dyn SinkFixture) -> Verdict {
    let capabilities = capabilities(fixture).await?;
    require!(capabilities.one_sequence, "the rows of several writers have no order");
    let mut load = Load::begin(fixture, STREAM, &run_id(1), first_disposition(&capabilities)).await?;
    let mut staged = Vec::new();
    for first in [7, 4, 1] {
        staged.push(load.stage(&[people(first..first + 3)]).await?);
    }
    staged.reverse();
    load.commit(&load.last_token(), staged).await?;
    let found: Vec<_> = fixture.rows(STREAM).await?.iter().map(|row| rows::canonical(&row["id"])).collect();
    let expected: Vec<_> = (1..10).map(|id| rows::canonical(&json!(id))).collect();
    ensure!(found == expected, "rows were told in the order {expected:?}, and lie in the order {found:?}");
    Ok(Kept::Proven)
}
