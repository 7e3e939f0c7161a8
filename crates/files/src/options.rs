//! The options of a source of files, as pipeline files write them.

use std::borrow::Cow;
use std::fmt;

use crate::{Archive, Incremental};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use towpath_core::{ByteSize, Error, Result};
use towpath_formats::{Columns, Compression, ReadFormat, ReadOptions};

/// What a source of files reads, and how: [`with_source_options!`](crate::with_source_options) tells the meaning of each.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the macro below documents them, where pipeline files get their help from")]
pub struct SourceOptions {
    pub path: Paths,
    pub archive: Option<Archive>,
    pub format: Option<ReadFormat>,
    pub compression: Option<Compression>,
    pub columns: Columns,
    pub sample_rows: Option<usize>,
    pub hive_partitions: HivePartitions,
    pub split_size: ByteSize,
    pub incremental: Incremental,
    pub allow_empty: bool,
    pub on_truncated: OnTruncated,
    pub max_decompressed: Option<ByteSize>,
    pub file_column: Option<String>,
}

/// Makes the configuration of a source out of the options that all stores of files have, and some of its own. What `path`
/// means is the store's to tell. It gets a method `files`, which gives the former as [`SourceOptions`].
#[macro_export]
macro_rules! with_source_options {
    ($(#[$meta:meta])* pub struct $name:ident { $(#[$path:meta])* path; $($more:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(#[$path])*
            pub path: $crate::Paths,
            /// Reads the files as archives, each entry as a file of its own: `zip`, `tar`, `auto` (told by the extension), or
            /// `{ format: auto, entries: "**/*.csv", max_entries: 100000 }`, where `entries` is a name, a folder or a glob, or a list
            /// of these, and `max_entries` the most that one archive may have. Entries are called such as `in/a.zip!/dir/b.csv`.
            /// Without this option nobody looks into a file.
            #[serde(default)]
            pub archive: Option<$crate::Archive>,
            /// The format; by default told by the extension.
            #[serde(default)]
            pub format: Option<towpath_formats::ReadFormat>,
            /// The codec; by default told by the extension.
            #[serde(default)]
            pub compression: Option<towpath_formats::Compression>,
            /// Columns with declared types, such as `{ id: int64, day: date }`; the others are inferred. A partition column may
            /// be declared too.
            #[serde(default)]
            pub columns: towpath_formats::Columns,
            /// How many rows of the first file are looked at to infer types; 10,000 by default.
            #[serde(default)]
            pub sample_rows: Option<usize>,
            /// Whether folders named `key=value` become columns, of type int64 if the value is a whole number, else string:
            /// `auto` (the default) where there are any, `true` for an error when a file has not the keys of the first one, or
            /// `false`.
            #[serde(default)]
            pub hive_partitions: $crate::HivePartitions,
            /// About how many bytes of a large file are read as one split, where the format can be cut; 64 MiB by default.
            #[serde(default = "towpath_files::SourceOptions::default_split_size")]
            pub split_size: towpath_core::ByteSize,
            /// Whether only files are read that no earlier finished run has read; `false` by default. With `true`, another path,
            /// size, time of modification or ETag makes a new file, and the checkpoint keeps 20 bytes for each file ever read.
            /// It stays small with `name`, where the names of new files come behind those of all others, such as
            /// `2026-11-28T10.csv`: stores that list in order begin there. And with `modified`, or `{ by: modified, window: 1h }`, where new
            /// files were last written after all others, or at most the window before.
            #[serde(default)]
            pub incremental: $crate::Incremental,
            /// Whether a glob or folder without any file is fine; by default it is an error.
            #[serde(default)]
            pub allow_empty: bool,
            /// What a compressed file that ends in the middle means: `fail` (the default), or `keep` the rows before its end.
            #[serde(default)]
            pub on_truncated: $crate::OnTruncated,
            /// The most bytes that one compressed file may become; by default 1,000 times its size and at least 64 GiB.
            #[serde(default)]
            pub max_decompressed: Option<towpath_core::ByteSize>,
            /// A column to add that holds the path of the row's file; none by default.
            #[serde(default)]
            pub file_column: Option<String>,
            $($more)*
        }

        impl $name {
            /// The options that all stores of files have.
            pub fn files(&self) -> $crate::SourceOptions {
                $crate::SourceOptions {
                    path: self.path.clone(),
                    archive: self.archive.clone(),
                    format: self.format.clone(),
                    compression: self.compression,
                    columns: self.columns.clone(),
                    sample_rows: self.sample_rows,
                    hive_partitions: self.hive_partitions,
                    split_size: self.split_size,
                    incremental: self.incremental,
                    allow_empty: self.allow_empty,
                    on_truncated: self.on_truncated,
                    max_decompressed: self.max_decompressed,
                    file_column: self.file_column.clone(),
                }
            }
        }
    };
}

