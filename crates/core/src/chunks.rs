//! Files as rows: each row is a chunk, some bytes of a file with their place in it.
//!
//! A source with `format: bytes` gives them and a sink with `format: bytes` puts them together again, whatever the two
//! are. For everything between them they are rows like others: leased, held back, positioned, retried and committed.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Schema, SchemaRef};

/// The most bytes of a chunk. Sources cut files at multiples of it, so that a file is cut alike wherever reading begins.
pub const CHUNK_BYTES: usize = 1 << 20;

/// The mark of the column `data`, which tells chunks from rows that happen to have such columns.
const MARK: &str = "towpath.chunk";

/// The columns of chunks.
///
/// | column | type | |
/// |---|---|---|
/// | `name` | string | the file's path below the target's folder, with `/` |
/// | `offset` | int64 | where in the file the bytes begin |
/// | `size` | int64 | the file's length. Null while it is not known; one chunk of each file knows it |
/// | `version` | string | what tells this content from another of the same name, such as an `ETag`; null if nothing does |
/// | `digest` | string | the digest that the whole file must have, such as `sha256:9f86…`; null if there is none |
/// | `data` | binary | the bytes, at most [`CHUNK_BYTES`] |
///
/// Chunks of one file may come in any order, by any number of splits, and more than once. They make a file when they cover
/// it from 0 to its size. An empty file is a chunk without bytes and the size 0.
pub fn chunk_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mark = HashMap::from([(MARK.to_owned(), "1".to_owned())]);
        Arc::new(Schema::new(vec![
            Field::new("name", DataType::Utf8, true),
            Field::new("offset", DataType::Int64, true),
            Field::new("size", DataType::Int64, true),
            Field::new("version", DataType::Utf8, true),
            Field::new("digest", DataType::Utf8, true),
            Field::new("data", DataType::Binary, true).with_metadata(mark),
        ]))
    });
    SCHEMA.clone()
}

/// The columns of chunks that may name bytes instead of holding them, for a sink that has them copied: those of
/// [`chunk_schema`], and
///
/// | column | type | |
/// |---|---|---|
/// | `length` | int64 | how many bytes are named. Null where `data` holds them |
/// | `source` | string | where they lie, as source and sink of one [`Realm`](crate::Realm) understand it; then `data` is null, or empty |
///
/// Bytes that are named may be any number. They are those from `offset` on, there as here.
pub fn reference_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let more = [("length", DataType::Int64), ("source", DataType::Utf8)];
        let more = more.map(|(name, data_type)| Arc::new(Field::new(name, data_type, true)));
        Arc::new(Schema::new(chunk_schema().fields().iter().cloned().chain(more).collect::<Vec<_>>()))
    });
    SCHEMA.clone()
}

/// Whether rows with these columns are chunks of files.
pub fn is_chunks(schema: &Schema) -> bool {
    schema.field_with_name("data").is_ok_and(|field| field.metadata().contains_key(MARK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge_schemas;

    #[test]
    fn chunks_are_told_by_their_mark_and_not_by_their_columns() {
        let schema = chunk_schema();
        assert!(is_chunks(&schema) && is_chunks(&reference_schema()));
        assert!(is_chunks(&merge_schemas(&schema, &schema)));
        let alike: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_metadata(HashMap::new()))
            .collect();
        assert!(!is_chunks(&Schema::new(alike)));
    }
}
