//! What S3 can do beside what all stores do alike, by the SDK.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{MultipartUpload, Object, RequestPayer};
use towpath_core::{Error, ErrorKind, Result};
use towpath_files::FileEntry;
use towpath_objects::{Appearance, CopySource, Extras, ListRequest, MARK, Operation, Page, Upload, Uploads};
use url::form_urlencoded;

use crate::sdk::error;
use crate::sink::{Encryption, Writing};

/// A bucket by the SDK.
#[derive(Debug)]
pub(crate) struct S3Extras {
    client: Client,
    bucket: String,
    payer: Option<RequestPayer>,
    is_aws: bool,
    writing: Writing,
}

impl S3Extras {
    /// `is_aws` where the server is known to list keys in the order of their bytes, and to heed all conditions.
    pub(crate) fn new(
        client: Client,
        bucket: &str,
        requester_pays: bool,
        is_aws: bool,
        writing: &Writing,
    ) -> Self {
        let payer = requester_pays.then_some(RequestPayer::Requester);
        Self { client, bucket: bucket.to_owned(), payer, is_aws, writing: writing.clone() }
    }
}

impl S3Extras {
    /// AWS copies on the condition that the source has this `ETag`. Not every other server heeds it; there the source is looked
    /// at once more, unless what came of it says by its own `ETag` that it is the same.
    async fn check_source(&self, bucket: &str, source: &CopySource, copied: &str) -> Result<()> {
        let bare = |tag: &str| tag.trim_matches('"').to_owned();
        let wanted = source.tag.as_deref().filter(|wanted| !self.is_aws && bare(wanted) != bare(copied));
        let Some(wanted) = wanted else { return Ok(()) };
        let asking = self.client.head_object().bucket(bucket).key(&source.key);
        let asking = asking.set_version_id(source.version.clone()).set_request_payer(self.payer.clone());
        let found = asking.send().await.map_err(error)?;
        if found.e_tag.as_deref().is_some_and(|found| bare(found) == bare(wanted)) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, "the object that is copied changed meanwhile"))
    }
}

#[async_trait]
impl Extras for S3Extras {
    async fn list(&self, request: &ListRequest) -> Result<Page> {
        let listing = self.client.list_objects_v2().bucket(&self.bucket);
        let listing = listing.set_request_payer(self.payer.clone());
        let listing = listing.set_prefix((!request.prefix.is_empty()).then(|| request.prefix.clone()));
        let listing = listing.set_delimiter(request.folders.then(|| "/".to_owned()));
        let listing = listing.set_start_after(request.after.clone());
        let found = listing.set_continuation_token(request.token.clone()).send().await.map_err(error)?;
        let next = found.next_continuation_token.filter(|_| found.is_truncated == Some(true));
        let files = found.contents.unwrap_or_default().into_iter().filter_map(entry).collect();
        let prefixes = found.common_prefixes.unwrap_or_default();
        let prefixes = prefixes.into_iter().filter_map(|common| common.prefix).collect();
        Ok(Page { files, prefixes, next })
    }

    async fn begin_upload(&self, key: &str, mark: &str, appearance: &Appearance) -> Result<String> {
        let Writing { encryption, kms_key, bucket_key, acl } = &self.writing;
        let upload = self.client.create_multipart_upload().bucket(&self.bucket).key(key).metadata(MARK, mark);
        let upload = upload.set_request_payer(self.payer.clone());
        let upload = upload.set_content_type(appearance.content_type.clone());
        let upload = upload.set_content_encoding(appearance.content_encoding.clone());
        let upload = upload.set_cache_control(appearance.cache_control.clone());
        let upload = upload.set_storage_class(appearance.storage_class.as_deref().map(Into::into));
        let upload = upload.set_content_disposition(appearance.content_disposition.clone());
        let upload = upload.set_content_language(appearance.content_language.clone());
        let noted = appearance.metadata.iter();
        let upload = noted.fold(upload, |upload, (name, value)| upload.metadata(name, value));
        let upload = upload.set_tagging(tagging(appearance));
        let upload = upload.set_acl(acl.clone());
        let upload = upload.set_server_side_encryption(encryption.map(Encryption::of_sdk));
        let upload = upload.set_ssekms_key_id(kms_key.clone()).set_bucket_key_enabled(*bucket_key);
        let begun = upload.send().await.map_err(error)?;
        begun.upload_id.ok_or_else(|| Error::unexpected("the store began an upload and did not tell which"))
    }

