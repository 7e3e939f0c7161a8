//! What the streams of a connection share: the client, credentials, and where buckets are.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use tokio::sync::{Mutex, OnceCell};
use towpath_core::{Clock, Context, Error, ErrorKind, Result};
use towpath_objects::{Bucket, Client, Opener, Service, retry};

use crate::config::ConnectionOptions;
use crate::credentials::Keys;
use crate::extras::S3Extras;
use crate::place::{Place, configured_region};
use crate::sdk::{self, Sender};
use crate::sink::Writing;
use crate::wire::Wire;

/// A connection to S3. Nothing is asked or read before the first request.
pub(crate) struct Session {
    options: ConnectionOptions,
    client: Client,
    clock: Arc<dyn Clock>,
    environment: OnceCell<Environment>,
    keys: OnceCell<Keys>,
    places: Mutex<HashMap<String, Place>>,
}

/// What the environment and the profile say.
struct Environment {
    config: SdkConfig,
    region: Option<String>,
}

impl Session {
    /// The one of this connection.
    pub(crate) async fn shared(options: ConnectionOptions, cx: &Context) -> Result<Arc<Self>> {
        options.check()?;
        let client = Client::new(&options.network, cx).await?;
        cx.connection().shared(&options.key(), || {
            Ok(Self {
                options,
                client,
                clock: cx.clock_arc(),
                environment: OnceCell::new(),
                keys: OnceCell::new(),
                places: Mutex::default(),
            })
        })
    }

    /// A bucket, as a stream sees it.
    pub(crate) async fn bucket(&self, cx: &Context, name: &str, writing: &Writing) -> Result<Bucket> {
        let place = self.place(cx, Some(name)).await?;
        let service = self.service(cx, &place, name);
        let keys = self.keys().await?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&place.region)
            .with_endpoint(if place.path_style { place.endpoint() } else { place.bucket_url(name)? })
            .with_virtual_hosted_style_request(!place.path_style)
            .with_request_payer(self.options.requester_pays)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(Wire(service.clone()));
        builder = match keys {
            Some(keys) => builder.with_credentials(Arc::new(keys.clone())),
            None => builder.with_skip_signature(true),
        };
        if let Some(encryption) = writing.encryption {
            builder = builder.with_config(configuration("aws_server_side_encryption"), encryption.header());
        }
        if let Some(key) = &writing.kms_key {
            builder = builder.with_config(configuration("aws_sse_kms_key_id"), key);
        }
        if let Some(bucket_key) = writing.bucket_key {
            builder = builder.with_bucket_key(bucket_key);
        }
        let store = builder.build().map_err(|error| {
            Error::config("the bucket cannot be used with these options").detail("bucket", name).source(error)
        })?;
        let client = sdk::client(service, keys, &place);
        let extras = S3Extras::new(client, name, self.options.requester_pays, place.is_aws(), writing);
        Ok(Bucket::new(format!("s3://{name}"), store, extras, cx))
    }

    /// The names of all buckets.
    pub(crate) async fn buckets(&self, cx: &Context) -> Result<Vec<String>> {
        let place = self.place(cx, None).await?;
        let client = sdk::client(self.service(cx, &place, ""), self.keys().await?, &place);
        let listed = retry(cx, || async { client.list_buckets().send().await.map_err(sdk::error) }).await;
        let listed = listed.map_err(|error| {
            let denied = error.kind() == ErrorKind::PermissionDenied;
            let error = error.operation("list buckets");
            if denied { error.help("grant `s3:ListAllMyBuckets`, or set `bucket`") } else { error }
        })?;
        Ok(listed.buckets.unwrap_or_default().into_iter().filter_map(|bucket| bucket.name).collect())
    }

    fn service(&self, cx: &Context, place: &Place, bucket: &str) -> Service {
        Service::new(self.client.clone(), cx, &format!("{}/{bucket}", place.endpoint()))
    }

    /// Where a bucket is; asked once.
    async fn place(&self, cx: &Context, bucket: Option<&str>) -> Result<Place> {
        let mut places = self.places.lock().await;
        let name = bucket.unwrap_or_default();
        if let Some(known) = places.get(name) {
            return Ok(known.clone());
        }
        let Environment { config, region } = self.environment().await;
        let service = Service::new(self.client.clone(), cx, "");
        let place = Place::find(cx, &self.options, config, region.as_deref(), bucket, &service).await?;
        Ok(places.entry(name.to_owned()).or_insert(place).clone())
    }

    /// The credentials, unless requests go without any.
    async fn keys(&self) -> Result<Option<&Keys>> {
        if self.options.anonymous {
            return Ok(None);
        }
        let environment = &self.environment().await.config;
        let keys = self.keys.get_or_try_init(|| Keys::new(&self.options, environment, self.clock.clone()));
        keys.await.map(Some)
    }

    async fn environment(&self) -> &Environment {
        self.environment
            .get_or_init(|| async {
                let region = configured_region(&self.options).await;
                let service = Service::for_credentials(self.client.clone());
                let mut loader = aws_config::defaults(BehaviorVersion::latest())
                    .http_client(Sender(service))
                    // Those who give credentials must be somewhere, too.
                    .region(region.clone().unwrap_or(Region::from_static("us-east-1")));
                if let Some(profile) = &self.options.profile {
                    loader = loader.profile_name(profile);
                }
                Environment { config: loader.load().await, region: region.map(|region| region.to_string()) }
            })
            .await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Opens the bucket of a stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamBucket {
    pub(crate) session: Arc<Session>,
    /// None when only the names of buckets are asked for.
    pub(crate) name: Option<Arc<str>>,
    /// How it is written to; nothing for those who read.
    pub(crate) writing: Arc<Writing>,
}

#[async_trait]
impl Opener for StreamBucket {
    async fn open(&self, cx: &Context) -> Result<Bucket> {
        let name = self.name.as_ref().ok_or_else(|| {
            Error::config("which bucket?").help("set `bucket`, or write `path` as s3://bucket/key")
        })?;
        self.session.bucket(cx, name, &self.writing).await
    }

    fn other(&self, bucket: &str) -> Arc<dyn Opener> {
        Arc::new(Self { name: Some(bucket.into()), ..self.clone() })
    }

    fn display(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name.as_deref().unwrap_or_default())
    }
}

/// A setting of the library that it names by text alone.
fn configuration(name: &str) -> AmazonS3ConfigKey {
    name.parse().expect("the library knows the name")
}
