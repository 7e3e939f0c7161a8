//! Cutting text into blocks of whole records.

use std::fmt;
use std::sync::Arc;

use arrow_schema::Schema;
use bytes::BytesMut;
use towpath_core::{ByteSize, Error, Result};

use super::block::{Block, Decoded, Point};

/// Knows where the records of a format end.
pub(crate) trait Framer: Send {
    /// How many bytes stand before the records; `None` when more text is needed to tell. Called until it tells.
    ///
    /// # Errors
    /// `DataInvalid` when the text is not of this format.
    fn head(&mut self, text: &[u8], at_end: bool) -> Result<Option<usize>>;

    /// Goes on over more text. Gives the place behind the last record that ends in it.
    ///
    /// # Errors
    /// `DataInvalid` when the text is not of this format.
    fn last_end(&mut self, text: &[u8]) -> Result<Option<usize>>;

    /// What breaks off when the text ends here; `None` when it may.
    fn unfinished(&self) -> Option<&'static str>;

    /// Whether text behind the last end belongs to a record.
    fn rest_is_record(&self) -> bool {
        true
    }

    /// How many records end before the last end, where records are numbered.
    fn records(&self) -> u64 {
        0
    }

    /// What decodes the blocks; only when the head is known.
    fn decoder(&self) -> Arc<dyn Decode>;

    /// What to do about a record that never ends.
    fn advice(&self) -> &'static str;
}

/// Makes batches of blocks.
pub(crate) trait Decode: fmt::Debug + Send + Sync {
    /// The rows of a block.
    ///
    /// # Errors
    /// `DataInvalid` when the rest of the input cannot be read either.
    fn decode(&self, block: &Block, known: &Schema, wanted: Option<&[String]>) -> Result<Decoded>;

    /// The columns of a block, no narrower than those known, and how many rows it took.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn infer(&self, block: &Block, known: &Schema, max_rows: usize) -> Result<(Schema, usize)>;

    /// The columns when no more text will be looked at.
    fn settled(&self, schema: Schema) -> Schema {
        schema
    }

    /// The place of a record of the block that broke off.
    fn place(&self, block: &Block) -> String;
}

/// No record is longer.
const MAX_RECORD: usize = 256 << 20;

/// Collects text and cuts it into blocks.
pub(crate) struct Assembler {
    framer: Box<dyn Framer>,
    buffer: BytesMut,
    /// How much of the buffer the framer has seen.
    seen: usize,
    /// Where the last record of the buffer ends.
    end: usize,
    /// Where the buffer begins.
    start: Point,
    /// Where the rows begin, if the head is behind us.
    rows_start: Option<Point>,
    target: usize,
}

impl Assembler {
    /// Text from the beginning of an input, or from a record.
    pub(crate) fn new(framer: Box<dyn Framer>, from: Option<Point>, target: usize) -> Self {
        Self {
            framer,
            buffer: BytesMut::new(),
            seen: 0,
            end: 0,
            start: from.unwrap_or(Point::START),
            rows_start: from,
            target,
        }
    }

    /// What decodes the blocks, as soon as the head is known.
    pub(crate) fn decoder(&self) -> Option<Arc<dyn Decode>> {
        self.rows_start.map(|_| self.framer.decoder())
    }

    /// Where the rows begin, as soon as the head is known.
    pub(crate) fn rows_start(&self) -> Option<Point> {
        self.rows_start
    }

    /// Says that places in this text can only be reached by reading up to them.
    pub(crate) fn by_reading(&mut self) {
        self.start.by_reading = true;
    }

    /// Adds text. Gives the blocks that are complete with it.
    ///
    /// # Errors
    /// As [`Framer`]; `DataInvalid` for a record without an end.
    pub(crate) fn push(&mut self, text: &[u8]) -> Result<Vec<Block>> {
        let mut blocks = Vec::new();
        // In one go, since growing step by step would copy.
        self.buffer.reserve(text.len());
        for part in text.chunks(self.target) {
            blocks.extend(self.push_part(part)?);
        }
        Ok(blocks)
    }

    fn push_part(&mut self, text: &[u8]) -> Result<Option<Block>> {
        self.buffer.extend_from_slice(text);
        self.scan(false)?;
        if self.end >= self.target {
            return Ok(Some(self.cut(self.end, false)));
        }
        if self.buffer.len() - self.end > MAX_RECORD {
            let limit = ByteSize::new(MAX_RECORD as u64);
            return Err(Error::data(format!("a record is longer than {limit}"))
                .detail("line", self.start.behind(&self.buffer[..self.end]).line)
                .help(self.framer.advice()));
        }
        Ok(None)
    }

    fn scan(&mut self, at_end: bool) -> Result<()> {
        if self.rows_start.is_none() {
            let Some(length) = self.framer.head(&self.buffer, at_end)? else { return Ok(()) };
            let head = self.buffer.split_to(length);
            self.start = self.start.behind(&head);
            self.rows_start = Some(self.start);
        }
        if let Some(end) = self.framer.last_end(&self.buffer[self.seen..])? {
            self.end = self.seen + end;
        }
        if !self.framer.rest_is_record() {
            self.buffer.truncate(self.end);
        }
        self.seen = self.buffer.len();
        Ok(())
    }

    fn cut(&mut self, at: usize, broken: bool) -> Block {
        let text = self.buffer.split_to(at).freeze();
        self.seen -= at.min(self.seen);
        self.end = 0;
        let start = self.start;
        self.start = Point { row: self.framer.records(), ..start.behind(&text) };
        Block { text, start, end: self.start, broken }
    }

    /// The rest of the records, and what breaks off at the end. `truncated` says that there should have been more.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(crate) fn finish(&mut self, truncated: bool) -> Result<(Vec<Block>, Option<&'static str>)> {
        self.scan(true)?;
        let unfinished = self.framer.unfinished();
        let mut blocks = Vec::new();
        let breaks_off = truncated || unfinished.is_some();
        let end = if breaks_off || !self.framer.rest_is_record() { self.end } else { self.buffer.len() };
        if end > 0 {
            blocks.push(self.cut(end, false));
        }
        if breaks_off && !self.buffer.trim_ascii().is_empty() {
            blocks.push(self.cut(self.buffer.len(), true));
        }
        Ok((blocks, unfinished))
    }
}
