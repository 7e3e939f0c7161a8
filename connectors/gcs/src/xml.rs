//! Answers in XML.

use chrono::DateTime;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use towpath_core::{Error, Result};
use towpath_files::FileEntry;
use towpath_objects::{Page, Upload, Uploads};

/// A page of objects.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    contents: Vec<Listing>,
    #[serde(default)]
    common_prefixes: Vec<Common>,
    next_continuation_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    key: String,
    size: u64,
    last_modified: String,
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Common {
    prefix: String,
}

/// A page of uploads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedUploads {
    #[serde(default)]
    upload: Vec<Begun>,
    #[serde(default)]
    is_truncated: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Begun {
    key: String,
    upload_id: String,
}

/// An upload that begins.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Initiated {
    upload_id: String,
}

/// A page of objects.
pub(crate) fn page(answer: &[u8]) -> Result<Page> {
    let listed: Listed = parsed(answer)?;
    Ok(Page {
        files: listed.contents.into_iter().map(entry).collect::<Result<_>>()?,
        prefixes: listed.common_prefixes.into_iter().map(|common| common.prefix).collect(),
        next: listed.next_continuation_token.filter(|token| !token.is_empty()),
    })
}

/// A page of uploads.
pub(crate) fn uploads(answer: &[u8]) -> Result<Uploads> {
    let listed: ListedUploads = parsed(answer)?;
    let uploads: Vec<_> =
        listed.upload.into_iter().map(|begun| Upload { key: begun.key, id: begun.upload_id }).collect();
    let next = uploads.last().filter(|_| listed.is_truncated).cloned();
    Ok(Uploads { uploads, next })
}

/// What an upload that begins is called.
pub(crate) fn upload_id(answer: &[u8]) -> Result<String> {
    parsed::<Initiated>(answer).map(|initiated| initiated.upload_id)
}

fn parsed<T: DeserializeOwned>(answer: &[u8]) -> Result<T> {
    let unusable = || Error::unexpected("the store's answer cannot be read");
    let text = std::str::from_utf8(answer).map_err(|error| unusable().source(error))?;
    quick_xml::de::from_str(text).map_err(|error| unusable().source(error))
}

fn entry(listing: Listing) -> Result<FileEntry> {
    let modified = DateTime::parse_from_rfc3339(&listing.last_modified).map_err(|error| {
        Error::unexpected("the store tells a time that is none").detail("object", &listing.key).source(error)
    })?;
    // As exact as the headers of an object are.
    let modified = modified.timestamp().saturating_mul(1_000_000_000);
    Ok(FileEntry {
        path: listing.key,
        size: listing.size,
        modified,
        arrived: modified,
        tag: listing.etag,
        version: None,
    })
}
