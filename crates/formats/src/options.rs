//! The options of formats and codecs, as pipeline files write them.
//!
//! A format is a name (`format: csv`) or a name with options (`format: { type: csv, delimiter: ";" }`).

mod events;
mod markup;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use towpath_core::{ByteSize, Columns};

pub use events::{EventData, SseRead};
pub use markup::{Cell, Cells, HtmlRead, Namespaces, XmlRead};

/// How bytes become batches. A connector lists these as options of its own and fills this in.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// The format; `None` to tell it by name or content type.
    pub format: Option<ReadFormat>,
    /// The codec; `None` to tell it by name or content encoding.
    pub compression: Option<Compression>,
    /// The columns whose types are declared; the others are inferred.
    ///
    /// A declared type is exact: a row with a value that does not fit it is rejected, and digits are never rounded away.
    /// Numbers may have signs, spaces and leading zeros; times without an offset are local to the column's zone.
    ///
    /// An inferred type is the narrowest that keeps all texts of a sample as they are, and widens where later values
    /// need it. CSV gives bool, int64, decimal(38,0) for longer integers, float64, date, timestamp (with UTC where texts
    /// have an offset), and string, also for a column without any value; `00501` is a string. JSON gives bool, int64,
    /// uint64, decimal, float64, string, lists and structs; texts stay strings, dates among them, and values of
    /// different kinds meet in a string with their JSON.
    pub columns: Columns,
    /// How many rows are looked at to infer the types of the others; `None` for 10,000.
    pub sample_rows: Option<usize>,
    /// What a file that ends in the middle means: keep the rows before the end (`true`), or an error without them.
    pub keep_truncated: bool,
    /// The most bytes that one compressed file may become; `None` for 1,000 times its size and at least 64 GiB.
    pub max_decompressed: Option<ByteSize>,
}

/// How batches become bytes.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// The format; `None` to tell it by name.
    pub format: Option<WriteFormat>,
    /// The codec; `None` to tell it by name.
    pub compression: Option<Compression>,
}

/// A codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As it is, whatever its name says.
    None,
    /// `.gz`
    Gzip,
    /// `.zz`
    Zlib,
    /// `.zst`
    Zstd,
    /// `.bz2`
    Bzip2,
    /// `.xz`
    Xz,
    /// `.br`
    Brotli,
    /// `.lz4`
    Lz4,
}

