//! A container as `object_store` has it, but for what is done with blocks and for removing, which tells why it fails.

use std::fmt;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use object_store::azure::MicrosoftAzure;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Extensions, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use towpath_objects::{Appearance, Upload};

use crate::blocks::{Blocks, new_upload};

/// How many blobs are removed at once.
const REMOVED_AT_ONCE: usize = 16;

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    store: MicrosoftAzure,
    blocks: Blocks,
}

impl Container {
    pub(crate) fn new(store: MicrosoftAzure, blocks: Blocks) -> Self {
        Self { store, blocks }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.store, f)
    }
}

/// An error of ours, on its way through the library.
fn failed(error: towpath_core::Error) -> object_store::Error {
    object_store::Error::Generic { store: "Azure", source: error.into() }
}

#[async_trait]
impl ObjectStore for Container {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.store.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let blocks = self.blocks.clone();
        let removing = paths.map(move |path| {
            let blocks = blocks.clone();
            async move {
                let path = path?;
                blocks.delete(path.as_ref()).await.map_err(failed)?;
                Ok(path)
            }
        });
        removing.buffered(REMOVED_AT_ONCE).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for Container {
    async fn create_multipart(&self, _: &Path) -> Result<MultipartId> {
        Ok(new_upload())
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        index: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        let put = self.blocks.put(path.as_ref(), id, index, data.into()).await;
        put.map(|content_id| PartId { content_id }).map_err(failed)
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let upload = Upload { key: path.to_string(), id: id.clone() };
        let parts: Vec<_> = parts.into_iter().map(|part| part.content_id).collect();
        self.blocks.commit(&upload, &parts, "", &Appearance::default()).await.map_err(failed)?;
        let head = GetOptions { head: true, ..GetOptions::default() };
        let meta = self.store.get_opts(path, head).await?.meta;
        Ok(PutResult { e_tag: meta.e_tag, version: meta.version, extensions: Extensions::default() })
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.blocks.discard(path.as_ref(), id).await.map_err(failed)
    }
}
