//! JSON: lines, documents, and pages of APIs.

mod column;
mod decode;
mod document;
mod fields;
mod lines;
mod page;
mod path;
mod scan;

#[cfg(test)]
mod tests;

pub(crate) use decode::Target;
#[cfg(feature = "xml")]
pub(crate) use decode::{Layout, decode};
pub(crate) use document::Document;
pub(crate) use lines::{LineDecoder, Lines};
pub use page::Page;
pub use path::JsonPath;
