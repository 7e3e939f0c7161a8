//! Newline-delimited JSON.

use std::sync::Arc;

use arrow_schema::Schema;
use towpath_core::{Error, Result};

use super::decode::{Layout, Target, decode};
use super::page::refuse_other_formats;
use crate::Columns;
use crate::text::block::{Block, Decoded, Place};
use crate::text::frame::{Decode, Framer};

/// Records that end at newlines.
pub(crate) struct Lines {
    pub(crate) decoder: LineDecoder,
}

impl Framer for Lines {
    fn head(&mut self, text: &[u8], at_end: bool) -> Result<Option<usize>> {
        let mark = mark(text);
        let begin = text[mark..].trim_ascii_start();
        if begin.len() < 64 && !at_end && !begin.contains(&b'\n') {
            return Ok(None);
        }
        refuse_other_formats(begin, &self.decoder.name)?;
        if begin.first() == Some(&b'[') {
            return Err(Error::data("the first line begins an array, not an object")
                .detail("input", &self.decoder.name)
                .help("is it one JSON document? Set `format: json`"));
        }
        Ok(Some(mark))
    }

    fn last_end(&mut self, text: &[u8]) -> Result<Option<usize>> {
        Ok(memchr::memrchr(b'\n', text).map(|newline| newline + 1))
    }

    fn unfinished(&self) -> Option<&'static str> {
        None
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::new(self.decoder.clone())
    }

    fn advice(&self) -> &'static str {
        "is it newline-delimited JSON?"
    }
}

/// Decodes blocks of lines.
#[derive(Debug, Clone)]
pub(crate) struct LineDecoder {
    pub(crate) name: Arc<str>,
    pub(crate) declared: Arc<Columns>,
}

impl LineDecoder {
    fn place_in(&self, block: &Block) -> Place {
        Place { name: self.name.clone(), start: block.start, numbered: false }
    }
}

impl Decode for LineDecoder {
    fn decode(&self, block: &Block, known: &Schema, wanted: Option<&[String]>) -> Result<Decoded> {
        let target = Target { known, declared: &self.declared, wanted };
        decode(&block.text, Layout::Lines, target, &self.place_in(block))
    }

    fn infer(&self, block: &Block, known: &Schema, max_rows: usize) -> Result<(Schema, usize)> {
        let mut newlines = memchr::memchr_iter(b'\n', &block.text);
        let end =
            max_rows.checked_sub(1).and_then(|last| newlines.nth(last)).map_or(block.text.len(), |at| at + 1);
        let sample = Block { text: block.text.slice(..end), ..block.clone() };
        let rows = self.decode(&sample, known, None)?.rows;
        Ok((rows.schema().as_ref().clone(), rows.num_rows()))
    }

    fn place(&self, block: &Block) -> String {
        self.place_in(block).of(&[], 0)
    }
}

/// The length of a UTF-8 byte order mark.
pub(crate) fn mark(text: &[u8]) -> usize {
    if text.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 }
}
