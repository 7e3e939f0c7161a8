//! Uploads, as Azure has them: blocks of a blob that are not committed.
//!
//! Blocks belong to a blob and to no upload; whoever commits some of them discards all others. So each block says by its name
//! which upload it is of. An upload begins with its first block, and what the blob carries is told when it is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::ETAG;
use http::{HeaderMap, Method};
use object_store::azure::{AzureCredential, MicrosoftAzureBuilder};
use object_store::path::Path;
use object_store::signer::Signer;
use towpath_core::{Error, ErrorKind, Result};
use towpath_objects::{Appearance, CopySource, Upload};
use url::{Url, form_urlencoded};

use crate::rest::{Call, Rest};
use crate::xml;

/// How many characters the name of an upload has.
const NAME: usize = 16;

/// What stands for the block of a blob without bytes: there is no block without any. Behind it is the `ETag` of the blob that
/// was there before, or nothing.
const EMPTY: &str = "empty:";

/// What a blob is marked with that was made to be removed at once.
const DISCARDED: &str = "discarded";

/// The header of the mark.
const MARK_HEADER: &str = "x-ms-meta-towpathupload";

/// How long the service may read what it copies.
const COPIED_WITHIN: std::time::Duration = std::time::Duration::from_hours(1);

/// The blocks of a container.
#[derive(Debug, Clone)]
pub(crate) struct Blocks {
    pub(crate) rest: Rest,
    pub(crate) container: Arc<str>,
}

/// A name for a new upload.
pub(crate) fn new_upload() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// The name of a block. All blocks of a blob must have names of the same length.
fn name(upload: &str, index: usize) -> String {
    format!("{upload}-{index:07}")
}

/// The upload that a block is of, if it is one of ours.
fn upload_of(name: &str) -> Option<&str> {
    let (upload, index) = name.split_once('-')?;
    let is_ours = upload.len() == NAME && index.len() == 7 && index.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then_some(upload)
}

fn encoded(name: &str) -> String {
    BASE64.encode(name.as_bytes())
}

impl Blocks {
    fn call(&self, method: Method, key: &str) -> Call {
        Call::new(method).container(&self.container).key(key)
    }

    /// Puts a block, and tells its name.
    pub(crate) async fn put(&self, key: &str, upload: &str, index: usize, bytes: Bytes) -> Result<String> {
        if bytes.is_empty() {
            return Ok(format!("{EMPTY}{}", self.tag(key).await?.unwrap_or_default()));
        }
        let name = name(upload, index);
        let call = self.call(Method::PUT, key).query("comp", "block").query("blockid", encoded(&name));
        self.rest.send(call.body(bytes)).await?;
        Ok(name)
    }

