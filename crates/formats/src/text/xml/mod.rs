//! XML: the elements at a path one after the other, without holding the document.
//!
//! The framer goes through the tags and finds where records end. The decoder makes JSON of the records of a block, in a
//! form that fits them all, and leaves columns and types to the decoder of JSON.

mod decode;
mod frame;
mod lexer;
mod path;
mod shape;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;

use towpath_core::{Error, Result};

use crate::XmlRead;
use path::RecordPath;
use shape::Shape;

pub(crate) use frame::Document;

/// The options, checked.
#[derive(Debug)]
pub(crate) struct Layout {
    path: RecordPath,
    /// The names that are lists whatever the data says.
    lists: Shape,
    /// Whether prefixes of names stay.
    keeps_prefixes: bool,
    max_depth: usize,
}

impl Layout {
    /// # Errors
    /// `Config` for a path that is none.
    pub(crate) fn new(options: &XmlRead) -> Result<Arc<Self>> {
        if options.max_depth == 0 {
            return Err(Error::config("`max_depth` must be above zero"));
        }
        let mut lists = Shape::default();
        for list in &options.lists {
            lists.mark_list(list.trim_matches('/').split('/'));
        }
        Ok(Arc::new(Self {
            path: options.records.as_deref().map_or_else(|| Ok(RecordPath::children()), str::parse)?,
            lists,
            keeps_prefixes: options.namespaces == crate::Namespaces::Keep,
            max_depth: options.max_depth,
        }))
    }

    /// The name of an element or attribute as rows and paths have it.
    fn name<'a>(&self, name: &'a str) -> &'a str {
        match name.split_once(':') {
            Some((_, local)) if !self.keeps_prefixes => local,
            _ => name,
        }
    }
}
