//! Parquet. Rows are encoded as they come, so that only pages wait in memory for the end of their row group; the columns
//! of a row group are encoded at once.

mod lane;
mod layout;
mod splice;
mod storage;
#[cfg(all(test, feature = "full"))]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use towpath_core::{Context, Error, Result};

use self::lane::{Lane, Work};
use self::layout::{Frame, Pages};
use self::splice::Spliced;
use super::pipeline::Pipeline;
use super::{Stage, slice_bytes};
use crate::{Input, Output, ParquetCompression, ParquetWrite};

/// Rows that are encoded in one go. Batches are joined and cut to exactly this many, so that pages end at the same rows
/// however the rows came.
const CHUNK_ROWS: usize = 8 << 10;

/// Wide rows are encoded before there are that many.
const CHUNK_BYTES: usize = 4 << 20;

/// A row group ends at this many bytes of Arrow memory, so that what waits for its end stays small.
const ROW_GROUP_BYTES: usize = 96 << 20;

/// What a column holds on average: encoded pages until its row group ends, a dictionary with the table to look it up, and
/// its share of the chunks under way and of the rows that wait for it. Measured with the columns of TPC-H.
pub(super) const COLUMN_BYTES: usize = 2 << 20;

/// A column is written without a dictionary once that has so many bytes: looking up each value in a larger one costs more
/// time and memory than it saves in the file.
const DICTIONARY_BYTES: usize = 512 << 10;

/// How many chunks are encoded at once: one that ends, one that begins.
const CHUNKS_IN_FLIGHT: usize = 2;

type FileWriter = SerializedFileWriter<Frame>;
type RowGroupWriter<'a> = SerializedRowGroupWriter<'a, Frame>;

/// Encodes a Parquet file.
pub(super) struct ParquetStage {
    cx: Context,
    stored: SchemaRef,
    factory: ArrowRowGroupWriterFactory,
    /// Of row groups that were encoded here.
    pages: Pages,
    /// Gone while a job appends to it, and after an error.
    file: Option<FileWriter>,
    row_group_rows: usize,
    row_groups: usize,
    group: Option<RowGroup>,
    chunk: Vec<RecordBatch>,
    chunk_rows: usize,
    chunk_bytes: usize,
    pipeline: Pipeline<Ready>,
}

/// What comes out of the pipeline.
enum Ready {
    /// Rows were encoded, and their row group goes on.
    Rows,
    /// The lanes of a row group have ended.
    RowGroup(Vec<Arc<Lane>>),
    /// The columns of a row group of another file were fetched.
    Fetched(Arc<Spliced>, usize, Vec<Bytes>),
}

/// The row group under way.
struct RowGroup {
    lanes: Vec<Arc<Lane>>,
    rows: usize,
    bytes: usize,
}

impl ParquetStage {
    pub(super) fn new(cx: &Context, options: &ParquetWrite, schema: &SchemaRef) -> Result<Self> {
        if options.row_group_rows == 0 {
            return Err(Error::config("`row_group_rows` must be at least 1"));
        }
        let stored = storage::stored_schema(schema);
        let mut properties = properties(options);
        add_encoded_arrow_schema_to_metadata(&stored, &mut properties);
        let root = ArrowSchemaConverter::new().convert(&stored).map_err(failed)?.root_schema_ptr();
        let file = SerializedFileWriter::new(Frame::default(), root, Arc::new(properties)).map_err(failed)?;
        let pages = Pages::default();
        let factory = ArrowRowGroupWriterFactory::new(&file, stored.clone());
        Ok(Self {
            cx: cx.clone(),
            factory: factory.with_page_store_factory(Arc::new(pages.clone())),
            stored,
            pages,
            file: Some(file),
            row_group_rows: options.row_group_rows,
            row_groups: 0,
            group: None,
            chunk: Vec::new(),
            chunk_rows: 0,
            chunk_bytes: 0,
            pipeline: Pipeline::new(CHUNKS_IN_FLIGHT),
        })
    }

    /// How many rows the chunk takes before it is full or its row group ends.
    fn room(&self) -> usize {
        let left = self.row_group_rows - self.group.as_ref().map_or(0, |group| group.rows);
        CHUNK_ROWS.min(left) - self.chunk_rows
    }

