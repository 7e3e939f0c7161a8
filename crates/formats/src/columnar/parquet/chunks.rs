//! The bytes of a row group's columns, as the Parquet reader asks for them.

use std::ops::Range;

use bytes::{Buf, Bytes};
use futures::future::try_join_all;
use parquet::arrow::ProjectionMask;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use towpath_core::{Error, Result};

use crate::Input;

/// Ranges with at most this many bytes between them are fetched as one: that is cheaper than another request.
const GAP_BYTES: u64 = 256 << 10;

/// Ranges are fetched as one up to this many bytes, so that a large row group comes over several requests.
const RANGE_BYTES: u64 = 32 << 20;

/// Parts of a file by their offsets.
pub(crate) struct Chunks {
    size: u64,
    parts: Vec<(u64, Bytes)>,
}

/// Fetches the columns of a row group that are wanted.
///
/// # Errors
/// `DataInvalid` when a column lies outside of the file; of the input.
pub(crate) async fn fetch(
    input: &dyn Input,
    size: u64,
    row_group: &RowGroupMetaData,
    wanted: &ProjectionMask,
) -> Result<Chunks> {
    let columns = row_group.columns().iter().enumerate();
    let columns = columns.filter(|(index, _)| wanted.leaf_included(*index));
    let ranges = columns.map(|(_, column)| range_of(column, size)).collect::<Result<Vec<_>>>()?;
    let fetches = join(ranges).into_iter().map(async |range| {
        let bytes = input.range(range.clone()).await?;
        Ok::<_, Error>((range.start, bytes))
    });
    Ok(Chunks { size, parts: try_join_all(fetches).await? })
}

/// Where a column lies.
///
/// # Errors
/// `DataInvalid` when that is outside of the file.
pub(crate) fn range_of(column: &ColumnChunkMetaData, size: u64) -> Result<Range<u64>> {
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let range = u64::try_from(start).ok().zip(u64::try_from(column.compressed_size()).ok());
    let range = range.and_then(|(start, length)| Some(start..start.checked_add(length)?));
    range.filter(|range| range.end <= size).ok_or_else(|| {
        Error::data("the column lies outside of the file").detail("column", column.column_path())
    })
}

/// Joins ranges that are close to each other.
fn join(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last)
                if range.start <= last.end + GAP_BYTES
                    && range.end.max(last.end) - last.start <= RANGE_BYTES =>
            {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range),
        }
    }
    joined
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.size
    }
}

impl Chunks {
    /// The bytes from an offset to the end of its part.
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let part = self.parts.iter().find_map(|(offset, bytes)| {
            let within = usize::try_from(start.checked_sub(*offset)?).ok()?;
            (within < bytes.len()).then(|| bytes.slice(within..))
        });
        part.ok_or_else(|| ParquetError::EOF(format!("no column of the row group is at byte {start}")))
    }
}

impl ChunkReader for Chunks {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.from(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("a page of {length} bytes at byte {start} is cut off")));
        }
        Ok(bytes.slice(..length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_are_close_are_one_request() {
        const MIB: u64 = 1 << 20;
        let ranges = vec![3 * MIB..4 * MIB, 0..10, 20..30, 60 * MIB..90 * MIB, 90 * MIB..95 * MIB];
        assert_eq!(join(ranges), [0..30, 3 * MIB..4 * MIB, 60 * MIB..90 * MIB, 90 * MIB..95 * MIB]);
    }
}
