//! What Azure can do beside what all stores do alike.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::azure::MicrosoftAzureBuilder;
use towpath_core::Result;
use towpath_objects::{Appearance, CopySource, Extras, ListRequest, Operation, Page, Upload, Uploads};

use crate::blocks::{Blocks, left_by_discarding, new_upload};
use crate::listing::{self, Suspect};

/// How many blobs are asked for their blocks at once.
const ASKED_AT_ONCE: usize = 16;

/// A container.
#[derive(Debug)]
pub(crate) struct AzureExtras {
    /// What signs for the service to read; for any container.
    pub(crate) signing: MicrosoftAzureBuilder,
    pub(crate) blocks: Blocks,
}

impl AzureExtras {
    async fn uploads_of(&self, suspect: Suspect) -> Result<Vec<Upload>> {
        let ids = match left_by_discarding(suspect.mark.as_deref()) {
            Some(id) => [id].into(),
            None => self.blocks.uploads(&suspect.key).await?,
        };
        Ok(ids.into_iter().map(|id| Upload { key: suspect.key.clone(), id }).collect())
    }
}

#[async_trait]
impl Extras for AzureExtras {
    async fn list(&self, request: &ListRequest) -> Result<Page> {
        listing::page(&self.blocks.rest, &self.blocks.container, request).await
    }

    /// Nothing is asked for: the first block begins it.
    async fn begin_upload(&self, _: &str, _: &str, _: &Appearance) -> Result<String> {
        Ok(new_upload())
    }

    /// Azure lists blobs without anything committed among all others.
    async fn uploads(&self, prefix: &str, after: Option<&Upload>) -> Result<Uploads> {
        let token = after.map(|after| after.id.as_str());
        let (suspects, next) =
            listing::suspects(&self.blocks.rest, &self.blocks.container, prefix, token).await?;
        let asking: Vec<_> = suspects.into_iter().map(|suspect| self.uploads_of(suspect)).collect();
        let uploads: Vec<Vec<Upload>> = stream::iter(asking).buffered(ASKED_AT_ONCE).try_collect().await?;
        // The place of the next page has the token for its name.
        let next = next.map(|token| Upload { key: String::new(), id: token });
        Ok(Uploads { uploads: uploads.concat(), next })
    }

    async fn is_open(&self, upload: &Upload, parts: &[String]) -> Result<bool> {
        self.blocks.has(&upload.key, parts).await
    }

    async fn complete(
        &self,
        upload: &Upload,
        parts: &[String],
        mark: &str,
        appearance: &Appearance,
    ) -> Result<bool> {
        self.blocks.commit(upload, parts, mark, appearance).await.map(|()| true)
    }

    async fn copy_part(&self, upload: &Upload, index: usize, source: &CopySource) -> Result<Option<String>> {
        self.blocks.copy(&self.signing, upload, index, source).await
    }

    async fn part_sizes(&self, upload: &Upload) -> Result<Option<BTreeMap<usize, u64>>> {
        self.blocks.sizes(upload).await.map(Some)
    }

    /// Not every server can begin a listing behind a key, nor does Azure where an account has folders.
    fn lists_in_order(&self) -> bool {
        false
    }

    fn permission(&self, operation: Operation) -> Option<&'static str> {
        Some(match operation {
            Operation::List | Operation::Read | Operation::ListUploads | Operation::ListParts => {
                "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
            }
            Operation::Write => "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
            Operation::Delete | Operation::AbortUpload => {
                "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete"
            }
        })
    }

    fn role(&self, operation: Operation) -> Option<&'static str> {
        Some(match operation {
            Operation::List | Operation::Read => "Storage Blob Data Reader",
            _ => "Storage Blob Data Contributor",
        })
    }
}
