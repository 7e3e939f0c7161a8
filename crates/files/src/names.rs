//! Names as parts of paths: percent-encoded, so that each is exactly one harmless part, and paths in one spelling.

use std::borrow::Cow;

/// What stands in a partition folder for null, as Hive has it.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// A name as one part of a path: no separator, no control character, neither hidden nor `..`.
pub fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for (index, character) in name.char_indices() {
        let plain = character.is_alphanumeric()
            || matches!(character, '_' | '-' | ' ' | '+' | ',' | '@')
            || (character == '.' && index > 0);
        if plain {
            encoded.push(character);
        } else {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                encoded.push('%');
                encoded.extend(hex_digits(byte).map(|digit| digit.to_ascii_uppercase()));
            }
        }
    }
    if encoded.is_empty() { "%00".to_owned() } else { encoded }
}

/// A byte as two digits.
pub fn hex_digits(byte: u8) -> [char; 2] {
    [byte >> 4, byte & 15].map(|half| char::from_digit(u32::from(half), 16).expect("half a byte is a digit"))
}

/// The value of a partition folder. An empty one stays empty: `col=` is a folder of its own.
pub fn encode_value(value: Option<&str>) -> String {
    match value {
        None => NULL_PARTITION.to_owned(),
        Some("") => String::new(),
        Some(value) => encode(value),
    }
}

/// What was encoded; `None` when it is no percent-encoding of UTF-8.
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit =
                |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            decoded.push(digit(bytes.next())? << 4 | digit(bytes.next())?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Without empty parts and `.`, so that a path is spelled in one way.
pub fn tidy(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    match (path.starts_with('/'), parts.is_empty() && !path.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path_and_comes_back() {
        for (name, encoded) in [
            ("orders", "orders"),
            ("größe 1,5", "größe 1,5"),
            ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
            (".", "%2E"),
            ("..", "%2E."),
            (".hidden", "%2Ehidden"),
            ("/root", "%2Froot"),
            ("c:\\x", "c%3A%5Cx"),
            ("a=b%c", "a%3Db%25c"),
            ("line\nbreak\0", "line%0Abreak%00"),
        ] {
            assert_eq!(encode(name), encoded);
            assert_eq!(decode(encoded).unwrap(), name);
        }
    }

    #[test]
    fn an_empty_value_and_null_are_different_folders() {
        assert_eq!(encode_value(Some("")), "");
        assert_eq!(encode_value(None), NULL_PARTITION);
        assert_eq!(encode(""), "%00");
    }

    #[test]
    fn what_is_no_encoding_is_not_decoded() {
        assert_eq!(decode("50%"), None);
        assert_eq!(decode("%zz"), None);
        assert_eq!(decode("%ff"), None);
    }
}
