//! The header in front of an entry's bytes, which alone tells where they begin.

use bytes::Bytes;
use towpath_core::{Error, Result};
use towpath_formats::Input;

use super::{LOCAL_HEADER, names};
use crate::archive::name::clean;

/// Entries of at most this many bytes are fetched with their header.
const SMALL: u64 = 64 << 10;

/// How much is fetched for the fields behind the name.
const EXTRA: u64 = 512;

/// The header of an entry, and what was fetched with it.
#[derive(Debug)]
pub(in crate::archive) struct Head {
    /// Where the bytes of the entry begin.
    pub(in crate::archive) data: u64,
    /// The first of them.
    pub(in crate::archive) first: Bytes,
}

impl Head {
    /// Fetches the header of an entry, and the entry if it is small.
    ///
    /// # Errors
    /// `DataInvalid` when it is not that of the entry.
    pub(in crate::archive) async fn fetch(
        archive: &dyn Input,
        header: u64,
        name: &str,
        compressed: u64,
        method: u16,
    ) -> Result<Self> {
        let size = archive.size().unwrap_or(u64::MAX);
        let body = if compressed <= SMALL { compressed } else { 0 };
        let end = header.saturating_add(LOCAL_HEADER + name.len() as u64 + EXTRA + body).min(size);
        let bytes = archive.range(header..end).await?;
        let length = Self::check(&bytes, name, method)?;
        let data = header + length;
        if data.checked_add(compressed).is_none_or(|end| end > size) {
            return Err(
                Error::data("the entry ends behind the end of the archive").help("get the whole file")
            );
        }
        let first = usize::try_from(length).ok().filter(|length| *length <= bytes.len());
        let mut first = first.map_or_else(Bytes::new, |length| bytes.slice(length..));
        first.truncate(usize::try_from(body).unwrap_or(0));
        Ok(Self { data, first })
    }

    /// How long the header is. It must be of the entry that the table tells of.
    fn check(bytes: &[u8], name: &str, method: u16) -> Result<u64> {
        let number = |at: usize| bytes.get(at..at + 2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        let other = || Error::data("the header of the entry is not what the table of the zip tells");
        let (Some(flags), Some(found), Some(name_length), Some(extra)) =
            (number(6), number(8), number(26), number(28))
        else {
            return Err(other());
        };
        let named = bytes.get(30..30 + usize::from(name_length)).map(names::text);
        let is_same_name = named.is_some_and(|raw| clean(&raw).is_ok_and(|found| found == name));
        if !bytes.starts_with(b"PK\x03\x04") || found != method || flags & 1 != 0 || !is_same_name {
            return Err(other());
        }
        Ok(LOCAL_HEADER + u64::from(name_length) + u64::from(extra))
    }
}
