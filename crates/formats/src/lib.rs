//! Bytes to Arrow batches and back: formats and codecs, streamed, on the CPU pool.
//!
//! A connector that moves files implements [`Input`] over what it reads from and [`Output`] over what it writes to, and
//! leaves everything between to a [`Reader`] and an [`Encoder`].
//!
//! Each format and codec is a cargo feature. The options of all of them are always there, so that a pipeline that asks
//! for one which this binary lacks gets an error that names the feature.

#![cfg_attr(
    not(feature = "full"),
    allow(
        dead_code,
        unused_imports,
        unused_variables,
        reason = "what formats share is idle where some are left out"
    )
)]

#[cfg(feature = "bytes")]
pub mod chunks;
mod codec;
mod columnar;
mod encode;
mod feature;
mod input;
mod options;
mod output;
mod plain;
mod read;
#[cfg(all(test, feature = "full"))]
mod samples;
#[cfg(any(feature = "csv", feature = "json"))]
mod text;
mod write;

#[cfg(feature = "json")]
pub mod json {
    //! Bodies of APIs: one parse for pagination and records.
    //!
    //! [`Page::parse`] checks a body once and finds its records. [`Page::value`] reads what leads to the next page, and
    //! [`Reader::read_page`](crate::Reader::read_page) makes rows of the records.
    pub use crate::text::json::{JsonPath, Page};
}

#[cfg(feature = "html")]
pub mod html {
    //! Pages: one parse for rows and for the links to other pages.
    pub use crate::text::html::{Extractor, Links, Scraped};
}

pub use codec::{Decompressor, Unpacker, decompressed_limit};
pub use input::{ByteStream, Input, MemoryInput, OpenFile};
pub use options::{
    Cell, Cells, Compression, CsvRead, CsvWrite, Encoding, EventData, HtmlRead, JsonRead, Namespaces,
    ParquetCompression, ParquetWrite, ReadFormat, ReadOptions, SseRead, WriteFormat, WriteOptions, XmlRead,
};
pub use output::{MemoryOutput, Output};
pub use read::{Piece, Reader};
pub use towpath_core::Columns;
pub use write::{Encoded, Encoder};
