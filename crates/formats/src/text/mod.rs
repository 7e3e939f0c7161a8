//! Formats that are text: CSV, newline-delimited JSON, JSON documents.
//!
//! A *framer* goes through the text once and cuts it into blocks of whole records: cheap, and in order. A *decoder* makes
//! batches of blocks: dear, and many at once, so that even one compressed file keeps all processors busy.

mod block;
mod blocks;
mod cells;
#[cfg(feature = "csv")]
mod csv;
mod frame;
#[cfg(feature = "html")]
pub(crate) mod html;
#[cfg(feature = "json")]
pub(crate) mod json;
mod known;
mod pieces;
#[cfg(all(test, feature = "csv", feature = "json"))]
mod properties;
mod scalars;
mod source;
#[cfg(test)]
pub(crate) mod testing;
mod time;
mod value;
#[cfg(feature = "xml")]
pub(crate) mod xml;

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::{Schema, SchemaRef};
use futures::future::ready;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use towpath_core::{Batch, BatchStream, ByteSize, Context, Error, Position, Rejected, Result};

use crate::{Columns, Compression, CsvRead, Encoding, Input, Piece, ReadOptions};
use block::{Block, Point};
use blocks::{Blocks, Event, SMALL};
use frame::{Assembler, Decode, Framer};
use known::Known;
use source::Source;

/// A text format with its options, checked.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    #[cfg(feature = "csv")]
    Csv(Arc<CsvRead>, csv::Dialect),
    #[cfg(feature = "json")]
    Ndjson,
    #[cfg(feature = "json")]
    Json(Option<json::JsonPath>),
    #[cfg(feature = "xml")]
    Xml(Arc<xml::Layout>),
    #[cfg(feature = "html")]
    Html(Arc<html::Extractor>),
}

#[cfg(feature = "csv")]
impl Kind {
    /// # Errors
    /// `Config` for characters that cannot be what the options say.
    pub(crate) fn csv(options: CsvRead, delimiter: char) -> Result<Self> {
        let dialect = csv::Dialect::new(&options, delimiter)?;
        Ok(Self::Csv(Arc::new(options), dialect))
    }
}

/// Reads inputs of a text format.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    kind: Kind,
    compression: Compression,
    limit: Option<ByteSize>,
    keep_truncated: bool,
    sample_rows: usize,
    declared: Arc<Columns>,
    known: Arc<Known>,
    /// The heads of the files that were read last, since all pieces of a file need it.
    heads: Arc<Mutex<Heads>>,
    /// How long a block is, at least.
    block_bytes: usize,
}

/// A file as far as a reader can tell it from others.
type FileKey = (String, Option<u64>);

/// What decodes the blocks of files, the last one first.
type Heads = VecDeque<(FileKey, Arc<dyn Decode>)>;

/// Large enough that jobs cost nothing, small enough for the caches of a processor; a little less than inputs give in
/// one go, so that what comes becomes one block without waiting for more.
const BLOCK_BYTES: usize = 768 << 10;
/// How many rows are looked at without a setting.
const SAMPLE_ROWS: usize = 10_000;
/// How much text is looked at for that.
const SAMPLE_BYTES: usize = 64 << 20;
/// How many heads are kept.
const HEADS: usize = 64;

impl Reader {
    pub(crate) fn new(kind: Kind, compression: Compression, options: ReadOptions) -> Self {
        let fields: Vec<_> =
            options.columns.0.iter().map(|(name, column_type)| column_type.field(name)).collect();
        Self {
            kind,
            compression,
            limit: options.max_decompressed,
            keep_truncated: options.keep_truncated,
            sample_rows: options.sample_rows.unwrap_or(SAMPLE_ROWS),
            declared: Arc::new(options.columns),
            known: Arc::new(Known::new(Schema::new(fields))),
            heads: Arc::default(),
            block_bytes: BLOCK_BYTES,
        }
    }

