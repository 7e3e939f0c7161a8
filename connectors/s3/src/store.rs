//! S3 as a store of files.

use std::sync::Arc;

use serde_json::json;
use towpath_core::{Context, Dataset, Error, Realm, Result};
use towpath_files::{FileEntry, SourceOptions, Store};
use towpath_formats::Input;
use towpath_objects::{Listing, ObjectInput, Opener};

use crate::config::SourceConfig;
use crate::session::{Session, StreamBucket};
use crate::uri;

pub(crate) const CONNECTOR: &str = "s3";

/// The objects of a bucket.
#[derive(Debug, Clone)]
pub struct S3Objects {
    bucket: StreamBucket,
    version: Option<Arc<str>>,
    realm: Realm,
}

impl Store for S3Objects {
    const CONNECTOR: &'static str = CONNECTOR;

    type Config = SourceConfig;
    type Listing = Listing;

    async fn open(config: SourceConfig, cx: &Context) -> Result<(Self, SourceOptions)> {
        let mut files = config.files();
        let mut name = config.bucket.clone();
        for path in &mut files.path.0 {
            *path = bucket_and_key(path, &mut name)?;
        }
        let connection = config.connection();
        let realm = connection.realm();
        let session = Session::shared(connection, cx).await?;
        let version = config.version.as_deref().map(Arc::from);
        let name = name.filter(|name| !name.is_empty()).map(Arc::from);
        let bucket = StreamBucket { session, name, writing: Arc::default() };
        Ok((Self { bucket, version, realm }, files))
    }

    async fn list(&self, cx: &Context, options: &SourceOptions) -> Result<Listing> {
        let bucket = self.bucket.open(cx).await?;
        Listing::resolve(bucket, &options.path.0, self.version.as_deref(), options.allow_empty).await
    }

    fn input(&self, cx: &Context, file: FileEntry, name: String) -> Arc<dyn Input> {
        let opener = Arc::new(self.bucket.clone());
        let bucket = self.bucket.name.as_deref().unwrap_or_default();
        Arc::new(ObjectInput::in_realm(opener, cx, file, name, &self.realm, bucket))
    }

    async fn probe(&self, cx: &Context, file: &FileEntry) -> Result<()> {
        let bucket = self.bucket.open(cx).await?;
        bucket.range(file, 0..file.size.min(1)).await.map(drop)
    }

    async fn places(&self, cx: &Context) -> Result<Option<Vec<Dataset>>> {
        if self.bucket.name.is_some() {
            return Ok(None);
        }
        let buckets = self.bucket.session.buckets(cx).await?.into_iter();
        let dataset = |name: String| Dataset::new(&name, json!({ "path": format!("s3://{name}/") }));
        Ok(Some(buckets.map(dataset).collect()))
    }

    fn display(&self, path: &str) -> String {
        self.bucket.display(path)
    }
}

/// The key in a path. One that is a whole URL names the bucket, which is the same for all.
pub(crate) fn bucket_and_key(path: &str, bucket: &mut Option<String>) -> Result<String> {
    let Some((name, key)) = uri::split(path) else { return Ok(path.to_owned()) };
    match bucket {
        Some(known) if known != name => Err(Error::config("a stream has one bucket")
            .detail("bucket", known)
            .detail("path", path)
            .help("make a stream for each")),
        _ => {
            *bucket = Some(name.to_owned());
            Ok(key.to_owned())
        }
    }
}

/// The bucket's name, which somebody must have told.
pub(crate) fn named(name: Option<String>) -> Result<String> {
    name.filter(|name| !name.is_empty()).ok_or_else(|| {
        Error::config("which bucket?").help("set `bucket`, or write `path` as s3://bucket/key")
    })
}
