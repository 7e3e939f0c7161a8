//! Splitting a block of CSV into records and cells.

use super::dialect::Dialect;
use crate::text::cells::Cell;

/// The records of a block that have the right number of cells, and those that do not.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Row by row.
    pub(crate) cells: Vec<Cell>,
    /// The texts of cells that were rewritten.
    pub(crate) scratch: String,
    /// Where each row stands.
    pub(crate) rows: Vec<Span>,
    /// Rows with more or fewer cells, with their number.
    pub(crate) ragged: Vec<(Span, usize)>,
}

/// Where a record stands, without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Splits text into records of `width` cells. Short rows are filled up with empty cells if that is allowed.
pub(crate) fn split(text: &str, dialect: Dialect, width: usize, allow_short: bool) -> Records {
    let mut splitter = Splitter { text, dialect, records: Records::default() };
    // A guess that is right for most files, and cheap where it is not.
    splitter.records.cells.reserve(text.len() / 8);
    let mut at = 0;
    while at < text.len() {
        at = splitter.record(at, width, allow_short);
    }
    splitter.records
}

/// The cells of the first record, and where the next one begins.
pub(crate) fn first_record(text: &str, dialect: Dialect) -> (Vec<String>, usize) {
    let mut splitter = Splitter { text, dialect, records: Records::default() };
    let (_, next) = splitter.cells(0);
    let Records { cells, scratch, .. } = splitter.records;
    (cells.iter().map(|cell| cell.text(text, &scratch).0.to_owned()).collect(), next)
}

struct Splitter<'a> {
    text: &'a str,
    dialect: Dialect,
    records: Records,
}

