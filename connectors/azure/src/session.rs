//! What the streams of a connection share: the client, credentials, and where the account is.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::RetryConfig;
use object_store::azure::MicrosoftAzureBuilder;
use towpath_core::{Context, Error, ErrorKind, Result};
use towpath_objects::{Bucket, Client, Opener, Service, retry};

use crate::blocks::Blocks;
use crate::config::ConnectionOptions;
use crate::container::Container;
use crate::credentials::Credentials;
use crate::extras::AzureExtras;
use crate::listing;
use crate::place::{self, Place};
use crate::rest::Rest;

/// A connection to an account. Nothing is asked before the first request.
pub(crate) struct Session {
    client: Client,
    place: Place,
    credentials: Option<Arc<Credentials>>,
}

impl Session {
    /// The one of this connection.
    pub(crate) async fn shared(options: &ConnectionOptions, cx: &Context) -> Result<Arc<Self>> {
        options.check()?;
        let client = Client::new(&options.network, cx).await?;
        cx.connection().shared(&options.key(), || {
            let (place, builder) = place::find(options)?;
            let credentials = Credentials::new(builder, options, &client)?;
            Ok(Self { client, place, credentials })
        })
    }

    /// A container, as a stream sees it.
    fn bucket(&self, cx: &Context, name: &str) -> Result<Bucket> {
        let service = self.service(cx, name);
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(&self.place.account)
            .with_container_name(name)
            .with_endpoint(self.place.endpoint.to_string())
            .with_allow_http(true)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(service.clone());
        builder = match &self.credentials {
            Some(credentials) => builder.with_credentials(credentials.clone()),
            None => builder.with_skip_signature(true),
        };
        let signing = builder.clone();
        let store = builder.build().map_err(|error| {
            Error::config("the container cannot be used with these options")
                .detail("container", name)
                .source(error)
        })?;
        let rest = Rest::new(service, self.place.clone(), self.credentials.clone());
        let blocks = Blocks { rest, container: name.into() };
        let extras = AzureExtras { signing, blocks: blocks.clone() };
        Ok(Bucket::new(format!("az://{name}"), Container::new(store, blocks), extras, cx))
    }

    /// The names of all containers.
    pub(crate) async fn containers(&self, cx: &Context) -> Result<Vec<String>> {
        let rest = Rest::new(self.service(cx, ""), self.place.clone(), self.credentials.clone());
        let (mut names, mut token): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let page = retry(cx, || listing::containers(&rest, token.as_deref())).await.map_err(denied)?;
            names.extend(page.0);
            match page.1 {
                Some(next) => token = Some(next),
                None => return Ok(names),
            }
        }
    }

    fn service(&self, cx: &Context, container: &str) -> Service {
        Service::new(self.client.clone(), cx, &format!("{}/{container}", self.place.endpoint))
    }
}

fn denied(error: Error) -> Error {
    if error.kind() != ErrorKind::PermissionDenied {
        return error;
    }
    error.help(
        "grant `Microsoft.Storage/storageAccounts/blobServices/containers/read` on the account, as the role Storage Blob Data \
         Reader has it, or set `container`",
    )
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Opens the container of a stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamContainer {
    pub(crate) session: Arc<Session>,
    /// None when only the names of containers are asked for.
    pub(crate) name: Option<Arc<str>>,
}

#[async_trait]
impl Opener for StreamContainer {
    async fn open(&self, cx: &Context) -> Result<Bucket> {
        let name = self.name.as_ref().ok_or_else(|| {
            Error::config("which container?").help("set `container`, or write `path` as az://container/key")
        })?;
        self.session.bucket(cx, name)
    }

    fn other(&self, container: &str) -> Arc<dyn Opener> {
        Arc::new(Self { name: Some(container.into()), ..self.clone() })
    }

    fn display(&self, key: &str) -> String {
        format!("az://{}/{key}", self.name.as_deref().unwrap_or_default())
    }
}
