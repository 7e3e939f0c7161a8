//! Google Cloud Storage as a store of files.

use std::sync::Arc;

use serde_json::json;
use towpath_core::{Context, Dataset, Error, Result};
use towpath_files::{FileEntry, SourceOptions, Store};
use towpath_formats::Input;
use towpath_objects::{Listing, ObjectInput, Opener};

use crate::config::SourceConfig;
use crate::session::{Session, StreamBucket};
use crate::uri;

pub(crate) const CONNECTOR: &str = "gcs";

/// The objects of a bucket.
#[derive(Debug, Clone)]
pub struct GcsObjects {
    bucket: StreamBucket,
    generation: Option<Arc<str>>,
    project: Option<Arc<str>>,
}

impl Store for GcsObjects {
    const CONNECTOR: &'static str = CONNECTOR;

    type Config = SourceConfig;
    type Listing = Listing;

    async fn open(config: SourceConfig, cx: &Context) -> Result<(Self, SourceOptions)> {
        let mut files = config.files();
        let mut name = config.bucket.clone();
        for path in &mut files.path.0 {
            *path = bucket_and_key(path, &mut name)?;
        }
        let session = Session::shared(config.connection(), cx).await?;
        let name = name.filter(|name| !name.is_empty()).map(Arc::from);
        let store = Self {
            bucket: StreamBucket { session, name, writing: Arc::default() },
            generation: config.generation.as_deref().map(generation).transpose()?,
            project: config.project.as_deref().map(Arc::from),
        };
        Ok((store, files))
    }

    async fn list(&self, cx: &Context, options: &SourceOptions) -> Result<Listing> {
        let bucket = self.bucket.open(cx).await?;
        Listing::resolve(bucket, &options.path.0, self.generation.as_deref(), options.allow_empty).await
    }

    fn input(&self, cx: &Context, file: FileEntry, name: String) -> Arc<dyn Input> {
        Arc::new(ObjectInput::new(Arc::new(self.bucket.clone()), cx, file, name))
    }

    async fn probe(&self, cx: &Context, file: &FileEntry) -> Result<()> {
        let bucket = self.bucket.open(cx).await?;
        bucket.range(file, 0..file.size.min(1)).await.map(drop)
    }

    async fn places(&self, cx: &Context) -> Result<Option<Vec<Dataset>>> {
        if self.bucket.name.is_some() {
            return Ok(None);
        }
        let buckets = self.bucket.session.buckets(cx, self.project.as_deref()).await?.into_iter();
        let dataset = |name: String| Dataset::new(&name, json!({ "path": format!("gs://{name}/") }));
        Ok(Some(buckets.map(dataset).collect()))
    }

    fn display(&self, path: &str) -> String {
        self.bucket.display(path)
    }
}

/// A generation is a number.
fn generation(text: &str) -> Result<Arc<str>> {
    match text.parse::<u64>() {
        Ok(_) => Ok(text.into()),
        Err(_) => Err(Error::config("`generation` is no number")
            .detail("generation", text)
            .help("`gcloud storage ls --all-versions` shows it behind the `#`")),
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

/// The error for a stream that nobody has told a bucket.
pub(crate) fn no_bucket() -> Error {
    Error::config("which bucket?").help("set `bucket`, or write `path` as gs://bucket/key")
}
