//! The options of a sink of files, as pipeline files write them.

use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use towpath_core::{ByteSize, Error, Result};
use towpath_formats::{Compression, WriteFormat, WriteOptions};

/// What a sink of files writes, and how: [`with_sink_options!`](crate::with_sink_options) tells the meaning of each.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the macro below documents them, where pipeline files get their help from")]
pub struct SinkOptions {
    pub path: String,
    pub partition_by: Vec<String>,
    pub max_rows_per_file: Option<NonZeroU64>,
    pub max_bytes_per_file: Option<ByteSize>,
    pub format: Option<WriteFormat>,
    pub compression: Option<Compression>,
}

/// Makes the configuration of a sink out of the options that all stores of files have, and some of its own. What `path`
/// means is the store's to tell.
#[macro_export]
macro_rules! with_sink_options {
    ($(#[$meta:meta])* pub struct $name:ident { $(#[$path:meta])* path; $($more:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(#[$path])*
            pub path: String,
            /// Columns that become folders `column=value` in front of the file name and are left out of the files. A null is
            /// `__HIVE_DEFAULT_PARTITION__`. None by default.
            #[serde(default)]
            pub partition_by: Vec<String>,
            /// After how many rows a new file is begun; never by default.
            #[serde(default)]
            pub max_rows_per_file: Option<std::num::NonZeroU64>,
            /// After about how many bytes a new file is begun, as they stand in the file; never by default. How much rows
            /// shrink is learned from the first file, which may be smaller or larger.
            #[serde(default)]
            pub max_bytes_per_file: Option<towpath_core::ByteSize>,
            /// The format; by default told by the extension.
            #[serde(default)]
            pub format: Option<towpath_formats::WriteFormat>,
            /// The codec; by default told by the extension.
            #[serde(default)]
            pub compression: Option<towpath_formats::Compression>,
            $($more)*
        }

        impl $crate::sink::WritesFiles for $name {
            fn files(&self) -> $crate::sink::SinkOptions {
                $crate::sink::SinkOptions {
                    path: self.path.clone(),
                    partition_by: self.partition_by.clone(),
                    max_rows_per_file: self.max_rows_per_file,
                    max_bytes_per_file: self.max_bytes_per_file,
                    format: self.format.clone(),
                    compression: self.compression,
                }
            }
        }
    };
}

/// The configuration of a sink of files.
pub trait WritesFiles: DeserializeOwned + JsonSchema + Send {
    /// The options that all stores of files have.
    fn files(&self) -> SinkOptions;
}

impl SinkOptions {
    /// Whether files are written as they are.
    pub fn is_bytes(&self) -> bool {
        self.format == Some(WriteFormat::Bytes)
    }

    /// What the formats need to know.
    pub(crate) fn write_options(&self) -> WriteOptions {
        WriteOptions { format: self.format.clone(), compression: self.compression }
    }

    /// The first option that makes several files out of one.
    pub(crate) fn splitting(&self) -> Option<&'static str> {
        let many = [
            (!self.partition_by.is_empty(), "partition_by"),
            (self.max_rows_per_file.is_some(), "max_rows_per_file"),
            (self.max_bytes_per_file.is_some(), "max_bytes_per_file"),
        ];
        many.into_iter().find(|(is_set, _)| *is_set).map(|(_, option)| option)
    }

    /// Refuses options that mean nothing for files that are written as they are.
    ///
    /// # Errors
    /// `Config` names the first one.
    pub fn check_bytes(&self) -> Result<()> {
        let compression = self.compression.map(|_| "compression");
        match self.splitting().or(compression) {
            None => Ok(()),
            Some(option) => Err(Error::config(format!(
                "`{option}` does not go with `format: bytes`, which writes files as they are"
            ))
            .help(format!("remove `{option}`"))),
        }
    }
}
