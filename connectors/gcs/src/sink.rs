//! Writing to Google.

use std::sync::Arc;

use http::HeaderValue;
use towpath_core::{Context, Error, Result};
use towpath_files::sink::WritesFiles;
use towpath_objects::Appearance;
use towpath_objects::sink::{Provider, SinkParts, UploadSettings};

use crate::config::SinkConfig;
use crate::session::{Session, StreamBucket};
use crate::store::{CONNECTOR, bucket_and_key, no_bucket};
use crate::wire::header;

/// Who else may read an object, as Google calls it.
const ACLS: &[&str] = &[
    "authenticated-read",
    "bucket-owner-full-control",
    "bucket-owner-read",
    "private",
    "project-private",
    "public-read",
];

/// Google Cloud Storage, for those who write.
#[derive(Debug, Clone)]
pub struct GcsWrites;

impl Provider for GcsWrites {
    const CONNECTOR: &'static str = CONNECTOR;

    type Config = SinkConfig;

    async fn open(config: SinkConfig, cx: &Context) -> Result<SinkParts> {
        let writing = Writing::new(&config)?;
        let mut files = config.files();
        let mut name = config.bucket.clone();
        files.path = bucket_and_key(&files.path, &mut name)?;
        if files.is_bytes() && files.path.is_empty() {
            // The whole bucket.
            "./".clone_into(&mut files.path);
        }
        if files.path.starts_with('/') {
            return Err(Error::config("a key does not begin with a slash")
                .detail("path", &files.path)
                .help("remove it, or write `path` as gs://bucket/key"));
        }
        let name = name.filter(|name| !name.is_empty()).ok_or_else(no_bucket)?;
        let session = Session::shared(config.connection(), cx).await?;
        let settings = UploadSettings {
            part_size: config.part_size,
            parts_in_flight: config.parts_in_flight,
            layout: config.layout,
            appearance: Appearance {
                content_type: config.content_type,
                content_encoding: config.content_encoding,
                cache_control: config.cache_control,
                storage_class: config.storage_class,
                ..Appearance::default()
            },
        };
        let opener = StreamBucket { session, name: Some(name.into()), writing: Arc::new(writing) };
        // A part of an upload is never a copy there.
        Ok(SinkParts { opener: Arc::new(opener), files, settings, realm: None })
    }
}

/// What only Google knows of writing, as headers have it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writing {
    pub(crate) kms_key: Option<HeaderValue>,
    pub(crate) acl: Option<HeaderValue>,
}

impl Writing {
    fn new(config: &SinkConfig) -> Result<Self> {
        if let Some(acl) = config.acl.as_deref().filter(|acl| !ACLS.contains(acl)) {
            return Err(Error::config(format!("there is no `acl: {acl}`"))
                .help(format!("there are {}", ACLS.join(", "))));
        }
        for (option, value) in [
            ("content_type", &config.content_type),
            ("content_encoding", &config.content_encoding),
            ("cache_control", &config.cache_control),
            ("storage_class", &config.storage_class),
        ] {
            value.as_deref().map(|value| header(option, value)).transpose()?;
        }
        let header = |option: &str, value: &Option<String>| {
            value.as_deref().map(|value| header(option, value)).transpose()
        };
        Ok(Self { kms_key: header("kms_key", &config.kms_key)?, acl: header("acl", &config.acl)? })
    }
}
