//! What the server sends: documents, and where it is behind the last of them.

use bson::Bson;
use towpath_core::{Error, Json, Position, Result};

use super::natural::{RECORD, TOKEN};
use crate::convert::{from_json, to_json};
use crate::wire::{Elements, Value, field, tag};

/// The most bytes of a batch, unless one document is longer.
const MOST_BYTES: usize = 8 << 20;

/// A reply to `find` or `getMore`.
#[derive(Clone, Copy)]
pub(super) struct Reply<'a> {
    cursor: Value<'a>,
}

impl<'a> Reply<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self> {
        Ok(Self { cursor: field(bytes, "cursor")?.ok_or_else(no_documents)? })
    }

    pub(super) fn documents(self) -> Result<Vec<&'a [u8]>> {
        for element in self.cursor.elements()? {
            let element = element?;
            if element.name == b"firstBatch" || element.name == b"nextBatch" {
                let documents = Elements::of(element.value.bytes)?;
                return documents.map(|document| Ok(document?.value.bytes)).collect();
            }
        }
        Err(no_documents())
    }

    /// The number of the last record; nothing where the server has gone through all of them.
    pub(super) fn last_record(self) -> Result<Option<i64>> {
        let token = field(self.cursor.bytes, TOKEN)?.ok_or_else(no_number)?;
        match field(token.bytes, RECORD)? {
            Some(record) if record.tag == tag::INT64 => Ok(Some(i64::from_le_bytes(record.fixed()?))),
            Some(record) if record.tag == tag::NULL => Ok(None),
            _ => Err(no_number()),
        }
    }
}

fn no_documents() -> Error {
    Error::data("the server's answer has no documents").connector(crate::NAME)
}

fn no_number() -> Error {
    Error::unexpected("the server's answer does not tell the number of a record").connector(crate::NAME)
}

/// Documents in portions of some MiB.
pub(super) fn portions<'a, 'b>(documents: &'b [&'a [u8]]) -> Vec<&'b [&'a [u8]]> {
    let (mut portions, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, document) in documents.iter().enumerate() {
        if index > start && bytes + document.len() > MOST_BYTES {
            portions.push(&documents[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += document.len();
    }
    if start < documents.len() {
        portions.push(&documents[start..]);
    }
    portions
}

/// The position behind the last of some documents, by its id.
pub(super) fn behind_id(documents: &[&[u8]]) -> Result<Position> {
    let last = documents.last().copied().unwrap_or_default();
    let id = field(last, "_id")?.ok_or_else(|| {
        Error::data("a document has no `_id`").connector(crate::NAME).help("set `split_by: none`")
    })?;
    let id = if id.tag == tag::OBJECT_ID {
        Bson::ObjectId(bson::oid::ObjectId::from_bytes(id.fixed()?))
    } else {
        let mut text = String::new();
        crate::wire::write_json(id, &mut text)?;
        let json: Json = serde_json::from_str(&text)
            .map_err(|error| Error::unexpected("an id is no JSON").source(error))?;
        from_json(&json)?
    };
    Ok(Position::At(serde_json::json!({ "id": to_json(&id) })))
}
