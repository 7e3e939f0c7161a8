//! What S3 can do beside what all stores do alike, by the SDK.

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{Object, RequestPayer};
use towpath_core::Result;
use towpath_files::FileEntry;
use towpath_objects::{Extras, ListRequest, Operation, Page};

use crate::sdk::error;

/// A bucket by the SDK.
#[derive(Debug)]
pub(crate) struct S3Extras {
    client: Client,
    bucket: String,
    payer: Option<RequestPayer>,
    in_order: bool,
}

impl S3Extras {
    /// `in_order` where the server is known to list keys in the order of their bytes.
    pub(crate) fn new(client: Client, bucket: &str, requester_pays: bool, in_order: bool) -> Self {
        let payer = requester_pays.then_some(RequestPayer::Requester);
        Self { client, bucket: bucket.to_owned(), payer, in_order }
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

    fn lists_in_order(&self) -> bool {
        self.in_order
    }

    fn permission(&self, operation: Operation) -> Option<&'static str> {
        Some(match operation {
            Operation::List => "s3:ListBucket",
            Operation::Read => "s3:GetObject",
            Operation::Write => "s3:PutObject",
            Operation::Delete => "s3:DeleteObject",
            Operation::ListUploads => "s3:ListBucketMultipartUploads",
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
