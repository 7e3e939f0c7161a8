//! The options, as pipeline files write them.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use towpath_core::ByteSize;
use towpath_formats::{Columns, Compression, ReadFormat, ReadOptions, WriteFormat, WriteOptions};

/// The options of the source.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// A file, a folder (everything in it and below), or a glob such as `landing/**/*.{csv,csv.gz}`; or a list of
    /// these. A file that several of them match is read once. What exists under exactly this name is meant literally.
    /// A name that begins with a dot is left out unless the glob spells the dot.
    pub path: Paths,
    /// The format; by default told by the extension.
    #[serde(default)]
    pub format: Option<ReadFormat>,
    /// The codec; by default told by the extension.
    #[serde(default)]
    pub compression: Option<Compression>,
    /// Columns with declared types, such as `{ id: int64, day: date }`; the others are inferred. A partition column may
    /// be declared too.
    #[serde(default)]
    pub columns: Columns,
    /// How many rows of the first file are looked at to infer types; 10,000 by default.
    #[serde(default)]
    pub sample_rows: Option<usize>,
    /// Whether folders named `key=value` become columns, of type int64 if the value is a whole number, else string:
    /// `auto` (the default) where there are any, `true` for an error when a file has not the keys of the first one, or
    /// `false`.
    #[serde(default)]
    pub hive_partitions: HivePartitions,
    /// About how many bytes of a large file are read as one split, where the format can be cut; 64 MiB by default.
    #[serde(default = "default_split_size")]
    pub split_size: ByteSize,
    /// Whether only files are read that no earlier finished run has read: another path, size or time of modification
    /// makes a new file. The checkpoint keeps 20 bytes for each file ever read. `false` by default.
    #[serde(default)]
    pub incremental: bool,
    /// Whether a glob or folder without any file is fine; by default it is an error.
    #[serde(default)]
    pub allow_empty: bool,
    /// What a compressed file that ends in the middle means: `fail` (the default), or `keep` the rows before its end.
    #[serde(default)]
    pub on_truncated: OnTruncated,
    /// The most bytes that one compressed file may become; by default 1,000 times its size and at least 64 GiB.
    #[serde(default)]
    pub max_decompressed: Option<ByteSize>,
    /// A column to add that holds the path of the row's file; none by default.
    #[serde(default)]
    pub file_column: Option<String>,
}

fn default_split_size() -> ByteSize {
    ByteSize::mib(64)
}

impl SourceConfig {
    /// Whether files are read as they are.
    pub(crate) fn is_bytes(&self) -> bool {
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

/// The options of the sink.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// Where the rows go. A plain path is exactly that file, replaced in one step. With `{part}` it is as many files as
    /// needed, and rows can be appended. Placeholders: `{stream}`, `{run}` (the run's id), `{part}` (the number of the
    /// file in the run, behind the run's id unless the path holds `{run}`), and `{sequence}` (the number of the file
    /// within its writer, otherwise a part of `{part}` from the second file on). With `format: bytes` it is a folder, such as
    /// `downloads/` or `downloads/{stream}/`, in which files have the names that the source gives them.
    pub path: String,
    /// Columns that become folders `column=value` in front of the file name and are left out of the files. A null is
    /// `__HIVE_DEFAULT_PARTITION__`. None by default.
    #[serde(default)]
    pub partition_by: Vec<String>,
    /// After how many rows a new file is begun; never by default.
    #[serde(default)]
    pub max_rows_per_file: Option<NonZeroU64>,
    /// After about how many bytes a new file is begun, as they stand in the file; never by default. How much rows
    /// shrink is learned from the first file, which may be smaller or larger.
    #[serde(default)]
    pub max_bytes_per_file: Option<ByteSize>,
    /// The format; by default told by the extension.
    #[serde(default)]
    pub format: Option<WriteFormat>,
    /// The codec; by default told by the extension.
    #[serde(default)]
    pub compression: Option<Compression>,
}

impl SinkConfig {
    /// What the formats need to know.
    pub(crate) fn write_options(&self) -> WriteOptions {
        WriteOptions { format: self.format.clone(), compression: self.compression }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_alone_is_enough_and_the_rest_has_defaults() {
        let config: SourceConfig = serde_json::from_value(json!({ "path": "a.csv" })).unwrap();
        assert_eq!(config.path, Paths(vec!["a.csv".into()]));
        assert_eq!(config.split_size, ByteSize::mib(64));
        assert_eq!((config.incremental, config.allow_empty), (false, false));
        assert_eq!(config.hive_partitions, HivePartitions::Auto);
    }

    #[test]
    fn hive_partitions_are_auto_true_or_false() {
        for (value, expected) in [
            (json!("auto"), HivePartitions::Auto),
            (json!(true), HivePartitions::Required),
            (json!(false), HivePartitions::Off),
        ] {
            assert_eq!(serde_json::from_value::<HivePartitions>(value).unwrap(), expected);
        }
        let error = serde_json::from_value::<HivePartitions>(json!("yes")).unwrap_err().to_string();
        assert_eq!(error, "invalid value: string \"yes\", expected `auto`, `true` or `false`");
    }

    #[test]
    fn an_unknown_option_is_refused_by_name() {
        let error =
            serde_json::from_value::<SinkConfig>(json!({ "path": "a.csv", "mode": "x" })).unwrap_err();
        assert!(error.to_string().contains("unknown field `mode`"), "{error}");
    }
}
