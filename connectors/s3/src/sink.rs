//! Writing to S3.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_s3::types::{ObjectCannedAcl, ServerSideEncryption};
use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{Context, Error, Result};
use towpath_files::sink::WritesFiles;
use towpath_objects::Appearance;
use towpath_objects::sink::{Provider, SinkParts, UploadSettings};

use crate::config::SinkConfig;
use crate::session::{Session, StreamBucket};
use crate::store::{CONNECTOR, bucket_and_key};

/// S3, for those who write.
#[derive(Debug, Clone)]
pub struct S3Writes;

impl Provider for S3Writes {
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
                .help("remove it, or write `path` as s3://bucket/key"));
        }
        let name = crate::store::named(name)?;
        let connection = config.connection();
        let realm = Some(connection.realm());
        let session = Session::shared(connection, cx).await?;
        let settings = UploadSettings {
            part_size: config.part_size,
            parts_in_flight: config.parts_in_flight,
            layout: config.layout,
            appearance: Appearance {
                content_type: config.content_type,
                content_encoding: config.content_encoding,
                cache_control: config.cache_control,
                storage_class: config.storage_class,
                tags: config.tags,
                ..Appearance::default()
            },
        };
        let opener = StreamBucket { session, name: Some(name.into()), writing: Arc::new(writing) };
        Ok(SinkParts { opener: Arc::new(opener), files, settings, realm })
    }
}

/// How the store keeps the bytes secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// With keys that S3 holds.
    Aes256,
    /// With keys of KMS.
    Kms,
    /// Twice, with keys of KMS.
    KmsDsse,
}

/// What only S3 knows of writing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writing {
    pub(crate) encryption: Option<Encryption>,
    pub(crate) kms_key: Option<String>,
    pub(crate) bucket_key: Option<bool>,
    pub(crate) acl: Option<ObjectCannedAcl>,
}

impl Writing {
    fn new(config: &SinkConfig) -> Result<Self> {
        let wrong = |message: &str, help: &str| Err(Error::config(message).help(help));
        let is_kms = matches!(config.encryption, Some(Encryption::Kms | Encryption::KmsDsse));
        if config.kms_key.is_some() && !is_kms {
            return wrong("`kms_key` needs `encryption: kms` or `kms_dsse`", "set `encryption`");
        }
        if config.bucket_key.is_some() && config.encryption != Some(Encryption::Kms) {
            return wrong("`bucket_key` needs `encryption: kms`", "set `encryption`, or remove it");
        }
        let acl = config.acl.as_deref().map(acl).transpose()?;
        check_tags(&config.tags)?;
        Ok(Self {
            encryption: config.encryption,
            kms_key: config.kms_key.clone(),
            bucket_key: config.bucket_key,
            acl,
        })
    }
}

impl Encryption {
    pub(crate) fn of_sdk(self) -> ServerSideEncryption {
        match self {
            Self::Aes256 => ServerSideEncryption::Aes256,
            Self::Kms => ServerSideEncryption::AwsKms,
            Self::KmsDsse => ServerSideEncryption::AwsKmsDsse,
        }
    }

    /// What its requests call it.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::Kms => "aws:kms",
            Self::KmsDsse => "aws:kms:dsse",
        }
    }
}

fn acl(name: &str) -> Result<ObjectCannedAcl> {
    ObjectCannedAcl::try_parse(name).map_err(|_| {
        let known = ObjectCannedAcl::values().join(", ");
        Error::config(format!("there is no `acl: {name}`")).help(format!("there are {known}"))
    })
}

/// S3 takes ten tags, and neither long nor empty names.
fn check_tags(tags: &BTreeMap<String, String>) -> Result<()> {
    const MOST: usize = 10;
    if tags.len() > MOST {
        return Err(Error::config(format!("S3 takes {MOST} `tags`, and there are {}", tags.len())));
    }
    let wrong = tags
        .iter()
        .find(|(name, value)| name.is_empty() || name.chars().count() > 128 || value.chars().count() > 256);
    match wrong {
        Some((name, _)) => Err(Error::config("a tag has 1 to 128 characters, and its value up to 256")
            .detail("tag", name)
            .help("shorten it")),
        None => Ok(()),
    }
}
