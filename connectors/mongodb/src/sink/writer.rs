//! Writers: each stages its rows in a collection of its own.
//!
//! For `replace` that is the collection that will be: the documents as they are, under the indexes and the validator of the
//! one whose place it takes. Otherwise each document is wrapped, with the number of its row.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bson::{Document, RawDocumentBuf};
use futures::{StreamExt, TryStreamExt, stream};
use towpath_core::{
    Begun, Context, Error, Json, Rejected, Result, Staged, WriteDisposition, Writer, json_row,
};

use super::staging::Staging;
use super::{DELETES, Shared, fit};
use crate::config::Nulls;
use crate::encode::{Encoder, Unfit, close, open};
use crate::wire::tag;

/// About how many bytes of rows are encoded and inserted by themselves.
const SLICE_BYTES: usize = 512 << 10;
/// The most slices of a batch.
const MOST_SLICES: usize = 8;
/// How many of them are encoded ahead.
const ENCODED_AHEAD: usize = 2;
/// How many of them are inserted at once, each over a connection of its own.
const INSERTED_AT_ONCE: usize = 4;

/// Stages rows.
pub struct MongodbWriter {
    cx: Context,
    staging: Staging,
    form: RowForm,
    part: u32,
    /// How many rows were seen: the number of the next one.
    next: i64,
    /// The number of the first row that was tried to be written last.
    tried: Option<i64>,
    rows: u64,
    bytes: u64,
    rejected: Vec<Rejected>,
    finished: bool,
}

/// What rows become.
#[derive(Debug, Clone)]
struct RowForm {
    /// Whether documents are wrapped.
    is_wrapped: bool,
    /// Columns that must have values.
    key: Vec<String>,
    operation_column: Option<String>,
    nulls: Nulls,
    /// How ids are made for rows that bring none.
    made_ids: Option<MadeIds>,
    place: String,
}

/// Rows as staged documents.
struct Encoded {
    documents: Vec<RawDocumentBuf>,
    rejected: Vec<Rejected>,
    rounded: Vec<String>,
}

impl MongodbWriter {
    pub(super) fn new(shared: &Arc<Shared>, cx: &Context, begun: &Begun, part: u32) -> Result<Self> {
        let load = &begun.load;
        let is_merge = load.disposition == WriteDisposition::Merge;
        begun.schema()?;
        let made_ids = (!is_merge).then(MadeIds::new);
        let form = RowForm {
            is_wrapped: load.disposition != WriteDisposition::Replace,
            key: if is_merge { load.key.clone() } else { Vec::new() },
            operation_column: shared.config.operation_column.clone().filter(|_| is_merge),
            nulls: shared.config.nulls,
            made_ids,
            place: shared.target(load),
        };
        Ok(Self {
            cx: cx.clone(),
            staging: Staging::new(shared, begun, part),
            form,
            part,
            next: 0,
            tried: None,
            rows: 0,
            bytes: 0,
            rejected: Vec::new(),
            finished: false,
        })
    }

    /// Encodes rows and inserts them, several slices at once.
    async fn stage(&self, rows: &RecordBatch, is_repeated: bool) -> Result<Vec<Inserted>> {
        let slices = slices(rows).into_iter().map(|(start, slice)| {
            let (form, first) = (self.form.clone(), self.next.saturating_add(start));
            self.cx.cpu(move || form.encode(&slice, first))
        });
        let encoded = stream::iter(slices).buffered(ENCODED_AHEAD);
        let inserted = encoded.map(|encoded| async move {
            let Encoded { documents, mut rejected, rounded } = encoded?;
            let refused = self.staging.insert(&self.cx, &documents, is_repeated).await?;
            let rows = documents.len() - refused.len();
            let bytes = documents.iter().map(|document| document.as_bytes().len()).sum();
            rejected.extend(refused);
            Ok::<_, Error>(Inserted { rows, bytes, rejected, rounded })
        });
        inserted.buffer_unordered(INSERTED_AT_ONCE).try_collect().await
    }
}

/// What became of some rows.
struct Inserted {
    rows: usize,
    bytes: usize,
    rejected: Vec<Rejected>,
    rounded: Vec<String>,
}

/// Rows in slices, each with the number of its first row.
fn slices(rows: &RecordBatch) -> Vec<(i64, RecordBatch)> {
    let count = rows.num_rows();
    let slices = (rows.get_array_memory_size() / SLICE_BYTES).clamp(1, MOST_SLICES);
    let step = count.div_ceil(slices).max(1);
    let slice =
        |start: usize| (i64::try_from(start).unwrap_or(i64::MAX), rows.slice(start, step.min(count - start)));
    (0..count).step_by(step).map(slice).collect()
}

impl Writer for MongodbWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.staging.make(&self.cx).await?;
        // The same number again: an attempt before may have inserted some of them.
        let is_repeated = self.tried.replace(self.next) == Some(self.next);
        let inserted = self.stage(&rows, is_repeated).await?;
        let count = i64::try_from(rows.num_rows());
        self.next += count.map_err(|_| Error::unexpected("a batch has too many rows"))?;
        for Inserted { rows, bytes, rejected, rounded } in inserted {
            for column in &rounded {
                self.cx.metrics().warn(format!(
                    "column `{column}` has moments finer than a millisecond, which MongoDB's dates do not hold: they are cut off"
                ));
            }
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            self.rows += u64::try_from(rows).unwrap_or(u64::MAX);
            self.bytes += bytes;
            self.cx.metrics().add_bytes_written(bytes);
            self.rejected.extend(rejected);
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Staged> {
        let payload = if self.rows > 0 { Json::String(self.staging.name().to_owned()) } else { Json::Null };
        let mut staged = Staged::new(self.part, self.rows, self.bytes, payload);
        staged.rejected = std::mem::take(&mut self.rejected);
        self.finished = self.rows > 0;
        Ok(staged)
    }
}

