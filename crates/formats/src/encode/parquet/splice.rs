//! Whole row groups of another file, appended as they are.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::reader::ChunkReader;
use parquet::{DecodeResult, errors::ParquetError};
use towpath_core::{Context, Error, Result};

use super::layout::Elsewhere;
use super::{RowGroupWriter, failed};
use crate::Input;
use crate::columnar::parquet::chunks::{fetch, range_of};

/// Row groups with fewer rows on average are better encoded anew, into larger ones.
const LEAST_ROWS: usize = 64 << 10;

/// A file whose row groups can stand in another one.
pub(super) struct Spliced {
    input: Arc<dyn Input>,
    size: u64,
    metadata: Arc<ParquetMetaData>,
}

impl Spliced {
    /// The row groups of this file; `None` where they are small, or have other columns than these.
    pub(super) async fn of(
        cx: &Context,
        input: Arc<dyn Input>,
        stored: &SchemaRef,
        full: usize,
    ) -> Result<Option<Self>> {
        let Some(size) = input.size() else { return Ok(None) };
        let metadata = Arc::new(metadata(&*input, size).await?);
        let (decoded, stored) = (metadata.clone(), stored.clone());
        let is_same = cx.cpu(move || {
            let read = ArrowReaderMetadata::try_new(decoded, ArrowReaderOptions::new()).map_err(failed)?;
            Ok(*read.schema() == stored)
        });
        if !is_same.await? || !is_worth_it(&metadata, full) {
            return Ok(None);
        }
        Ok(Some(Self { input, size, metadata }))
    }

    pub(super) fn row_groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    pub(super) fn input(&self) -> &dyn Input {
        &*self.input
    }

    /// Where the columns of a row group lie, in order; those that lie one behind the other as one.
    pub(super) fn ranges(&self, index: usize) -> Result<Vec<Range<u64>>> {
        let mut joined: Vec<Range<u64>> = Vec::new();
        for column in self.metadata.row_group(index).columns() {
            let range = range_of(column, self.size)?;
            match joined.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => joined.push(range),
            }
        }
        Ok(joined)
    }

    /// The bytes of a row group's columns, in order.
    pub(super) async fn fetch(&self, index: usize) -> Result<Vec<Bytes>> {
        let row_group = self.metadata.row_group(index);
        let chunks = fetch(&*self.input, self.size, row_group, &ProjectionMask::all()).await?;
        let columns = row_group.columns().iter().map(|column| {
            let range = range_of(column, self.size)?;
            let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            chunks.get_bytes(range.start, length).map_err(failed)
        });
        columns.collect()
    }

    /// Appends a row group whose bytes go out by themselves. What is told of its pages stays.
    pub(super) fn append(&self, index: usize, appended: &mut RowGroupWriter<'_>) -> Result<()> {
        let row_group = self.metadata.row_group(index);
        let elsewhere = Elsewhere { size: self.size };
        for column in 0..row_group.num_columns() {
            appended.append_column(&elsewhere, self.closed(row_group, index, column)).map_err(failed)?;
        }
        Ok(())
    }

    fn closed(&self, row_group: &RowGroupMetaData, index: usize, column: usize) -> ColumnCloseResult {
        let metadata = row_group.column(column).clone();
        let column_index = self.metadata.column_index().map(|indexes| indexes[index][column].clone());
        ColumnCloseResult {
            bytes_written: u64::try_from(metadata.compressed_size()).unwrap_or(0),
            rows_written: u64::try_from(row_group.num_rows()).unwrap_or(0),
            metadata,
            bloom_filter: None,
            column_index: column_index.filter(|index| !matches!(index, ColumnIndexMetaData::NONE)),
            offset_index: self.metadata.offset_index().map(|indexes| indexes[index][column].clone()),
        }
    }
}

/// Whether the row groups are not much smaller than they should be.
fn is_worth_it(metadata: &ParquetMetaData, full: usize) -> bool {
    let rows = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    rows / metadata.num_row_groups().max(1) >= LEAST_ROWS.min(full)
}

/// The footer, with what it tells of pages.
async fn metadata(input: &dyn Input, size: u64) -> Result<ParquetMetaData> {
    let unreadable = |error: ParquetError| {
        Error::data("the footer cannot be decoded").source(error).detail("input", input.name())
    };
    let decoder = ParquetMetaDataPushDecoder::try_new(size).map_err(unreadable)?;
    let mut decoder = decoder.with_page_index_policy(PageIndexPolicy::Optional);
    loop {
        match decoder.try_decode().map_err(unreadable)? {
            DecodeResult::Data(metadata) => return Ok(metadata),
            DecodeResult::Finished => return Err(Error::unexpected("the footer was decoded twice")),
            DecodeResult::NeedsData(ranges) => {
                for range in ranges {
                    let bytes = input.range(range.clone()).await?;
                    decoder.push_range(range, bytes).map_err(unreadable)?;
                }
            }
        }
    }
}