    /// Other blocks, for tests.
    #[cfg(test)]
    pub(crate) fn with_block_bytes(mut self, block_bytes: usize) -> Self {
        self.block_bytes = block_bytes;
        self
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> &'static str {
        match &self.kind {
            #[cfg(feature = "csv")]
            Kind::Csv(..) => "csv",
            #[cfg(feature = "json")]
            Kind::Ndjson => "ndjson",
            #[cfg(feature = "json")]
            Kind::Json(_) => "json",
            #[cfg(feature = "xml")]
            Kind::Xml(_) => "xml",
            #[cfg(feature = "html")]
            Kind::Html(_) => "html",
        }
    }

    #[cfg(test)]
    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    fn encoding(&self) -> Encoding {
        match &self.kind {
            #[cfg(feature = "csv")]
            Kind::Csv(options, _) => options.encoding,
            #[cfg(feature = "json")]
            Kind::Ndjson | Kind::Json(_) => Encoding::Utf8,
            #[cfg(feature = "xml")]
            Kind::Xml(_) => Encoding::Utf8,
            #[cfg(feature = "html")]
            Kind::Html(_) => Encoding::Utf8,
        }
    }

    /// Whether the text itself may say how its characters are encoded.
    fn declares_encoding(&self) -> bool {
        match &self.kind {
            #[cfg(feature = "xml")]
            Kind::Xml(_) => true,
            #[allow(unreachable_patterns, reason = "without XML it is the only one")]
            _ => false,
        }
    }

    fn framer(&self, name: &str, records: u64) -> Box<dyn Framer> {
        let declared = self.declared.clone();
        match &self.kind {
            #[cfg(feature = "csv")]
            Kind::Csv(options, dialect) => {
                Box::new(csv::Csv::new(name.into(), options.clone(), *dialect, declared))
            }
            #[cfg(feature = "json")]
            Kind::Ndjson => {
                Box::new(json::Lines { decoder: json::LineDecoder { name: name.into(), declared } })
            }
            #[cfg(feature = "json")]
            Kind::Json(path) => Box::new(json::Document::new(name.into(), declared, path.clone(), records)),
            #[cfg(feature = "xml")]
            Kind::Xml(layout) => Box::new(xml::Document::new(name.into(), declared, layout.clone(), records)),
            #[cfg(feature = "html")]
            Kind::Html(extractor) => Box::new(html::Document::new(name.into(), declared, extractor.clone())),
        }
    }

    /// See [`crate::Reader::schema`].
    pub(crate) async fn schema(&self, cx: &Context, input: &Arc<dyn Input>) -> Result<SchemaRef> {
        self.sample(cx, input).await.map_err(|error| error.detail("input", input.name()))
    }

    async fn sample(&self, cx: &Context, input: &Arc<dyn Input>) -> Result<SchemaRef> {
        let mut blocks = self.blocks(cx, input, 0, None, None).await?;
        let (mut rows, mut bytes) = (0, 0);
        let mut schema = self.known.schema();
        while rows < self.sample_rows && bytes < SAMPLE_BYTES {
            let (block, decoder) = match blocks.next().await? {
                Some(Event::Block(block, decoder)) if !block.broken => (block, decoder),
                Some(Event::Block(..)) | None => break,
                Some(Event::Truncated(what)) => return Err(truncated(&what, rows as u64)),
            };
            bytes += block.text.len();
            let (known, max_rows) = (schema.clone(), self.sample_rows - rows);
            let (met, taken) = cx.cpu(move || decoder.infer(&block, &known, max_rows)).await?;
            schema = Arc::new(towpath_core::merge_schemas(&met, &schema));
            rows += taken;
        }
        if let Some(decoder) = blocks.decoder() {
            schema = Arc::new(decoder.settled(schema.as_ref().clone()));
        }
        Ok(self.known.remember(&schema))
    }

