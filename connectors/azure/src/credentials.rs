//! Who we are, renewed before it expires.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::azure::{AzureCredential, AzureCredentialProvider, MicrosoftAzureBuilder};
use object_store::{CredentialProvider, RetryConfig};
use tokio::runtime::Handle;
use towpath_core::{Error, ErrorKind, Result};
use towpath_objects::{Client, Refusal, Service, told};

use crate::config::ConnectionOptions;

/// Credentials that all streams of a connection share.
pub(crate) struct Credentials {
    provider: AzureCredentialProvider,
    /// Whether another program is waited for, which the library does in the middle of a task.
    by_program: bool,
}

impl Credentials {
    /// Out of a builder that knows them; `None` where requests go without any.
    pub(crate) fn new(
        builder: MicrosoftAzureBuilder,
        options: &ConnectionOptions,
        client: &Client,
    ) -> Result<Option<Arc<Self>>> {
        if options.anonymous {
            return Ok(None);
        }
        let built = builder
            // Nobody asks for it.
            .with_account("none")
            .with_container_name("none")
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(Service::for_credentials(client.clone()))
            .build();
        let store = built.map_err(|error| {
            // The library's own words may hold what they are about.
            Error::config("these credentials cannot be used").help(help(&error))
        })?;
        let provider = store.credentials().clone();
        Ok(Some(Arc::new(Self { provider, by_program: options.azure_cli })))
    }

    /// The credentials for a request that begins now.
    pub(crate) async fn get(&self) -> Result<Arc<AzureCredential>> {
        self.ask().await.map_err(|error| failed(&error))
    }

    async fn ask(&self) -> object_store::Result<Arc<AzureCredential>> {
        if !self.by_program {
            return self.provider.get_credential().await;
        }
        let (provider, runtime) = (self.provider.clone(), Handle::current());
        let asked = tokio::task::spawn_blocking(move || runtime.block_on(provider.get_credential())).await;
        asked.map_err(|source| object_store::Error::JoinError { source })?
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// For `object_store`.
#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        let got = self.get().await;
        got.map_err(|error| object_store::Error::Generic { store: "Azure", source: error.into() })
    }
}

/// Which setting the library misses.
fn help(error: &object_store::Error) -> &'static str {
    match error {
        object_store::Error::Generic { source, .. } if source.to_string().contains("SAS") => {
            "check `sas_token`"
        }
        _ => "check the variables AZURE_* of the environment, or give credentials by options",
    }
}

/// Credentials that cannot be had.
fn failed(error: &(dyn StdError + 'static)) -> Error {
    let help = "set `access_key`, `sas_token`, `client_secret` or `azure_cli: true`; for public containers `anonymous: true`";
    let mut cause = Some(error);
    let mut last = String::new();
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref::<Refusal>() {
            let refused = refusal.error();
            let kind = if refused.is_retryable() { refused.kind() } else { ErrorKind::Unauthenticated };
            let message = format!("there are no credentials: {}", refused.message());
            return Error::new(kind, message).retry(refused.retry_policy()).help(help);
        }
        if let Some(ours) = inner.downcast_ref::<Error>() {
            let ours = told(ours);
            let message = format!("there are no credentials: {}", ours.message());
            return Error::new(ours.kind(), message).retry(ours.retry_policy()).help(help);
        }
        last = inner.to_string();
        cause = inner.source();
    }
    Error::new(ErrorKind::Unauthenticated, format!("there are no credentials: {}", last.trim())).help(help)
}