    /// Makes a block of bytes that the service holds; `None` where it may not read them.
    pub(crate) async fn copy(
        &self,
        signing: &MicrosoftAzureBuilder,
        upload: &Upload,
        index: usize,
        source: &CopySource,
    ) -> Result<Option<String>> {
        if source.version.is_some() {
            return Ok(None);
        }
        let container = source.bucket.as_deref().unwrap_or(&self.container);
        let (url, authorization) = self.readable(signing, container, &source.key).await?;
        let name = name(&upload.id, index);
        let mut call = self
            .call(Method::PUT, &upload.key)
            .query("comp", "block")
            .query("blockid", encoded(&name))
            .header("x-ms-copy-source", url);
        if let Some(range) = &source.range {
            call = call.header("x-ms-source-range", format!("bytes={}-{}", range.start, range.end - 1));
        }
        if let Some(authorization) = authorization {
            call = call.header("x-ms-copy-source-authorization", authorization);
        }
        if let Some(tag) = &source.tag {
            call = call.header("x-ms-source-if-match", tag);
        }
        match self.rest.send(call).await {
            Ok(_) => Ok(Some(name)),
            Err(error) if error.detail_value("code") == Some("CannotVerifyCopySource") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The URL by which the service may read a blob, and the header that it needs for that.
    async fn readable(
        &self,
        signing: &MicrosoftAzureBuilder,
        container: &str,
        key: &str,
    ) -> Result<(Url, Option<String>)> {
        let mut url = self.rest.url(Some(container), Some(key));
        let Some(credentials) = self.rest.credentials() else { return Ok((url, None)) };
        match &*credentials.get().await? {
            AzureCredential::AccessKey(_) => {
                let path = Path::parse(key).map_err(|_| Error::unexpected("the key of a copy is none"))?;
                let failed = |_| Error::unexpected("the source of a copy cannot be signed");
                let store = signing.clone().with_container_name(container).build().map_err(failed)?;
                let signed = store.signed_url(Method::GET, &path, COPIED_WITHIN).await.map_err(failed)?;
                Ok((signed, None))
            }
            AzureCredential::SASToken(pairs) => {
                url.query_pairs_mut().extend_pairs(pairs);
                Ok((url, None))
            }
            AzureCredential::BearerToken(token) => Ok((url, Some(format!("Bearer {token}")))),
        }
    }

    /// Commits blocks as the blob. Blocks that are gone are `NotFound`: those of an upload that is committed already are.
    pub(crate) async fn commit(
        &self,
        upload: &Upload,
        parts: &[String],
        mark: &str,
        appearance: &Appearance,
    ) -> Result<()> {
        let mut call = self.block_list(&upload.key, parts.iter().filter(|part| !part.starts_with(EMPTY)));
        // What has no blocks could be committed at any time: only the blob that it was meant for makes way.
        if let Some(tag) = parts.iter().find_map(|part| part.strip_prefix(EMPTY)) {
            call =
                if tag.is_empty() { call.header("if-none-match", "*") } else { call.header("if-match", tag) };
        }
        call = call.header(MARK_HEADER, mark);
        for (name, value) in &appearance.metadata {
            call = call.header(format!("x-ms-meta-{name}"), value);
        }
        let Appearance { content_type, content_encoding, cache_control, storage_class, tags, .. } =
            appearance;
        for (name, value) in [
            ("x-ms-blob-content-type", content_type),
            ("x-ms-blob-content-encoding", content_encoding),
            ("x-ms-blob-cache-control", cache_control),
            ("x-ms-blob-content-disposition", &appearance.content_disposition),
            ("x-ms-blob-content-language", &appearance.content_language),
            ("x-ms-access-tier", storage_class),
        ] {
            if let Some(value) = value {
                call = call.header(name, value);
            }
        }
        if !tags.is_empty() {
            let tags = form_urlencoded::Serializer::new(String::new()).extend_pairs(tags).finish();
            call = call.header("x-ms-tags", tags);
        }
        self.rest.send(call).await.map(drop)
    }

    fn block_list<'a>(&self, key: &str, names: impl Iterator<Item = &'a String>) -> Call {
        let names = names.map(|name| format!("<Uncommitted>{}</Uncommitted>", encoded(name)));
        let names = names.collect::<Vec<_>>().concat();
        let body = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{names}</BlockList>");
        self.call(Method::PUT, key).query("comp", "blocklist").body(body)
    }

    /// The names of the blocks of a blob that are not committed.
    async fn uncommitted(&self, key: &str) -> Result<Vec<String>> {
        Ok(self.uncommitted_sizes(key).await?.into_iter().map(|(name, _)| name).collect())
    }

    /// How many bytes the blocks of an upload have.
    pub(crate) async fn sizes(&self, upload: &Upload) -> Result<BTreeMap<usize, u64>> {
        let found = self.uncommitted_sizes(&upload.key).await?;
        let ours = found.into_iter().filter(|(name, _)| upload_of(name) == Some(&upload.id));
        Ok(ours.filter_map(|(name, size)| Some((name.split_once('-')?.1.parse().ok()?, size))).collect())
    }

    /// The names of the blocks of a blob that are not committed, with their sizes.
    async fn uncommitted_sizes(&self, key: &str) -> Result<Vec<(String, u64)>> {
        let call =
            self.call(Method::GET, key).query("comp", "blocklist").query("blocklisttype", "uncommitted");
        let answer = match self.rest.send(call).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut blocks: Vec<(String, u64)> = Vec::new();
        xml::each(&answer.body, |path, text| match path {
            "BlockList/UncommittedBlocks/Block/Name" => {
                let name = BASE64.decode(text.as_bytes()).ok().and_then(|name| String::from_utf8(name).ok());
                // Those of others may be anything.
                blocks.push((name.unwrap_or_default(), 0));
            }
            "BlockList/UncommittedBlocks/Block/Size" => {
                if let (Some((_, size)), Ok(found)) = (blocks.last_mut(), text.trim().parse()) {
                    *size = found;
                }
            }
            _ => {}
        })?;
        Ok(blocks)
    }

    /// The uploads that have blocks of a blob.
    pub(crate) async fn uploads(&self, key: &str) -> Result<BTreeSet<String>> {
        let names = self.uncommitted(key).await?;
        Ok(names.iter().filter_map(|name| upload_of(name)).map(str::to_owned).collect())
    }

    /// Whether these blocks are still there. An upload without any can always go on.
    pub(crate) async fn has(&self, key: &str, parts: &[String]) -> Result<bool> {
        if parts.iter().all(|part| part.starts_with(EMPTY)) {
            return Ok(true);
        }
        let found: BTreeSet<String> = self.uncommitted(key).await?.into_iter().collect();
        Ok(parts.iter().all(|part| part.starts_with(EMPTY) || found.contains(part)))
    }

    /// Discards the blocks of an upload where nothing else is at stake. Azure has no request for that: what discards blocks is
    /// to commit others, or none. So an empty blob is committed, and removed at once.
    ///
    /// Over a blob that exists that would lose the blob, and where others have blocks too it would lose theirs. There they stay,
    /// unseen: whoever commits the blob next discards them, or Azure does within a week.
    pub(crate) async fn discard(&self, key: &str, upload: &str) -> Result<()> {
        if upload == DISCARDED {
            return match self.discarded(key).await? {
                Some(tag) => self.remove(key, &tag).await,
                None => Ok(()),
            };
        }
        let names = self.uncommitted(key).await?;
        if names.is_empty() || names.iter().any(|name| upload_of(name) != Some(upload)) {
            return Ok(());
        }
        let none = self.block_list(key, std::iter::empty());
        let none = none.header("if-none-match", "*").header(MARK_HEADER, DISCARDED);
        match self.rest.send(none).await {
            Ok(made) => match tag(&made.headers) {
                Some(tag) => self.remove(key, &tag).await,
                None => Err(Error::unexpected("the store wrote a blob and did not tell its ETag")),
            },
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes a blob if it is still this one.
    async fn remove(&self, key: &str, tag: &str) -> Result<()> {
        match self.rest.send(self.call(Method::DELETE, key).header("if-match", tag)).await {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Err(error),
            _ => Ok(()),
        }
    }

    /// The `ETag` of a blob that was made to discard blocks, and that nobody has removed.
    async fn discarded(&self, key: &str) -> Result<Option<String>> {
        let head = self.head(key).await?;
        let is_marked = |headers: &HeaderMap| headers.get(MARK_HEADER).is_some_and(|mark| mark == DISCARDED);
        Ok(head.filter(is_marked).as_ref().and_then(tag))
    }

    /// The `ETag` of a blob; `None` when there is no such blob.
    async fn tag(&self, key: &str) -> Result<Option<String>> {
        Ok(self.head(key).await?.as_ref().and_then(tag))
    }

    async fn head(&self, key: &str) -> Result<Option<HeaderMap>> {
        match self.rest.send(self.call(Method::HEAD, key)).await {
            Ok(found) => Ok(Some(found.headers)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a blob; one that is gone is no error.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        match self.rest.send(self.call(Method::DELETE, key)).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The upload that a blob stands for that was made to discard blocks.
pub(crate) fn left_by_discarding(mark: Option<&str>) -> Option<String> {
    mark.filter(|mark| *mark == DISCARDED).map(str::to_owned)
}

fn tag(headers: &HeaderMap) -> Option<String> {
    headers.get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use towpath_objects::MARK;

    use super::*;

    #[test]
    fn a_block_names_its_upload_and_all_names_are_of_one_length() {
        let upload = new_upload();
        let names = [name(&upload, 0), name(&upload, 49_999)];
        assert!(names.iter().all(|name| upload_of(name) == Some(&upload)));
        assert_eq!(encoded(&names[0]).len(), encoded(&names[1]).len());
        assert_eq!(upload_of("0123456789abcdef0123456789abcdef"), None);
        assert_eq!(MARK_HEADER, format!("x-ms-meta-{MARK}"));
    }
}