    /// See [`crate::Reader::pieces`].
    pub(crate) fn pieces(
        &self,
        cx: &Context,
        input: Arc<dyn Input>,
        target: u64,
    ) -> BoxStream<'static, Result<Piece>> {
        pieces::pieces(self.clone(), cx, input, target)
    }

    /// See [`crate::Reader::read`].
    pub(crate) fn read(
        &self,
        cx: &Context,
        input: Arc<dyn Input>,
        piece: &Piece,
        from: &Position,
        wanted: Option<&[String]>,
    ) -> BatchStream {
        let from = match from {
            Position::End => return stream::empty().boxed(),
            Position::Start => Ok((piece.start > 0).then_some(Point {
                offset: piece.start,
                line: piece.line,
                ..Point::START
            })),
            Position::At(position) => Point::of(position).map(Some),
        };
        let (reader, cx, end) = (self.clone(), cx.clone(), piece.end);
        let name = input.name().to_owned();
        let wanted: Option<Arc<[String]>> = wanted.map(Into::into);
        let batches = async move {
            let from = from?;
            let mut decoder = None;
            if from.is_some() {
                decoder = reader.decoder(&cx, &input).await?;
                if !reader.known.is_settled() {
                    reader.sample(&cx, &input).await?;
                }
            }
            let start = from.map_or(0, |point| point.offset);
            let blocks = reader.blocks(&cx, &input, start, from, end).await?.with_decoder(decoder);
            Ok::<_, Error>(reader.batches(cx, blocks, wanted))
        };
        stream::once(batches).try_flatten().map_err(move |error: Error| error.detail("input", &name)).boxed()
    }

    /// What decodes the blocks of a file, for who does not start at its beginning.
    async fn decoder(&self, cx: &Context, input: &Arc<dyn Input>) -> Result<Option<Arc<dyn Decode>>> {
        if !self.has_head() {
            return Ok(None);
        }
        let key = (input.name().to_owned(), input.size());
        if let Some((_, decoder)) = self.lock_heads().iter().find(|(known, _)| *known == key) {
            return Ok(Some(decoder.clone()));
        }
        let mut blocks = self.blocks(cx, input, 0, None, None).await?;
        while blocks.decoder().is_none() && !blocks.is_done() {
            blocks.advance().await?;
        }
        let decoder = blocks.decoder();
        if let Some(decoder) = &decoder {
            let mut heads = self.lock_heads();
            heads.truncate(HEADS - 1);
            heads.push_front((key, decoder.clone()));
        }
        Ok(decoder)
    }

    fn lock_heads(&self) -> std::sync::MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether blocks mean nothing without the beginning of their file.
    fn has_head(&self) -> bool {
        match &self.kind {
            #[cfg(feature = "csv")]
            Kind::Csv(..) => true,
            #[cfg(feature = "json")]
            Kind::Ndjson | Kind::Json(_) => false,
            #[cfg(feature = "xml")]
            Kind::Xml(_) => false,
            #[cfg(feature = "html")]
            Kind::Html(_) => false,
        }
    }

    /// The blocks from an offset of the text on.
    async fn blocks(
        &self,
        cx: &Context,
        input: &Arc<dyn Input>,
        start: u64,
        from: Option<Point>,
        end: Option<u64>,
    ) -> Result<Blocks> {
        let encoding = self.encoding();
        let seekable = self.compression == Compression::None
            && encoding == Encoding::Utf8
            && from.is_none_or(|point| !point.by_reading);
        let (offset, skip) = if seekable { (start, 0) } else { (0, start) };
        let mut source = Source::new(self.compression, self.limit, encoding, skip)?;
        if offset > 0 {
            source = source.unmarked();
        } else if self.declares_encoding() {
            source = source.declared();
        }
        let remaining = end.map(|end| end.saturating_sub(offset));
        let raw = input.stream_to(offset, end.filter(|_| seekable)).await?;
        let framer = self.framer(input.name(), from.map_or(0, |point| point.row));
        let assembler = Assembler::new(framer, from, self.block_bytes);
        Ok(Blocks::new(cx, raw, remaining, source, assembler, self.keep_truncated))
    }

    /// Decodes blocks, several at once, in order.
    fn batches(self, cx: Context, blocks: Blocks, wanted: Option<Arc<[String]>>) -> BatchStream {
        let at_once = std::thread::available_parallelism().map_or(2, NonZero::get) + 1;
        let decoding = Decoding { cx, known: self.known, wanted };
        let feed = stream::try_unfold((blocks, decoding.clone()), |(mut blocks, decoding)| async move {
            let Some(event) = blocks.next().await? else { return Ok(None) };
            let step = match event {
                Event::Truncated(what) => Step::Truncated(what),
                // What the first block tells about the columns holds for those behind it.
                Event::Block(block, decoder) if !decoding.known.is_settled() => {
                    Step::Done(Box::new(decoding.batch(block, decoder).await?))
                }
                Event::Block(block, decoder) => Step::Decode(block, decoder),
            };
            Ok(Some((step, (blocks, decoding))))
        });
        let steps = feed.map(move |step: Result<Step>| {
            let decoding = decoding.clone();
            async move {
                match step? {
                    Step::Decode(block, decoder) => {
                        decoding.batch(block, decoder).await.map(|batch| Step::Done(Box::new(batch)))
                    }
                    done => Ok(done),
                }
            }
        });
        let mut rows = 0;
        let batches = steps.buffered(at_once).filter_map(move |step| {
            ready(match step {
                Ok(Step::Done(batch)) => {
                    rows += batch.rows.num_rows() as u64;
                    let holds_some = batch.rows.num_rows() > 0 || !batch.rejected.is_empty();
                    holds_some.then_some(Ok(*batch))
                }
                Ok(Step::Truncated(what)) => Some(Err(truncated(&what, rows))),
                Ok(Step::Decode(..)) => Some(Err(Error::unexpected("a block was not decoded"))),
                Err(error) => Some(Err(error)),
            })
        });
        batches.boxed()
    }

    /// The rows of a page.
    #[cfg(feature = "json")]
    pub(crate) async fn page(
        &self,
        cx: &Context,
        page: &json::Page,
        before: u64,
        wanted: Option<&[String]>,
    ) -> Result<Batch> {
        let (known, declared) = (self.known.clone(), self.declared.clone());
        let wanted = wanted.map(<[String]>::to_vec);
        let small = page.bytes() <= SMALL;
        let page = page.clone();
        let job = move || {
            let schema = known.schema();
            let target = json::Target { known: &schema, declared: &declared, wanted: wanted.as_deref() };
            let decoded = page.decode(target, before)?;
            known.remember(&decoded.rows.schema());
            Ok(Batch { rows: decoded.rows, rejected: decoded.rejected, resume: Position::End })
        };
        if small { job() } else { cx.cpu(job).await }
    }
}

