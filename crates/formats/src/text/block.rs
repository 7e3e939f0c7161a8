//! Blocks of whole records, and what becomes of them.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use towpath_core::{Error, Json, Position, Rejected, Result};

/// A place in the text of an input, on the boundary of two records. Offsets count the bytes of the decompressed text as
/// UTF-8, from the beginning of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) offset: u64,
    /// The number of the line that begins here; 0 where it is not known.
    pub(crate) line: u64,
    /// How many records of a JSON document stand before.
    #[serde(default)]
    pub(crate) row: u64,
    /// How many bytes of the line stand before.
    #[serde(default)]
    pub(crate) column: u64,
    /// Whether it can only be reached by reading up to it, because the input's own bytes are others.
    #[serde(default)]
    pub(crate) by_reading: bool,
}

impl Point {
    /// The beginning of an input.
    pub(crate) const START: Self = Self { offset: 0, line: 1, row: 0, column: 0, by_reading: false };

    /// The place behind this text.
    pub(crate) fn behind(self, text: &[u8]) -> Self {
        let length = text.len() as u64;
        if self.line == 0 {
            return Self { offset: self.offset + length, ..self };
        }
        let newlines = memchr::memchr_iter(b'\n', text).count() as u64;
        let column = match memchr::memrchr(b'\n', text) {
            None => self.column + length,
            Some(newline) => length - 1 - newline as u64,
        };
        Self { offset: self.offset + length, line: self.line + newlines, column, ..self }
    }

    pub(crate) fn position(self) -> Position {
        Position::At(serde_json::to_value(self).expect("numbers become JSON"))
    }

    /// The point that [`position`](Self::position) made this of.
    ///
    /// # Errors
    /// `DataInvalid` for a position of another format.
    pub(crate) fn of(position: &Json) -> Result<Self> {
        serde_json::from_value(position.clone())
            .map_err(|error| Error::data("the position is of another format").source(error))
    }
}

/// Text that begins and ends on the boundary of a record.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) text: Bytes,
    pub(crate) start: Point,
    pub(crate) end: Point,
    /// A last record that broke off, as it is: it can only be rejected.
    pub(crate) broken: bool,
}

/// How messages name the records of a block.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: Arc<str>,
    pub(crate) start: Point,
    /// Whether records are numbered instead of lines.
    pub(crate) numbered: bool,
}

impl Place {
    /// The place of a record behind this text of the block, the how-manieth of the block.
    pub(crate) fn of(&self, before: &[u8], index: u64) -> String {
        let name = &self.name;
        if self.numbered {
            return format!("{name}#{}", self.start.row + index + 1);
        }
        if self.start.line == 0 {
            return format!("{name}@{}", self.start.offset + before.len() as u64);
        }
        format!("{name}:{}", self.start.line + memchr::memchr_iter(b'\n', before).count() as u64)
    }

    /// The line and column behind this text of the block, counted from 1.
    pub(crate) fn line_and_column(&self, before: &[u8]) -> (u64, u64) {
        let behind = self.start.behind(before);
        (behind.line, behind.column + 1)
    }
}

/// What a block became.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) rows: RecordBatch,
    pub(crate) rejected: Vec<Rejected>,
    /// Whether there is nothing behind it.
    pub(crate) ends: bool,
}

/// The text of bytes. Where they are no UTF-8, each wrong byte is replaced by a question mark, so that all places stay
/// the same, and its place is told.
pub(crate) fn readable(bytes: &[u8]) -> (Cow<'_, str>, Vec<usize>) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (Cow::Borrowed(text), Vec::new());
    }
    let (mut text, mut invalid) = (String::with_capacity(bytes.len()), Vec::new());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for _ in chunk.invalid() {
            invalid.push(text.len());
            text.push('?');
        }
    }
    (Cow::Owned(text), invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_moves_on_with_the_text_and_survives_as_a_position() {
        let point = Point::START.behind(b"ab\ncd\ne");
        assert_eq!(point, Point { offset: 7, line: 3, column: 1, ..Point::START });
        assert_eq!(point.behind(b"fg"), Point { offset: 9, line: 3, column: 3, ..Point::START });
        let Position::At(position) = point.position() else { panic!("a point is a position") };
        assert_eq!(Point::of(&position).unwrap(), point);
        assert!(Point::of(&serde_json::json!({"group": 3})).is_err());
    }

    #[test]
    fn wrong_bytes_are_replaced_in_place() {
        let (text, invalid) = readable(b"a\xE9\xFFb");
        assert_eq!((&*text, invalid), ("a??b", vec![1, 2]));
    }
}
