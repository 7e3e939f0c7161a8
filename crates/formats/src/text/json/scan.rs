//! A cursor over JSON text: strict about the grammar, and without an allocation unless a string has escapes.

use std::borrow::Cow;
use std::ops::Range;

/// How deep values may nest, so that no body can exhaust the stack.
const MAX_DEPTH: usize = 128;

/// Where text stops being JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// The byte at which it shows.
    pub(crate) at: usize,
    /// What would have been right there.
    pub(crate) expected: &'static str,
}

/// A position in JSON text.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    pub(crate) fn slice(&self, range: Range<usize>) -> &'a str {
        &self.text[range]
    }

    /// The next byte behind whitespace.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    pub(crate) fn fail<T>(&self, expected: &'static str) -> Result<T, Syntax> {
        Err(Syntax { at: self.at, expected })
    }

    /// Takes this byte, if it is the next one behind whitespace.
    pub(crate) fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Syntax> {
        if self.accept(byte) { Ok(()) } else { self.fail(expected) }
    }

    /// Only whitespace may follow.
    pub(crate) fn end(&mut self) -> Result<(), Syntax> {
        if self.peek().is_none() { Ok(()) } else { self.fail("the end") }
    }

    /// A string's content.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Syntax> {
        let (content, escaped) = self.raw_string()?;
        if escaped { self.unescape(content).map(Cow::Owned) } else { Ok(Cow::Borrowed(self.slice(content))) }
    }

    /// Where a string's content stands, and whether it holds escapes.
    fn raw_string(&mut self) -> Result<(Range<usize>, bool), Syntax> {
        self.expect(b'"', "a string")?;
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut escaped = false;
        loop {
            match special(&bytes[self.at..]) {
                None => {
                    self.at = bytes.len();
                    return self.fail("the closing quote of a string");
                }
                Some(offset) if bytes[self.at + offset] == b'"' => {
                    let end = self.at + offset;
                    self.at = end + 1;
                    return Ok((start..end, escaped));
                }
                Some(offset) => {
                    escaped = true;
                    self.at = (self.at + offset + 2).min(bytes.len());
                }
            }
        }
    }

    fn unescape(&self, content: Range<usize>) -> Result<String, Syntax> {
        let (mut at, end) = (content.start, content.end);
        let bytes = self.text.as_bytes();
        let mut out = String::with_capacity(end - at);
        while let Some(offset) = memchr::memchr(b'\\', &bytes[at..end]) {
            out.push_str(&self.text[at..at + offset]);
            at += offset + 2;
            let simple = match bytes[at - 1] {
                b'n' => '\n',
                b't' => '\t',
                b'r' => '\r',
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'u' => {
                    let (unescaped, length) =
                        self.unicode(at..end).ok_or(Syntax { at, expected: "a unicode escape" })?;
                    at += length;
                    unescaped
                }
                byte @ (b'"' | b'\\' | b'/') => char::from(byte),
                _ => return Err(Syntax { at: at - 1, expected: "an escape such as \\n" }),
            };
            out.push(simple);
        }
        out.push_str(&self.text[at..end]);
        Ok(out)
    }

    /// The character of a `\u` escape, and how many bytes behind the `u` it takes.
    fn unicode(&self, range: Range<usize>) -> Option<(char, usize)> {
        let text = self.text.get(range)?;
        let unit = |text: &str| {
            let digits = text.get(..4)?;
            digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
        };
        let high = unit(text)?;
        if let Some(character) = char::from_u32(high) {
            return Some((character, 4));
        }
        let low = unit(text[4..].strip_prefix("\\u")?)?;
        let joined = 0x10000 + ((high.checked_sub(0xD800)?) << 10) + low.checked_sub(0xDC00)?;
        Some((char::from_u32(joined)?, 10))
    }

    /// A number's text.
    pub(crate) fn number(&mut self) -> Result<&'a str, Syntax> {
        self.peek();
        let bytes = self.text.as_bytes();
        let start = self.at;
        let digits = |at: usize| at + bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
        let whole = digits(at);
        if whole == at || (bytes[at] == b'0' && whole > at + 1) {
            return self.fail("a number");
        }
        at = whole;
        if bytes.get(at) == Some(&b'.') {
            let fraction = digits(at + 1);
            if fraction == at + 1 {
                return self.fail("a number");
            }
            at = fraction;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let exponent = digits(at + 1 + sign);
            if exponent == at + 1 + sign {
                return self.fail("a number");
            }
            at = exponent;
        }
        self.at = at;
        Ok(&self.text[start..at])
    }

    /// Takes a word such as `true`.
    pub(crate) fn word(&mut self, word: &'static str) -> Result<(), Syntax> {
        self.peek();
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            self.fail("a value")
        }
    }

    /// Goes behind a value, whatever it is, and says where it stands.
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, Syntax> {
        self.skip_nested(0)
    }

    pub(crate) fn skip_nested(&mut self, depth: usize) -> Result<Range<usize>, Syntax> {
        self.check_depth(depth)?;
        let next = self.peek();
        let start = self.at;
        match next {
            Some(b'"') => {
                self.raw_string()?;
            }
            Some(b'{') => self.object(|cursor| {
                cursor.raw_string()?;
                cursor.colon()?;
                cursor.skip_nested(depth + 1).map(drop)
            })?,
            Some(b'[') => self.array(|cursor| cursor.skip_nested(depth + 1).map(drop))?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
            }
            _ => return self.fail("a value"),
        }
        Ok(start..self.at)
    }

    pub(crate) fn check_depth(&self, depth: usize) -> Result<(), Syntax> {
        if depth > MAX_DEPTH { self.fail("less than 128 levels of nesting") } else { Ok(()) }
    }

    pub(crate) fn colon(&mut self) -> Result<(), Syntax> {
        self.expect(b':', "`:`")
    }

    /// Goes through an object; `member` takes a name, the colon and the value.
    pub(crate) fn object<E: From<Syntax>>(
        &mut self,
        mut member: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'{', "an object")?;
        if self.accept(b'}') {
            return Ok(());
        }
        loop {
            member(self)?;
            if !self.accept(b',') {
                return Ok(self.expect(b'}', "`,` or `}`")?);
            }
        }
    }

    /// Goes through an array; `item` takes a value.
    pub(crate) fn array<E: From<Syntax>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'[', "an array")?;
        if self.accept(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.accept(b',') {
                return Ok(self.expect(b']', "`,` or `]`")?);
            }
        }
    }
}

