//! What happens to a batch between source and writer: cursor, transform, schema contract.

use arrow::array::RecordBatch;
use towpath_core::{Batch, CursorRange, Json, Position, Pushdown, Rejected, Result};

use super::Stream;
use super::target::Conformed;
use crate::contract::{Verdict, admit};
use crate::cursor::Cursor;

/// Below this, a hop to the CPU pool costs more than the work.
const INLINE_BYTES: usize = 64 << 10;

/// The steps that are the same for all batches of a stream.
pub(super) struct Prepare {
    cursor: Option<Cursor>,
}

/// A batch that is ready to be written.
pub(super) struct Prepared {
    pub(super) rows: Conformed,
    pub(super) resume: Position,
    pub(super) seen: Option<Json>,
}

/// Whether a batch says how far a split has got, and nothing else.
pub(crate) fn is_position_only(rows: &RecordBatch) -> bool {
    rows.num_columns() == 0 && rows.num_rows() == 0
}

impl Prepare {
    pub(super) fn new(range: Option<CursorRange>, pushed: Pushdown) -> Self {
        Self { cursor: range.map(|range| Cursor::new(range, pushed)) }
    }
}

impl Stream {
    /// Makes a batch ready. `size` is its memory, `place` its split.
    ///
    /// # Errors
    /// A row that the policy does not let pass, and what the steps return.
    pub(super) async fn prepare(
        self: &std::sync::Arc<Self>,
        batch: Batch,
        size: usize,
        place: &str,
    ) -> Result<Prepared> {
        let Batch { rows, rejected, resume } = batch;
        self.rejects.take(rejected).await?;
        if is_position_only(&rows) {
            let (generation, _) = self.target.schema();
            return Ok(Prepared { rows: Conformed { rows: None, generation }, resume, seen: None });
        }
        let stream = self.clone();
        let at = place.to_owned();
        let steps = move || {
            let (rows, seen) = match &stream.prepare.cursor {
                Some(cursor) => cursor.apply(rows)?,
                None => (rows, None),
            };
            let transformed = stream.opened.transform.apply(rows, &at)?;
            Ok((transformed.rows, transformed.rejected, seen))
        };
        let nothing_to_do = self.prepare.cursor.is_none() && self.opened.transform.is_empty();
        let (rows, rejected, seen) = if nothing_to_do || size < INLINE_BYTES {
            steps()?
        } else {
            self.opened.between_cx.cpu(steps).await?
        };
        self.rejects.take(rejected).await?;
        let (rows, rejected) = self.admit(rows, size, place).await?;
        self.rejects.take(rejected).await?;
        Ok(Prepared { rows, resume, seen })
    }

    /// Brings the rows to the target's columns, or the target to the rows'.
    async fn admit(&self, rows: RecordBatch, size: usize, place: &str) -> Result<(Conformed, Vec<Rejected>)> {
        let contract = self.opened.schema_contract;
        loop {
            let (generation, schema) = self.target.schema();
            if is_position_only(&rows) {
                return Ok((Conformed { rows: None, generation }, Vec::new()));
            }
            let same = schema.as_ref() == Some(rows.schema_ref());
            let verdict = if same || size < INLINE_BYTES {
                admit(contract, self.target.held(), schema.as_ref(), rows.clone(), place)?
            } else {
                let (rows, place, held) = (rows.clone(), place.to_owned(), self.target.held().cloned());
                let admit = move || admit(contract, held.as_ref(), schema.as_ref(), rows, &place);
                self.opened.between_cx.cpu(admit).await?
            };
            match verdict {
                Verdict::Admitted { rows, rejected } => {
                    return Ok((Conformed { rows: Some(rows), generation }, rejected));
                }
                Verdict::Evolve(wanted) => self.target.evolve(generation, &wanted).await?,
            }
        }
    }
}
