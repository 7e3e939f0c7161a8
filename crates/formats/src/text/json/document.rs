//! JSON documents: the elements of an array one after the other, without holding the document.

use std::sync::Arc;

use arrow_schema::Schema;
use towpath_core::{Error, Result};

use super::decode::{Layout, Target, decode};
use super::lines::mark;
use super::page::{Page, nothing_there, refuse_other_formats, syntax_error};
use super::path::{JsonPath, Step};
use super::scan::{Cursor, Syntax};
use crate::Columns;
use crate::text::block::{Block, Decoded, Place};
use crate::text::frame::{Decode, Framer};

/// How much may stand before the records of a document.
const MAX_HEAD: usize = 256 << 20;

/// Finds the elements of an array in a document. Where there is no array to go through, the document is one block.
pub(crate) struct Document {
    decoder: DocumentDecoder,
    /// The names on the way to the array; `None` when the records need the whole document.
    names: Option<Vec<String>>,
    /// How deep below the array the text is; negative behind it.
    depth: i64,
    /// Whether the array is behind the scanner.
    closed: bool,
    in_string: bool,
    escaped: bool,
    /// How many elements are behind the scanner, and before the last end.
    begun: u64,
    ended: u64,
}

impl Document {
    /// A document from its beginning, or from behind this many records.
    pub(crate) fn new(name: Arc<str>, declared: Arc<Columns>, path: Option<JsonPath>, records: u64) -> Self {
        let path = path.unwrap_or_else(JsonPath::root);
        let name_of = |step| match step {
            Step::Name(name) => Some(name),
            Step::Index(_) => None,
        };
        let names = path.steps_to_records().and_then(|steps| steps.into_iter().map(name_of).collect());
        Self {
            decoder: DocumentDecoder { name, declared, path, whole: false },
            names,
            depth: 0,
            closed: false,
            in_string: false,
            escaped: false,
            begun: records.saturating_sub(1),
            ended: records,
        }
    }

    fn whole(&mut self, mark: usize) -> usize {
        self.decoder.whole = true;
        mark
    }

    /// Goes on within a string. Gives how far.
    fn through_string(&mut self, text: &[u8]) -> usize {
        if self.escaped {
            self.escaped = false;
            return 1;
        }
        match memchr::memchr2(b'"', b'\\', text) {
            None => text.len(),
            Some(offset) => {
                self.in_string = text[offset] != b'"';
                self.escaped = self.in_string;
                offset + 1
            }
        }
    }
}

/// Where the array at the end of these names begins; `None` when there is none.
fn array_start(text: &str, names: &[String]) -> Result<Option<usize>, Syntax> {
    let mut cursor = Cursor::new(text);
    for wanted in names {
        if cursor.peek().is_none() {
            return cursor.fail("a value");
        }
        if !cursor.accept(b'{') || cursor.accept(b'}') {
            return Ok(None);
        }
        loop {
            let name = cursor.string()?;
            cursor.colon()?;
            if name == *wanted {
                break;
            }
            cursor.skip()?;
            if !cursor.accept(b',') {
                cursor.expect(b'}', "`,` or `}`")?;
                return Ok(None);
            }
        }
    }
    match cursor.peek() {
        None => cursor.fail("a value"),
        Some(b'[') => Ok(Some(cursor.at() + 1)),
        Some(_) => Ok(None),
    }
}

impl Framer for Document {
    fn head(&mut self, text: &[u8], at_end: bool) -> Result<Option<usize>> {
        let mark = mark(text);
        let body = &text[mark..];
        if body.trim_ascii_start().len() < 64 && !at_end {
            return Ok(None);
        }
        refuse_other_formats(body, &self.decoder.name)?;
        if body.trim_ascii().is_empty() {
            return Err(Error::data("the body is empty, not JSON"));
        }
        let Some(names) = &self.names else { return Ok(Some(self.whole(mark))) };
        // A character may be cut at the end of the text so far.
        let valid = match std::str::from_utf8(body) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&body[..error.valid_up_to()]).expect("it is valid up to there"),
        };
        match array_start(valid, names) {
            Ok(Some(start)) => Ok(Some(mark + start)),
            // The page finds what is wrong, or the one record.
            Ok(None) => Ok(Some(self.whole(mark))),
            Err(_) if at_end => Ok(Some(self.whole(mark))),
            // A mistake near the end may be nothing but a word or a number that is not all there.
            Err(syntax) if syntax.at + 64 < valid.len() => {
                Err(syntax_error(valid, syntax, &self.decoder.name))
            }
            Err(_) if text.len() > MAX_HEAD => {
                Err(nothing_there(valid, &self.decoder.path.to_string(), &self.decoder.name))
            }
            Err(_) => Ok(None),
        }
    }

    fn last_end(&mut self, text: &[u8]) -> Result<Option<usize>> {
        if self.decoder.whole {
            return Ok(None);
        }
        let mut last = None;
        let mut at = 0;
        while at < text.len() {
            if self.in_string {
                at += self.through_string(&text[at..]);
                continue;
            }
            let special = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']' | b',');
            let Some(offset) = text[at..].iter().position(special) else { break };
            at += offset;
            match text[at] {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b',' if self.depth == 0 && !self.closed => {
                    self.begun += 1;
                    self.ended = self.begun;
                    last = Some(at);
                }
                b',' => {}
                _ if self.closed => self.depth -= 1,
                _ => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        self.ended = self.begun + 1;
                        last = Some(at + 1);
                    } else if self.depth == -1 {
                        self.closed = true;
                        last = Some(at);
                    }
                }
            }
            at += 1;
        }
        Ok(last)
    }

    fn unfinished(&self) -> Option<&'static str> {
        let enclosing = self.names.as_ref().map_or(0, Vec::len);
        let end = -1 - i64::try_from(enclosing).unwrap_or(i64::MAX);
        (!self.decoder.whole && self.depth > end).then_some("the JSON document")
    }

    fn rest_is_record(&self) -> bool {
        self.decoder.whole || !self.closed
    }

    fn records(&self) -> u64 {
        self.ended
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::new(self.decoder.clone())
    }

    fn advice(&self) -> &'static str {
        "name the array of the records with `records`, such as $.data"
    }
}

/// Decodes blocks of elements, or a document.
#[derive(Debug, Clone)]
struct DocumentDecoder {
    name: Arc<str>,
    declared: Arc<Columns>,
    path: JsonPath,
    /// Whether blocks are documents.
    whole: bool,
}

impl DocumentDecoder {
    fn place_in(&self, block: &Block) -> Place {
        Place { name: self.name.clone(), start: block.start, numbered: true }
    }
}

impl Decode for DocumentDecoder {
    fn decode(&self, block: &Block, known: &Schema, wanted: Option<&[String]>) -> Result<Decoded> {
        let target = Target { known, declared: &self.declared, wanted };
        if self.whole {
            let page = Page::parse(block.text.clone(), &self.name, Some(&self.path)).map_err(|error| {
                if error.message().contains("expected the end") {
                    return error.help("is it an object a line? Set `format: ndjson`");
                }
                error
            })?;
            return Ok(Decoded { ends: true, ..page.decode(target, 0)? });
        }
        decode(&block.text, Layout::Elements, target, &self.place_in(block))
    }

    fn infer(&self, block: &Block, known: &Schema, _: usize) -> Result<(Schema, usize)> {
        let rows = self.decode(block, known, None)?.rows;
        Ok((rows.schema().as_ref().clone(), rows.num_rows()))
    }

    fn place(&self, block: &Block) -> String {
        self.place_in(block).of(&[], 0)
    }
}
