//! The file form: a footer says where the record batches are.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, MetadataVersion, root_as_footer};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;
use towpath_core::{Context, Error, Result};

use super::{projection, slices, undecodable};
use crate::columnar::units::{Unit, Units};
use crate::{Input, Piece};

/// The length of the footer and the magic bytes, at the very end.
const END_BYTES: usize = 10;

/// The next record batch is fetched ahead if it has at most this many bytes.
const FETCH_AHEAD_BYTES: u64 = 16 << 20;

/// A file whose footer has been read.
pub(super) struct IpcFile {
    cx: Context,
    input: Arc<dyn Input>,
    size: u64,
    /// All columns, in the layout of the file.
    pub(super) schema: SchemaRef,
    decoder: Arc<FileDecoder>,
    blocks: Vec<Block>,
    end: usize,
}

/// What a footer says.
struct Footer {
    schema: SchemaRef,
    version: MetadataVersion,
    dictionaries: Vec<Block>,
    blocks: Vec<Block>,
}

impl IpcFile {
    pub(super) async fn open(
        cx: &Context,
        input: Arc<dyn Input>,
        size: u64,
        columns: Option<&[String]>,
    ) -> Result<Self> {
        let bytes = fetch_footer(&*input, size).await?;
        let footer = cx.cpu(move || decode_footer(&bytes)).await;
        let footer = footer.map_err(|error| undecodable("the footer", error))?;
        let fetches = footer.dictionaries.iter().map(async |block| fetch(&*input, block, size).await);
        let dictionaries = try_join_all(fetches).await?;
        let wanted = projection(&footer.schema, columns);
        let (schema, version) = (footer.schema.clone(), footer.version);
        let decoder = cx.cpu(move || {
            let mut decoder = FileDecoder::new(schema, version);
            if let Some(wanted) = wanted {
                decoder = decoder.with_projection(wanted);
            }
            for (block, bytes) in footer.dictionaries.iter().zip(dictionaries) {
                decoder.read_dictionary(block, &Buffer::from(bytes))?;
            }
            Ok(decoder)
        });
        let decoder = Arc::new(decoder.await.map_err(|error| undecodable("a dictionary", error))?);
        let end = footer.blocks.len();
        Ok(Self { cx: cx.clone(), input, size, schema: footer.schema, decoder, blocks: footer.blocks, end })
    }

    /// Only the record batches before this one.
    pub(super) fn until(self, end: Option<u64>) -> Self {
        let end = end.and_then(|end| usize::try_from(end).ok()).unwrap_or(self.end).min(self.end);
        Self { end, ..self }
    }

    /// Neighbouring record batches of about this many bytes together.
    pub(super) fn pieces(&self, target: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (index, block) in self.blocks.iter().enumerate() {
            bytes += u64::try_from(block.bodyLength()).unwrap_or(0);
            if bytes >= target || index + 1 == self.blocks.len() {
                let end = index as u64 + 1;
                pieces.push(Piece { start, end: Some(end), line: 0, bytes: Some(bytes) });
                (start, bytes) = (end, 0);
            }
        }
        pieces
    }
}

async fn fetch_footer(input: &dyn Input, size: u64) -> Result<Bytes> {
    let broken = |why: &str| {
        Error::data(format!("it is not an Arrow file: {why}")).help("is it complete, and is `format` right?")
    };
    let start = size.checked_sub(END_BYTES as u64).ok_or_else(|| broken("it is too short"))?;
    let end = input.range(start..size).await?;
    let end = <[u8; END_BYTES]>::try_from(&end[..]).map_err(|_| broken("its end is missing"))?;
    let length = read_footer_length(end).map_err(|_| broken("it does not end with ARROW1"))?;
    let from =
        start.checked_sub(length as u64).ok_or_else(|| broken("its footer would be larger than itself"))?;
    input.range(from..start).await
}

fn decode_footer(bytes: &[u8]) -> Result<Footer> {
    let footer = root_as_footer(bytes).map_err(|error| Error::data(error.to_string()))?;
    let schema = footer.schema().ok_or_else(|| Error::data("it has no columns"))?;
    if !schema.endianness().equals_to_target_endianness() {
        return Err(Error::unsupported("it was written by a machine of the other byte order"));
    }
    Ok(Footer {
        schema: Arc::new(fb_to_schema(schema)),
        version: footer.version(),
        dictionaries: footer.dictionaries().iter().flatten().copied().collect(),
        blocks: footer.recordBatches().iter().flatten().copied().collect(),
    })
}

fn range_of(block: &Block, size: u64) -> Option<Range<u64>> {
    let start = u64::try_from(block.offset()).ok()?;
    let header = u64::try_from(block.metaDataLength()).ok().filter(|length| *length >= 8)?;
    let end = start.checked_add(header)?.checked_add(u64::try_from(block.bodyLength()).ok()?)?;
    (end <= size).then_some(start..end)
}

async fn fetch(input: &dyn Input, block: &Block, size: u64) -> Result<Bytes> {
    let range = range_of(block, size).ok_or_else(|| Error::data("a block lies outside of the file"))?;
    input.range(range).await
}

#[async_trait]
impl Units for IpcFile {
    const NAME: &'static str = "record_batch";

    fn input(&self) -> &str {
        self.input.name()
    }

    async fn open(&self, at: u64, skip: u64) -> Result<Option<Unit>> {
        let Some(index) = usize::try_from(at).ok().filter(|index| *index < self.end) else { return Ok(None) };
        let block = self.blocks[index];
        let decoded = async {
            let bytes = fetch(&*self.input, &block, self.size).await?;
            let decoder = self.decoder.clone();
            let rows =
                self.cx.cpu(move || Ok(decoder.read_record_batch(&block, &Buffer::from(bytes))?)).await;
            let rows: Option<RecordBatch> = rows.map_err(|error| undecodable("the record batch", error))?;
            rows.ok_or_else(|| Error::data("the block is no record batch"))
        };
        let rows = decoded.await.map_err(|error: Error| error.detail(Self::NAME, at))?;
        let next = (index + 1 < self.end).then_some(at + 1);
        let next_bytes = next.and_then(|_| range_of(&self.blocks[index + 1], self.size));
        let next_bytes = next_bytes.map_or(0, |range| range.end - range.start);
        Ok(Some(Unit {
            rows: rows.num_rows() as u64,
            next,
            fetch_ahead: next_bytes <= FETCH_AHEAD_BYTES,
            batches: slices(rows, skip),
        }))
    }
}
