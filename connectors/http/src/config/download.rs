//! How files are downloaded.

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::ByteSize;

/// How files are downloaded, with `format: bytes`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DownloadConfig {
    /// The name of each file below the target's folder, with `{segment}` for the last part of the URL's path, `{path}` for
    /// the whole path, `{host}`, and `{query.NAME}` for a query parameter. By default what `Content-Disposition` says,
    /// else `{segment}`. What is filled in is made harmless: it never leads out of the folder.
    #[serde(default)]
    pub name: Option<String>,
    /// What happens when two URLs have the same name.
    #[serde(default)]
    pub same_name: SameName,
    /// How large the parts are in which a large file is downloaded, several at once, from a server that takes ranges;
    /// 16MiB by default.
    #[serde(default = "default_part_bytes")]
    pub part_bytes: ByteSize,
    /// The digest that the file must have, such as `sha256:9f86…`, for a single URL. By default what the server says in
    /// `Repr-Digest`, `Digest`, `Content-MD5`, `x-goog-hash` or `x-amz-checksum-*`, if it says something. The algorithms
    /// are sha512, sha256, sha1, md5, crc64nvme, crc32c and crc32.
    #[serde(default)]
    pub digest: Option<String>,
    /// The URL of each file's checksum, such as `{url}.sha256` or `{folder}/SHA256SUMS`, with `{url}` for the file's URL
    /// without its query, `{folder}` for what stands before its last part, and `{segment}` for that. Checksum files hold
    /// the hexadecimal digits alone, or lines as `sha256sum` and its like write them.
    #[serde(default)]
    pub digest_url: Option<String>,
}

/// What happens when two URLs have the same name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SameName {
    /// It is an error.
    #[default]
    Fail,
    /// The second gets the number 2: `report-2.pdf`.
    Number,
}

impl Default for DownloadConfig {
    fn default() -> Self {
        Self {
            name: None,
            same_name: SameName::default(),
            part_bytes: default_part_bytes(),
            digest: None,
            digest_url: None,
        }
    }
}

fn default_part_bytes() -> ByteSize {
    ByteSize::mib(16)
}
