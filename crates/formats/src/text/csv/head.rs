//! What stands before the rows of a CSV file: a byte order mark, lines to leave out, comments, the header.

use towpath_core::{Error, Result};

use super::dialect::{Dialect, Scanner};
use super::records::first_record;
use crate::text::block::readable;
use crate::{Columns, CsvRead};

/// The names of a file's columns, in its order, and how many bytes stand before its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) names: Vec<String>,
    pub(crate) length: usize,
}

/// The head of a file, from its first bytes; `None` when they are too few.
///
/// # Errors
/// `DataInvalid` when the header names a column twice, or not one that was declared.
pub(crate) fn head(
    bytes: &[u8],
    at_end: bool,
    options: &CsvRead,
    dialect: Dialect,
    declared: &Columns,
) -> Result<Option<Head>> {
    let mut at = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    for _ in 0..options.skip_lines {
        match memchr::memchr(b'\n', &bytes[at..]) {
            Some(newline) => at += newline + 1,
            None if at_end => return Ok(Some(Head { names: Vec::new(), length: bytes.len() })),
            None => return Ok(None),
        }
    }
    let Some((start, end)) = first_line(bytes, at, at_end, dialect) else {
        return Ok(at_end.then(|| Head { names: Vec::new(), length: bytes.len() }));
    };
    let (text, _) = readable(&bytes[start..end]);
    let (cells, _) = first_record(&text, dialect);
    if !options.header {
        let names = (0..cells.len()).map(|index| match declared.0.get(index) {
            Some((name, _)) => name.clone(),
            None => format!("column_{}", index + 1),
        });
        return Ok(Some(Head { names: names.collect(), length: start }));
    }
    let names = named(cells);
    check(&names, declared)?;
    Ok(Some(Head { names, length: end }))
}

/// Where the first record that is neither empty nor a comment stands.
fn first_line(bytes: &[u8], mut at: usize, at_end: bool, dialect: Dialect) -> Option<(usize, usize)> {
    let mut scanner = Scanner::new(dialect);
    let mut start = at;
    while at < bytes.len() {
        let line_end = memchr::memchr(b'\n', &bytes[at..]).map(|newline| at + newline + 1);
        let Some(end) = line_end else { break };
        let ended = scanner.last_end(&bytes[at..end]).is_some();
        at = end;
        if ended {
            let line = bytes[start..end].trim_ascii_end();
            if !line.is_empty() && (dialect.comment.is_none() || dialect.comment != line.first().copied()) {
                return Some((start, end));
            }
            start = end;
        }
    }
    (at_end && start < bytes.len()).then_some((start, bytes.len()))
}

/// A column without a name gets its number, as if there were no header.
fn named(cells: Vec<String>) -> Vec<String> {
    let names = cells
        .into_iter()
        .enumerate()
        .map(|(index, name)| if name.is_empty() { format!("column_{}", index + 1) } else { name });
    names.collect()
}

fn check(names: &[String], declared: &Columns) -> Result<()> {
    for (index, name) in names.iter().enumerate() {
        if name.replace("\r\n", "").contains('\r') {
            return Err(Error::data("its lines end in carriage returns alone")
                .help("convert it first, for example with `tr '\\r' '\\n'`"));
        }
        if names[..index].contains(name) {
            return Err(Error::data(format!("the header names the column `{name}` twice")).help(
                "rename one of them, or set `header: false` and `skip_lines: 1` to number the columns",
            ));
        }
    }
    for (name, _) in &declared.0 {
        if !names.contains(name) {
            return Err(Error::data(format!("the header has no column `{name}`, which is declared"))
                .detail("header", names.join(", ")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, options: &CsvRead, declared: &Columns) -> Result<Option<Head>> {
        head(text.as_bytes(), true, options, Dialect::new(options, ',').unwrap(), declared)
    }

    fn names(text: &str, options: &CsvRead) -> (Vec<String>, usize) {
        let head = of(text, options, &Columns::default()).unwrap().unwrap();
        (head.names, head.length)
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_header_is_found_behind_what_stands_before_it() {
        let plain = CsvRead::default();
        assert_eq!(names("\u{feff}a,b\n1,2\n", &plain), (strings(&["a", "b"]), 7));
        assert_eq!(names("\r\n\na,,\"c\nd\"\n1,2,3\n", &plain), (strings(&["a", "column_2", "c\nd"]), 12));
        let skipping = CsvRead { skip_lines: 2, ..plain.clone() };
        assert_eq!(names("Report \"of\nMay\na\n1\n", &skipping), (strings(&["a"]), 17));
        let commented = CsvRead { comment: Some('#'), ..plain.clone() };
        assert_eq!(names("# x, \"y\na\n1\n", &commented), (strings(&["a"]), 10));
        assert_eq!(names("", &plain), (strings(&[]), 0));
        assert_eq!(names("a,b", &plain), (strings(&["a", "b"]), 3));
    }

    #[test]
    fn without_a_header_columns_are_declared_or_numbered() {
        let bare = CsvRead { header: false, ..CsvRead::default() };
        let declared = Columns(vec![("id".to_owned(), "int64".parse().unwrap())]);
        let head = of("1,2\n3,4\n", &bare, &declared).unwrap().unwrap();
        assert_eq!(head, Head { names: strings(&["id", "column_2"]), length: 0 });
    }

    #[test]
    fn a_head_that_is_not_all_there_waits_for_more() {
        let plain = CsvRead::default();
        let dialect = Dialect::new(&plain, ',').unwrap();
        assert_eq!(head(b"a,\"b\n", false, &plain, dialect, &Columns::default()).unwrap(), None);
    }

    #[test]
    fn lines_of_carriage_returns_alone_are_no_single_header() {
        let error = of("a,b\r1,2\r", &CsvRead::default(), &Columns::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "its lines end in carriage returns alone; convert it first, for example with `tr '\\r' '\\n'`"
        );
    }

    #[test]
    fn a_column_that_comes_twice_or_not_at_all_is_named() {
        let error = of("a,b,a\n", &CsvRead::default(), &Columns::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the header names the column `a` twice; rename one of them, or set `header: false` and `skip_lines: 1` to \
             number the columns"
        );
        let declared = Columns(vec![("prise".to_owned(), "int64".parse().unwrap())]);
        let error = of("id,price\n", &CsvRead::default(), &declared).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the header has no column `prise`, which is declared (header: id, price)"
        );
    }
}