impl Splitter<'_> {
    /// Takes the record that begins here. Gives the place behind it.
    fn record(&mut self, at: usize, width: usize, allow_short: bool) -> usize {
        let bytes = self.text.as_bytes();
        if self.dialect.comment == Some(bytes[at]) {
            return memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |newline| at + newline + 1);
        }
        // An empty line is nothing, except where a row is one cell, which is null.
        let empty = match &bytes[at..] {
            [b'\n', ..] => Some(at + 1),
            [b'\r', b'\n', ..] => Some(at + 2),
            _ => None,
        };
        if let Some(next) = empty.filter(|_| width != 1) {
            return next;
        }
        let before = self.records.cells.len();
        let (end, next) = self.cells(at);
        let span = Span { start: at, end };
        let found = self.records.cells.len() - before;
        if found < width && allow_short {
            self.records.cells.resize(before + width, Cell::plain(end, end));
        } else if found != width {
            self.records.cells.truncate(before);
            self.records.ragged.push((span, found));
            return next;
        }
        self.records.rows.push(span);
        next
    }

    /// Takes all cells of a record. Gives where it ends and where the next one begins.
    fn cells(&mut self, mut at: usize) -> (usize, usize) {
        let bytes = self.text.as_bytes();
        loop {
            let end = if self.dialect.quote.is_some() && self.dialect.quote == bytes.get(at).copied() {
                self.quoted(at)
            } else {
                let end = self.separator(at);
                self.records.cells.push(Cell::plain(at, self.without_return(at, end)));
                end
            };
            match bytes.get(end) {
                Some(b'\n') => return (self.without_return(0, end), end + 1),
                None => return (self.without_return(0, end), end),
                Some(_) => at = end + 1,
            }
        }
    }

    /// The place of the next delimiter or newline, or the end.
    #[inline]
    fn separator(&self, mut at: usize) -> usize {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGHS: u64 = 0x8080_8080_8080_8080;
        let bytes = self.text.as_bytes();
        let delimiter = ONES * u64::from(self.dialect.delimiter);
        let newline = ONES * u64::from(b'\n');
        // Eight bytes at a time: the lowest high bit marks the first byte that equals.
        while let Some(eight) = bytes.get(at..at + 8) {
            let word = u64::from_le_bytes(eight.try_into().expect("eight bytes"));
            let (a, b) = (word ^ delimiter, word ^ newline);
            let equal = ((a.wrapping_sub(ONES) & !a) | (b.wrapping_sub(ONES) & !b)) & HIGHS;
            if equal != 0 {
                return at + equal.trailing_zeros() as usize / 8;
            }
            at += 8;
        }
        let rest = bytes[at..].iter().position(|byte| *byte == self.dialect.delimiter || *byte == b'\n');
        rest.map_or(bytes.len(), |offset| at + offset)
    }

    /// The end without the carriage return of a line end.
    #[inline]
    fn without_return(&self, start: usize, end: usize) -> usize {
        let bytes = self.text.as_bytes();
        let at_line_end = bytes.get(end).is_none_or(|byte| *byte == b'\n');
        if at_line_end && end > start && bytes[end - 1] == b'\r' { end - 1 } else { end }
    }

    /// Takes the cell whose quote stands here. Gives where it ends.
    fn quoted(&mut self, at: usize) -> usize {
        let bytes = self.text.as_bytes();
        let quote = bytes[at];
        let escape = self.dialect.escape.unwrap_or(quote);
        let start = at + 1;
        let (mut at, mut copied) = (start, None::<(usize, usize)>);
        let close = loop {
            let Some(offset) = memchr::memchr2(quote, escape, &bytes[at..]) else { break bytes.len() };
            let found = at + offset;
            let next = bytes.get(found + 1).copied();
            let is_escape = bytes[found] != quote;
            if is_escape && next.is_none() {
                break bytes.len();
            }
            if !is_escape && next != Some(quote) {
                break found;
            }
            // What is escaped may be longer than a byte: it is copied with what follows.
            let (from, begin) = copied.unwrap_or((start, self.records.scratch.len()));
            self.records.scratch.push_str(&self.text[from..found]);
            copied = Some((found + 1, begin));
            at = found + 2;
            while !self.text.is_char_boundary(at) {
                at += 1;
            }
        };
        // What stands between the closing quote and the end belongs to the cell, except a carriage return.
        let behind = (close + 1).min(bytes.len());
        let ends = bytes.get(behind).is_none_or(|byte| *byte == self.dialect.delimiter || *byte == b'\n');
        let end = if ends { behind } else { self.separator(behind) };
        let rest = behind..self.without_return(behind, end);
        if copied.is_none() && rest.is_empty() {
            self.records.cells.push(Cell::quoted(start, close));
        } else {
            let (from, begin) = copied.unwrap_or((start, self.records.scratch.len()));
            self.records.scratch.push_str(&self.text[from..close]);
            self.records.scratch.push_str(&self.text[rest]);
            self.records.cells.push(Cell::rewritten(begin, self.records.scratch.len()));
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CsvRead;

    fn rows(text: &str, width: usize, options: &CsvRead) -> Vec<Vec<String>> {
        let records = split(text, Dialect::new(options, ',').unwrap(), width, options.allow_short_rows);
        let cells: Vec<_> =
            records.cells.iter().map(|cell| cell.text(text, &records.scratch).0.to_owned()).collect();
        assert_eq!(cells.len(), records.rows.len() * width);
        cells.chunks(width).map(<[String]>::to_vec).collect()
    }

    #[test]
    fn cells_come_out_as_they_were_meant() {
        let plain = CsvRead::default();
        for (text, expected) in [
            ("a,b\n", [["a", "b"]].as_slice()),
            ("a,b\r\nc,d", &[["a", "b"], ["c", "d"]]),
            ("\"a\",\"b\"\r\n", &[["a", "b"]]),
            ("\"a,\n\"\"x\"\"\",\n\n\r\n,\"\"\n", &[["a,\n\"x\"", ""], ["", ""]]),
            ("a\"b\",c\n", &[["a\"b\"", "c"]]),
            ("\"a\"b,c\n", &[["ab", "c"]]),
            ("\"é\"\"é\",a long text without any end\n", &[["é\"é", "a long text without any end"]]),
            ("\"\"\"\",\"\"\"é\"\n", &[["\"", "\"é"]]),
        ] {
            assert_eq!(rows(text, 2, &plain), expected, "{text:?}");
        }
        let escaped = CsvRead { escape: Some('\\'), ..plain.clone() };
        assert_eq!(rows("\"a\\\"é\\é\\\\\",b\n", 2, &escaped), [["a\"éé\\", "b"]]);
        let unquoted = CsvRead { quote: String::new(), ..plain.clone() };
        assert_eq!(rows("\"a,b\"\n", 2, &unquoted), [["\"a", "b\""]]);
        let commented = CsvRead { comment: Some('#'), ..plain };
        assert_eq!(rows("#x\na,#b\n#", 2, &commented), [["a", "#b"]]);
    }

    #[test]
    fn an_empty_line_is_a_row_only_where_rows_have_one_cell() {
        assert_eq!(rows("a\n\nb\n", 1, &CsvRead::default()), [["a"], [""], ["b"]]);
        assert_eq!(rows("a,b\n\nc,d\n", 2, &CsvRead::default()).len(), 2);
    }

    #[test]
    fn rows_of_another_width_are_set_apart_or_filled_up() {
        let records = split("a,b\nc\nd,e,f\n", Dialect::new(&CsvRead::default(), ',').unwrap(), 2, false);
        assert_eq!(records.rows, [Span { start: 0, end: 3 }]);
        assert_eq!(records.ragged, [(Span { start: 4, end: 5 }, 1), (Span { start: 6, end: 11 }, 3)]);
        let short = CsvRead { allow_short_rows: true, ..CsvRead::default() };
        assert_eq!(rows("a,b\nc\n", 2, &short), [["a", "b"], ["c", ""]]);
    }

    #[test]
    fn the_first_record_is_split_without_a_width() {
        let (cells, next) = first_record("a,\"b\nc\"\r\nd", Dialect::new(&CsvRead::default(), ',').unwrap());
        assert_eq!((cells, next), (vec!["a".to_owned(), "b\nc".to_owned()], 9));
    }
}
