//! Writers: each stages its rows in a collection of its own, in their order.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bson::{Document, RawDocumentBuf};
use mongodb::error::ErrorKind as DriverKind;
use towpath_core::{
    Begun, Context, Error, Json, Rejected, Result, Staged, WriteDisposition, Writer, json_row,
};

use super::{DELETES, Shared};
use crate::client::limited;
use crate::config::Nulls;
use crate::encode::{Encoder, MOST_BYTES, Unfit, close, open};
use crate::errors::{DUPLICATE_KEY, failed};
use crate::wire::tag;

/// Stages rows.
pub struct MongodbWriter {
    shared: Arc<Shared>,
    cx: Context,
    name: String,
    form: RowForm,
    part: u32,
    /// How many rows were seen: the number of the next one.
    next: i64,
    rows: u64,
    bytes: u64,
    rejected: Vec<Rejected>,
    /// Whether the collection may be there.
    is_made: bool,
    finished: bool,
}

/// What rows become.
#[derive(Debug, Clone)]
struct RowForm {
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
    bytes: u64,
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
            key: if is_merge { load.key.clone() } else { Vec::new() },
            operation_column: shared.config.operation_column.clone().filter(|_| is_merge),
            nulls: shared.config.nulls,
            made_ids,
            place: shared.target(load),
        };
        let name = format!("{}{}_{part}", shared.prefix(load), begun.checkpoint.epoch);
        Ok(Self {
            shared: shared.clone(),
            cx: cx.clone(),
            name,
            form,
            part,
            next: 0,
            rows: 0,
            bytes: 0,
            rejected: Vec::new(),
            is_made: false,
            finished: false,
        })
    }

    /// Inserts documents. Those that an attempt before has inserted are there already, under the same numbers.
    async fn insert(&self, documents: &[RawDocumentBuf]) -> Result<()> {
        let staging = self.shared.collection::<RawDocumentBuf>(&self.name)?;
        let inserting = staging.insert_many(documents).ordered(false);
        match limited(&self.cx, inserting.into_future()).await? {
            Ok(_) => Ok(()),
            Err(error) => match &*error.kind {
                DriverKind::InsertMany(many)
                    if many.write_concern_error.is_none()
                        && many.write_errors.iter().flatten().all(|error| error.code == DUPLICATE_KEY) =>
                {
                    Ok(())
                }
                _ => Err(failed("staging rows", &error).detail("collection", &self.form.place)),
            },
        }
    }
}

impl Writer for MongodbWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let (form, first, count) = (self.form.clone(), self.next, rows.num_rows());
        let encoded = self.cx.cpu(move || form.encode(&rows, first)).await?;
        for column in &encoded.rounded {
            self.cx.metrics().warn(format!(
                "column `{column}` has moments finer than a millisecond, which MongoDB's dates do not hold: they are cut off"
            ));
        }
        if !encoded.documents.is_empty() {
            self.is_made = true;
            self.insert(&encoded.documents).await?;
        }
        self.next += i64::try_from(count).map_err(|_| Error::unexpected("a batch has too many rows"))?;
        self.rows += u64::try_from(encoded.documents.len()).unwrap_or(u64::MAX);
        self.bytes += encoded.bytes;
        self.cx.metrics().add_bytes_written(encoded.bytes);
        self.rejected.extend(encoded.rejected);
        Ok(())
    }

    async fn finish(mut self) -> Result<Staged> {
        let payload = if self.is_made { Json::String(self.name.clone()) } else { Json::Null };
        let mut staged = Staged::new(self.part, self.rows, self.bytes, payload);
        staged.rejected = std::mem::take(&mut self.rejected);
        self.finished = true;
        Ok(staged)
    }
}

impl Drop for MongodbWriter {
    fn drop(&mut self) {
        if self.finished || !self.is_made {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // The next run removes what cannot be removed now.
        if let Ok(staging) = self.shared.collection::<Document>(&self.name) {
            runtime.spawn(async move { staging.drop().await });
        }
    }
}

impl fmt::Debug for MongodbWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongodbWriter")
            .field("name", &self.name)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl RowForm {
    fn encode(&self, rows: &RecordBatch, first: i64) -> Result<Encoded> {
        let leave_out: Vec<String> = self.operation_column.iter().cloned().collect();
        let encoder = Encoder::new(rows, &leave_out, self.nulls)?;
        let mut staged = Encoded {
            documents: Vec::new(),
            bytes: 0,
            rejected: Vec::new(),
            rounded: encoder.rounded.clone(),
        };
        let deletes = self.deletes(rows)?;
        for row in 0..rows.num_rows() {
            let number = first + i64::try_from(row).unwrap_or(0);
            match self.document(&encoder, row, number, deletes.get(row).copied().unwrap_or(false)) {
                Ok(document) => {
                    staged.bytes += u64::try_from(document.as_bytes().len()).unwrap_or(0);
                    staged.documents.push(document);
                }
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

    /// A staged document: the number of its row, the document itself, and whether it deletes.
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
        let start = open(&mut bytes);
        bytes.push(tag::INT64);
        bytes.extend(b"_id\0");
        bytes.extend(number.to_le_bytes());
        bytes.push(tag::DOCUMENT);
        bytes.extend(b"d\0");
        let document = open(&mut bytes);
        self.make_id(encoder, row, number, &mut bytes);
        encoder.fields(row, &mut bytes)?;
        close(document, &mut bytes)?;
        if deletes {
            bytes.extend([tag::BOOL, b'x', 0, 1]);
        }
        close(start, &mut bytes)?;
        if bytes.len() > MOST_BYTES {
            return Err(format!(
                "its document has {} bytes, and MongoDB takes no more than 16 MiB",
                bytes.len()
            ));
        }
        RawDocumentBuf::from_bytes(bytes).map_err(|error| error.to_string())
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
