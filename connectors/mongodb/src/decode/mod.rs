//! Documents into columns.
//!
//! A batch is decoded into the columns that are known. A document that does not fit them widens them, and the batch is
//! decoded once more: what does not change the columns, which is nearly everything, is read once.

mod builder;
mod nested;

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use towpath_core::{ColumnType, Error, Json, Rejected, Result};

use crate::schema::{Fields, TYPE_KEY, declared, names};
use crate::wire::{Elements, Malformed, Value, document_json, field, tag};
use nested::DocumentBuilder;

/// A document that is in the way.
pub(crate) enum Trouble {
    /// The columns must be widened.
    Misfit,
    /// It is no BSON.
    Malformed(Malformed),
}

impl From<Malformed> for Trouble {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Why a row is refused.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) column: String,
    pub(crate) value: String,
    pub(crate) reason: String,
}

/// How documents become columns.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    /// How many levels of documents and arrays become structs and lists.
    pub(crate) depth: usize,
    /// Whether each document is one value, as it came.
    pub(crate) whole: bool,
    /// The columns that were declared.
    pub(crate) declared: Arc<Vec<(String, ColumnType)>>,
}

impl Form {
    /// The columns before anything was seen.
    pub(crate) fn start(&self) -> Fields {
        let mut fields = Fields::default();
        if !self.whole {
            for (name, column_type) in &*self.declared {
                fields.insert(name, declared(column_type));
            }
        }
        fields
    }

    /// Widens columns until they hold these documents too.
    pub(crate) fn observe<'a>(&self, fields: &mut Fields, documents: impl Iterator<Item = &'a [u8]>) {
        for document in documents {
            // Whoever decodes a document that is no BSON rejects it with its place.
            let _: Result<bool, Malformed> = if self.whole {
                id_alone(document).and_then(|id| fields.observe(&id, self.depth))
            } else {
                fields.observe(document, self.depth)
            };
        }
    }

    /// The columns as the engine sees them.
    pub(crate) fn schema(&self, fields: &Fields) -> Schema {
        let mut columns: Vec<_> = fields.arrow().iter().cloned().collect();
        if self.whole {
            let metadata = [(TYPE_KEY.to_owned(), names::DOCUMENT.to_owned())];
            let document = Field::new("document", DataType::Binary, false).with_metadata(metadata.into());
            columns.push(Arc::new(document));
        }
        Schema::new(columns)
    }
}

/// Rows of some documents.
pub(crate) struct Decoded {
    pub(crate) rows: RecordBatch,
    pub(crate) rejected: Vec<Rejected>,
    /// The columns, if they had to be widened.
    pub(crate) widened: Option<Fields>,
}

/// The rows of documents that are told by a place.
pub(crate) fn decode(documents: &[&[u8]], fields: &Fields, form: &Form, place: &str) -> Result<Decoded> {
    let mut readable = documents.to_vec();
    let mut broken: Refusals = Vec::new();
    let mut wider: Option<Fields> = None;
    // Each turn takes a broken document out or widens a column, and what holds JSON is not widened any more.
    loop {
        let known = wider.as_ref().unwrap_or(fields);
        match attempt(&readable, known, form)? {
            Attempt::Done(rows, refusals) => {
                broken.extend(refusals);
                let (rows, rejected) = without_rejected(rows, documents, broken, place)?;
                return Ok(Decoded { rows, rejected, widened: wider });
            }
            Attempt::Malformed(row, malformed) => {
                let reason = format!("the document is no BSON: {malformed}");
                broken.push((row, Refusal { column: String::new(), value: String::new(), reason }));
                readable[row] = EMPTY;
            }
            Attempt::Misfit => {
                let mut next = known.clone();
                form.observe(&mut next, readable.iter().copied());
                if next == *known {
                    return Err(Error::unexpected(
                        "documents do not fit the columns that were made for them",
                    ));
                }
                wider = Some(next);
            }
        }
    }
}

/// A document without fields.
const EMPTY: &[u8] = &[5, 0, 0, 0, 0];

type Refusals = Vec<(usize, Refusal)>;