/// Where a string's first quote or backslash is. Most strings are shorter than what it costs to call `memchr`.
#[inline]
fn special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    for _ in 0..4 {
        let Some(eight) = bytes.get(at..at + 8) else { break };
        let word = u64::from_le_bytes(eight.try_into().expect("eight bytes"));
        let (quote, backslash) = (word ^ (ONES * 0x22), word ^ (ONES * 0x5C));
        let equal =
            ((quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash)) & HIGHS;
        if equal != 0 {
            return Some(at + equal.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr::memchr2(b'"', b'\\', &bytes[at..]).map(|offset| at + offset)
}

/// The kind of value that begins with this byte, for messages.
pub(crate) fn kind_of(first: Option<u8>) -> &'static str {
    match first {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(b'-' | b'0'..=b'9') => "a number",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_json_is_skipped_and_what_is_not_is_refused_where_it_shows() {
        for text in [
            "{}",
            "[]",
            " [1, -2.5e+3 , 0, \"a\\\"b\", {\"a\": [true, false, null]}] ",
            "\"\\u00e9\"",
            "0",
            "-0.5",
        ] {
            let mut cursor = Cursor::new(text);
            assert!(cursor.skip().and_then(|_| cursor.end()).is_ok(), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
        }
        for (text, at) in [
            ("", 0),
            ("{", 1),
            ("{a:1}", 1),
            ("{\"a\" 1}", 5),
            ("{\"a\":1,}", 7),
            ("[1 2]", 3),
            ("[1,]", 3),
            ("01", 0),
            ("1.", 0),
            ("tru", 0),
            ("\"abc", 4),
            ("{} x", 3),
        ] {
            let mut cursor = Cursor::new(text);
            let error = cursor.skip().and_then(|_| cursor.end()).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error:?}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn strings_come_out_as_they_were_meant() {
        for (text, content) in [
            (r#""""#, ""),
            (r#""plain""#, "plain"),
            (r#""a\n\t\"\\\/\u0041""#, "a\n\t\"\\/A"),
            (r#""\ud83d\ude00!""#, "😀!"),
        ] {
            assert_eq!(Cursor::new(text).string().unwrap(), content);
        }
        for text in [r#""\x""#, r#""\ud83d""#, r#""\u12""#, r#""\u+123""#] {
            assert!(Cursor::new(text).string().is_err(), "{text}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let deep = "[".repeat(200);
        assert_eq!(Cursor::new(&deep).skip().unwrap_err().expected, "less than 128 levels of nesting");
    }
}
