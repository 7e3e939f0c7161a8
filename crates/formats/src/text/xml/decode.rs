//! Blocks of records to batches, by way of JSON.

use std::sync::Arc;

use arrow_schema::Schema;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use towpath_core::{Error, Rejected, Result};

use super::Layout;
use super::shape::write_record;
use super::tree::{Element, resolve};
use crate::Columns;
use crate::text::block::{Block, Decoded, Place, readable};
use crate::text::frame::Decode;
use crate::text::json::{Layout as JsonLayout, Target, decode};

/// Decodes blocks of records.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    pub(super) name: Arc<str>,
    pub(super) declared: Arc<Columns>,
    pub(super) layout: Arc<Layout>,
}

/// A record of a block.
struct Record {
    element: Element,
    /// Where it stands in the text.
    range: std::ops::Range<usize>,
    /// Why it cannot be read.
    fault: Option<String>,
}

impl Decoder {
    fn place_in(&self, block: &Block) -> Place {
        Place { name: self.name.clone(), start: block.start, numbered: true }
    }

    /// The records of a block.
    fn records(&self, block: &Block) -> Result<Vec<Record>> {
        let (text, invalid) = readable(&block.text);
        let mut reader = Reader::from_str(&text);
        // A block ends elements that began before it.
        reader.config_mut().allow_unmatched_ends = true;
        reader.config_mut().expand_empty_elements = true;
        let above = if block.start.row > 0 { self.layout.path.len() - 1 } else { 0 };
        let mut walk = Walk {
            layout: &self.layout,
            depth: above,
            on_the_way: above,
            open: Vec::new(),
            begun: None,
            found: Vec::new(),
        };
        loop {
            let before = position(&reader);
            let event = reader.read_event().map_err(|error| {
                let at = usize::try_from(reader.error_position()).unwrap_or_default().min(block.text.len());
                self.broken(block, at, &error.to_string())
            })?;
            match event {
                Event::Start(start) => walk.start(&start, before),
                Event::End(_) => walk.end(position(&reader)),
                Event::Text(text) => walk.text(&text.xml10_content()),
                Event::CData(text) => walk.text(&text.xml10_content()),
                Event::GeneralRef(reference) => match resolve(&reference) {
                    Ok(text) => walk.text(&text),
                    Err(fault) => walk.fault(fault),
                },
                Event::Eof => break,
                _ => {}
            }
        }
        let mut records = walk.found;
        for record in &mut records {
            if invalid.iter().any(|at| record.range.contains(at)) {
                record.fault = Some("invalid UTF-8".to_owned());
            }
        }
        Ok(records)
    }

    fn broken(&self, block: &Block, at: usize, why: &str) -> Error {
        let (line, column) = self.place_in(block).line_and_column(&block.text[..at]);
        Error::data(format!("invalid XML at line {line}, column {column}: {why}")).detail("input", &self.name)
    }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

/// The way through the elements of a block.
struct Walk<'a> {
    layout: &'a Layout,
    depth: usize,
    on_the_way: usize,
    /// The elements of a record that are open, the record first.
    open: Vec<Element>,
    /// Where the record began, and what is wrong with it.
    begun: Option<(usize, Option<String>)>,
    found: Vec<Record>,
}

impl Walk<'_> {
    fn start(&mut self, start: &BytesStart<'_>, at: usize) {
        if !self.open.is_empty() {
            return self.push(start);
        }
        if self.depth == self.on_the_way
            && self.layout.path.fits(self.depth, self.layout.name(start.name().as_ref()))
        {
            self.on_the_way += 1;
            if self.on_the_way == self.layout.path.len() {
                self.begun = Some((at, None));
                return self.push(start);
            }
        }
        self.depth += 1;
    }

    fn push(&mut self, start: &BytesStart<'_>) {
        let (element, fault) = Element::open(start, self.layout);
        self.depth += 1;
        self.open.push(element);
        if let Some(fault) = fault {
            self.fault(fault);
        }
    }

    fn end(&mut self, at: usize) {
        self.depth = self.depth.saturating_sub(1);
        self.on_the_way = self.on_the_way.min(self.depth);
        let Some(element) = self.open.pop() else { return };
        if let Some(parent) = self.open.last_mut() {
            parent.children.push(element);
        } else {
            let (begin, fault) = self.begun.take().unwrap_or_default();
            self.found.push(Record { element, range: begin..at, fault });
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.open.last_mut() {
            element.text.push_str(text);
        }
    }

    fn fault(&mut self, fault: String) {
        if let Some((_, first)) = &mut self.begun {
            first.get_or_insert(fault);
        }
    }
}

impl Decode for Decoder {
    fn decode(&self, block: &Block, known: &Schema, wanted: Option<&[String]>) -> Result<Decoded> {
        let records = self.records(block)?;
        let mut shape = self.layout.lists.clone();
        shape.learn_columns(known.fields());
        let sound = || records.iter().filter(|record| record.fault.is_none());
        sound().for_each(|record| shape.learn(&record.element));
        let mut lines = String::new();
        for record in &records {
            match &record.fault {
                None => write_record(&record.element, &shape, &mut lines),
                // A line that is rejected, so that all others keep their numbers.
                Some(_) => lines.push_str("!\n"),
            }
        }
        let target = Target { known, declared: &self.declared, wanted };
        let mut decoded = decode(lines.as_bytes(), JsonLayout::Lines, target, &self.place_in(block))?;
        let mut faulty = records.iter().filter(|record| record.fault.is_some());
        for rejected in &mut decoded.rejected {
            if rejected.row.as_ref().is_some_and(|row| row == "!")
                && let Some(Record { range, fault: Some(fault), .. }) = faulty.next()
            {
                let text = String::from_utf8_lossy(&block.text[range.clone()]);
                *rejected = Rejected::new(&rejected.place, fault).row(&*text);
            }
        }
        Ok(decoded)
    }

    fn infer(&self, block: &Block, known: &Schema, _: usize) -> Result<(Schema, usize)> {
        let rows = self.decode(block, known, None)?.rows;
        Ok((rows.schema().as_ref().clone(), rows.num_rows()))
    }

    fn place(&self, block: &Block) -> String {
        self.place_in(block).of(&[], 0)
    }
}
