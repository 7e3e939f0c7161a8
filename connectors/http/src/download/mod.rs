//! Downloads: files as they are, in chunks, large ones by several ranges at once.
//!
//! ```text
//! plan: each URL ── probe (HEAD, else a GET of one byte) ──> File: name, size, validator, digest ──> parts
//! read: a part ── GET with Range and If-Range ──> chunks
//! ```
//!
//! What a file is is found out once, when it is planned, and pinned in its splits: an answer about another file is an
//! error and never a mixture.

mod checksum;
mod naming;
mod plan;
mod probe;
mod read;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use towpath_core::{Error, Result};
use towpath_formats::ReadFormat;
use towpath_formats::chunks::{self, Digest};

use crate::config::{DownloadConfig, Pagination, SameName, SourceConfig};
use crate::expand::Targets;
use checksum::Checksums;
use naming::Naming;
pub(crate) use plan::{Step, Within, plan};
pub(crate) use probe::probe;
pub(crate) use read::batches;

/// How files are downloaded.
#[derive(Debug)]
pub(crate) struct Download {
    naming: Naming,
    same_name: SameName,
    part_bytes: u64,
    digest: Option<Digest>,
    checksums: Option<Checksums>,
    /// What servers have called the files of URLs, so that planning again does not ask again.
    told: Mutex<HashMap<u64, String>>,
}

/// What is known of a file before it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct File {
    /// Its path below the target's folder.
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Its `ETag`, or its time of modification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validator: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// Whether the server sends ranges of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ranges: bool,
}

/// The bytes of a file that a split reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    #[serde(flatten)]
    file: File,
    #[serde(default, skip_serializing_if = "is_zero")]
    start: u64,
    /// `None` for all that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(start: &u64) -> bool {
    *start == 0
}

impl Download {
    /// What the options ask for; `None` where rows are read.
    ///
    /// # Errors
    /// `Config` for options that do not go together.
    pub(crate) fn new(config: &SourceConfig, targets: &Targets) -> Result<Option<Self>> {
        if config.format != Some(ReadFormat::Bytes) {
            return match config.download {
                None => Ok(None),
                Some(_) => {
                    Err(Error::config("`download` needs `format: bytes`")
                        .help("set it, or remove `download`"))
                }
            };
        }
        let of_rows = [
            (config.records.is_some(), "records"),
            (config.pagination != Pagination::None, "pagination"),
            (!config.columns.0.is_empty(), "columns"),
            (config.sample_rows.is_some(), "sample_rows"),
            (config.compression.is_some(), "compression"),
            (config.cursor_param.is_some(), "cursor_param"),
            (config.job.is_some(), "job"),
            (config.conditional, "conditional"),
            (!config.metadata.is_empty(), "metadata"),
            (!config.responses.is_empty(), "responses"),
            (config.body.is_some(), "body"),
            (config.method.is_some_and(|method| method != crate::config::ReadMethod::Get), "method"),
        ];
        if let Some((_, option)) = of_rows.iter().find(|(is_set, _)| *is_set) {
            return Err(Error::config(format!(
                "`{option}` does not go with `format: bytes`, which downloads files as they are"
            ))
            .help(format!("remove `{option}`, or set another `format`")));
        }
        if !targets.parent_fields().is_empty() {
            return Err(Error::config(
                "`for_each` does not go with `format: bytes`: files of two rows could get one name",
            )
            .help("name the URLs by `urls` or `params`"));
        }
        let DownloadConfig { name, same_name, part_bytes, digest, digest_url } =
            config.download.clone().unwrap_or_default();
        if part_bytes.bytes() == 0 {
            return Err(Error::config("`download.part_bytes` must be above zero"));
        }
        if digest.is_some() && (targets.len() > 1 || digest_url.is_some()) {
            return Err(Error::config("`download.digest` is that of a single URL")
                .help("use `download.digest_url`, such as `{url}.sha256`, for several, and one of the two"));
        }
        Ok(Some(Self {
            naming: Naming::new(name.as_deref())?,
            same_name,
            part_bytes: part_bytes.bytes(),
            digest: digest.map(|digest| digest.parse()).transpose()?,
            checksums: digest_url.as_deref().map(Checksums::new).transpose()?,
            told: Mutex::default(),
        }))
    }
}

impl Download {
    fn told(&self) -> MutexGuard<'_, HashMap<u64, String>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    /// What its chunks say of it.
    fn described(&self) -> chunks::File {
        chunks::File {
            name: self.name.clone(),
            size: self.size,
            version: self.validator.clone(),
            digest: self.digest.clone(),
        }
    }
}

/// The error for a file that is not the one that was planned.
fn changed() -> Error {
    Error::data("the file has changed since its download began")
        .help("`towpath state reset` and run again, to download it from its beginning")
}
