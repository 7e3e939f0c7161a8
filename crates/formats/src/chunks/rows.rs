//! Chunks as rows, and rows as chunks.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Int64Type;
use arrow_schema::Field;
use bytes::Bytes;
use towpath_core::{Error, Result, Takes, chunk_schema, reference_schema};

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
    let mut columns = described(file, offset)?;
    columns.push(held(data)?);
    Ok(RecordBatch::try_new(chunk_schema(), columns)?)
}

/// A chunk that names its bytes, as a batch of one row. An empty one also holds them.
///
/// # Errors
/// `DataInvalid` for a place behind what any file system holds.
pub fn reference(file: &File, offset: u64, length: u64, source: &str) -> Result<RecordBatch> {
    let mut columns = described(file, offset)?;
    columns.push(if length == 0 { held(Bytes::new())? } else { Arc::new(BinaryArray::new_null(1)) });
    columns.push(Arc::new(Int64Array::from(vec![number(length)?])));
    columns.push(Arc::new(StringArray::from(vec![source])));
    Ok(RecordBatch::try_new(reference_schema(), columns)?)
}

/// All columns before the bytes.
fn described(file: &File, offset: u64) -> Result<Vec<ArrayRef>> {
    let size = file.size.map(number).transpose()?;
    Ok(vec![
        Arc::new(StringArray::from(vec![file.name.as_str()])),
        Arc::new(Int64Array::from(vec![number(offset)?])),
        Arc::new(Int64Array::from(vec![size])),
        Arc::new(StringArray::from(vec![file.version.as_deref()])),
        Arc::new(StringArray::from(vec![file.digest.as_deref()])),
    ])
}

fn held(data: Bytes) -> Result<ArrayRef> {
    let length = i32::try_from(data.len()).map_err(|_| Error::unexpected("a chunk is too large"))?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, length]));
    Ok(Arc::new(BinaryArray::new(offsets, Buffer::from(data), None)))
}

fn number(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| Error::data("the file is larger than any file system holds"))
}

/// Some bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The bytes, which still lie in their batch; none where they are named.
    pub data: Bytes,
    /// The bytes that are named.
    pub named: Option<Named<'a>>,
}

/// Bytes that are named and not held: those from the chunk's offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// How many.
    pub length: u64,
    /// Where they lie.
    pub source: &'a str,
}

impl Chunk<'_> {
    /// How many bytes it is of.
    pub fn length(&self) -> u64 {
        self.named.map_or(self.data.len() as u64, |named| named.length)
    }
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
    /// All bytes of `data`, to be shared.
    bytes: Bytes,
    /// Length and source of bytes that are named, where some may be.
    named: Option<(Int64Array, StringArray)>,
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
        let named = rows.column_by_name("length").zip(rows.column_by_name("source"));
        let named = named.and_then(|(length, source)| {
            let source = source.as_string_opt::<i32>()?.clone();
            Some((length.as_primitive_opt::<Int64Type>()?.clone(), source))
        });
        let data = column("data")?.as_binary::<i32>().clone();
        Ok(Self {
            name: text("name")?,
            offset: number("offset")?,
            size: number("size")?,
            version: text("version")?,
            digest: text("digest")?,
            bytes: Bytes::from_owner(Values(data.values().clone())),
            data,
            named,
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
        let named = self.named(row);
        let data = self.data.is_valid(row).then(|| self.bytes(row));
        let data = data.or(named.map(|_| Bytes::new())).ok_or("`data` is null")?;
        Ok(Chunk {
            name: text(&self.name, row).ok_or("`name` is null")?,
            offset,
            size,
            version: text(&self.version, row),
            digest: text(&self.digest, row),
            data,
            named,
        })
    }

    /// The bytes of a row. They are not copied.
    fn bytes(&self, row: usize) -> Bytes {
        let place = |row: usize| usize::try_from(self.data.value_offsets()[row]).unwrap_or(0);
        self.bytes.slice(place(row)..place(row + 1))
    }

    fn named(&self, row: usize) -> Option<Named<'_>> {
        let (length, source) = self.named.as_ref()?;
        let length = length.is_valid(row).then(|| u64::try_from(length.value(row)).ok())?;
        Some(Named { length: length?, source: text(source, row)? })
    }
}

/// The values of a column as the owner of its bytes.
struct Values(Buffer);

impl AsRef<[u8]> for Values {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
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
            data: Bytes::from_static(b"hello"),
            named: None,
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_chunk_may_name_its_bytes() {
        let file = File { name: "a".into(), size: Some(5 << 30), ..File::default() };
        let found = |length: u64| {
            let rows = reference(&file, 7, length, "there").unwrap();
            let chunks = Chunks::of(&rows).unwrap();
            let chunk = chunks.iter().next().unwrap().unwrap();
            (chunk.length(), chunk.data.len(), chunk.named.map(|named| named.source.to_owned()))
        };
        assert_eq!(found(3 << 30), (3 << 30, 0, Some("there".to_owned())));
        assert_eq!(found(0), (0, 0, Some("there".to_owned())));
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