    async fn encode_chunk(&mut self, output: &mut dyn Output) -> Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        let (rows, bytes) = (std::mem::take(&mut self.chunk_rows), std::mem::take(&mut self.chunk_bytes));
        let mut group = match self.group.take() {
            Some(group) => group,
            None => self.begin_row_group()?,
        };
        group.rows += rows;
        group.bytes += bytes;
        let work = |lane: &Arc<Lane>| Work::Rows(lane.columns_of(&chunk));
        self.submit(&group.lanes, work, false, output).await?;
        if group.rows >= self.row_group_rows || group.bytes >= ROW_GROUP_BYTES {
            self.end_row_group(group, output).await
        } else {
            self.group = Some(group);
            Ok(())
        }
    }

    fn begin_row_group(&mut self) -> Result<RowGroup> {
        let writers = self.factory.create_column_writers(self.row_groups).map_err(failed)?;
        self.row_groups += 1;
        Ok(RowGroup { lanes: Lane::share(&self.stored, writers), rows: 0, bytes: 0 })
    }

    async fn end_row_group(&mut self, group: RowGroup, output: &mut dyn Output) -> Result<()> {
        self.submit(&group.lanes, |_| Work::Close, true, output).await
    }

    /// Gives each lane work; when it was the last, the lanes come out of the pipeline to be appended.
    async fn submit(
        &mut self,
        lanes: &[Arc<Lane>],
        work: impl Fn(&Arc<Lane>) -> Work,
        last: bool,
        output: &mut dyn Output,
    ) -> Result<()> {
        self.make_room(output).await?;
        let jobs = lanes.iter().map(|lane| {
            lane.give(work(lane));
            let (cx, lane) = (self.cx.clone(), lane.clone());
            async move { cx.cpu(move || lane.run()).await }
        });
        let jobs = futures::future::try_join_all(jobs.collect::<Vec<_>>());
        let ready = if last { Ready::RowGroup(lanes.to_vec()) } else { Ready::Rows };
        self.begin(async move { jobs.await.map(|_| ready) }, output).await
    }

    /// Starts a job as soon as there is room, and appends what is there.
    async fn begin(
        &mut self,
        job: impl Future<Output = Result<Ready>> + Send + 'static,
        output: &mut dyn Output,
    ) -> Result<()> {
        self.make_room(output).await?;
        self.pipeline.push(job);
        while let Some(ready) = self.pipeline.try_next() {
            self.append_ready(ready?, output).await?;
        }
        Ok(())
    }

    async fn make_room(&mut self, output: &mut dyn Output) -> Result<()> {
        while self.pipeline.is_full() {
            self.advance(output).await?;
        }
        Ok(())
    }

    /// Ends the row group under way.
    async fn end_open(&mut self, output: &mut dyn Output) -> Result<()> {
        self.encode_chunk(output).await?;
        match self.group.take() {
            Some(group) => self.end_row_group(group, output).await,
            None => Ok(()),
        }
    }

    /// Ends the row group under way, and waits for all.
    async fn end_all(&mut self, output: &mut dyn Output) -> Result<()> {
        self.end_open(output).await?;
        while !self.pipeline.is_empty() {
            self.advance(output).await?;
        }
        Ok(())
    }

    async fn advance(&mut self, output: &mut dyn Output) -> Result<()> {
        match self.pipeline.next().await {
            Some(ready) => self.append_ready(ready?, output).await,
            None => Ok(()),
        }
    }

    async fn append_ready(&mut self, ready: Ready, output: &mut dyn Output) -> Result<()> {
        let bytes = match ready {
            Ready::Rows => return Ok(()),
            Ready::RowGroup(lanes) => {
                let encoded = move |row_group: &mut RowGroupWriter<'_>| {
                    let mut chunks = lanes.iter().flat_map(|lane| lane.closed());
                    chunks.try_for_each(|chunk| chunk.append_to_row_group(row_group).map_err(failed))
                };
                self.lay_out(encoded, output).await?;
                self.pages.take()
            }
            Ready::Fetched(spliced, index, columns) => {
                self.lay_out(move |row_group| spliced.append(index, row_group), output).await?;
                columns
            }
        };
        for bytes in bytes {
            output.write(bytes).await?;
        }
        Ok(())
    }

    /// Appends a row group of another file, whose bytes the output copies from there.
    async fn copy_row_group(
        &mut self,
        spliced: &Arc<Spliced>,
        index: usize,
        output: &mut dyn Output,
    ) -> Result<()> {
        let appended = spliced.clone();
        self.lay_out(move |row_group| appended.append(index, row_group), output).await?;
        for range in spliced.ranges(index)? {
            output.copy(spliced.input(), range).await?;
        }
        Ok(())
    }

    /// Adds a row group to the file whose bytes are to go out next. What comes before them goes out here.
    async fn lay_out(
        &mut self,
        columns: impl FnOnce(&mut RowGroupWriter<'_>) -> Result<()> + Send + 'static,
        output: &mut dyn Output,
    ) -> Result<()> {
        let mut file = self.file.take().ok_or_else(gone)?;
        let work = move || {
            file.flush()?;
            let before = file.inner_mut().take();
            file.inner_mut().set_elsewhere(true);
            let mut row_group = file.next_row_group().map_err(failed)?;
            columns(&mut row_group)?;
            row_group.close().map_err(failed)?;
            file.flush()?;
            file.inner_mut().set_elsewhere(false);
            Ok((file, before))
        };
        let (file, before) = self.cx.cpu(work).await?;
        self.file = Some(file);
        write(before, output).await
    }
}

