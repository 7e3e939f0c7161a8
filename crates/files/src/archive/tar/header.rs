//! The headers of a tar: blocks of 512 bytes, and what stands in front of an entry whose name or size does not fit into one.

use towpath_core::{Error, Result};

/// The length of a header, of which everything in a tar is a multiple.
pub(super) const BLOCK: u64 = 512;

/// Where the checksum of a header stands in it.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// What a header is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    /// A file of which only parts are there.
    Sparse,
    /// The rest of a file of another tar.
    Volume,
    /// A folder, a link or a device, which has no bytes.
    Empty,
    /// Something that has bytes and is no file.
    Other,
    /// The name of the next entry.
    LongName,
    /// Properties of the next entry.
    Properties,
    /// Properties of all entries.
    OfAll,
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            b'0' | b'7' | 0 => Self::File,
            b'1'..=b'6' => Self::Empty,
            b'S' => Self::Sparse,
            b'M' => Self::Volume,
            b'L' => Self::LongName,
            b'x' | b'X' => Self::Properties,
            b'g' => Self::OfAll,
            _ => Self::Other,
        }
    }

    /// Whether bytes follow its header.
    pub(super) fn has_body(self) -> bool {
        self != Self::Empty
    }
}

/// A header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) name: Vec<u8>,
    pub(super) size: u64,
}

impl Header {
    /// Reads a block; `None` for the mark of the end.
    ///
    /// # Errors
    /// `DataInvalid` when it is no header, `Unsupported` when the tar is compressed.
    pub(super) fn read(block: &[u8], at: u64) -> Result<Option<Self>> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = tar::Header::from_byte_slice(block);
        if header.cksum().ok().is_none_or(|told| !checksums(block).contains(&i64::from(told))) {
            return Err(compressed(block).filter(|_| at == 0).unwrap_or_else(|| broken(at)));
        }
        let size = header.entry_size().map_err(|error| broken(at).source(error))?;
        let kind = Kind::of(header.entry_type().as_byte());
        Ok(Some(Self { kind, name: header.path_bytes().into_owned(), size }))
    }
}

/// The error for a place where no header is.
pub(super) fn broken(at: u64) -> Error {
    Error::data("it is no tar, or a broken one: here should be a header")
        .detail("byte", at)
        .help("is it a tar, and all of it?")
}

/// The sum of all bytes, with blanks for the checksum itself. Some old programs took the bytes as signed.
fn checksums(block: &[u8]) -> [i64; 2] {
    let bytes =
        || block.iter().enumerate().map(|(at, byte)| if CHECKSUM.contains(&at) { b' ' } else { *byte });
    [bytes().map(i64::from).sum(), bytes().map(|byte| i64::from(byte.cast_signed())).sum()]
}

/// The error for a tar that is compressed as a whole and is not called so.
fn compressed(block: &[u8]) -> Option<Error> {
    let marks: [(&[u8], &str, &str); 5] = [
        (b"\x1f\x8b", "gzip", "gz"),
        (b"\x28\xb5\x2f\xfd", "zstd", "zst"),
        (b"BZh", "bzip2", "bz2"),
        (b"\xfd7zXZ\0", "xz", "xz"),
        (b"\x04\x22\x4d\x18", "lz4", "lz4"),
    ];
    let (_, codec, extension) = marks.iter().find(|(mark, ..)| block.starts_with(mark))?;
    Some(
        Error::unsupported(format!("the tar is compressed by {codec}, which its name does not tell"))
            .help(format!("let its name end with `.tar.{extension}`")),
    )
}

/// What headers in front of an entry say of it.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) is_sparse: bool,
}

impl Extended {
    /// Adds what one of them says.
    ///
    /// # Errors
    /// `DataInvalid` for what is broken, `Unsupported` for what would hold for all entries.
    pub(super) fn add(&mut self, kind: Kind, body: &[u8]) -> Result<()> {
        if kind == Kind::LongName {
            let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
            self.name = Some(body[..end].to_vec());
            return Ok(());
        }
        let mut rest = body;
        while !rest.is_empty() {
            let (key, value, more) =
                property(rest).ok_or_else(|| Error::data("the properties of an entry are broken"))?;
            rest = more;
            let matters = matches!(key, b"path" | b"size") || key.starts_with(b"GNU.sparse.");
            if kind == Kind::OfAll && matters {
                return Err(Error::unsupported("the tar has one name or size for all entries"));
            }
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"size" => self.size = Some(number(value)?),
                _ => self.is_sparse |= matters,
            }
        }
        Ok(())
    }
}

fn number(value: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Error::data("the size of an entry is no number"))
}

/// A property, such as `18 path=dir/a.csv` and a newline, and what is behind it. A value may hold newlines.
fn property(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}
