//! The server's answers, taken apart.

use bytes::{Buf, Bytes};
use mysql_common::constants::StatusFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::Column;
use towpath_core::Result;

use crate::errors::{ServerError, malformed};

/// The first byte of a packet tells what it is.
pub(super) const OK: u8 = 0x00;
pub(super) const LOCAL_INFILE: u8 = 0xFB;
pub(super) const END: u8 = 0xFE;
/// Stands for a value in a row of the text protocol.
const NULL: u8 = 0xFB;
pub(super) const ERROR: u8 = 0xFF;

/// What came of a statement that gives no rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Rows that were changed.
    pub(crate) affected_rows: u64,
    /// How many warnings `SHOW WARNINGS` would list.
    pub(crate) warnings: u16,
    /// What the server says in words, for example of a load.
    pub(crate) info: String,
    pub(super) status: StatusFlags,
}

/// What begins behind a statement.
pub(super) enum Reply {
    Done(Outcome),
    /// The server wants the data of `LOAD DATA LOCAL`.
    WantsData,
    /// So many columns follow.
    Columns(usize),
}

pub(super) fn reply(packet: &Bytes) -> Result<Reply> {
    match packet.first() {
        Some(&OK) => ok(packet).map(Reply::Done),
        Some(&ERROR) => Err(server_error(packet).into()),
        Some(&LOCAL_INFILE) => Ok(Reply::WantsData),
        _ => {
            let count = length_encoded(&mut &packet[..]).ok_or_else(|| malformed("an answer"))?;
            usize::try_from(count).map(Reply::Columns).map_err(|_| malformed("a number of columns"))
        }
    }
}

/// An OK packet, also in the form that ends rows.
pub(super) fn ok(packet: &[u8]) -> Result<Outcome> {
    parse_ok(packet).ok_or_else(|| malformed("an OK packet"))
}

fn parse_ok(packet: &[u8]) -> Option<Outcome> {
    let mut rest = packet.get(1..)?;
    let affected_rows = length_encoded(&mut rest)?;
    length_encoded(&mut rest)?;
    if rest.len() < 4 {
        return None;
    }
    let status = StatusFlags::from_bits_truncate(rest.get_u16_le());
    let warnings = rest.get_u16_le();
    // Some servers send the text with its length, some without.
    let info = match rest.first() {
        Some(&length) if usize::from(length) == rest.len() - 1 => &rest[1..],
        _ => rest,
    };
    Some(Outcome { affected_rows, warnings, info: String::from_utf8_lossy(info).into_owned(), status })
}

pub(super) fn server_error(packet: &[u8]) -> ServerError {
    let mut rest = packet.get(1..).unwrap_or_default();
    let code = if rest.len() >= 2 { rest.get_u16_le() } else { 0 };
    let (state, message) = match rest {
        [b'#', behind @ ..] if behind.len() >= 5 => behind.split_at(5),
        _ => (&b"HY000"[..], rest),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ServerError { code, state: text(state), message: text(message) }
}

pub(super) fn column(packet: &[u8]) -> Result<Column> {
    ParseBuf(packet).parse(()).map_err(|error| malformed("the description of a column").source(error))
}

/// A number of one to nine bytes.
pub(crate) fn length_encoded(rest: &mut &[u8]) -> Option<u64> {
    let (&first, behind) = rest.split_first()?;
    let width = match first {
        0..=0xFA => {
            *rest = behind;
            return Some(first.into());
        }
        0xFC => 2,
        0xFD => 3,
        0xFE => 8,
        _ => return None,
    };
    let (number, behind) = behind.split_at_checked(width)?;
    *rest = behind;
    Some(number.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

/// A row of the text protocol.
pub(super) fn text_row(packet: &[u8], columns: usize) -> Result<Vec<Option<String>>> {
    let mut rest = packet;
    let mut row = Vec::with_capacity(columns);
    for _ in 0..columns {
        if let Some((&NULL, behind)) = rest.split_first() {
            rest = behind;
            row.push(None);
        } else {
            row.push(Some(text_value(&mut rest).ok_or_else(|| malformed("a row"))?));
        }
    }
    Ok(row)
}

fn text_value(rest: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(length_encoded(rest)?).ok()?;
    let (value, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_width_are_read() {
        for (bytes, number) in [
            (&[0xFA][..], 0xFA),
            (&[0xFC, 0x34, 0x12], 0x1234),
            (&[0xFD, 0x56, 0x34, 0x12], 0x12_3456),
            (&[0xFE, 1, 0, 0, 0, 0, 0, 0, 0x80], 0x8000_0000_0000_0001),
        ] {
            let mut rest = bytes;
            assert_eq!(length_encoded(&mut rest), Some(number));
            assert!(rest.is_empty());
        }
        assert_eq!(length_encoded(&mut &[0xFC, 1][..]), None);
        assert_eq!(length_encoded(&mut &[0xFB][..]), None);
    }

    #[test]
    fn an_error_before_the_handshake_has_no_state() {
        let early = server_error(b"\xFF\x10\x04Too many connections");
        assert_eq!((early.code, early.state.as_str()), (1040, "HY000"));
        let late = server_error(b"\xFF\x7A\x04#42S02No table");
        assert_eq!((late.state.as_str(), late.message.as_str()), ("42S02", "No table"));
    }

    #[test]
    fn a_text_row_tells_null_from_empty() {
        let row = text_row(b"\x02ab\xFB\x00", 3).unwrap();
        assert_eq!(row, [Some("ab".to_owned()), None, Some(String::new())]);
        assert!(text_row(b"\x05ab", 1).is_err());
    }
}