/// How decoding went.
enum Attempt {
    Done(RecordBatch, Refusals),
    Misfit,
    Malformed(usize, Malformed),
}

fn attempt(documents: &[&[u8]], fields: &Fields, form: &Form) -> Result<Attempt> {
    let mut builder = DocumentBuilder::new(fields, documents.len());
    let mut whole = form.whole.then(|| BinaryBuilder::with_capacity(documents.len(), 256 * documents.len()));
    let mut refusals = Vec::new();
    for (row, document) in documents.iter().enumerate() {
        let mut refusal = None;
        let appended = match &mut whole {
            None => builder.append(document, &mut refusal),
            Some(whole) => {
                whole.append_value(document);
                id_alone(document).map_err(Trouble::from).and_then(|id| builder.append(&id, &mut refusal))
            }
        };
        match appended {
            Ok(()) => refusals.extend(refusal.map(|refusal| (row, refusal))),
            Err(Trouble::Misfit) => return Ok(Attempt::Misfit),
            Err(Trouble::Malformed(malformed)) => return Ok(Attempt::Malformed(row, malformed)),
        }
    }
    let (mut columns, late) = builder.finish()?;
    refusals.extend(late);
    if let Some(mut whole) = whole {
        columns.push(Arc::new(whole.finish()));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(documents.len()));
    let schema: SchemaRef = Arc::new(form.schema(fields));
    Ok(Attempt::Done(RecordBatch::try_new_with_options(schema, columns, &options)?, refusals))
}

/// A document that has only the id of another one.
fn id_alone(document: &[u8]) -> Result<Vec<u8>, Malformed> {
    // Whatever stands behind the id must be sound as well, as it is written as it came.
    let id = Elements::of(document)?.collect::<Result<Vec<_>, _>>()?;
    let id = id.iter().find(|element| element.name == b"_id");
    let mut alone = vec![0; 4];
    if let Some(id) = id {
        alone.push(id.value.tag);
        alone.extend(b"_id\0");
        alone.extend(id.value.bytes);
    }
    alone.push(0);
    let length = u32::try_from(alone.len()).map_err(|_| Malformed("it is too long"))?;
    alone[..4].copy_from_slice(&length.to_le_bytes());
    Ok(alone)
}

fn without_rejected(
    rows: RecordBatch,
    documents: &[&[u8]],
    refusals: Refusals,
    place: &str,
) -> Result<(RecordBatch, Vec<Rejected>)> {
    if refusals.is_empty() {
        return Ok((rows, Vec::new()));
    }
    let mut keep = vec![true; documents.len()];
    let mut rejected = Vec::new();
    for (row, refusal) in refusals {
        if std::mem::replace(&mut keep[row], false) {
            rejected.push(rejection(documents[row], refusal, place));
        }
    }
    Ok((filter_record_batch(&rows, &BooleanArray::from(keep))?, rejected))
}

fn rejection(document: &[u8], refusal: Refusal, place: &str) -> Rejected {
    let id = field(document, "_id").ok().flatten().and_then(|id| {
        let mut text = String::new();
        crate::wire::write_json(id, &mut text).ok().map(|()| text)
    });
    let place = id.map_or_else(|| place.to_owned(), |id| format!("{place} {id}"));
    let mut rejected = Rejected::new(place, refusal.reason);
    if !refusal.column.is_empty() {
        rejected = rejected.column(refusal.column, refusal.value);
    }
    match document_json(document).ok().and_then(|text| serde_json::from_str::<Json>(&text).ok()) {
        Some(row) => rejected.row(row),
        None => rejected.row(String::from_utf8_lossy(document).into_owned()),
    }
}

/// A value as it is shown to people, cut short.
pub(crate) fn shown(value: Value<'_>) -> String {
    let mut text = String::new();
    if value.tag == tag::STRING {
        text = value.string().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
    } else if crate::wire::write_json(value, &mut text).is_err() {
        return format!("{} bytes", value.bytes.len());
    }
    shortened(text)
}

fn shortened(mut text: String) -> String {
    const SHOWN: usize = 200;
    if let Some((end, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Columns that were made.
pub(crate) type Columns = Vec<ArrayRef>;

#[cfg(test)]
mod tests;
