//! What the characters of a CSV file mean, and where its records end.

use towpath_core::{Error, Result};

use crate::CsvRead;

/// The special bytes of a CSV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    pub(crate) quote: Option<u8>,
    /// Escapes within quotes; without it a quote is doubled.
    pub(crate) escape: Option<u8>,
    pub(crate) comment: Option<u8>,
}

impl Dialect {
    /// # Errors
    /// `Config` names the option that is no single ASCII character, or two that are the same.
    pub(crate) fn new(options: &CsvRead, delimiter: char) -> Result<Self> {
        let delimiter = byte("delimiter", options.delimiter.unwrap_or(delimiter))?;
        let mut quotes = options.quote.chars();
        let quote = quotes.next().map(|quote| byte("quote", quote)).transpose()?;
        if quotes.next().is_some() {
            return Err(Error::config(format!(
                "`quote` must be one character or none, not `{}`",
                options.quote
            )));
        }
        let escape = options.escape.map(|escape| byte("escape", escape)).transpose()?;
        let comment = options.comment.map(|comment| byte("comment", comment)).transpose()?;
        if quote == Some(delimiter) || escape == Some(delimiter) || comment == Some(delimiter) {
            let delimiter = char::from(delimiter);
            return Err(Error::config(format!("`{delimiter}` cannot be the delimiter and something else")));
        }
        if quote.is_some() && quote == comment {
            return Err(Error::config("`quote` and `comment` must differ"));
        }
        // A quote that escapes a quote is the same as doubling it.
        Ok(Self { delimiter, quote, escape: escape.filter(|escape| Some(*escape) != quote), comment })
    }
}

fn byte(option: &str, character: char) -> Result<u8> {
    match u8::try_from(character) {
        Ok(byte) if byte.is_ascii() && byte != b'\n' && byte != b'\r' => Ok(byte),
        _ => Err(Error::config(format!("`{option}` must be one ASCII character, not {character:?}"))),
    }
}

/// Where the scanner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RecordStart,
    FieldStart,
    Unquoted,
    Quoted,
    /// Behind a quote within quotes: the end of the field, unless another quote follows.
    QuoteInQuoted,
    /// Behind an escape within quotes.
    Escaped,
    Comment,
}

/// Finds the ends of records, over any number of chunks. It is exact: newlines within quotes end nothing, and quotes
/// within unquoted fields mean nothing.
#[derive(Debug, Clone)]
pub(crate) struct Scanner {
    dialect: Dialect,
    state: State,
}

