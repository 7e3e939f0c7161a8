//! Avro object container files: runs of blocks are fetched, and decoded as small files of their own.

mod blocks;
#[cfg(all(test, feature = "full"))]
mod tests;

use std::io::{BufRead, Cursor, Read as _};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow_avro::codec::Tz;
use arrow_avro::reader::{Reader, ReaderBuilder, read_header_info};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use towpath_core::{BatchStream, Context, Error, Position, Result};

use self::blocks::Block;
use super::units::{self, Unit, Units};
use super::whole::sized;
use crate::plain::{plain_rows, plain_schema};
use crate::{Input, Piece};

/// What is fetched to find the header; longer ones are fetched again.
const HEADER_BYTES: u64 = 64 << 10;

/// Blocks are fetched together up to about this many bytes.
const RUN_BYTES: u64 = 1 << 20;

/// Rows of a batch.
const BATCH_ROWS: usize = 16 << 10;

pub(super) async fn schema(cx: &Context, input: &Arc<dyn Input>) -> Result<SchemaRef> {
    Ok(AvroFile::open(cx, input.clone(), None).await?.plain)
}

#[expect(clippy::needless_pass_by_value, reason = "as the other formats")]
pub(super) fn pieces(_: &Context, input: Arc<dyn Input>, _: u64) -> BoxStream<'static, Result<Piece>> {
    super::one_piece(input.size())
}

pub(super) fn read(
    cx: &Context,
    input: Arc<dyn Input>,
    piece: &Piece,
    from: Position,
    columns: Option<&[String]>,
) -> BatchStream {
    let (cx, start, columns) = (cx.clone(), piece.start, columns.map(<[String]>::to_vec));
    let batches = async move {
        let (at, row) = units::place::<AvroFile>(&from, start)?;
        let file = AvroFile::open(&cx, input, columns.as_deref()).await?;
        let at = at.max(file.header.len() as u64);
        Ok::<_, Error>(units::read(&cx, file, at, row))
    };
    stream::once(batches).try_flatten().boxed()
}

/// A file whose header has been read.
struct AvroFile {
    input: Arc<dyn Input>,
    size: u64,
    header: Bytes,
    sync: [u8; 16],
    wanted: Option<Vec<usize>>,
    plain: SchemaRef,
}

impl AvroFile {
    async fn open(cx: &Context, input: Arc<dyn Input>, columns: Option<&[String]>) -> Result<Self> {
        let (input, size) = sized(input).await?;
        let name = input.name().to_owned();
        let opened = async {
            let (header, sync) = fetch_header(cx, &*input, size).await?;
            let bytes = header.clone();
            let schema = cx.cpu(move || Ok(reader(Cursor::new(bytes), None, 1)?.schema())).await;
            let schema = schema.map_err(|error| not_avro("its columns cannot be read").source(error))?;
            let wanted: Option<Vec<usize>> = columns.map(|columns| {
                let fields = schema.fields().iter().enumerate();
                fields.filter(|(_, field)| columns.contains(field.name())).map(|(index, _)| index).collect()
            });
            let plain = match &wanted {
                None => plain_schema(&schema),
                Some(wanted) => plain_schema(&Arc::new(schema.project(wanted)?)),
            };
            Ok(Self { input, size, header, sync, wanted, plain })
        };
        opened.await.map_err(|error: Error| error.detail("input", name))
    }
}

async fn fetch_header(cx: &Context, input: &dyn Input, size: u64) -> Result<(Bytes, [u8; 16])> {
    let mut length = HEADER_BYTES.min(size);
    loop {
        let bytes = input.range(0..length).await?;
        if !b"Obj\x01".starts_with(&bytes[..bytes.len().min(4)]) {
            return Err(not_avro("it does not begin with Obj"));
        }
        let copy = bytes.clone();
        let parsed = cx.cpu(move || {
            let header =
                read_header_info(Cursor::new(copy)).map_err(|error| Error::data(error.to_string()))?;
            Ok((header.header_len(), header.sync()))
        });
        match parsed.await {
            Ok((length, sync)) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
                return Ok((bytes.slice(..length), sync));
            }
            Err(error) if length == size => return Err(not_avro("its header cannot be read").source(error)),
            Err(_) => length = length.saturating_mul(8).min(size),
        }
    }
}

fn not_avro(why: &str) -> Error {
    Error::data(format!("it is not Avro: {why}")).help("is it complete, and is `format` right?")
}

fn reader<R: BufRead>(bytes: R, wanted: Option<Vec<usize>>, rows: usize) -> Result<Reader<R>> {
    let builder = ReaderBuilder::new().with_batch_size(rows).with_tz(Tz::Utc);
    let builder = match wanted {
        Some(wanted) => builder.with_projection(wanted),
        None => builder,
    };
    Ok(builder.build(bytes)?)
}

#[async_trait]
impl Units for AvroFile {
    const NAME: &'static str = "block";

    fn input(&self) -> &str {
        self.input.name()
    }

    async fn open(&self, at: u64, skip: u64) -> Result<Option<Unit>> {
        if at >= self.size {
            return Ok(None);
        }
        let run = blocks::fetch(&*self.input, self.size, at, self.sync, RUN_BYTES);
        let run = run.await.map_err(|error| error.detail(Self::NAME, at))?;
        let next = at + run.length;
        let rows = run.rows();
        let decoder =
            Decoder { header: self.header.clone(), wanted: self.wanted.clone(), plain: self.plain.clone() };
        Ok(Some(Unit {
            rows,
            next: (next < self.size).then_some(next),
            fetch_ahead: true,
            batches: Box::new(decoder.batches(run.blocks, skip)),
        }))
    }
}

/// Decodes blocks, each as a file of its own: more rows or bytes than its frame promises cannot lead astray.
struct Decoder {
    header: Bytes,
    wanted: Option<Vec<usize>>,
    plain: SchemaRef,
}

impl Decoder {
    /// The batches behind the first rows. Small blocks are joined.
    fn batches(self, blocks: Vec<Block>, skip: u64) -> impl Iterator<Item = Result<RecordBatch>> + Send {
        let mut skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let mut blocks = blocks.into_iter();
        std::iter::from_fn(move || {
            let (mut joined, mut rows) = (Vec::new(), 0);
            while rows < BATCH_ROWS {
                let Some(block) = blocks.next() else { break };
                let skipped = skip.min(block.rows);
                skip -= skipped;
                if skipped < block.rows {
                    rows += block.rows - skipped;
                    match self.decode(block) {
                        Ok(batch) => joined.push(batch.slice(skipped, batch.num_rows() - skipped)),
                        Err(error) => return Some(Err(error)),
                    }
                }
            }
            (rows > 0).then(|| Ok(concat_batches(&self.plain, &joined)?))
        })
    }

    fn decode(&self, block: Block) -> Result<RecordBatch> {
        let file = Cursor::new(self.header.clone()).chain(Cursor::new(block.bytes));
        let rows = reader(file, self.wanted.clone(), block.rows)?.next().transpose()?;
        let rows = rows.filter(|rows| rows.num_rows() == block.rows);
        let rows =
            rows.ok_or_else(|| Error::data(format!("a block has not the {} rows of its frame", block.rows)))?;
        plain_rows(rows, &self.plain)
    }
}