    async fn uploads(&self, prefix: &str, after: Option<&Upload>) -> Result<Uploads> {
        let listing = self.client.list_multipart_uploads().bucket(&self.bucket);
        let listing = listing.set_request_payer(self.payer.clone());
        let listing = listing.set_prefix((!prefix.is_empty()).then(|| prefix.to_owned()));
        let listing = listing.set_key_marker(after.map(|after| after.key.clone()));
        let listing = listing.set_upload_id_marker(after.map(|after| after.id.clone()));
        let found = listing.send().await.map_err(error)?;
        let is_more = found.is_truncated == Some(true);
        let uploads: Vec<_> = found.uploads.unwrap_or_default().into_iter().filter_map(upload).collect();
        let next = uploads.last().filter(|_| is_more).cloned();
        Ok(Uploads { uploads, next })
    }

    async fn copy_part(&self, upload: &Upload, index: usize, source: &CopySource) -> Result<Option<String>> {
        let number =
            i32::try_from(index + 1).map_err(|_| Error::unexpected("an upload has too many parts"))?;
        let bucket = source.bucket.as_deref().unwrap_or(&self.bucket);
        let copying = self.client.upload_part_copy().bucket(&self.bucket).key(&upload.key);
        let copying = copying.upload_id(&upload.id).part_number(number);
        let version = source.version.as_ref().map(|version| format!("?versionId={}", encoded(version)));
        let version = version.unwrap_or_default();
        let copying = copying.copy_source(format!("{bucket}/{}{version}", encoded(&source.key)));
        let range = source.range.as_ref().map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let copying = copying.set_copy_source_range(range);
        let copying = copying.set_copy_source_if_match(source.tag.clone());
        let copied = copying.set_request_payer(self.payer.clone()).send().await.map_err(error)?;
        let tag = copied.copy_part_result.and_then(|result| result.e_tag);
        let tag =
            tag.ok_or_else(|| Error::unexpected("the store copied a part and did not tell its ETag"))?;
        self.check_source(bucket, source, &tag).await?;
        Ok(Some(tag))
    }

    async fn part_sizes(&self, upload: &Upload) -> Result<Option<BTreeMap<usize, u64>>> {
        let (mut sizes, mut after) = (BTreeMap::new(), None);
        loop {
            let listing = self.client.list_parts().bucket(&self.bucket).key(&upload.key);
            let listing = listing.upload_id(&upload.id).set_request_payer(self.payer.clone());
            let found = listing.set_part_number_marker(after).send().await.map_err(error)?;
            let parts = found.parts.unwrap_or_default();
            sizes.extend(parts.iter().filter_map(|part| {
                let index = usize::try_from(part.part_number? - 1).ok()?;
                Some((index, u64::try_from(part.size?).ok()?))
            }));
            after = found.next_part_number_marker.filter(|_| found.is_truncated == Some(true));
            if after.is_none() {
                return Ok(Some(sizes));
            }
        }
    }

    fn lists_in_order(&self) -> bool {
        self.is_aws
    }

    fn permission(&self, operation: Operation) -> Option<&'static str> {
        Some(match operation {
            Operation::List => "s3:ListBucket",
            Operation::Read => "s3:GetObject",
            Operation::Write => "s3:PutObject",
            Operation::Delete => "s3:DeleteObject",
            Operation::ListUploads => "s3:ListBucketMultipartUploads",
            Operation::ListParts => "s3:ListMultipartUploadParts",
            Operation::AbortUpload => "s3:AbortMultipartUpload",
        })
    }
}

/// An object of a listing.
fn entry(object: Object) -> Option<FileEntry> {
    // As exact as the headers of an object are.
    let modified = object.last_modified.map_or(0, |time| time.secs().saturating_mul(1_000_000_000));
    Some(FileEntry {
        path: object.key?,
        size: object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        modified,
        arrived: modified,
        tag: object.e_tag,
        version: None,
    })
}

fn upload(found: MultipartUpload) -> Option<Upload> {
    Some(Upload { key: found.key?, id: found.upload_id? })
}

/// Tags as a header has them.
fn tagging(appearance: &Appearance) -> Option<String> {
    let mut tags = form_urlencoded::Serializer::new(String::new());
    tags.extend_pairs(&appearance.tags);
    (!appearance.tags.is_empty()).then(|| tags.finish())
}

/// A key as it stands in a header: percent-encoded, but for the slashes.
fn encoded(key: &str) -> String {
    let mut encoded = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.extend(towpath_files::names::hex_digits(byte).map(|digit| digit.to_ascii_uppercase()));
        }
    }
    encoded
}
