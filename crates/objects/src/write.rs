//! Writing to a bucket. A step that fails for a moment is tried again: a writer cannot begin anew.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use object_store::multipart::PartId;
use object_store::{Attribute, GetOptions, PutMode, PutOptions, PutPayload, UpdateVersion};
use towpath_core::{ErrorKind, Result};
use towpath_files::FileEntry;

use crate::extras::{Appearance, CopySource, ListRequest, Operation, Upload};
use crate::{Bucket, Refusal, retry};

/// The name under which objects carry the mark of their upload: letters alone, because Azure takes no hyphens, and some
/// proxies take no underscores.
pub const MARK: &str = "towpathupload";

/// How many objects are removed with one request.
const REMOVED_AT_ONCE: usize = 1000;

/// A small object, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    pub(crate) version: UpdateVersion,
}

/// How a conditional write ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Put {
    /// It is written.
    Done(UpdateVersion),
    /// The condition does not hold.
    Refused,
}

impl Bucket {
    /// A small object, or `None` when there is none.
    pub(crate) async fn read_whole(&self, key: &str) -> Result<Option<Whole>> {
        let location = self.location(key)?;
        let read = retry(self.cx(), async || {
            let failed = |error| self.error(error, Operation::Read, key);
            let found = self.store().get_opts(&location, GetOptions::default()).await.map_err(failed)?;
            let version =
                UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
            let bytes = found.bytes().await.map_err(failed)?;
            Ok(Whole { bytes, version })
        });
        match read.await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a small object. An answer that was lost makes a condition fail that held: whoever sets one looks again.
    pub(crate) async fn put(&self, key: &str, bytes: impl Into<PutPayload>, mode: PutMode) -> Result<Put> {
        let (location, bytes) = (self.location(key)?, bytes.into());
        let is_conditional = mode != PutMode::Overwrite;
        let put = retry(self.cx(), async || {
            let options = PutOptions { mode: mode.clone(), ..PutOptions::default() };
            let put = self.store().put_opts(&location, bytes.clone(), options).await;
            put.map_err(|error| self.error(error, Operation::Write, key))
        });
        match put.await {
            Ok(done) => {
                self.cx().metrics().add_bytes_written(bytes.content_length() as u64);
                Ok(Put::Done(UpdateVersion { e_tag: done.e_tag, version: done.version }))
            }
            // A store says `NotFound` when the object that was to be replaced is gone.
            Err(error)
                if is_conditional
                    && matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound)
                    && !Refusal::is_of_bucket(error.detail_value("code")) =>
            {
                Ok(Put::Refused)
            }
            Err(error) => Err(error),
        }
    }

