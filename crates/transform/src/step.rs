//! The steps as the pipeline file has them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use towpath_core::{ColumnType, Json, Secret};

use crate::short::{self, FromShort, Short, ShortOrFull};

/// One step of a transform, a map with one key: `- rename: {cust: customer_id}`. Steps run in their order.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Keeps only these columns, in this order: `select: [id, name]`.
    Select(
        #[serde(deserialize_with = "short::one")]
        #[schemars(with = "ShortOrFull<Select>")]
        Select,
    ),
    /// Removes columns: `drop: [internal_note]`.
    Drop(Columns),
    /// Gives columns other names, from old to new: `rename: {cust: customer_id}`. All at once, so two can swap names.
    Rename(BTreeMap<String, String>),
    /// Changes types: `cast: {amount: "decimal(12,2)"}`. A row with a value that does not fit is rejected and the
    /// others go on. Decimals are rounded to their scale; a fraction never becomes an integer.
    Cast(
        #[serde(deserialize_with = "short::map")]
        #[schemars(with = "BTreeMap<String, ShortOrFull<CastTo>>")]
        BTreeMap<String, CastTo>,
    ),
    /// Keeps the rows for which this is true: `filter: "amount > 0 and country in ('de', 'fr')"`. Operators: `=`, `!=`,
    /// `<>`, `<`, `<=`, `>`, `>=`, `in`, `between`, `like`, `ilike`, `is null`, `and`, `or`, `not`, with SQL's
    /// three-valued logic. Values: `12.5`, `'text'`, `true`, `false`, `null`, `date '2024-01-31'`,
    /// `timestamp '2024-01-31T12:00:00Z'`. Columns: `name`, `"odd name"`, `address.city`.
    Filter(String),
    /// Adds columns behind the others: `add: {country: de, run: {run_id: true}}`. Those of one step come in
    /// alphabetical order.
    Add(
        #[serde(deserialize_with = "short::map")]
        #[schemars(with = "BTreeMap<String, ShortOrFull<AddColumn>>")]
        BTreeMap<String, AddColumn>,
    ),
    /// Turns the fields of structs into columns: `flatten: [address]` gives `address_city`.
    Flatten(
        #[serde(deserialize_with = "short::one")]
        #[schemars(with = "ShortOrFull<Flatten>")]
        Flatten,
    ),
    /// Makes a row of each item of a list: `explode: items`. The other columns repeat.
    Explode(
        #[serde(deserialize_with = "short::one")]
        #[schemars(with = "ShortOrFull<Explode>")]
        Explode,
    ),
    /// Replaces values by their digest, as hexadecimal text: `hash: [email]`. Equal values stay equal; null stays null.
    Hash(
        #[serde(deserialize_with = "short::one")]
        #[schemars(with = "ShortOrFull<Hash>")]
        Hash,
    ),
    /// Hides the characters of values: `mask: {columns: [phone], keep_last: 4}`. Null stays null.
    Mask(
        #[serde(deserialize_with = "short::one")]
        #[schemars(with = "ShortOrFull<Mask>")]
        Mask,
    ),
}

impl Step {
    /// The name of the step, as the pipeline file writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Select(_) => "select",
            Self::Drop(_) => "drop",
            Self::Rename(_) => "rename",
            Self::Cast(_) => "cast",
            Self::Filter(_) => "filter",
            Self::Add(_) => "add",
            Self::Flatten(_) => "flatten",
            Self::Explode(_) => "explode",
            Self::Hash(_) => "hash",
            Self::Mask(_) => "mask",
        }
    }
}

/// Names of columns: a list, or one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(pub Vec<String>);

impl Columns {
    const EXPECTED: &'static str = "a column or a list of columns";

    fn from_short(short: Short) -> Option<Self> {
        match short {
            Short::Text(column) => Some(Self(vec![column])),
            Short::List(columns) => Some(Self(columns)),
            Short::Scalar(_) => None,
        }
    }

    fn schema() -> Schema {
        json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }],
            "description": "A column or a list of columns",
        })
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ColumnsVisitor)
    }
}

struct ColumnsVisitor;

impl<'de> Visitor<'de> for ColumnsVisitor {
    type Value = Columns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Columns::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, column: &str) -> Result<Columns, E> {
        Ok(Columns(vec![column.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Columns, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(Columns)
    }
}

impl JsonSchema for Columns {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Columns".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Self::schema()
    }
}

/// The short form of options whose only required one is `columns`.
macro_rules! short_form_is_columns {
    ($type:ident) => {
        impl FromShort for $type {
            const EXPECTED: &'static str = "a column, a list of columns or a map of options";

            fn from_short(short: Short) -> Result<Option<Self>, String> {
                Ok(Columns::from_short(short).map(Self::new))
            }

            fn short_schema() -> Schema {
                Columns::schema()
            }
        }
    };
}

/// What happens where a batch lacks a column that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The stream fails.
    Error,
    /// The batch goes on without the column.
    Skip,
}

impl Missing {
    fn error() -> Self {
        Self::Error
    }

    fn skip() -> Self {
        Self::Skip
    }
}

/// Keeps only some columns.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Select {
    /// The columns, in their new order.
    pub columns: Columns,
    /// What happens where a batch lacks one of them: `error` (the default) or `skip`.
    #[serde(default = "Missing::error")]
    pub missing: Missing,
}

impl Select {
    /// These columns, all of which must be there.
    pub fn new(columns: Columns) -> Self {
        Self { columns, missing: Missing::Error }
    }
}

short_form_is_columns!(Select);

