//! Zips byte by byte, so that any of them can be wrong.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// An entry as it is written, which need not be true.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) name: Vec<u8>,
    /// Its name in its own header, if that is another.
    pub(super) local_name: Option<Vec<u8>>,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) body: Vec<u8>,
    pub(super) compressed: u64,
    pub(super) size: u64,
    pub(super) crc: u32,
    /// Whether the numbers stand in fields of 64 bits.
    pub(super) is_large: bool,
    /// Where its header is said to be, if not where it is.
    pub(super) header: Option<u64>,
}

pub(super) fn stored(name: &str, content: &[u8]) -> Written {
    let size = content.len() as u64;
    Written {
        name: name.as_bytes().to_vec(),
        local_name: None,
        flags: 0,
        method: 0,
        body: content.to_vec(),
        compressed: size,
        size,
        crc: rawzip::crc32(content),
        is_large: false,
        header: None,
    }
}

pub(super) fn deflated(name: &str, content: &[u8]) -> Written {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    let body = encoder.finish().unwrap();
    Written { method: 8, compressed: body.len() as u64, body, ..stored(name, content) }
}

/// A zip of these entries.
pub(super) fn zip(entries: &[Written]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut table = Vec::new();
    for entry in entries {
        let header = entry.header.unwrap_or(bytes.len() as u64);
        let local = entry.local_name.as_ref().unwrap_or(&entry.name);
        bytes.extend_from_slice(b"PK\x03\x04\x14\0");
        head(&mut bytes, entry, local, 0);
        bytes.extend_from_slice(local);
        bytes.extend_from_slice(&entry.body);
        let extra = if entry.is_large { large(entry, header) } else { Vec::new() };
        table.extend_from_slice(b"PK\x01\x02\x14\0\x14\0");
        head(&mut table, entry, &entry.name, u16::try_from(extra.len()).unwrap());
        table.extend_from_slice(&[0; 10]);
        let header = if entry.is_large { u32::MAX } else { u32::try_from(header).unwrap() };
        table.extend_from_slice(&header.to_le_bytes());
        table.extend_from_slice(&entry.name);
        table.extend_from_slice(&extra);
    }
    let (start, count) = (u32::try_from(bytes.len()).unwrap(), u16::try_from(entries.len()).unwrap());
    bytes.extend_from_slice(&table);
    bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(table.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(&start.to_le_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

/// What both headers of an entry have, from the flags on.
fn head(bytes: &mut Vec<u8>, entry: &Written, name: &[u8], extra: u16) {
    let size = |size: u64| if entry.is_large { u32::MAX } else { u32::try_from(size).unwrap() };
    bytes.extend_from_slice(&entry.flags.to_le_bytes());
    bytes.extend_from_slice(&entry.method.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&entry.crc.to_le_bytes());
    bytes.extend_from_slice(&size(entry.compressed).to_le_bytes());
    bytes.extend_from_slice(&size(entry.size).to_le_bytes());
    bytes.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(&extra.to_le_bytes());
}

/// The field of 64-bit numbers.
fn large(entry: &Written, header: u64) -> Vec<u8> {
    let mut extra = vec![1, 0, 24, 0];
    for number in [entry.size, entry.compressed, header] {
        extra.extend_from_slice(&number.to_le_bytes());
    }
    extra
}
