//! The options of formats with tags.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

/// How XML is read.
///
/// Each record becomes a row: attributes are `@name`, child elements are columns, and text is the value of an element that
/// has nothing else, or its `#text`. Texts stay texts; declare `columns` for other types. An element without anything is
/// null. White space around texts is left out. Elements that repeat become lists, in all rows that are read with them;
/// `lists` names those that are always lists.
///
/// No entity is expanded but those of XML itself, and nothing that a document refers to is read.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct XmlRead {
    /// The path to the records from the root on, such as `/feed/entry`; `*` is any element. By default the elements within
    /// the root.
    pub records: Option<String>,
    /// What becomes of prefixes of names, such as `dc:` in `dc:creator`.
    pub namespaces: Namespaces,
    /// Elements that are lists however often they come, by their path within the record, such as `author` or
    /// `links/link`.
    pub lists: Vec<String>,
    /// How deep elements may be nested; 100 by default.
    pub max_depth: usize,
}

impl Default for XmlRead {
    fn default() -> Self {
        Self { records: None, namespaces: Namespaces::Strip, lists: Vec::new(), max_depth: 100 }
    }
}

/// What becomes of prefixes of names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Namespaces {
    /// They are left out, and so are declarations of namespaces.
    #[default]
    Strip,
    /// They stay, and so do declarations.
    Keep,
}

/// How rows are taken out of HTML, by CSS selectors.
///
/// Selectors know types, ids, classes, attributes, all combinators, `:not()`, `:is()`, `:has()`, `:scope`, `:empty`, and the
/// `:nth-…` and `:first-…` family. Texts stay texts, with white space joined; declare the source's `columns` for other types.
/// A match of `rows` in which no column finds anything, such as the head of a table, is no row.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HtmlRead {
    /// The selector of the elements that are rows, such as `table.items tr`.
    pub rows: String,
    /// The columns: a selector within the row for its text, or more exactly `{ select, attribute, absolute, regex, all }`.
    pub columns: Cells,
}

/// Names of columns with where their values stand, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cells(pub Vec<(String, Cell)>);

/// Where the value of a column stands.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cell {
    /// The selector within the row; the row itself by default. The first match counts.
    pub select: Option<String>,
    /// The attribute that is the value, such as `href`; the text by default.
    pub attribute: Option<String>,
    /// Whether the value is a URL that is made absolute by that of the page.
    pub absolute: bool,
    /// What of it is the value: the first group of this pattern, or all that it matches. Null where it does not match.
    pub regex: Option<String>,
    /// Whether all matches are wanted, as a list.
    pub all: bool,
}

/// A cell, or its selector alone.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum CellForm {
    #[expect(dead_code, reason = "it only describes itself")]
    Selector(String),
    #[expect(dead_code, reason = "it only describes itself")]
    Cell(Cell),
}

/// A cell as either form says it.
struct AnyCell(Cell);

impl<'de> Deserialize<'de> for AnyCell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;
        impl<'de> Visitor<'de> for EitherForm {
            type Value = AnyCell;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a selector, or `{ select, attribute, absolute, regex, all }`")
            }

            fn visit_str<E: serde::de::Error>(self, selector: &str) -> Result<AnyCell, E> {
                Ok(AnyCell(Cell { select: Some(selector.to_owned()), ..Cell::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AnyCell, A::Error> {
                Cell::deserialize(MapAccessDeserializer::new(map)).map(AnyCell)
            }
        }
        deserializer.deserialize_any(EitherForm)
    }
}

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Cells;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("column names with selectors, such as `{ title: \"h2 a\" }`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cells, A::Error> {
                let mut cells = Vec::new();
                while let Some((name, AnyCell(cell))) = map.next_entry()? {
                    cells.push((name, cell));
                }
                Ok(Cells(cells))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl JsonSchema for Cells {
    fn schema_name() -> Cow<'static, str> {
        "Cells".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let form = generator.subschema_for::<CellForm>();
        schemars::json_schema!({
            "type": "object",
            "description": "Column names with selectors, such as `{ title: \"h2 a\", url: { select: \"h2 a\", attribute: href } }`",
            "additionalProperties": form,
        })
    }
}
