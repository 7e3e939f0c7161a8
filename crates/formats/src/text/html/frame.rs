//! A page is one block.

use std::fmt;
use std::sync::Arc;

use arrow_schema::Schema;
use towpath_core::Result;

use super::Extractor;
use crate::Columns;
use crate::json::Page;
use crate::text::block::{Block, Decoded};
use crate::text::frame::{Decode, Framer};
use crate::text::json::Target;

/// A page, which is read as a whole.
pub(crate) struct Document(Decoder);

impl Document {
    pub(crate) fn new(name: Arc<str>, declared: Arc<Columns>, extractor: Arc<Extractor>) -> Self {
        Self(Decoder { name, declared, extractor })
    }
}

impl Framer for Document {
    fn head(&mut self, _: &[u8], _: bool) -> Result<Option<usize>> {
        Ok(Some(0))
    }

    fn last_end(&mut self, _: &[u8]) -> Result<Option<usize>> {
        Ok(None)
    }

    fn unfinished(&self) -> Option<&'static str> {
        None
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::new(self.0.clone())
    }

    fn advice(&self) -> &'static str {
        "is it a page?"
    }
}

#[derive(Clone)]
struct Decoder {
    name: Arc<str>,
    declared: Arc<Columns>,
    extractor: Arc<Extractor>,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Decode for Decoder {
    fn decode(&self, block: &Block, known: &Schema, wanted: Option<&[String]>) -> Result<Decoded> {
        let url: Option<url::Url> = self.name.parse().ok();
        let scraped = self.extractor.scrape(&block.text, None, url.as_ref(), None)?;
        let target = Target { known, declared: &self.declared, wanted };
        let decoded = Page::parse(scraped.rows, &self.name, None)?.decode(target, 0)?;
        Ok(Decoded { ends: true, ..decoded })
    }

    fn infer(&self, block: &Block, known: &Schema, _: usize) -> Result<(Schema, usize)> {
        let rows = self.decode(block, known, None)?.rows;
        Ok((rows.schema().as_ref().clone(), rows.num_rows()))
    }

    fn place(&self, _: &Block) -> String {
        self.name.to_string()
    }
}
