//! Zips: found by the table at their end, each entry a file of its own.

mod directory;
mod local;
mod names;
#[cfg(test)]
mod tests;
mod unpack;
mod window;

pub(super) use directory::entries;
pub(super) use local::Head;
pub(super) use unpack::{Claim, checked, unpacked};

/// Entries that lie in the archive as they are.
pub(super) const STORED: u16 = 0;
pub(super) const DEFLATE: u16 = 8;
pub(super) const ZSTD: u16 = 93;

/// The bytes of a local header before its name.
const LOCAL_HEADER: u64 = 30;