/// The type that a column becomes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CastTo {
    /// The type, such as `int64`, `decimal(12,2)` or `timestamp(us, UTC)`.
    pub to: ColumnType,
    /// How a date, time or timestamp is written, such as `%d.%m.%Y` or, for seconds since 1970, `%s`. For text and
    /// integers; without it, ISO 8601. Text without an offset is local time in the zone of the type.
    #[serde(default)]
    pub format: Option<String>,
}

impl FromShort for CastTo {
    const EXPECTED: &'static str = "a column type or a map with `to` and `format`";

    fn from_short(short: Short) -> Result<Option<Self>, String> {
        let Short::Text(text) = short else { return Ok(None) };
        let to = text.parse().map_err(|error: towpath_core::Error| error.message().to_owned())?;
        Ok(Some(Self { to, format: None }))
    }

    fn short_schema() -> Schema {
        ColumnType::json_schema(&mut SchemaGenerator::default())
    }
}

/// A column to add: a constant, or one of `value`, `run_id`, `load_time` and `source_name`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddColumn {
    /// A constant: a text, a number, `true`, `false`, or `null` (which needs a `type`).
    #[serde(default, deserialize_with = "present")]
    pub value: Option<Json>,
    /// The id of the run.
    #[serde(default)]
    pub run_id: bool,
    /// When the run began, as `timestamp(us, UTC)`.
    #[serde(default)]
    pub load_time: bool,
    /// The name of the stream that the rows come from.
    #[serde(default)]
    pub source_name: bool,
    /// The type of the column, where it should be another than that of the value: `{value: "1.50", type: "decimal(5,2)"}`.
    #[serde(default)]
    pub r#type: Option<ColumnType>,
}

/// Keeps `value: null` apart from no `value`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

impl FromShort for AddColumn {
    const EXPECTED: &'static str = "a text, a number, true, false, or a map such as `{run_id: true}`";

    fn from_short(short: Short) -> Result<Option<Self>, String> {
        let value = match short {
            Short::Text(text) => text.into(),
            Short::Scalar(value) => value,
            Short::List(_) => return Ok(None),
        };
        Ok(Some(Self {
            value: Some(value),
            run_id: false,
            load_time: false,
            source_name: false,
            r#type: None,
        }))
    }

    fn short_schema() -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"], "description": "A constant" })
    }
}

/// Turns the fields of structs into columns.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flatten {
    /// The struct columns; without it, every struct column. One that is only nulls in a batch disappears there.
    #[serde(default)]
    pub columns: Option<Columns>,
    /// What stands between the names: `_`, so that `city` of `address` becomes `address_city`.
    #[serde(default = "underscore")]
    pub separator: String,
    /// How many levels to flatten; without it, all.
    #[serde(default)]
    pub depth: Option<NonZeroUsize>,
}

fn underscore() -> String {
    "_".to_owned()
}

impl Flatten {
    /// Flattens these columns to the bottom, with `_` between the names.
    pub fn new(columns: Columns) -> Self {
        Self { columns: Some(columns), separator: underscore(), depth: None }
    }
}

short_form_is_columns!(Flatten);

/// Makes a row of each item of a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Explode {
    /// The list column; it holds the items afterwards. Items that are structs stay structs.
    pub column: String,
    /// Keep a row whose list is null or empty, with a null as its item. Such rows disappear by default.
    #[serde(default)]
    pub keep_empty: bool,
}

impl FromShort for Explode {
    const EXPECTED: &'static str = "a column or a map with `column` and `keep_empty`";

    fn from_short(short: Short) -> Result<Option<Self>, String> {
        let Short::Text(column) = short else { return Ok(None) };
        Ok(Some(Self { column, keep_empty: false }))
    }

    fn short_schema() -> Schema {
        json_schema!({ "type": "string", "description": "A list column" })
    }
}

/// A digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HashAlgorithm {
    /// SHA-256: 64 hexadecimal digits.
    #[default]
    Sha256,
    /// SHA-512: 128 hexadecimal digits.
    Sha512,
}

/// Replaces values by their digest. Values that are not text are converted to text first, binary to hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hash {
    /// The columns.
    pub columns: Columns,
    /// `sha256` (the default) or `sha512`.
    #[serde(default)]
    pub algorithm: HashAlgorithm,
    /// Digested before each value, so that nobody without it can find a value by trying.
    #[serde(default)]
    pub salt: Option<Secret>,
    /// What happens where a batch lacks one of the columns: `skip` (the default) or `error`.
    #[serde(default = "Missing::skip")]
    pub missing: Missing,
}

impl Hash {
    /// SHA-256 of these columns, without salt.
    pub fn new(columns: Columns) -> Self {
        Self { columns, algorithm: HashAlgorithm::Sha256, salt: None, missing: Missing::Skip }
    }
}

short_form_is_columns!(Hash);

/// Hides the characters of values. Values that are not text are converted to text first, binary to hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// The columns.
    pub columns: Columns,
    /// How many characters at the end stay as they are: 0. A value that is no longer than this is hidden as a whole.
    #[serde(default)]
    pub keep_last: usize,
    /// What each hidden character becomes: `*`. May be empty, which removes them.
    #[serde(default = "star")]
    pub with: String,
    /// What happens where a batch lacks one of the columns: `skip` (the default) or `error`.
    #[serde(default = "Missing::skip")]
    pub missing: Missing,
}

fn star() -> String {
    "*".to_owned()
}

impl Mask {
    /// Hides every character of these columns behind a star.
    pub fn new(columns: Columns) -> Self {
        Self { columns, keep_last: 0, with: star(), missing: Missing::Skip }
    }
}

short_form_is_columns!(Mask);
