//! Chunks as rows, and rows as chunks.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Int64Type;
use arrow_schema::Field;
use bytes::Bytes;
use towpath_core::{Error, Result, Takes, chunk_schema};

/// What all chunks of a file say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    /// Its path below the target's folder.
    pub name: String,
    /// Its length, if it is known.
    pub size: Option<u64>,
    /// What tells this content from another of the same name.
    pub version: Option<String>,
    /// The digest that it must have.
    pub digest: Option<String>,
}

/// A chunk as a batch of one row. The bytes are not copied.
///
/// # Errors
/// `DataInvalid` for a place behind what any file system holds.
pub fn batch(file: &File, offset: u64, data: Bytes) -> Result<RecordBatch> {
    let number = |value: u64| {
        i64::try_from(value).map_err(|_| Error::data("the file is larger than any file system holds"))
    };
    let size = file.size.map(number).transpose()?;
    let length = i32::try_from(data.len()).map_err(|_| Error::unexpected("a chunk is too large"))?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, length]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![file.name.as_str()])),
        Arc::new(Int64Array::from(vec![number(offset)?])),
        Arc::new(Int64Array::from(vec![size])),
        Arc::new(StringArray::from(vec![file.version.as_deref()])),
        Arc::new(StringArray::from(vec![file.digest.as_deref()])),
        Arc::new(BinaryArray::new(offsets, Buffer::from(data), None)),
    ];
    Ok(RecordBatch::try_new(chunk_schema(), columns)?)
}

/// Some bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The file's path below the target's folder.
    pub name: &'a str,
    /// Where in the file the bytes begin.
    pub offset: u64,
    /// The file's length, if it is known.
    pub size: Option<u64>,
    /// What tells this content from another of the same name.
    pub version: Option<&'a str>,
    /// The digest that the whole file must have.
    pub digest: Option<&'a str>,
    /// The bytes.
    pub data: &'a [u8],
}

/// The chunks of a batch.
#[derive(Debug)]
pub struct Chunks {
    name: StringArray,
    offset: Int64Array,
    size: Int64Array,
    version: StringArray,
    digest: StringArray,
    data: BinaryArray,
}

impl Chunks {
    /// Reads rows as chunks.
    ///
    /// # Errors
    /// `SchemaMismatch` when they are none, or a column is missing or has another type.
    pub fn of(rows: &RecordBatch) -> Result<Self> {
        Takes::Chunks.check(rows.schema_ref())?;
        let column = |name: &str| {
            let schema = chunk_schema();
            let wanted = schema.field_with_name(name).ok().map(Field::data_type);
            let found = rows.column_by_name(name).filter(|found| Some(found.data_type()) == wanted);
            found.cloned().ok_or_else(|| {
                Error::schema(format!("files as bytes need the column `{name}` as the source gives it"))
                    .help("leave it as it is under `transform`")
            })
        };
        let text = |name| Ok::<_, Error>(column(name)?.as_string::<i32>().clone());
        let number = |name| Ok::<_, Error>(column(name)?.as_primitive::<Int64Type>().clone());
        Ok(Self {
            name: text("name")?,
            offset: number("offset")?,
            size: number("size")?,
            version: text("version")?,
            digest: text("digest")?,
            data: column("data")?.as_binary::<i32>().clone(),
        })
    }

    /// The chunks, in order. A row without name, place or bytes is the reason why it is none.
    pub fn iter(&self) -> impl Iterator<Item = Result<Chunk<'_>, &'static str>> {
        (0..self.name.len()).map(|row| self.chunk(row))
    }

    fn chunk(&self, row: usize) -> Result<Chunk<'_>, &'static str> {
        let number = |column: &Int64Array| column.is_valid(row).then(|| u64::try_from(column.value(row)));
        let offset = number(&self.offset).ok_or("`offset` is null")?.map_err(|_| "`offset` is below zero")?;
        let size = number(&self.size).transpose().map_err(|_| "`size` is below zero")?;
        let data = self.data.is_valid(row).then(|| self.data.value(row)).ok_or("`data` is null")?;
        Ok(Chunk {
            name: text(&self.name, row).ok_or("`name` is null")?,
            offset,
            size,
            version: text(&self.version, row),
            digest: text(&self.digest, row),
            data,
        })
    }
}

fn text(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::{DataType, Schema};

    #[test]
    fn a_chunk_comes_back_from_its_row() {
        let file = File { name: "a/b".into(), size: Some(9), version: None, digest: Some("md5:00".into()) };
        let rows = batch(&file, 4, Bytes::from_static(b"hello")).unwrap();
        let chunks = Chunks::of(&rows).unwrap();
        let found: Vec<_> = chunks.iter().collect::<Result<_, _>>().unwrap();
        let expected = Chunk {
            name: "a/b",
            offset: 4,
            size: Some(9),
            version: None,
            digest: Some("md5:00"),
            data: b"hello",
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn rows_that_are_no_chunks_are_refused() {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let error = Chunks::of(&RecordBatch::new_empty(schema)).unwrap_err();
        assert!(error.to_string().contains("the source gives rows; set `format: bytes`"), "{error}");
        let rows = batch(&File::default(), 0, Bytes::new()).unwrap();
        let error = Chunks::of(&rows.project(&[0, 1, 2, 3, 5]).unwrap()).unwrap_err();
        assert!(error.to_string().contains("need the column `digest`"), "{error}");
    }
}