impl Drop for MongodbWriter {
    fn drop(&mut self) {
        if self.finished || !self.staging.may_be_there() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // The next run removes what cannot be removed now.
        if let Ok(staging) = self.staging.collection::<Document>() {
            runtime.spawn(async move { staging.drop().await });
        }
    }
}

impl fmt::Debug for MongodbWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongodbWriter")
            .field("name", &self.staging.name())
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl RowForm {
    fn encode(&self, rows: &RecordBatch, first: i64) -> Result<Encoded> {
        let leave_out: Vec<String> = self.operation_column.iter().cloned().collect();
        let encoder = Encoder::new(rows, &leave_out, self.nulls)?;
        let (documents, rejected) = (Vec::with_capacity(rows.num_rows()), Vec::new());
        let mut staged = Encoded { documents, rejected, rounded: encoder.rounded.clone() };
        let deletes = self.deletes(rows)?;
        for row in 0..rows.num_rows() {
            let number = first + i64::try_from(row).unwrap_or(0);
            match self.document(&encoder, row, number, deletes.get(row).copied().unwrap_or(false)) {
                Ok(document) => staged.documents.push(document),
                Err(reason) => {
                    let rejected = Rejected::new(self.place.clone(), reason).row(json_row(rows, row)?);
                    staged.rejected.push(rejected);
                }
            }
        }
        Ok(staged)
    }

    /// For each row, whether it deletes. Empty where none can.
    fn deletes(&self, rows: &RecordBatch) -> Result<Vec<bool>> {
        let Some(column) = self.operation_column.as_ref().and_then(|name| rows.column_by_name(name)) else {
            return Ok(Vec::new());
        };
        let says = |row| {
            Ok(towpath_core::json_value(column, row)?.as_str().is_some_and(|text| DELETES.contains(&text)))
        };
        (0..rows.num_rows()).map(says).collect()
    }

    /// A staged document. A wrapped one has the number of its row, the document itself, and whether it deletes.
    fn document(
        &self,
        encoder: &Encoder,
        row: usize,
        number: i64,
        deletes: bool,
    ) -> Result<RawDocumentBuf, Unfit> {
        if let Some(missing) = self.key.iter().find(|name| !encoder.has_key(name, row)) {
            return Err(format!("`{missing}` is in the key and has no value that can be one"));
        }
        let mut bytes = Vec::with_capacity(256);
        let inside;
        if self.is_wrapped {
            let start = open(&mut bytes);
            bytes.push(tag::INT64);
            bytes.extend(b"_id\0");
            bytes.extend(number.to_le_bytes());
            bytes.push(tag::DOCUMENT);
            bytes.extend(b"d\0");
            let plain = bytes.len();
            self.plain_document(encoder, row, number, &mut bytes)?;
            fit::check_movable(&bytes[plain..], &self.key)?;
            inside = bytes.len() - plain;
            if deletes {
                bytes.extend([tag::BOOL, b'x', 0, 1]);
            }
            close(start, &mut bytes)?;
        } else {
            self.plain_document(encoder, row, number, &mut bytes)?;
            inside = bytes.len();
        }
        fit::check_size(inside, bytes.len())?;
        RawDocumentBuf::from_bytes(bytes).map_err(|error| error.to_string())
    }

    fn plain_document(
        &self,
        encoder: &Encoder,
        row: usize,
        number: i64,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        let start = open(bytes);
        self.make_id(encoder, row, number, bytes);
        encoder.fields(row, bytes)?;
        close(start, bytes)
    }

    /// Gives a row that brings no id one of its own, the same in each attempt.
    fn make_id(&self, encoder: &Encoder, row: usize, number: i64, bytes: &mut Vec<u8>) {
        let Some(made) = self.made_ids.filter(|_| !encoder.has_id(row)) else {
            return;
        };
        bytes.push(tag::OBJECT_ID);
        bytes.extend(b"_id\0");
        bytes.extend(made.id(number));
    }
}

/// Ids in the form of the server's own: a time, what tells writers apart, and a number.
#[derive(Debug, Clone, Copy)]
struct MadeIds {
    time: [u8; 4],
    /// The number of the first row: the upper 40 bits are random.
    first: u64,
}

impl MadeIds {
    fn new() -> Self {
        let (time, random) = (bson::oid::ObjectId::new().bytes(), bson::Uuid::new().bytes());
        let mut first = [0; 8];
        first[..5].copy_from_slice(&random[..5]);
        Self { time: *time.first_chunk().expect("an id has twelve bytes"), first: u64::from_be_bytes(first) }
    }

    fn id(self, number: i64) -> [u8; 12] {
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.time);
        id[4..].copy_from_slice(&self.first.wrapping_add_signed(number).to_be_bytes());
        id
    }
}
