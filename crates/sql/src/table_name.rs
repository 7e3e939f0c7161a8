//! The name of a table, with or without its schema.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use towpath_core::{Error, Result};

use crate::Dialect;

/// A table, as people write it: `orders`, `sales.orders`, or with quotes round a part that holds a dot: `"a.b".c`. A
/// part means itself: upper case stays.
///
/// In MySQL, what stands before the dot is a database.
///
/// ```
/// use towpath_sql::{Dialect, TableName};
///
/// let table: TableName = "sales.Orders".parse().unwrap();
/// assert_eq!((table.schema.as_deref(), table.name.as_str()), (Some("sales"), "Orders"));
/// assert_eq!(table.sql(Dialect::Postgres), r#""sales"."Orders""#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The schema, or database.
    pub schema: Option<String>,
    /// The table.
    pub name: String,
}

impl TableName {
    /// A table in a schema.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: Some(schema.into()), name: name.into() }
    }

    /// A table in the default schema.
    pub fn unqualified(name: impl Into<String>) -> Self {
        Self { schema: None, name: name.into() }
    }

    /// The name as it is written in a statement.
    pub fn sql(&self, dialect: Dialect) -> String {
        match &self.schema {
            None => dialect.identifier(&self.name),
            Some(schema) => format!("{}.{}", dialect.identifier(schema), dialect.identifier(&self.name)),
        }
    }

    /// Another table in the same schema.
    pub fn sibling(&self, name: impl Into<String>) -> Self {
        Self { schema: self.schema.clone(), name: name.into() }
    }
}

impl FromStr for TableName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match parts(text).as_deref() {
            Some([name]) if !name.is_empty() => Ok(Self::unqualified(name)),
            Some([schema, name]) if !schema.is_empty() && !name.is_empty() => Ok(Self::new(schema, name)),
            _ => Err(Error::config(format!("`{text}` is not the name of a table"))
                .help("write `table` or `schema.table`, with double quotes round a part that holds a dot")),
        }
    }
}

/// The parts between dots. A part in double quotes or backticks may hold dots, and its quote twice.
fn parts(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, behind) = if let Some(quote @ ('"' | '`')) = rest.chars().next() {
            quoted(rest, quote)?
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        };
        parts.push(part);
        match behind.strip_prefix('.') {
            Some(more) => rest = more,
            None if behind.is_empty() => return Some(parts),
            None => return None,
        }
    }
}

/// A part that begins with this quote, and what stands behind it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != quote {
            part.push(character);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            part.push(quote);
        } else {
            return Some((part, &text[at + quote.len_utf8()..]));
        }
    }
    None
}

/// In the form that [`FromStr`] reads.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", plain_or_quoted(schema))?;
        }
        f.write_str(&plain_or_quoted(&self.name))
    }
}

fn plain_or_quoted(part: &str) -> Cow<'_, str> {
    if part.contains(['.', '"', '`']) { Dialect::Postgres.identifier(part).into() } else { part.into() }
}

impl Serialize for TableName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| de::Error::custom(error.message()))
    }
}

impl JsonSchema for TableName {
    fn schema_name() -> Cow<'static, str> {
        "TableName".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_and_without_quotes_and_written_back() {
        for (text, schema, name) in [
            ("orders", None, "orders"),
            ("sales.orders", Some("sales"), "orders"),
            ("\"a.b\".c", Some("a.b"), "c"),
            ("a.\"b\"\"c.d\"", Some("a"), "b\"c.d"),
            ("`a.b`.Order Details", Some("a.b"), "Order Details"),
            ("x; drop table y", None, "x; drop table y"),
        ] {
            let table: TableName = text.parse().unwrap();
            assert_eq!((table.schema.as_deref(), table.name.as_str()), (schema, name), "{text}");
            assert_eq!(table.to_string().parse::<TableName>().unwrap(), table, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", ".", "a.", ".a", "a.b.c", "\"a", "\"a\"b"] {
            let error = text.parse::<TableName>().unwrap_err().to_string();
            assert!(error.contains("is not the name of a table"), "{text}: {error}");
        }
    }

    #[test]
    fn a_name_that_holds_sql_is_one_identifier() {
        let table = TableName::new("s", "x\"; drop table y; --");
        assert_eq!(table.sql(Dialect::Postgres), r#""s"."x""; drop table y; --""#);
        let table = TableName::unqualified("x`; drop table y; --");
        assert_eq!(table.sql(Dialect::MySql), "`x``; drop table y; --`");
    }
}
