//! The promises of a sink.

mod crashes;
mod landing;
mod load;
mod progress;
mod schema;
mod types;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_schema::Field;
use async_trait::async_trait;
use futures::future::LocalBoxFuture;
use towpath_core::{Context, Delivery, DynSink, Json, LoadSpec, Result, SinkCapabilities, WriteDisposition};

use super::{Broken, ErrorCase, Kept, Verdict, ensure, errors, no_secret_in, nothing_left, through_json};
use crate::rows;
use load::{Load, people, run_id};

pub use crashes::{
    a_crash_between_finish_and_commit_is_healed, a_fenced_run_gets_conflict, abort_leaves_nothing,
    dropping_a_writer_leaves_nothing, nothing_is_visible_before_the_commit, stale_staged_survives_serde,
    sweeping_throws_away_what_was_never_committed, the_same_token_twice_lands_once,
};
pub use landing::{
    append_adds, many_writers_at_once, merge_replaces_by_key, one_sequence_lands_in_the_order_of_the_commit,
    replace_swaps_at_once_and_keeps_old_rows_until_then, replace_with_no_rows_empties,
    rows_come_back_as_written,
};
pub use progress::{
    checkpoint_comes_back_at_begin, commit_without_rows_stores_progress,
    forgetting_removes_the_checkpoint_and_keeps_the_rows,
};
pub use schema::{new_columns_evolve, wider_types_evolve};
pub use types::every_arrow_type_is_carried_or_refused;

/// A system that can be written to, empty at first, and a way to look at what was written. Dropping the fixture cleans
/// up.
///
/// Each `stream` is a target of its own: a table, a folder, a file.
#[async_trait]
pub trait SinkFixture: Send + Sync {
    /// Opens the sink for a stream, as a new process would.
    async fn open(&self, cx: &Context, stream: &str) -> Result<Arc<dyn DynSink>>;

    /// The committed rows of a stream as a stranger to Towpath sees them, in the form of
    /// [`json_row`](towpath_core::json_row). Empty when the target was not made yet. Fields that are null may be left
    /// out.
    async fn rows(&self, stream: &str) -> Result<Vec<Json>>;

    /// Configurations and situations that must fail, at least one.
    fn broken(&self) -> Vec<ErrorCase>;

    /// What lies around uncommitted, for people: temporary files and tables, open transactions.
    async fn leftovers(&self) -> Result<Vec<String>>;

    /// The surroundings.
    fn context(&self) -> Context {
        crate::context()
    }

    /// How a value reads back, where [`rows`](Self::rows) cannot give it as it was written; for example NaN in JSON.
    fn reads_back(&self, field: &Field, value: Json) -> Json {
        let _ = field;
        value
    }

