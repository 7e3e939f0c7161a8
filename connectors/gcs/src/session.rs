//! What the streams of a connection share: the client, and the tokens.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use object_store::RetryConfig;
use object_store::gcp::GoogleCloudStorageBuilder;
use reqwest::Request;
use serde::Deserialize;
use tokio::sync::OnceCell;
use towpath_core::{Clock, Context, Error, ErrorKind, Result};
use towpath_objects::{Bucket, Client, Opener, Service, retry};
use url::Url;

use crate::config::ConnectionOptions;
use crate::credentials::Credentials;
use crate::extras::GcsExtras;
use crate::sink::Writing;
use crate::tokens::Tokens;
use crate::wire::Wire;

/// A connection to Google. Nothing is asked or read before the first request.
pub(crate) struct Session {
    options: ConnectionOptions,
    endpoint: Url,
    client: Client,
    clock: Arc<dyn Clock>,
    account: OnceCell<Account>,
}

/// Who is asking.
struct Account {
    tokens: Tokens,
    project: Option<String>,
}

/// A page of buckets.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Buckets {
    #[serde(default)]
    items: Vec<Named>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Session {
    /// The one of this connection.
    pub(crate) async fn shared(options: ConnectionOptions, cx: &Context) -> Result<Arc<Self>> {
        options.check()?;
        let client = Client::new(&options.network, cx).await?;
        cx.connection().shared(&options.key(), || {
            let endpoint = options.endpoint_url()?;
            Ok(Self { options, endpoint, client, clock: cx.clock_arc(), account: OnceCell::new() })
        })
    }

    /// A bucket, as a stream sees it.
    pub(crate) async fn bucket(&self, cx: &Context, name: &str, writing: Arc<Writing>) -> Result<Bucket> {
        let account = self.account().await?;
        let url = self.url(&[name])?;
        let wire = self.wire(cx, account, url.as_str(), writing.clone())?;
        let store = GoogleCloudStorageBuilder::new()
            .with_bucket_name(name)
            .with_base_url(self.endpoint.as_str().trim_end_matches('/'))
            .with_credentials(Arc::new(account.tokens.clone()))
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(wire.clone())
            .build();
        let store = store.map_err(|error| {
            Error::config("the bucket cannot be used with these options").detail("bucket", name).source(error)
        })?;
        Ok(Bucket::new(format!("gs://{name}"), store, GcsExtras::new(wire, url, writing), cx))
    }

    /// The names of all buckets of a project.
    pub(crate) async fn buckets(&self, cx: &Context, project: Option<&str>) -> Result<Vec<String>> {
        let account = self.account().await?;
        let wire = self.wire(cx, account, self.endpoint.as_str(), Arc::default())?;
        let environment = std::env::var("GOOGLE_CLOUD_PROJECT").ok().filter(|project| !project.is_empty());
        let project = project
            .or(account.project.as_deref())
            .or(environment.as_deref())
            .ok_or_else(|| Error::config("buckets of which project?").help("set `project`, or `bucket`"))?;
        let (mut names, mut token) = (Vec::new(), None);
        loop {
            let mut url = self.url(&["storage", "v1", "b"])?;
            url.query_pairs_mut().append_pair("project", project);
            url.query_pairs_mut().extend_pairs(token.iter().map(|token: &String| ("pageToken", token)));
            let page = retry(cx, || wire.send(Request::new(Method::GET, url.clone()))).await;
            let page = page.map_err(|error| not_listed(error, project))?;
            let page: Buckets = serde_json::from_slice(&page)
                .map_err(|error| Error::unexpected("the store's answer cannot be read").source(error))?;
            names.extend(page.items.into_iter().map(|bucket| bucket.name));
            token = page.next_page_token;
            if token.is_none() {
                return Ok(names);
            }
        }
    }

    fn wire(&self, cx: &Context, account: &Account, origin: &str, writing: Arc<Writing>) -> Result<Wire> {
        let service = Service::new(self.client.clone(), cx, origin);
        Wire::new(service, account.tokens.clone(), self.options.user_project.as_deref(), writing)
    }

    /// A place of the server.
    fn url(&self, path: &[&str]) -> Result<Url> {
        let mut url = self.endpoint.clone();
        let segments = url.path_segments_mut();
        segments.map_err(|()| Error::config("`endpoint` has no path"))?.pop_if_empty().extend(path);
        Ok(url)
    }

    /// Who is asking; looked for once.
    async fn account(&self) -> Result<&Account> {
        let find = async || {
            let Credentials { identity, project } = Credentials::find(&self.options).await?;
            let service = Service::for_credentials(self.client.clone());
            Ok(Account { tokens: Tokens::new(identity, service, self.clock.clone())?, project })
        };
        self.account.get_or_try_init(find).await
    }
}

fn not_listed(error: Error, project: &str) -> Error {
    let denied = error.kind() == ErrorKind::PermissionDenied;
    let error = error.operation("list buckets").detail("project", project);
    if denied { error.help("grant `storage.buckets.list` on the project, or set `bucket`") } else { error }
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
        let name = self.name.as_ref().ok_or_else(crate::store::no_bucket)?;
        self.session.bucket(cx, name, self.writing.clone()).await
    }

    fn other(&self, bucket: &str) -> Arc<dyn Opener> {
        Arc::new(Self { name: Some(bucket.into()), ..self.clone() })
    }

    fn display(&self, key: &str) -> String {
        format!("gs://{}/{key}", self.name.as_deref().unwrap_or_default())
    }
}
