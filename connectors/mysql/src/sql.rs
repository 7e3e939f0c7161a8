//! Names and values as they stand in SQL. Everything that comes from outside goes through here.

use std::fmt::Write;

use towpath_sql::Dialect;

/// A name in backquotes.
pub(crate) fn identifier(name: &str) -> String {
    Dialect::MySql.identifier(name)
}

/// A text in quotes. Our sessions have backslashes as escapes and `utf8mb4` as character set.
pub(crate) fn text(value: &str) -> String {
    Dialect::MySql.literal(value)
}

/// Bytes as a literal.
pub(crate) fn bytes(value: &[u8]) -> String {
    let mut literal = String::with_capacity(2 * value.len() + 3);
    literal.push_str("x'");
    for byte in value {
        let _ = write!(literal, "{byte:02x}");
    }
    literal.push('\'');
    literal
}

/// The bytes of hexadecimal digits.
pub(crate) fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_both_ways() {
        assert_eq!(bytes(b"\x00'\xff"), "x'0027ff'");
        assert_eq!(from_hex("0027fF").unwrap(), b"\x00'\xff");
        assert_eq!((from_hex("abc"), from_hex("0g"), from_hex("'")), (None, None, None));
    }
}