    /// Secrets in the configuration, which must show nowhere.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Texts in which secrets could show beside errors and receipts: `format!("{config:?}")`.
    fn debug_texts(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A promise by name.
pub type Promise = (&'static str, for<'a> fn(&'a dyn SinkFixture) -> LocalBoxFuture<'a, Verdict>);

/// All promises of a sink.
pub const PROMISES: &[Promise] = crate::__sink_promises! { __conformance_table(SinkFixture, ()) };

#[doc(hidden)]
#[macro_export]
macro_rules! __sink_promises {
    ($callback:ident($side:ident, $case:expr)) => {
        $crate::$callback! { $side, $case, [
            rows_come_back_as_written
            append_adds
            replace_swaps_at_once_and_keeps_old_rows_until_then
            replace_with_no_rows_empties
            merge_replaces_by_key
            many_writers_at_once
            one_sequence_lands_in_the_order_of_the_commit
            nothing_is_visible_before_the_commit
            the_same_token_twice_lands_once
            a_crash_between_finish_and_commit_is_healed
            a_fenced_run_gets_conflict
            abort_leaves_nothing
            dropping_a_writer_leaves_nothing
            sweeping_throws_away_what_was_never_committed
            stale_staged_survives_serde
            commit_without_rows_stores_progress
            checkpoint_comes_back_at_begin
            forgetting_removes_the_checkpoint_and_keeps_the_rows
            new_columns_evolve
            wider_types_evolve
            every_arrow_type_is_carried_or_refused
            check_succeeds_and_leaves_nothing
            errors_are_classified
            debug_shows_no_secret
        ] }
    };
}

/// `check` succeeds on a system that is as it should be, and leaves nothing there.
pub async fn check_succeeds_and_leaves_nothing(fixture: &dyn SinkFixture) -> Verdict {
    let cx = fixture.context();
    let sink = fixture.open(&cx, STREAM).await?;
    let capabilities = sink.capabilities();
    ensure!(!capabilities.dispositions.is_empty(), "the sink knows no write disposition");
    ensure!(capabilities.max_writers > 0, "the sink allows no writer");
    for disposition in capabilities.dispositions {
        let load = LoadSpec::new("conformance", STREAM, "run-1", disposition).key(vec!["id".to_owned()]);
        sink.check(&cx, &load).await.map_err(|error| Broken::from(error).when("check"))?;
    }
    same_rows(&[], &fixture.rows(STREAM).await?, "after `check`")?;
    nothing_left(async || fixture.leftovers().await).await?;
    Ok(Kept::Proven)
}

/// Broken configurations fail with the right kind.
pub async fn errors_are_classified(fixture: &dyn SinkFixture) -> Verdict {
    errors::are_classified(fixture.broken()).await
}

/// No secret shows in errors, begun loads, receipts and debug output.
pub async fn debug_shows_no_secret(fixture: &dyn SinkFixture) -> Verdict {
    let secrets = fixture.secrets();
    if secrets.is_empty() {
        return Ok(Kept::not_applicable("the configuration has no secrets"));
    }
    for text in fixture.debug_texts() {
        no_secret_in(&secrets, "debug output", &text)?;
    }
    errors::show_no_secret(fixture.broken(), &secrets).await?;
    let capabilities = capabilities(fixture).await?;
    let mut load = Load::begin(fixture, STREAM, &run_id(1), first_disposition(&capabilities)).await?;
    let staged = load.stage(&[people(1..4)]).await?;
    no_secret_in(&secrets, "a begun load", &format!("{:?}", load.begun))?;
    no_secret_in(&secrets, "a receipt", &format!("{staged:?}"))?;
    load.abort(vec![staged]).await?;
    Ok(Kept::Proven)
}

/// The stream of proofs that need one only.
const STREAM: &str = "conformance";

async fn capabilities(fixture: &dyn SinkFixture) -> Result<SinkCapabilities, Broken> {
    Ok(fixture.open(&fixture.context(), STREAM).await?.capabilities())
}

/// A disposition for proofs that commit once.
fn first_disposition(capabilities: &SinkCapabilities) -> WriteDisposition {
    adding(capabilities).unwrap_or(WriteDisposition::Replace)
}

/// A disposition for proofs that commit several times: one that keeps rows with other keys.
fn adding(capabilities: &SinkCapabilities) -> Option<WriteDisposition> {
    let known = &capabilities.dispositions;
    [WriteDisposition::Append, WriteDisposition::Merge].into_iter().find(|wanted| known.contains(wanted))
}

/// Whether rows become visible with their commit and not before.
fn stages(capabilities: &SinkCapabilities) -> bool {
    capabilities.delivery == Delivery::ExactlyOnce
}

/// Whether the target holds the checkpoint.
fn remembers(capabilities: &SinkCapabilities) -> bool {
    capabilities.delivery != Delivery::AtLeastOnce
}

/// How rows of these batches read back.
fn expected<'a>(fixture: &dyn SinkFixture, batches: impl IntoIterator<Item = &'a RecordBatch>) -> Vec<Json> {
    let mut expected = Vec::new();
    for batch in batches {
        for mut row in rows::to_json([batch]) {
            for field in batch.schema_ref().fields() {
                let value = &mut row[field.name().as_str()];
                *value = fixture.reads_back(field, value.take());
            }
            expected.push(row);
        }
    }
    expected
}

async fn rows_are(
    fixture: &dyn SinkFixture,
    stream: &str,
    batches: &[RecordBatch],
    when: &str,
) -> Result<(), Broken> {
    same_rows(&expected(fixture, batches), &fixture.rows(stream).await?, when)
}

fn same_rows(expected: &[Json], found: &[Json], when: &str) -> Result<(), Broken> {
    match rows::difference(expected, found) {
        None => Ok(()),
        Some(difference) => Err(Broken::new(format!("{when}: {difference}"))),
    }
}

/// Returns from a proof that does not apply.
macro_rules! require {
    ($condition:expr, $reason:literal) => {
        if !$condition {
            return Ok($crate::conformance::Kept::not_applicable($reason));
        }
    };
}
use require;
