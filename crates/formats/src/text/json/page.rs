//! One JSON body that serves two needs: the values that lead to the next page, and the records.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use towpath_core::{Error, Result};

use super::decode::{Layout, Target, decode};
use super::path::{JsonPath, find};
use super::scan::{Cursor, Syntax, kind_of};
use crate::text::block::{Decoded, Place, Point};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A JSON body: checked once, without building values.
///
/// ```
/// use towpath_formats::json::{JsonPath, Page};
///
/// let body = r#"{"next": "abc", "data": [{"id": 1}, {"id": 2}]}"#;
/// let page = Page::parse(body.into(), "https://api.example/users", Some(&"$.data".parse().unwrap())).unwrap();
/// assert_eq!(page.value(&"$.next".parse().unwrap()).unwrap(), "abc");
/// // `reader.read_page(&cx, &page, 0, None).await` gives its two rows.
/// ```
#[derive(Clone)]
pub struct Page {
    name: Arc<str>,
    body: Bytes,
    records: Records,
}

/// Where the records stand.
#[derive(Clone)]
pub(crate) enum Records {
    /// An array, or one object, in the body.
    At(Range<usize>),
    /// Records from different places, one a line.
    Lines(Arc<str>),
}

impl Page {
    /// Checks a body and finds its records: what `records` leads to, or the document itself. An array gives its
    /// elements, an object itself, null nothing.
    ///
    /// # Errors
    /// `DataInvalid` when it is no JSON (names line and column; says so when it is HTML) or has nothing at `records`
    /// (names the fields that it has).
    pub fn parse(body: Bytes, name: &str, records: Option<&JsonPath>) -> Result<Self> {
        let body = if body.starts_with(BYTE_ORDER_MARK) { body.slice(BYTE_ORDER_MARK.len()..) } else { body };
        let text = text_of(&body, name)?;
        let records = match records {
            None => Records::At(find_records(text, &[], "$", name)?),
            Some(path) => match path.steps_to_records() {
                Some(steps) => Records::At(find_records(text, &steps, &path.to_string(), name)?),
                None => Records::Lines(query_records(text, path, name)?.into()),
            },
        };
        Ok(Self { name: name.into(), body, records })
    }

    /// The value that a path leads to, for pagination: a cursor, a URL, a total. `None` when there is none.
    pub fn value(&self, path: &JsonPath) -> Option<Value> {
        path.value_in(self.text())
    }

    /// How long the body is.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The text of the records: an array, an object, or lines.
    pub fn records(&self) -> &str {
        match &self.records {
            Records::At(range) => &self.text()[range.clone()],
            Records::Lines(lines) => lines,
        }
    }

    /// The rows of the records, numbered from behind this many on.
    pub(crate) fn decode(&self, target: Target<'_>, before: u64) -> Result<Decoded> {
        let start = Point { row: before, ..Point::START };
        let place = Place { name: self.name.clone(), start, numbered: true };
        let text = self.records();
        match (&self.records, text.as_bytes().first()) {
            (Records::Lines(_), _) => decode(text.as_bytes(), Layout::Lines, target, &place),
            (Records::At(_), Some(b'[')) => {
                decode(&text.as_bytes()[1..text.len() - 1], Layout::Elements, target, &place)
            }
            (Records::At(_), _) => decode(text.as_bytes(), Layout::Elements, target, &place),
        }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("parse has checked it")
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("name", &self.name)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The text of a body, which must look like JSON.
pub(crate) fn text_of<'a>(body: &'a [u8], name: &str) -> Result<&'a str> {
    refuse_other_formats(body, name)?;
    std::str::from_utf8(body).map_err(|error| {
        Error::data(format!("invalid UTF-8 at byte {}", error.valid_up_to())).detail("input", name)
    })
}

/// An error for what is clearly something else than JSON, such as the HTML of an error page.
pub(crate) fn refuse_other_formats(body: &[u8], name: &str) -> Result<()> {
    let begin = body.trim_ascii_start();
    if begin.first() != Some(&b'<') {
        return Ok(());
    }
    let begin = String::from_utf8_lossy(&begin[..begin.len().min(40)]);
    let what = if begin.starts_with("<?xml") { "XML" } else { "HTML" };
    Err(Error::data(format!("the body is {what}, not JSON (begins with `{}`)", begin.trim_end()))
        .detail("input", name)
        .help("check the URL, and whether the server asks for a login"))
}

/// An error that names line and column.
pub(crate) fn syntax_error(text: &str, syntax: Syntax, name: &str) -> Error {
    let at = syntax.at.min(text.len());
    let before = &text.as_bytes()[..at];
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let begin = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    let column = String::from_utf8_lossy(&before[begin..]).chars().count() + 1;
    let found = text[at..].chars().next();
    let found = found.map_or("it ends there".to_owned(), |found| format!("found `{found}`"));
    Error::data(format!(
        "invalid JSON at line {line}, column {column}: expected {}, {found}",
        syntax.expected
    ))
    .detail("input", name)
}