    /// Removes objects; those that are gone are no error.
    pub(crate) async fn delete(&self, keys: Vec<String>) -> Result<()> {
        for keys in keys.chunks(REMOVED_AT_ONCE) {
            let locations = keys.iter().map(|key| self.location(key)).collect::<Result<Vec<_>>>()?;
            retry(self.cx(), async || {
                let locations = stream::iter(locations.clone()).map(Ok).boxed();
                let mut removed = self.store().delete_stream(locations);
                while let Some(one) = removed.next().await {
                    match one.map_err(|error| self.error(error, Operation::Delete, &keys[0])) {
                        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// The keys with a prefix.
    pub(crate) async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let mut request = ListRequest { prefix: prefix.to_owned(), ..ListRequest::default() };
        let mut keys = Vec::new();
        loop {
            let page = self.list(&request).await?;
            keys.extend(page.files.into_iter().map(|file| file.path));
            match page.next {
                Some(token) => request.token = Some(token),
                None => return Ok(keys),
            }
        }
    }

    /// The mark of the upload that an object came by; `None` when there is no object, or none with a mark.
    pub(crate) async fn mark(&self, key: &str) -> Result<Option<String>> {
        let location = self.location(key)?;
        let head = retry(self.cx(), async || {
            let options = GetOptions { head: true, ..GetOptions::default() };
            let head = self.store().get_opts(&location, options).await;
            head.map_err(|error| self.error(error, Operation::Read, key))
        });
        match head.await {
            Ok(found) => {
                let mark = found.attributes.get(&Attribute::Metadata(MARK.into()));
                Ok(mark.map(|mark| mark.as_ref().to_owned()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What an object says of itself, as far as all stores tell it alike: not how it is stored, nor its tags.
    pub(crate) async fn appearance(&self, file: &FileEntry) -> Result<Appearance> {
        let key = &file.path;
        let location = self.location(key)?;
        let head = retry(self.cx(), async || {
            let options = GetOptions { head: true, version: file.version.clone(), ..GetOptions::default() };
            let head = self.store().get_opts(&location, options).await;
            head.map_err(|error| self.error(error, Operation::Read, key))
        });
        let mut appearance = Appearance::default();
        for (attribute, value) in &head.await?.attributes {
            let value = value.as_ref().to_owned();
            match attribute {
                Attribute::ContentType => appearance.content_type = Some(value),
                Attribute::ContentEncoding => appearance.content_encoding = Some(value),
                Attribute::CacheControl => appearance.cache_control = Some(value),
                Attribute::ContentDisposition => appearance.content_disposition = Some(value),
                Attribute::ContentLanguage => appearance.content_language = Some(value),
                Attribute::Metadata(name) if name != MARK => {
                    appearance.metadata.insert(name.to_string(), value);
                }
                _ => {}
            }
        }
        Ok(appearance)
    }

    /// Begins an upload whose object will carry this mark.
    pub(crate) async fn begin_upload(
        &self,
        key: &str,
        mark: &str,
        appearance: &Appearance,
    ) -> Result<String> {
        self.location(key)?;
        let begun = retry(self.cx(), || self.extras().begin_upload(key, mark, appearance));
        begun.await.map_err(|error| self.explained(error, Operation::Write, key))
    }

    /// Uploads a part; the first one has the index 0.
    pub(crate) async fn put_part(
        &self,
        key: &str,
        id: &str,
        index: usize,
        bytes: impl Into<PutPayload>,
    ) -> Result<String> {
        let (location, id, bytes) = (self.location(key)?, id.to_owned(), bytes.into());
        let size = bytes.content_length() as u64;
        let part = retry(self.cx(), async || {
            let put = self.store().put_part(&location, &id, index, bytes.clone()).await;
            put.map_err(|error| self.error(error, Operation::Write, key))
        });
        let part = part.await?.content_id;
        self.cx().metrics().add_bytes_written(size);
        Ok(part)
    }

    /// Makes a part of an upload out of bytes that the service holds; `None` where it cannot.
    pub(crate) async fn copy_part(
        &self,
        upload: &Upload,
        index: usize,
        source: &CopySource,
    ) -> Result<Option<String>> {
        let copied = retry(self.cx(), || self.extras().copy_part(upload, index, source));
        copied.await.map_err(|error| {
            let from = source.bucket.as_ref().map(|bucket| format!("{bucket}/{}", source.key));
            let error = self.explained(error, Operation::Write, &upload.key);
            match from {
                Some(from) => error.detail("copied from", from),
                None => error,
            }
        })
    }

    /// How many bytes the parts of an upload have, where the store tells.
    pub(crate) async fn part_sizes(&self, upload: &Upload) -> Result<Option<BTreeMap<usize, u64>>> {
        let sizes = retry(self.cx(), || self.extras().part_sizes(upload)).await;
        sizes.map_err(|error| self.explained(error, Operation::ListParts, &upload.key))
    }

    /// Whether an upload can go on with these parts.
    pub(crate) async fn is_open(&self, upload: &Upload, parts: &[String]) -> Result<bool> {
        let is_open = retry(self.cx(), || self.extras().is_open(upload, parts)).await;
        is_open.map_err(|error| self.explained(error, Operation::ListUploads, &upload.key))
    }

    /// Completes an upload; the object carries the mark and says this of itself.
    pub(crate) async fn complete(
        &self,
        upload: &Upload,
        parts: &[String],
        mark: &str,
        appearance: &Appearance,
    ) -> Result<()> {
        let Upload { key, id } = upload;
        let location = self.location(key)?;
        retry(self.cx(), async || {
            let done = self.extras().complete(upload, parts, mark, appearance).await;
            if done.map_err(|error| self.explained(error, Operation::Write, key))? {
                return Ok(());
            }
            let parts = parts.iter().map(|part| PartId { content_id: part.clone() }).collect();
            let done = self.store().complete_multipart(&location, id, parts).await;
            done.map(drop).map_err(|error| self.error(error, Operation::Write, key))
        })
        .await
    }

    /// Gives an upload up; one that is gone is no error.
    pub(crate) async fn abort(&self, key: &str, id: &str) -> Result<()> {
        let (location, id) = (self.location(key)?, id.to_owned());
        let aborted = retry(self.cx(), async || {
            let done = self.store().abort_multipart(&location, &id).await;
            done.map_err(|error| self.error(error, Operation::AbortUpload, key))
        });
        match aborted.await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The uploads below a prefix that were not completed.
    pub(crate) async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = retry(self.cx(), || self.extras().uploads(prefix, after.as_ref())).await;
            let page = page.map_err(|error| self.explained(error, Operation::ListUploads, prefix))?;
            found.extend(page.uploads);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }
}