impl SourceOptions {
    /// About how many bytes are one split: 64 MiB.
    pub fn default_split_size() -> ByteSize {
        ByteSize::mib(64)
    }

    /// Whether the options go together.
    ///
    /// # Errors
    /// `Config` names the option that is wrong.
    pub fn check(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::config(message.to_owned()));
        if self.split_size.bytes() == 0 {
            return wrong("`split_size` must be above zero");
        }
        if let Some(archive) = &self.archive {
            archive.check()?;
        }
        if self.sample_rows == Some(0) {
            return wrong("`sample_rows` must be above zero");
        }
        if self.file_column.as_deref() == Some("") {
            return wrong("`file_column` needs a name");
        }
        if self.file_column.is_some() && self.is_bytes() {
            return wrong(
                "`file_column` does not go with `format: bytes`, which tells the names of files anyway",
            );
        }
        Ok(())
    }

    /// Whether files are read as they are.
    pub fn is_bytes(&self) -> bool {
        self.format == Some(ReadFormat::Bytes)
    }

    /// What the formats need to know. `partitions` are the columns that come from folders.
    pub(crate) fn read_options(&self, partitions: &[&str]) -> ReadOptions {
        let of_folder = |name: &String| partitions.contains(&name.as_str());
        let columns = self.columns.0.iter().filter(|(name, _)| !of_folder(name)).cloned().collect();
        ReadOptions {
            format: self.format.clone(),
            compression: self.compression,
            columns: Columns(columns),
            sample_rows: self.sample_rows,
            keep_truncated: self.on_truncated == OnTruncated::Keep,
            max_decompressed: self.max_decompressed,
        }
    }
}

/// One path or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths(pub Vec<String>);

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Paths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or a list of paths")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Paths, E> {
                Ok(Paths(vec![path.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Paths, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = items.next_element()? {
                    paths.push(path);
                }
                Ok(Paths(paths))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for Paths {
    fn schema_name() -> Cow<'static, str> {
        "Paths".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }] })
    }
}

/// Whether folders named `key=value` become columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HivePartitions {
    /// Where there are any.
    #[default]
    Auto,
    /// In every file the same ones.
    Required,
    /// Never.
    Off,
}

impl<'de> Deserialize<'de> for HivePartitions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AutoOrBool;
        impl Visitor<'_> for AutoOrBool {
            type Value = HivePartitions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`auto`, `true` or `false`")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<HivePartitions, E> {
                Ok(if value { HivePartitions::Required } else { HivePartitions::Off })
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<HivePartitions, E> {
                match value {
                    "auto" => Ok(HivePartitions::Auto),
                    "true" => Ok(HivePartitions::Required),
                    "false" => Ok(HivePartitions::Off),
                    _ => Err(E::invalid_value(de::Unexpected::Str(value), &self)),
                }
            }
        }
        deserializer.deserialize_any(AutoOrBool)
    }
}

impl JsonSchema for HivePartitions {
    fn schema_name() -> Cow<'static, str> {
        "HivePartitions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["auto", true, false] })
    }
}

/// What a compressed file that ends in the middle means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnTruncated {
    /// An error.
    #[default]
    Fail,
    /// Its rows before the end are read.
    Keep,
}