/// What decoding needs besides a block.
#[derive(Clone)]
struct Decoding {
    cx: Context,
    known: Arc<Known>,
    wanted: Option<Arc<[String]>>,
}

impl Decoding {
    async fn batch(&self, block: Block, decoder: Arc<dyn Decode>) -> Result<Batch> {
        let (known, wanted) = (self.known.clone(), self.wanted.clone());
        let small = block.text.len() <= SMALL;
        let job = move || batch(&known, &block, &*decoder, wanted.as_deref());
        if small { job() } else { self.cx.cpu(job).await }
    }
}

/// A block on its way.
enum Step {
    Decode(Block, Arc<dyn Decode>),
    Done(Box<Batch>),
    Truncated(String),
}

/// Decodes a block with what is known now, and remembers what it brought.
fn batch(known: &Known, block: &Block, decoder: &dyn Decode, wanted: Option<&[String]>) -> Result<Batch> {
    let resume = block.end.position();
    let schema = known.schema();
    if block.broken {
        let text = String::from_utf8_lossy(&block.text);
        let rejected = Rejected::new(decoder.place(block), "the input ends in the middle of this record");
        let rows = arrow::record_batch::RecordBatch::new_empty(Schema::empty().into());
        return Ok(Batch { rows, rejected: vec![rejected.row(text.trim_end())], resume });
    }
    let met = decoder.decode(block, &schema, wanted)?;
    known.remember(&met.rows.schema());
    let resume = if met.ends { Position::End } else { resume };
    Ok(Batch { rows: met.rows, rejected: met.rejected, resume })
}

fn truncated(what: &str, rows: u64) -> Error {
    let plural = if rows == 1 { "" } else { "s" };
    Error::data(format!("it ends in the middle of {what} after {rows} row{plural}"))
        .help("get the whole file, or set `keep_truncated: true` to keep the rows before the end")
}
