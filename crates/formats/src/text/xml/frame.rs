//! Where the records of a document end.

use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::events::Event;
use towpath_core::{Error, Result};

use super::Layout;
use super::decode::Decoder;
use super::lexer::{Lexer, Tag};
use crate::Columns;
use crate::text::frame::{Decode, Framer};

/// How much may stand before the root.
const MAX_HEAD: usize = 1 << 20;

/// Finds the records of a document.
pub(crate) struct Document {
    decoder: Decoder,
    lexer: Lexer,
    /// How many elements are open, and how many of the outermost of them are on the way to records.
    depth: usize,
    on_the_way: usize,
    /// Whether the root is behind the scanner.
    closed: bool,
    passed: u64,
    /// How many of them end before the last end.
    ended: u64,
}

impl Document {
    /// A document from its root, or from behind this many records.
    pub(crate) fn new(name: Arc<str>, declared: Arc<Columns>, layout: Arc<Layout>, records: u64) -> Self {
        let above = if records > 0 { layout.path.len() - 1 } else { 0 };
        Self {
            decoder: Decoder { name, declared, layout },
            lexer: Lexer::default(),
            depth: above,
            on_the_way: above,
            closed: false,
            passed: records,
            ended: records,
        }
    }

    fn open(&mut self, name: &[u8]) -> Result<()> {
        let layout = &self.decoder.layout;
        if self.closed {
            return Err(Error::data("invalid XML: something follows the root element"));
        }
        if self.depth == self.on_the_way {
            let name = String::from_utf8_lossy(name);
            let name = layout.name(&name);
            if layout.path.fits(self.depth, name) {
                self.on_the_way += 1;
            } else if self.depth == 0 {
                return Err(Error::data(format!("the root is `{name}`, which is not in `{}`", layout.path))
                    .help("set `records` to the path from the root on"));
            }
        }
        self.depth += 1;
        if self.depth > layout.max_depth {
            return Err(Error::data(format!("elements are nested deeper than {}", layout.max_depth))
                .help("raise `max_depth` if the document is what it should be"));
        }
        Ok(())
    }

    /// Whether a record ends with it.
    fn close(&mut self) -> Result<bool> {
        let Some(depth) = self.depth.checked_sub(1) else {
            return Err(Error::data("invalid XML: an end tag without a start"));
        };
        let length = self.decoder.layout.path.len();
        let ends = self.depth == length && self.on_the_way == length;
        self.depth = depth;
        self.on_the_way = self.on_the_way.min(depth);
        self.closed = depth == 0;
        self.passed += u64::from(ends);
        Ok(ends)
    }
}

impl Framer for Document {
    fn head(&mut self, text: &[u8], at_end: bool) -> Result<Option<usize>> {
        let begin = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        let mark = text.len() - begin.len();
        let body = begin.trim_ascii_start();
        match body.first() {
            None if at_end => return Err(Error::data("the body is empty, not XML")),
            None => return Ok(None),
            Some(b'<') => {}
            Some(_) => {
                let begin = String::from_utf8_lossy(&body[..body.len().min(40)]);
                return Err(Error::data(format!("it is not XML (begins with `{}`)", begin.trim_end())));
            }
        }
        let valid = match std::str::from_utf8(begin) {
            Ok(text) => text,
            Err(error) => {
                std::str::from_utf8(&begin[..error.valid_up_to()]).expect("it is valid up to there")
            }
        };
        match root_start(valid)? {
            Some(start) => Ok(Some(mark + start)),
            None if at_end || text.len() > MAX_HEAD => Err(Error::data("it has no root element")),
            None => Ok(None),
        }
    }

    fn last_end(&mut self, text: &[u8]) -> Result<Option<usize>> {
        let (mut at, mut last) = (0, None);
        while at < text.len() {
            let (length, tag) = self.lexer.next(&text[at..])?;
            at += length;
            let ends = match tag {
                None => false,
                Some(Tag::Open(name)) => self.open(&name).map(|()| false)?,
                Some(Tag::Empty(name)) => self.open(&name).and_then(|()| self.close())?,
                Some(Tag::Close) => self.close()?,
            };
            if ends {
                last = Some(at);
                self.ended = self.passed;
            }
        }
        Ok(last)
    }

    fn unfinished(&self) -> Option<&'static str> {
        (self.depth > 0 || self.lexer.is_within()).then_some("the XML document")
    }

    fn rest_is_record(&self) -> bool {
        !self.closed
    }

    fn records(&self) -> u64 {
        self.ended
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::new(self.decoder.clone())
    }

    fn advice(&self) -> &'static str {
        "set `records` to the path of smaller elements, such as /feed/entry"
    }
}

/// Where the root begins; `None` when that is not in the text.
fn root_start(text: &str) -> Result<Option<usize>> {
    let mut reader = Reader::from_str(text);
    loop {
        let before = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        match reader.read_event() {
            Ok(Event::Start(start) | Event::Empty(start)) => {
                if start.local_name().as_ref().eq_ignore_ascii_case("html") {
                    return Err(Error::data("the body is HTML, not XML").help(
                        "check the URL, and whether the server asks for a login; or set `format: html`",
                    ));
                }
                return Ok(Some(before));
            }
            Ok(Event::DocType(name)) if name.trim_ascii_start().to_ascii_lowercase().starts_with("html") => {
                return Err(Error::data("the body is HTML, not XML")
                    .help("check the URL, and whether the server asks for a login; or set `format: html`"));
            }
            // The text so far may end within a tag.
            Ok(Event::Eof) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}