impl Scanner {
    /// A scanner that starts on a record.
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self { dialect, state: State::RecordStart }
    }

    /// Whether the text so far ends within quotes.
    pub(crate) fn in_quotes(&self) -> bool {
        matches!(self.state, State::Quoted | State::Escaped)
    }

    /// Goes on over a chunk. Gives the place behind the last record that ends in it.
    pub(crate) fn last_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut last = None;
        let mut at = 0;
        while at < bytes.len() {
            at = match self.state {
                State::Quoted => self.within_quotes(bytes, at),
                State::Escaped => {
                    self.state = State::Quoted;
                    at + 1
                }
                State::QuoteInQuoted if self.dialect.quote == Some(bytes[at]) => {
                    self.state = State::Quoted;
                    at + 1
                }
                State::QuoteInQuoted => {
                    self.state = State::Unquoted;
                    at
                }
                State::Comment => match memchr::memchr(b'\n', &bytes[at..]) {
                    None => bytes.len(),
                    Some(newline) => {
                        self.state = State::RecordStart;
                        last = Some(at + newline + 1);
                        at + newline + 1
                    }
                },
                State::RecordStart | State::FieldStart | State::Unquoted => {
                    self.outside_quotes(bytes, at, &mut last)
                }
            };
        }
        last
    }

    fn within_quotes(&mut self, bytes: &[u8], at: usize) -> usize {
        let quote = self.dialect.quote.expect("there are no quotes without a quote");
        let escape = self.dialect.escape.unwrap_or(quote);
        match memchr::memchr2(quote, escape, &bytes[at..]) {
            None => bytes.len(),
            Some(offset) => {
                let is_quote = bytes[at + offset] == quote;
                self.state = match (is_quote, self.dialect.escape) {
                    (false, _) => State::Escaped,
                    (true, _) => State::QuoteInQuoted,
                };
                at + offset + 1
            }
        }
    }

    /// Goes to behind the next quote that opens a field, or into a comment.
    fn outside_quotes(&mut self, bytes: &[u8], at: usize, last: &mut Option<usize>) -> usize {
        if self.dialect.comment.is_some() {
            return self.line_by_line(bytes, at, last);
        }
        let quote = self.dialect.quote.and_then(|quote| memchr::memchr(quote, &bytes[at..]));
        let end = quote.map_or(bytes.len(), |offset| at + offset);
        let plain = &bytes[at..end];
        if let Some(newline) = memchr::memrchr(b'\n', plain) {
            *last = Some(at + newline + 1);
        }
        self.state = match plain.last() {
            None => self.state,
            Some(b'\n') => State::RecordStart,
            Some(byte) if *byte == self.dialect.delimiter => State::FieldStart,
            Some(_) => State::Unquoted,
        };
        if quote.is_some() {
            self.state = if self.state == State::Unquoted { State::Unquoted } else { State::Quoted };
            return end + 1;
        }
        end
    }

    /// As above, looking at the beginning of each line for a comment.
    fn line_by_line(&mut self, bytes: &[u8], at: usize, last: &mut Option<usize>) -> usize {
        let byte = bytes[at];
        if self.state == State::RecordStart && self.dialect.comment == Some(byte) {
            self.state = State::Comment;
            return at;
        }
        if self.state != State::Unquoted && self.dialect.quote == Some(byte) {
            self.state = State::Quoted;
            return at + 1;
        }
        match memchr::memchr2(self.dialect.delimiter, b'\n', &bytes[at..]) {
            None => {
                self.state = State::Unquoted;
                bytes.len()
            }
            Some(offset) => {
                let behind = at + offset + 1;
                if bytes[behind - 1] == b'\n' {
                    self.state = State::RecordStart;
                    *last = Some(behind);
                } else {
                    self.state = State::FieldStart;
                }
                behind
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(change: impl FnOnce(&mut CsvRead)) -> Dialect {
        let mut options = CsvRead::default();
        change(&mut options);
        Dialect::new(&options, ',').unwrap()
    }

    /// All ends, found by asking after each byte.
    fn ends(dialect: Dialect, text: &str) -> Vec<usize> {
        let mut scanner = Scanner::new(dialect);
        let bytes = text.as_bytes();
        (0..bytes.len()).filter(|at| scanner.last_end(&bytes[*at..=*at]).is_some()).map(|at| at + 1).collect()
    }

    #[test]
    fn records_end_at_newlines_that_are_not_quoted() {
        for (text, expected) in [
            ("a,b\nc,d\n", vec![4, 8]),
            ("a,\"b\nc\",d\ne\n", vec![10, 12]),
            ("a,\"b\"\"\n\"\"c\"\nd\n", vec![12, 14]),
            ("a\"b\nc\n", vec![4, 6]),
            ("\"a\"x\"\nb\n", vec![6, 8]),
            ("\"\"\n\"\n\"\n", vec![3, 7]),
        ] {
            let plain = dialect(|_| ());
            assert_eq!(ends(plain, text), expected, "{text:?}");
            assert_eq!(Scanner::new(plain).last_end(text.as_bytes()), expected.last().copied(), "{text:?}");
        }
        let escaped = dialect(|options| options.escape = Some('\\'));
        assert_eq!(ends(escaped, "\"a\\\"\nb\"\nc\n"), [8, 10]);
        let unquoted = dialect(|options| options.quote = String::new());
        assert_eq!(ends(unquoted, "\"a\nb\"\n"), [3, 6]);
        let commented = dialect(|options| options.comment = Some('#'));
        assert_eq!(ends(commented, "# it's, \"so\nc,\"#\n\"\n"), [12, 19]);
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        let mut options = CsvRead { delimiter: Some('→'), ..CsvRead::default() };
        let error = Dialect::new(&options, ',').unwrap_err().to_string();
        assert_eq!(error, "`delimiter` must be one ASCII character, not '→'");
        options = CsvRead { quote: "''".to_owned(), ..CsvRead::default() };
        assert!(Dialect::new(&options, ',').is_err());
        options = CsvRead { delimiter: Some('"'), ..CsvRead::default() };
        assert!(Dialect::new(&options, ',').is_err());
    }
}