#[async_trait]
impl Stage for ParquetStage {
    async fn write(&mut self, rows: RecordBatch, output: &mut dyn Output) -> Result<()> {
        let mut start = 0;
        while start < rows.num_rows() {
            let part = rows.slice(start, self.room().min(rows.num_rows() - start));
            start += part.num_rows();
            self.chunk_rows += part.num_rows();
            self.chunk_bytes += slice_bytes(&part);
            self.chunk.push(part);
            if self.room() == 0 || self.chunk_bytes >= CHUNK_BYTES {
                self.encode_chunk(output).await?;
            }
        }
        Ok(())
    }

    async fn append(&mut self, input: Arc<dyn Input>, output: &mut dyn Output) -> Result<bool> {
        let spliced = Spliced::of(&self.cx, input, &self.stored, self.row_group_rows).await?;
        let Some(spliced) = spliced.map(Arc::new) else { return Ok(false) };
        if output.copies(spliced.input()) {
            self.end_all(output).await?;
            for index in 0..spliced.row_groups() {
                self.copy_row_group(&spliced, index, output).await?;
                self.row_groups += 1;
            }
            return Ok(true);
        }
        self.end_open(output).await?;
        for index in 0..spliced.row_groups() {
            let spliced = spliced.clone();
            let fetch = async move {
                let chunks = spliced.fetch(index).await?;
                Ok(Ready::Fetched(spliced, index, chunks))
            };
            // It is fetched while the one before is appended.
            self.begin(fetch, output).await?;
            self.row_groups += 1;
        }
        Ok(true)
    }

    async fn finish(&mut self, output: &mut dyn Output) -> Result<()> {
        self.end_all(output).await?;
        let mut file = self.file.take().ok_or_else(gone)?;
        let bytes = self.cx.cpu(move || {
            file.finish().map_err(failed)?;
            Ok(file.inner_mut().take())
        });
        write(bytes.await?, output).await
    }
}

async fn write(bytes: Bytes, output: &mut dyn Output) -> Result<()> {
    if bytes.is_empty() { Ok(()) } else { output.write(bytes).await }
}

fn properties(options: &ParquetWrite) -> WriterProperties {
    let compression = match options.compression {
        ParquetCompression::None => Compression::UNCOMPRESSED,
        ParquetCompression::Snappy => Compression::SNAPPY,
        ParquetCompression::Zstd => Compression::ZSTD(ZstdLevel::default()),
        ParquetCompression::Gzip => Compression::GZIP(GzipLevel::default()),
        ParquetCompression::Lz4 => Compression::LZ4_RAW,
    };
    let statistics = if options.statistics { EnabledStatistics::Page } else { EnabledStatistics::None };
    WriterProperties::builder()
        .set_compression(compression)
        .set_statistics_enabled(statistics)
        .set_dictionary_enabled(options.dictionary)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_created_by(concat!("towpath version ", env!("CARGO_PKG_VERSION")).to_owned())
        .build()
}

/// What to do about a type that Parquet cannot hold.
pub(super) fn refuse(data_type: &DataType) -> Option<&'static str> {
    storage::refuse(&storage::stored_type(data_type))
}

fn failed(error: ParquetError) -> Error {
    Error::unexpected("cannot encode Parquet").source(error)
}

fn gone() -> Error {
    Error::unexpected("the Parquet file was given up after an error")
}
