//! Rows that did not make it, with their reason.

use serde::{Deserialize, Serialize};

use crate::Json;

/// A row that could not be read, converted or written. It goes to the dead letter, or ends its stream, by policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Rejected {
    /// Where it stands, as a person would look for it: `landing/a.csv:17`, `https://api.example/users?page=3#12`.
    pub place: String,
    /// Why it was rejected, in one sentence.
    pub reason: String,
    /// The column that was wrong, if it was one.
    pub column: Option<String>,
    /// The value that was wrong, as text.
    pub value: Option<String>,
    /// The row: its text as it came, or its columns as a JSON object.
    pub row: Option<Json>,
}

impl Default for Rejected {
    fn default() -> Self {
        Self::new("", "")
    }
}

impl Rejected {
    /// A row that was rejected at this place for this reason.
    pub fn new(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { place: place.into(), reason: reason.into(), column: None, value: None, row: None }
    }

    /// Names the column and its value.
    pub fn column(mut self, column: impl Into<String>, value: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self.value = Some(value.into());
        self
    }

    /// Keeps the row.
    pub fn row(mut self, row: impl Into<Json>) -> Self {
        self.row = Some(row.into());
        self
    }

    /// About how many bytes of memory it holds.
    pub fn memory_size(&self) -> usize {
        let row = match &self.row {
            None => 0,
            Some(Json::String(text)) => text.len(),
            Some(other) => 2 * other.to_string().len(),
        };
        size_of::<Self>()
            + self.place.len()
            + self.reason.len()
            + self.column.as_ref().map_or(0, String::len)
            + self.value.as_ref().map_or(0, String::len)
            + row
    }
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)?;
        if let Some(column) = &self.column {
            write!(f, " (column: {column}")?;
            if let Some(value) = &self.value {
                write!(f, ", value: {value}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}
