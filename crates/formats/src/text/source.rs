//! Raw bytes to UTF-8 text: decompression, then the encoding.

use bytes::{Bytes, BytesMut};
use encoding_rs::{CoderResult, Decoder, UTF_16BE, UTF_16LE, WINDOWS_1252};
use towpath_core::{ByteSize, Result};

use crate::codec::Decompressor;
use crate::{Compression, Encoding};

/// Turns the bytes of an input into text, some MiB at a time.
#[derive(Debug)]
pub(crate) struct Source {
    decompressor: Option<Decompressor>,
    decoder: Option<Transcoder>,
    /// Compressed bytes that were not taken yet.
    pending: Bytes,
    /// How many bytes of text are left out, to go on where somebody stopped.
    skip: u64,
    /// Whether the first text may still tell by a mark that it is UTF-16.
    may_be_marked: bool,
    /// The first text, held back until it is long enough to tell its encoding by its declaration.
    declaration: Option<BytesMut>,
}

/// How much text is enough for that.
const DECLARATION: usize = 256;

/// Text as far as there is some.
#[derive(Debug)]
pub(crate) enum Text {
    /// Some, with more behind it in what was given.
    More(Bytes),
    /// All of what was given.
    All(Bytes),
}

impl Source {
    /// # Errors
    /// `Config` when this binary lacks the codec.
    pub(crate) fn new(
        compression: Compression,
        limit: Option<ByteSize>,
        encoding: Encoding,
        skip: u64,
    ) -> Result<Self> {
        let decompressor = match compression {
            Compression::None => None,
            compression => Some(Decompressor::new(compression, limit)?),
        };
        let decoder = (encoding != Encoding::Utf8).then(|| Transcoder::new(encoding));
        // Who goes on at an offset of the input itself is past the mark.
        let may_be_marked = decoder.is_none();
        Ok(Self { decompressor, decoder, pending: Bytes::new(), skip, may_be_marked, declaration: None })
    }

    /// Lets the text tell its encoding, as XML does.
    pub(crate) fn declared(mut self) -> Self {
        self.declaration = self.may_be_marked.then(BytesMut::new);
        self
    }

    /// Starts within an input, where no mark can be.
    pub(crate) fn unmarked(mut self) -> Self {
        self.may_be_marked = false;
        self
    }

    /// Whether text is nothing but the bytes that are given.
    pub(crate) fn is_plain(&self) -> bool {
        self.decompressor.is_none() && self.decoder.is_none()
    }

    /// Gives more bytes; only after all text of those before.
    pub(crate) fn give(&mut self, bytes: Bytes) {
        self.pending = bytes;
    }

    /// The next text of what was given.
    ///
    /// # Errors
    /// `DataInvalid` for broken or too much data.
    pub(crate) fn text(&mut self) -> Result<Text> {
        let bytes = match &mut self.decompressor {
            None => std::mem::take(&mut self.pending),
            Some(decompressor) => {
                let mut output = Vec::new();
                let taken = decompressor.push(&self.pending, &mut output)?;
                let _ = self.pending.split_to(taken);
                output.into()
            }
        };
        let bytes = self.declare(bytes, false);
        if self.may_be_marked && !bytes.is_empty() {
            self.may_be_marked = false;
            self.decoder = told_by_mark(&bytes).map(Transcoder::new);
        }
        let text = self.decoded(bytes, false);
        Ok(if self.pending.is_empty() { Text::All(text) } else { Text::More(text) })
    }

    /// The text behind the last bytes, and what broke off there, if something did.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(crate) fn finish(&mut self) -> Result<(Bytes, Option<String>)> {
        let mut output = Vec::new();
        let mut truncated = None;
        if let Some(decompressor) = &mut self.decompressor
            && !decompressor.finish(&mut output)?
        {
            truncated = Some(decompressor.what());
        }
        let last = self.declare(output.into(), true);
        Ok((self.decoded(last, true), truncated))
    }

    /// Holds the first bytes back until they tell their encoding.
    fn declare(&mut self, bytes: Bytes, last: bool) -> Bytes {
        let Some(held) = &mut self.declaration else { return bytes };
        held.extend_from_slice(&bytes);
        if held.len() < DECLARATION && !last {
            return Bytes::new();
        }
        let bytes = std::mem::take(held).freeze();
        self.declaration = None;
        self.may_be_marked = false;
        self.decoder = match told_by_mark(&bytes) {
            Some(encoding) => Some(Transcoder::new(encoding)),
            None => told_by_declaration(&bytes).map(|encoding| Transcoder(encoding.new_decoder())),
        };
        bytes
    }

    fn decoded(&mut self, bytes: Bytes, last: bool) -> Bytes {
        let mut text = match &mut self.decoder {
            None => bytes,
            Some(decoder) => decoder.decode(&bytes, last).into(),
        };
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(text.len());
        self.skip -= skipped as u64;
        text.split_off(skipped)
    }
}

/// Text of another encoding to UTF-8.
struct Transcoder(Decoder);

impl Transcoder {
    fn new(encoding: Encoding) -> Self {
        Self(match encoding {
            // A byte order mark may say that it is big-endian.
            Encoding::Utf16 => UTF_16LE.new_decoder(),
            Encoding::Utf8 | Encoding::Latin1 => WINDOWS_1252.new_decoder(),
        })
    }

    fn decode(&mut self, bytes: &[u8], last: bool) -> Vec<u8> {
        let length = self.0.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len() * 3 + 16);
        let mut text = vec![0; length];
        let (result, _, written, _) = self.0.decode_to_utf8(bytes, &mut text, last);
        debug_assert_eq!(result, CoderResult::InputEmpty, "the buffer holds the longest text");
        text.truncate(written);
        text
    }
}

impl std::fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Transcoder").field(&self.0.encoding().name()).finish()
    }
}

/// The encoding that the declaration of an XML document tells, if it is not UTF-8.
fn told_by_declaration(bytes: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let rest = bytes.strip_prefix(b"<?xml")?;
    let end = memchr::memmem::find(rest, b"?>")?;
    let declaration = std::str::from_utf8(&rest[..end]).ok()?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let label = value[1..].split(quote).next()?;
    // What could be read so far is no UTF-16, whatever it says.
    encoding_rs::Encoding::for_label(label.as_bytes())
        .filter(|encoding| encoding.is_ascii_compatible() && *encoding != encoding_rs::UTF_8)
}

/// The encoding that a byte order mark tells, if it is not UTF-8.
pub(crate) fn told_by_mark(bytes: &[u8]) -> Option<Encoding> {
    let utf_16 = [UTF_16LE, UTF_16BE];
    encoding_rs::Encoding::for_bom(bytes)
        .is_some_and(|(encoding, _)| utf_16.contains(&encoding))
        .then_some(Encoding::Utf16)
}
