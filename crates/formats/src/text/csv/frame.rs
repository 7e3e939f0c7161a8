//! Where the records of a CSV file end, and what decodes them.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use towpath_core::Result;

use super::decode::{Layout, Target, decode, infer};
use super::dialect::{Dialect, Scanner};
use super::head::head;
use crate::text::block::{Block, Decoded, Place};
use crate::text::frame::{Decode, Framer};
use crate::{Columns, CsvRead};

/// Records that end at newlines outside of quotes.
pub(crate) struct Csv {
    scanner: Scanner,
    decoder: CsvDecoder,
}

/// Decodes blocks of one file.
#[derive(Debug, Clone)]
pub(crate) struct CsvDecoder {
    name: Arc<str>,
    declared: Arc<Columns>,
    layout: Layout,
}

impl Csv {
    pub(crate) fn new(
        name: Arc<str>,
        options: Arc<CsvRead>,
        dialect: Dialect,
        declared: Arc<Columns>,
    ) -> Self {
        let layout = Layout { options, dialect, names: Arc::new([]) };
        Self { scanner: Scanner::new(dialect), decoder: CsvDecoder { name, declared, layout } }
    }
}

impl Framer for Csv {
    fn head(&mut self, text: &[u8], at_end: bool) -> Result<Option<usize>> {
        let layout = &mut self.decoder.layout;
        let head = head(text, at_end, &layout.options, layout.dialect, &self.decoder.declared)?;
        Ok(head.map(|head| {
            layout.names = head.names.into();
            head.length
        }))
    }

    fn last_end(&mut self, text: &[u8]) -> Result<Option<usize>> {
        Ok(self.scanner.last_end(text))
    }

    fn unfinished(&self) -> Option<&'static str> {
        self.scanner.in_quotes().then_some("a quoted field")
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::new(self.decoder.clone())
    }

    fn advice(&self) -> &'static str {
        "does a quote miss its partner? If quotes mean nothing here, set `quote: \"\"`"
    }
}

impl CsvDecoder {
    fn place_in(&self, block: &Block) -> Place {
        Place { name: self.name.clone(), start: block.start, numbered: false }
    }
}

impl Decode for CsvDecoder {
    fn decode(&self, block: &Block, known: &Schema, wanted: Option<&[String]>) -> Result<Decoded> {
        let target = Target { known, declared: &self.declared, wanted };
        decode(&block.text, &self.layout, target, &self.place_in(block))
    }

    fn infer(&self, block: &Block, known: &Schema, max_rows: usize) -> Result<(Schema, usize)> {
        let of = |name: &String| match self.declared.get(name) {
            Some(declared) => declared.data_type().clone(),
            None => known.field_with_name(name).map_or(DataType::Null, |field| field.data_type().clone()),
        };
        let mut types: Vec<_> = self.layout.names.iter().map(of).collect();
        let rows = infer(&block.text, &self.layout, &self.declared, &mut types, max_rows);
        let fields =
            self.layout.names.iter().zip(types).map(|(name, data_type)| Field::new(name, data_type, true));
        Ok((Schema::new(fields.collect::<Vec<_>>()), rows))
    }

    /// A column without any value is text.
    fn settled(&self, schema: Schema) -> Schema {
        let fields = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Null => Field::new(field.name(), DataType::Utf8, true),
            _ => field.as_ref().clone(),
        });
        Schema::new(fields.collect::<Vec<_>>())
    }

    fn place(&self, block: &Block) -> String {
        self.place_in(block).of(&[], 0)
    }
}