fn find_records(text: &str, steps: &[super::path::Step], path: &str, name: &str) -> Result<Range<usize>> {
    let mut cursor = Cursor::new(text);
    if cursor.peek().is_none() {
        return Err(Error::data("the body is empty, not JSON").detail("input", name));
    }
    let found = find(&mut cursor, steps)
        .and_then(|found| cursor.end().map(|()| found))
        .map_err(|syntax| syntax_error(text, syntax, name))?;
    let found = found.ok_or_else(|| nothing_there(text, path, name))?;
    match text.as_bytes()[found.start] {
        b'[' | b'{' => Ok(found),
        b'n' => Ok(found.end..found.end),
        other => Err(Error::data(format!("expected records at `{path}`, found {}", kind_of(Some(other))))
            .detail("input", name)),
    }
}

/// The error of a path that leads nowhere.
pub(crate) fn nothing_there(text: &str, path: &str, name: &str) -> Error {
    let error = Error::data(format!("the body has nothing at `{path}`")).detail("input", name);
    let mut cursor = Cursor::new(text);
    let mut names = Vec::new();
    if cursor.peek() != Some(b'{') {
        return error.help(format!("it is {}; set `records`", kind_of(cursor.peek())));
    }
    let walked: Result<(), Syntax> = cursor.object(|cursor| {
        names.push(format!("`{}`", cursor.string()?));
        cursor.colon()?;
        cursor.skip().map(drop)
    });
    // What was read until a mistake is enough for a hint.
    let _ = walked;
    error.help(format!("it has {}; set `records`", names.join(", ")))
}

/// The records of a path that needs the whole document, one a line.
pub(crate) fn query_records(text: &str, path: &JsonPath, name: &str) -> Result<String> {
    let document: Value = serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        Error::data(format!("invalid JSON: {message}")).detail("input", name)
    })?;
    let found = path.query(&document);
    let mut lines = String::new();
    for value in found {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        for item in items {
            lines.push_str(&item.to_string());
            lines.push('\n');
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &'static str, records: Option<&str>) -> Result<Page> {
        let records = records.map(|records| records.parse::<JsonPath>().unwrap());
        Page::parse(Bytes::from_static(body.as_bytes()), "https://api.example/x", records.as_ref())
    }

    #[test]
    fn html_instead_of_json_is_named() {
        let error = parse("<!doctype html><html><body>Sign in</body></html>", None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the body is HTML, not JSON (begins with `<!doctype html><html><body>Sign in</body`) \
             (input: https://api.example/x); check the URL, and whether the server asks for a login"
        );
    }

    #[test]
    fn invalid_json_names_line_and_column() {
        let error = parse("{\"data\": [\n  {\"id\": 1},\n  {\"id\" 2}\n]}", Some("$.data")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid JSON at line 3, column 9: expected `:`, found `2` (input: https://api.example/x)"
        );
        let error = parse("{\"data\": [", Some("$.data")).unwrap_err();
        assert_eq!(error.message(), "invalid JSON at line 1, column 11: expected a value, it ends there");
        assert_eq!(parse("  ", None).unwrap_err().message(), "the body is empty, not JSON");
    }

    #[test]
    fn a_path_that_leads_nowhere_names_the_fields_that_are_there() {
        let error = parse(r#"{"error": "no", "code": 7}"#, Some("$.data")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the body has nothing at `$.data` (input: https://api.example/x); it has `error`, `code`; set `records`"
        );
    }

    #[test]
    fn records_are_an_array_an_object_or_what_a_query_gives() {
        assert_eq!(parse(r#"{"data": [{"id": 1}]}"#, Some("$.data")).unwrap().records(), r#"[{"id": 1}]"#);
        assert_eq!(parse(r#"{"data": [{"id": 1}]}"#, Some("$.data[*]")).unwrap().records(), r#"[{"id": 1}]"#);
        assert_eq!(parse(r#"{"data": null}"#, Some("$.data")).unwrap().records(), "");
        assert_eq!(parse(r#"{"id": 1}"#, None).unwrap().records(), r#"{"id": 1}"#);
        let page = parse(r#"{"a": [{"id": 1}], "b": [{"id": 2}]}"#, Some("$[*][*]")).unwrap();
        assert_eq!(page.records(), "{\"id\":1}\n{\"id\":2}\n");
        assert!(parse(r#"{"data": 5}"#, Some("$.data")).is_err());
    }
}
