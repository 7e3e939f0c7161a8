//! Objects by a bare loop over `object_store`. Where the server is and who we are come from the environment, as all tools
//! of AWS read them.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, WriteMultipart};
// `object_store` sends by it, and only compiles if it is built with some TLS.
use reqwest as _;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The size of parts, as Towpath has it.
const PART: usize = 8 << 20;
/// How many parts of one object are under way.
const PARTS_AT_ONCE: usize = 4;

/// A bucket, and what the keys begin with.
#[derive(Clone)]
pub(crate) struct Prefix {
    store: Arc<AmazonS3>,
    prefix: Key,
}

impl Prefix {
    /// `bucket/prefix`.
    pub(crate) fn new(place: &str) -> Result<Self> {
        // The library's client wants one even where nothing is encrypted. It is set once.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (bucket, prefix) = place.split_once('/').context("a place is `bucket/prefix`")?;
        let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build()?;
        Ok(Self { store: Arc::new(store), prefix: prefix.into() })
    }

    async fn list(&self) -> Result<Vec<ObjectMeta>> {
        Ok(self.store.list(Some(&self.prefix)).try_collect().await?)
    }

    /// Reads every object into a file of a folder, so many at once.
    pub(crate) async fn get(&self, folder: &Path, at_once: usize) -> Result<()> {
        tokio::fs::create_dir_all(folder).await?;
        let reading = self.list().await?.into_iter().map(|object| self.get_one(object, folder));
        stream::iter(reading).buffer_unordered(at_once).try_collect().await
    }

    async fn get_one(&self, object: ObjectMeta, folder: &Path) -> Result<()> {
        let name = object.location.filename().context("a key ends with a name")?;
        let mut file = File::create(folder.join(name)).await?;
        let mut bytes = self.store.get(&object.location).await?.into_stream();
        while let Some(chunk) = bytes.try_next().await? {
            file.write_all(&chunk).await?;
        }
        Ok(file.flush().await?)
    }

    /// Writes every file of a folder as an object, so many at once.
    pub(crate) async fn put(&self, folder: &Path, at_once: usize) -> Result<()> {
        let files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        let files = files.collect::<Result<Vec<_>>>()?;
        let writing = files.into_iter().map(|file| self.put_one(file));
        stream::iter(writing).buffer_unordered(at_once).try_collect().await
    }

    async fn put_one(&self, path: PathBuf) -> Result<()> {
        let name = path.file_name().and_then(|name| name.to_str()).context("a file has a name")?;
        let mut file = File::open(&path).await?;
        let mut upload = self.upload(name).await?;
        loop {
            let mut part = Vec::with_capacity(PART);
            (&mut file).take(PART as u64).read_to_end(&mut part).await?;
            if part.is_empty() {
                return upload.finish().await.map(drop).map_err(Into::into);
            }
            upload.wait_for_capacity(PARTS_AT_ONCE).await?;
            upload.put(part.into());
        }
    }

    async fn upload(&self, name: &str) -> Result<WriteMultipart> {
        let upload = self.store.put_multipart(&self.prefix.clone().join(name)).await?;
        Ok(WriteMultipart::new_with_chunk_size(upload, PART))
    }

    /// Makes so many objects of NDJSON of at least this size, unless they are there.
    pub(crate) async fn fill(&self, objects: usize, bytes: usize, at_once: usize) -> Result<()> {
        if self.list().await?.len() == objects {
            return Ok(());
        }
        let filling = (0..objects).map(|number| self.fill_one(number, bytes));
        stream::iter(filling).buffer_unordered(at_once).try_collect().await
    }

    async fn fill_one(&self, number: usize, bytes: usize) -> Result<()> {
        let name = format!("{number:05}.ndjson");
        let rows = rows(number, bytes.min(PART));
        if bytes <= PART {
            self.store.put(&self.prefix.clone().join(name), rows.into()).await?;
            return Ok(());
        }
        let mut upload = self.upload(&name).await?;
        for _ in 0..bytes.div_ceil(rows.len()) {
            upload.wait_for_capacity(PARTS_AT_ONCE).await?;
            upload.put(rows.clone());
        }
        Ok(upload.finish().await.map(drop)?)
    }
}

/// Rows of at least so many bytes, which are the same for the same number.
fn rows(number: usize, bytes: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let mut rows = String::with_capacity(bytes + 200);
    while rows.len() < bytes {
        let (id, amount) = (random.u64(..1 << 40), random.u32(..1_000_000));
        let (name, active): (String, bool) = ((0..24).map(|_| random.lowercase()).collect(), random.bool());
        writeln!(
            rows,
            "{{\"id\":{id},\"object\":{number},\"name\":\"{name}\",\"amount\":{amount}.25,\"active\":{active}}}"
        )
        .expect("a String takes all text");
    }
    rows.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_same_each_time_and_whole() {
        let made = rows(7, 1_000);
        assert_eq!(made, rows(7, 1_000));
        assert!(made.len() >= 1_000 && made.ends_with(b"}\n"));
        assert_ne!(made, rows(8, 1_000));
    }
}
