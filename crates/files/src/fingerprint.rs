//! A file in ten bytes.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::FileEntry;
use crate::names::hex_digits;

const LENGTH: usize = 10;

/// A file's path, size and time of modification, and what its store calls this content, in 80 bits: among a million files
/// the chance that any two agree is one in a trillion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fingerprint([u8; LENGTH]);

impl Fingerprint {
    pub(crate) fn of(file: &FileEntry) -> Self {
        let mut hash = Sha256::new();
        hash.update(file.path.as_bytes());
        hash.update([0]);
        hash.update(file.size.to_le_bytes());
        hash.update(file.modified.to_le_bytes());
        if let Some(tag) = &file.tag {
            hash.update(tag.as_bytes());
        }
        let mut short = [0; LENGTH];
        short.copy_from_slice(&hash.finalize()[..LENGTH]);
        Self(short)
    }

    /// From its digits.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut bytes = [0; LENGTH];
        if text.len() != 2 * LENGTH {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// From the digits of many, one behind the other.
    pub(crate) fn all(text: &str) -> Option<Vec<Self>> {
        let (chunks, rest) = text.as_bytes().as_chunks::<{ 2 * LENGTH }>();
        let all = chunks.iter().map(|chunk| Self::read(std::str::from_utf8(chunk).ok()?));
        if rest.is_empty() { all.collect() } else { None }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

/// Many files, whatever their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sum([u8; LENGTH]);

impl Sum {
    pub(crate) fn add(&mut self, fingerprint: Fingerprint) {
        self.0.iter_mut().zip(fingerprint.0).for_each(|(sum, byte)| *sum ^= byte);
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().copied().flat_map(hex_digits).try_for_each(|digit| fmt::Write::write_char(f, digit))
}