/// Deserializes an enum of formats from its name alone, or from a map with `type`.
macro_rules! name_or_map {
    ($(#[$doc:meta])* $name:ident as $form:ident { $($(#[$variant_doc:meta])* $variant:ident $(($options:ty))?),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant $(($options))?,)*
        }

        #[derive(Deserialize, JsonSchema)]
        #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
        enum $form {
            $($(#[$variant_doc])* $variant $(($options))?,)*
        }

        impl From<$form> for $name {
            fn from(form: $form) -> Self {
                match form {
                    $(name_or_map!(@pattern $form $variant options $($options)?) => name_or_map!(@value $name $variant options $($options)?),)*
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct NameOrMap;
                impl<'de> Visitor<'de> for NameOrMap {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("the name of a format, or `{ type: NAME, ... }`")
                    }

                    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<$name, E> {
                        let entry = std::iter::once(("type", name));
                        $form::deserialize(serde::de::value::MapDeserializer::new(entry)).map($name::from)
                    }

                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$name, A::Error> {
                        $form::deserialize(MapAccessDeserializer::new(map)).map($name::from)
                    }
                }
                deserializer.deserialize_any(NameOrMap)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let names = [$(stringify!($variant).to_ascii_lowercase()),*];
                let form = generator.subschema_for::<$form>();
                schemars::json_schema!({ "anyOf": [{ "enum": names }, form] })
            }
        }
    };
    (@pattern $form:ident $variant:ident $bound:ident $options:ty) => { $form::$variant($bound) };
    (@pattern $form:ident $variant:ident $bound:ident) => { $form::$variant };
    (@value $name:ident $variant:ident $bound:ident $options:ty) => { $name::$variant($bound) };
    (@value $name:ident $variant:ident $bound:ident) => { $name::$variant };
}

name_or_map! {
    /// A format to read.
    ReadFormat as ReadFormatForm {
        /// Comma-separated values.
        Csv(CsvRead),
        /// Tab-separated values; the options are those of CSV.
        Tsv(CsvRead),
        /// A JSON object a line.
        Ndjson,
        /// A JSON document that holds the records.
        Json(JsonRead),
        /// XML.
        Xml(XmlRead),
        /// HTML, by CSS selectors.
        Html(HtmlRead),
        /// An event stream of HTTP.
        Sse(SseRead),
        /// Apache Parquet.
        Parquet,
        /// Arrow IPC, as file or stream.
        Arrow,
        /// Avro object container files.
        Avro,
        /// Whole files as they are, byte by byte, for a sink with `format: bytes`.
        Bytes,
    }
}

name_or_map! {
    /// A format to write.
    WriteFormat as WriteFormatForm {
        /// Comma-separated values.
        Csv(CsvWrite),
        /// Tab-separated values; the options are those of CSV.
        Tsv(CsvWrite),
        /// A JSON object a line.
        Ndjson,
        /// A JSON array of objects.
        Json,
        /// Apache Parquet.
        Parquet(ParquetWrite),
        /// Arrow IPC file.
        Arrow,
        /// Avro object container files.
        Avro,
        /// Whole files as they are, byte by byte, from a source with `format: bytes`.
        Bytes,
    }
}

/// How CSV is read.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CsvRead {
    /// What separates fields; `,` by default, a tab for `tsv`.
    pub delimiter: Option<char>,
    /// What quotes fields; empty for none.
    pub quote: String,
    /// What escapes a quote inside quotes; by default quotes are doubled.
    pub escape: Option<char>,
    /// Whether the first row names the columns; otherwise they are `column_1` and so on, or as declared.
    pub header: bool,
    /// Values that mean null, besides the empty one without quotes.
    pub null_values: Vec<String>,
    /// How many lines are left out before the header.
    pub skip_lines: usize,
    /// The character with which comment lines begin.
    pub comment: Option<char>,
    /// How characters are encoded. UTF-8 and UTF-16 byte order marks are obeyed.
    pub encoding: Encoding,
    /// Whether a row with fewer fields than the header is filled with nulls instead of rejected.
    pub allow_short_rows: bool,
}

impl Default for CsvRead {
    fn default() -> Self {
        Self {
            delimiter: None,
            quote: "\"".to_owned(),
            escape: None,
            header: true,
            null_values: Vec::new(),
            skip_lines: 0,
            comment: None,
            encoding: Encoding::Utf8,
            allow_short_rows: false,
        }
    }
}

/// A character encoding of text files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// UTF-8.
    #[default]
    #[serde(rename = "utf-8", alias = "utf8")]
    Utf8,
    /// UTF-16; little-endian without a byte order mark.
    #[serde(rename = "utf-16", alias = "utf16")]
    Utf16,
    /// ISO 8859-1, read as Windows-1252 as the web does.
    #[serde(rename = "latin-1", alias = "latin1")]
    Latin1,
}

/// How CSV is written.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CsvWrite {
    /// What separates fields; `,` by default, a tab for `tsv`.
    pub delimiter: Option<char>,
    /// What quotes fields that need it.
    pub quote: char,
    /// Whether the first row names the columns.
    pub header: bool,
    /// What is written for null.
    pub null_value: String,
}

impl Default for CsvWrite {
    fn default() -> Self {
        Self { delimiter: None, quote: '"', header: true, null_value: String::new() }
    }
}

/// How a JSON document is read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JsonRead {
    /// `JSONPath` to the records: an array of objects, or single objects. By default the document itself.
    pub records: Option<String>,
}

/// How Parquet is written.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ParquetWrite {
    /// The most rows of a row group.
    pub row_group_rows: usize,
    /// The codec of the pages.
    pub compression: ParquetCompression,
    /// Whether pages and row groups carry statistics.
    pub statistics: bool,
    /// Whether columns with few different values get a dictionary.
    pub dictionary: bool,
}

impl Default for ParquetWrite {
    fn default() -> Self {
        Self {
            row_group_rows: 1 << 20,
            compression: ParquetCompression::Zstd,
            statistics: true,
            dictionary: true,
        }
    }
}

/// A codec of Parquet pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParquetCompression {
    /// None.
    None,
    /// Snappy.
    Snappy,
    /// Zstandard, level 1: half the size of Snappy for a tenth more time.
    Zstd,
    /// Gzip.
    Gzip,
    /// LZ4, raw blocks.
    Lz4,
}
