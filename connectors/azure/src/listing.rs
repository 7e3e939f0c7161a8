//! What containers and blobs there are.

use std::time::UNIX_EPOCH;

use http::Method;
use towpath_core::Result;
use towpath_files::FileEntry;
use towpath_objects::{ListRequest, MARK, Page};

use crate::rest::{Call, Rest};
use crate::xml;

/// A blob, as a listing tells of it.
#[derive(Debug, Default)]
struct Found {
    name: String,
    size: u64,
    modified: i64,
    tag: Option<String>,
    /// Accounts with folders list these too.
    is_folder: bool,
    mark: Option<String>,
}

/// A page of blobs.
#[derive(Debug, Default)]
struct Blobs {
    found: Vec<Found>,
    prefixes: Vec<String>,
    next: Option<String>,
}

/// A blob that may have blocks that were not committed.
#[derive(Debug)]
pub(crate) struct Suspect {
    pub(crate) key: String,
    pub(crate) mark: Option<String>,
}

/// One page of a listing.
pub(crate) async fn page(rest: &Rest, container: &str, request: &ListRequest) -> Result<Page> {
    let mut call = listing(container, &request.prefix, request.token.as_deref());
    if request.folders {
        call = call.query("delimiter", "/");
    }
    let Blobs { found, prefixes, next } = blobs(&rest.send(call).await?.body)?;
    let files = found.into_iter().filter(|blob| !blob.is_folder).map(entry).collect();
    Ok(Page { files, prefixes, next })
}

/// One page of those that look empty: a blob of which nothing is committed does. Tells where the next page begins, too.
pub(crate) async fn suspects(
    rest: &Rest,
    container: &str,
    prefix: &str,
    token: Option<&str>,
) -> Result<(Vec<Suspect>, Option<String>)> {
    let call = listing(container, prefix, token).query("include", "metadata,uncommittedblobs");
    let page = blobs(&rest.send(call).await?.body)?;
    let empty = page.found.into_iter().filter(|blob| blob.size == 0 && !blob.is_folder);
    Ok((empty.map(|blob| Suspect { key: blob.name, mark: blob.mark }).collect(), page.next))
}

fn listing(container: &str, prefix: &str, token: Option<&str>) -> Call {
    let mut call =
        Call::new(Method::GET).container(container).query("restype", "container").query("comp", "list");
    if !prefix.is_empty() {
        call = call.query("prefix", prefix);
    }
    if let Some(token) = token {
        call = call.query("marker", token);
    }
    call
}

/// The names of all containers.
pub(crate) async fn containers(rest: &Rest, token: Option<&str>) -> Result<(Vec<String>, Option<String>)> {
    let mut call = Call::new(Method::GET).query("comp", "list");
    if let Some(token) = token {
        call = call.query("marker", token);
    }
    let (mut names, mut next) = (Vec::new(), None);
    xml::each(&rest.send(call).await?.body, |path, text| match path {
        "EnumerationResults/Containers/Container/Name" => names.push(text.to_owned()),
        "EnumerationResults/NextMarker" => next = Some(text.to_owned()).filter(|next| !next.is_empty()),
        _ => {}
    })?;
    Ok((names, next))
}

fn blobs(xml: &[u8]) -> Result<Blobs> {
    let mark = format!("Metadata/{MARK}");
    let (mut page, mut blob) = (Blobs::default(), Found::default());
    xml::each(xml, |path, text| {
        let Some(path) = path.strip_prefix("EnumerationResults/") else { return };
        match path {
            "NextMarker" if !text.is_empty() => page.next = Some(text.to_owned()),
            "Blobs/Blob" => page.found.push(std::mem::take(&mut blob)),
            "Blobs/BlobPrefix/Name" => page.prefixes.push(text.to_owned()),
            _ => {}
        }
        match path.strip_prefix("Blobs/Blob/") {
            Some("Name") => text.clone_into(&mut blob.name),
            Some("Properties/Content-Length") => blob.size = text.parse().unwrap_or_default(),
            Some("Properties/Last-Modified") => blob.modified = seconds(text),
            Some("Properties/Etag") if !text.is_empty() => blob.tag = Some(quoted(text)),
            Some("Properties/ResourceType") => blob.is_folder = text == "directory",
            Some(other) if other == mark => blob.mark = Some(text.to_owned()),
            _ => {}
        }
    })?;
    Ok(page)
}

fn entry(blob: Found) -> FileEntry {
    // As exact as the headers of a blob are.
    let modified = blob.modified.saturating_mul(1_000_000_000);
    FileEntry { path: blob.name, size: blob.size, modified, arrived: modified, tag: blob.tag, version: None }
}

/// Listings leave the quotes out that headers have.
fn quoted(tag: &str) -> String {
    if tag.starts_with('"') { tag.to_owned() } else { format!("\"{tag}\"") }
}

fn seconds(date: &str) -> i64 {
    let time = httpdate::parse_http_date(date).ok();
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_blobs_and_prefixes_and_where_the_next_one_begins() {
        let xml = br#"<?xml version="1.0" encoding="utf-8"?>
<EnumerationResults ServiceEndpoint="https://lake.blob.core.windows.net/" ContainerName="landing"><Prefix>in/</Prefix>
<Blobs><BlobPrefix><Name>in/a/</Name></BlobPrefix><Blob><Name>in/b &amp; c.csv</Name><Properties>
<Last-Modified>Sat, 28 Nov 2026 05:00:00 GMT</Last-Modified><Etag>0x8DE2E</Etag><Content-Length>7</Content-Length>
<ResourceType>file</ResourceType></Properties><Metadata><towpathupload>m</towpathupload></Metadata></Blob>
<Blob><Name>in/d</Name><Properties><Content-Length>0</Content-Length><ResourceType>directory</ResourceType></Properties></Blob>
<BlobPrefix><Name>in/e/</Name></BlobPrefix></Blobs><NextMarker>2!72!</NextMarker></EnumerationResults>"#;
        let page = blobs(xml).unwrap();
        assert_eq!(page.prefixes, ["in/a/", "in/e/"]);
        assert_eq!(page.next.as_deref(), Some("2!72!"));
        let [file, folder] = &page.found[..] else { panic!("{page:?}") };
        assert_eq!((file.name.as_str(), file.size, file.modified), ("in/b & c.csv", 7, 1_795_842_000));
        assert_eq!((file.tag.as_deref(), file.mark.as_deref()), (Some("\"0x8DE2E\""), Some("m")));
        assert!(folder.is_folder && folder.tag.is_none());
    }
}
