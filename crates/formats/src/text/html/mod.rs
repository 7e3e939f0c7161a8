//! HTML: rows by CSS selectors.
//!
//! A page becomes the tree that browsers make of it, and its rows become JSON; columns and types are left to the decoder of
//! JSON.

mod css;
mod dom;
mod encoding;
mod extract;
mod frame;
mod selector;
#[cfg(test)]
mod tests;

pub use extract::{Extractor, Links, Scraped};
pub(crate) use frame::Document;
