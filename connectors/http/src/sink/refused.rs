//! Rows that a server did not take: which ones, and why.

use bytes::Bytes;
use towpath_core::{Error, Json, Rejected, Result};

use crate::config::RejectedRows;
use crate::errors::excerpt;

/// What an answer says of a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    row: Row,
    reason: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Row {
    Number(usize),
    /// Names of columns with their values.
    Key(Vec<(String, String)>),
}

/// What an answer says of rows that were refused.
///
/// # Errors
/// `DataInvalid` when it is no JSON, or an element does not tell its row.
pub(super) fn told(rules: &RejectedRows, answer: &Bytes) -> Result<Vec<Told>> {
    if answer.is_empty() {
        return Ok(Vec::new());
    }
    let answer: Json = serde_json::from_slice(answer).map_err(|error| {
        Error::data(format!("the answer is no JSON, in which `rejected` could be: {error}"))
            .help("check `rejected`, and what the server answers")
    })?;
    let mut found = Vec::new();
    // A path to an array means its elements.
    let elements = rules.path.query(&answer).into_iter().flat_map(|element| match element {
        Json::Array(elements) => elements.iter().collect(),
        Json::Null => Vec::new(),
        other => vec![other],
    });
    for (position, element) in elements.enumerate() {
        let reason = rules.reason.as_ref().and_then(|path| first(path, element)).map(text);
        let row = match (&rules.index, rules.key.is_empty()) {
            // Each row has an element, and one without a reason is well.
            (None, true) if reason.is_none() => continue,
            (None, true) => Row::Number(position),
            (Some(path), _) => Row::Number(number(path, element)?),
            (None, false) => Row::Key(key(rules, element)?),
        };
        found.push(Told { row, reason: reason.unwrap_or_else(|| text(element)) });
    }
    Ok(found)
}

/// The reason in the answer that refuses a single row, if it stands where the options say.
pub(super) fn reason(rules: &RejectedRows, answer: &[u8]) -> Option<String> {
    let answer: Json = serde_json::from_slice(answer).ok()?;
    let path = rules.reason.as_ref()?;
    let found = rules.path.query(&answer);
    let mut elements = found.into_iter().flat_map(|element| match element {
        Json::Array(elements) => elements.iter().collect(),
        other => vec![other],
    });
    elements.find_map(|element| first(path, element)).map(text)
}

/// The rows that an answer tells of, each once, in their order. `clean` takes secrets out of a reason.
///
/// # Errors
/// `DataInvalid` for one that was not sent.
pub(super) fn rows(
    told: Vec<Told>,
    sent: &[Json],
    place: &str,
    clean: impl Fn(&str) -> String,
) -> Result<Vec<Rejected>> {
    let mut reasons: Vec<Option<String>> = vec![None; sent.len()];
    for Told { row, reason } in told {
        let reason = excerpt(&clean(&reason)).unwrap_or_else(|| "the server gave no reason".to_owned());
        let matches: Vec<usize> = match &row {
            Row::Number(number) if *number < sent.len() => vec![*number],
            // With one row there is no doubt.
            Row::Number(_) if sent.len() == 1 => vec![0],
            Row::Number(_) => Vec::new(),
            Row::Key(key) => (0..sent.len())
                .filter(|row| key.iter().all(|(name, value)| text(&sent[*row][name]) == *value))
                .collect(),
        };
        if matches.is_empty() {
            return Err(Error::data(format!("the server refuses a row that was not sent: {row}: {reason}"))
                .help("check `rejected.index` or `rejected.key`"));
        }
        for row in matches {
            match &mut reasons[row] {
                Some(known) => *known = format!("{known}; {reason}"),
                none => *none = Some(reason.clone()),
            }
        }
    }
    let refused = reasons.into_iter().zip(sent);
    Ok(refused.filter_map(|(reason, row)| Some(Rejected::new(place, reason?).row(row.clone()))).collect())
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "number {number}"),
            Self::Key(key) => {
                let shown: Vec<_> = key.iter().map(|(name, value)| format!("{name} = {value}")).collect();
                f.write_str(&shown.join(", "))
            }
        }
    }
}

fn first<'a>(path: &towpath_formats::json::JsonPath, element: &'a Json) -> Option<&'a Json> {
    path.query(element).into_iter().find(|value| !value.is_null())
}

fn number(path: &towpath_formats::json::JsonPath, element: &Json) -> Result<usize> {
    let value = first(path, element);
    let number = value.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    number.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| {
        Error::data(format!("the server refuses a row without its number at `{path}`"))
            .help("check `rejected.index`")
    })
}

fn key(rules: &RejectedRows, element: &Json) -> Result<Vec<(String, String)>> {
    let fields = rules.key.iter().map(|(name, path)| {
        let value = first(path, element).ok_or_else(|| {
            Error::data(format!("the server refuses a row without its `{name}` at `{path}`"))
                .help("check `rejected.key`")
        })?;
        Ok((name.clone(), text(value)))
    });
    fields.collect()
}

/// A value as text: the same whether a server writes a number as one or as text.
fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
