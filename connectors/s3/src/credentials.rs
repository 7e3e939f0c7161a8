//! Who we are: keys out of the options, or wherever the tools of AWS find them, renewed before they expire.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;
use towpath_core::{Clock, Error, ErrorKind, Result};

use crate::config::ConnectionOptions;

/// How long before they expire credentials are renewed: longer than any request takes.
const MARGIN: Duration = Duration::from_mins(5);

/// What the session of a role is called by default.
const SESSION: &str = "towpath";

/// Credentials that all streams of a connection share.
#[derive(Clone)]
pub(crate) struct Keys(Arc<Inner>);

struct Inner {
    provider: SharedCredentialsProvider,
    clock: Arc<dyn Clock>,
    current: Mutex<Option<Credentials>>,
}

impl Keys {
    /// From the options, or from where they are looked for.
    pub(crate) async fn new(
        options: &ConnectionOptions,
        environment: &SdkConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let own = options.access_key_id.as_ref().zip(options.secret_access_key.as_ref());
        let base = match (own, environment.credentials_provider()) {
            (Some((id, secret)), _) => {
                let token = options.session_token.as_ref().map(|token| token.expose().clone());
                let keys = Credentials::new(id, secret.expose(), token, None, "options");
                SharedCredentialsProvider::new(keys)
            }
            (None, Some(found)) => found,
            (None, None) => return Err(Error::unexpected("there is no chain of credentials")),
        };
        let provider = match &options.assume_role {
            None => base,
            Some(role) => {
                let mut builder = AssumeRoleProvider::builder(&role.role)
                    .session_name(role.session_name.as_deref().unwrap_or(SESSION))
                    .configure(environment);
                if let Some(id) = &role.external_id {
                    builder = builder.external_id(id);
                }
                SharedCredentialsProvider::new(builder.build_from_provider(base).await)
            }
        };
        Ok(Self(Arc::new(Inner { provider, clock, current: Mutex::default() })))
    }

    /// The credentials for a request that begins now.
    async fn get(&self) -> Result<Credentials, CredentialsError> {
        let mut current = self.0.current.lock().await;
        let now = self.0.clock.now();
        if let Some(known) = current.as_ref().filter(|known| lasts(known, now + MARGIN)) {
            return Ok(known.clone());
        }
        match self.0.provider.provide_credentials().await {
            Ok(new) => Ok(current.insert(new).clone()),
            // Whoever issues them may be away for a moment.
            Err(error) => match current.as_ref().filter(|known| lasts(known, now)) {
                Some(known) => {
                    tracing::warn!(error = %chain(&error), "credentials cannot be renewed yet");
                    Ok(known.clone())
                }
                None => Err(error),
            },
        }
    }
}

fn lasts(credentials: &Credentials, until: SystemTime) -> bool {
    credentials.expiry().is_none_or(|expiry| until < expiry)
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// For the SDK.
impl ProvideCredentials for Keys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

/// For `object_store`.
#[async_trait]
impl CredentialProvider for Keys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let keys = self
            .get()
            .await
            .map_err(|error| object_store::Error::Generic { store: "S3", source: failed(&error).into() })?;
        Ok(Arc::new(AwsCredential {
            key_id: keys.access_key_id().to_owned(),
            secret_key: keys.secret_access_key().to_owned(),
            token: keys.session_token().map(str::to_owned),
        }))
    }
}

/// Credentials that cannot be had.
pub(crate) fn failed(error: &(dyn StdError + 'static)) -> Error {
    let away =
        matches!(error.downcast_ref::<CredentialsError>(), Some(CredentialsError::ProviderTimedOut(_)));
    let kind = if away { ErrorKind::Unavailable } else { ErrorKind::Unauthenticated };
    Error::new(kind, format!("there are no credentials: {}", chain(error))).help(
        "set `access_key_id` and `secret_access_key`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `profile`; \
         for public buckets `anonymous: true`",
    )
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use towpath_testkit::context;

    /// Gives credentials that live so long from now on, and counts.
    #[derive(Debug)]
    struct Issuer {
        lifetime: Duration,
        issued: AtomicU64,
        most: u64,
    }

    impl ProvideCredentials for Issuer {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.issued.fetch_add(1, Ordering::SeqCst);
            if number >= self.most {
                return future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("away")));
            }
            let expiry = SystemTime::now() + self.lifetime;
            let keys = Credentials::new(format!("key{number}"), "hush", None, Some(expiry), "test");
            future::ProvideCredentials::ready(Ok(keys))
        }
    }

    fn keys(lifetime: Duration, most: u64) -> Keys {
        let provider = SharedCredentialsProvider::new(Issuer { lifetime, issued: AtomicU64::new(0), most });
        Keys(Arc::new(Inner { provider, clock: context().clock_arc(), current: Mutex::default() }))
    }

    async fn two(keys: &Keys) -> [String; 2] {
        let id = async || keys.get().await.unwrap().access_key_id().to_owned();
        [id().await, id().await]
    }

    #[tokio::test]
    async fn credentials_are_kept_until_shortly_before_they_expire() {
        assert_eq!(two(&keys(Duration::from_hours(1), 9)).await, ["key0", "key0"]);
        assert_eq!(two(&keys(Duration::from_mins(4), 9)).await, ["key0", "key1"]);
    }

    #[tokio::test]
    async fn they_are_used_to_their_end_when_nobody_renews_them() {
        assert_eq!(two(&keys(Duration::from_mins(4), 1)).await, ["key0", "key0"]);
        let error = failed(&keys(Duration::ZERO, 0).get().await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.to_string().contains("`anonymous: true`"), "{error}");
    }
}
