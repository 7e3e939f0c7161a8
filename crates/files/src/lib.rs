//! What the stores of named files share, whether they are folders or buckets.
//!
//! A connector brings a [`Store`]: how names are listed and bytes are read. [`FileSource`] makes a source of it, with
//! globs, partition columns, pieces of large files, and a memory of what was read before.

#[cfg_attr(
    not(all(feature = "zip", feature = "tar")),
    allow(
        dead_code,
        unused_imports,
        unused_variables,
        reason = "what archives share is idle where one is left out"
    )
)]
mod archive;
mod discover;
mod fingerprint;
mod glob;
mod incremental;
pub mod names;
mod options;
mod packed_source;
mod partitions;
mod plan;
mod seen;
pub mod sink;
mod source;
mod store;

pub use archive::{Archive, ArchiveFormat};
pub use glob::{Glob, Level};
pub use incremental::Incremental;
pub use options::{HivePartitions, OnTruncated, Paths, SourceOptions};
pub use source::FileSource;
pub use store::{FileEntry, Found, Listing, Place, Store, Walk, changed};
