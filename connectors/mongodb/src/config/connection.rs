//! Where the server is and how it is spoken to: the options that source and sink share.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mongodb::options::{AuthMechanism, ClientOptions, Credential, Tls, TlsOptions};
use towpath_core::{Error, HumanDuration, Result, Secret};

use crate::errors::config;

/// Makes a configuration of the connection's options and some more, and a way to the former.
macro_rules! with_connection_options {
    ($(#[$meta:meta])* pub struct $name:ident { $($more:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Where the servers are, as every driver of MongoDB reads it:
            /// `mongodb://user:password@host1:27017,host2/database?replicaSet=rs0&tls=true`, or `mongodb+srv://…` in a build
            /// with the feature `mongodb-srv`. The other options of the connection win over its parts.
            pub url: towpath_core::Secret,
            /// The database; that of the URL by default.
            #[serde(default)]
            pub database: Option<String>,
            /// The user.
            #[serde(default)]
            pub user: Option<String>,
            /// The password.
            #[serde(default)]
            pub password: Option<towpath_core::Secret>,
            /// The database that knows the user; `admin` by default, or that of the URL.
            #[serde(default)]
            pub auth_source: Option<String>,
            /// A PEM file with the authorities that may have signed the servers' certificates; the well-known ones by default.
            /// Switches encryption on.
            #[serde(default)]
            pub tls_ca_file: Option<std::path::PathBuf>,
            /// A PEM file with our own certificate and its key, for servers that ask for one. Without `user`, and with nobody
            /// in the URL, it is also who we are (X.509). Switches encryption on.
            #[serde(default)]
            pub tls_certificate_key_file: Option<std::path::PathBuf>,
            /// The most connections to a server at once; 16 by default.
            #[serde(default)]
            pub max_connections: Option<u32>,
            /// How long it is waited for a server that can be used; 15s by default.
            #[serde(default)]
            pub server_timeout: Option<towpath_core::HumanDuration>,
            $($more)*
        }

        impl $name {
            /// The connection's options, resolved.
            pub(crate) async fn connection(&self) -> towpath_core::Result<$crate::config::ConnectionOptions> {
                $crate::config::ConnectionOptions::resolve(&$crate::config::Raw {
                    url: &self.url,
                    database: self.database.as_deref(),
                    user: self.user.as_deref(),
                    password: self.password.as_ref(),
                    auth_source: self.auth_source.as_deref(),
                    tls_ca_file: self.tls_ca_file.as_deref(),
                    tls_certificate_key_file: self.tls_certificate_key_file.as_deref(),
                    max_connections: self.max_connections,
                    server_timeout: self.server_timeout,
                })
                .await
            }
        }
    };
}

/// The options of a connection as they were written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) url: &'a Secret,
    pub(crate) database: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a Secret>,
    pub(crate) auth_source: Option<&'a str>,
    pub(crate) tls_ca_file: Option<&'a Path>,
    pub(crate) tls_certificate_key_file: Option<&'a Path>,
    pub(crate) max_connections: Option<u32>,
    pub(crate) server_timeout: Option<HumanDuration>,
}

/// The options of a connection with everything decided.
pub(crate) struct ConnectionOptions {
    pub(crate) client: ClientOptions,
    pub(crate) database: Option<String>,
    /// Equal for options that may share a client; tells nothing of the password.
    pub(crate) key: String,
}

const DEFAULT_MAX_CONNECTIONS: u32 = 16;
const DEFAULT_SERVER_TIMEOUT: Duration = Duration::from_secs(15);

impl ConnectionOptions {
    pub(crate) async fn resolve(raw: &Raw<'_>) -> Result<Self> {
        let url = raw.url.expose();
        if url.starts_with("mongodb+srv://") && !cfg!(feature = "srv") {
            return Err(Error::unsupported("this build does not look up `mongodb+srv` URLs")
                .connector(crate::NAME)
                .help("build with the feature `mongodb-srv`, or name the hosts in a `mongodb://` URL"));
        }
        // What the driver says may hold the URL, and so the password.
        let parsed = ClientOptions::parse(url).await;
        let mut client = parsed.map_err(|error| match crate::errors::failed("looking the servers up", &error) {
            network if network.is_retryable() => network,
            _ => config("`url` is no URL of MongoDB")
                .help("write mongodb://host:27017/database; percent-encode `@`, `:`, `/` and `%` in names and passwords"),
        })?;
        client.app_name.get_or_insert_with(|| "towpath".to_owned());
        // Each wins over the URL only if it is set.
        client.max_pool_size = raw.max_connections.or(client.max_pool_size).or(Some(DEFAULT_MAX_CONNECTIONS));
        if client.max_pool_size.is_some_and(|most| most < 2) {
            return Err(config("`max_connections` must be at least 2: one to ask and one to move documents"));
        }
        let timeout = raw.server_timeout.map(HumanDuration::get).or(client.server_selection_timeout);
        client.server_selection_timeout = Some(timeout.unwrap_or(DEFAULT_SERVER_TIMEOUT));
        client.connect_timeout.get_or_insert(timeout.unwrap_or(DEFAULT_SERVER_TIMEOUT));
        encrypt(&mut client, raw)?;
        authenticate(&mut client, raw)?;
        let database = raw.database.map(str::to_owned).or_else(|| client.default_database.clone());
        Ok(Self { client, database, key: key(raw) })
    }
}

fn encrypt(client: &mut ClientOptions, raw: &Raw<'_>) -> Result<()> {
    let files =
        [("tls_ca_file", raw.tls_ca_file), ("tls_certificate_key_file", raw.tls_certificate_key_file)];
    for (option, file) in files {
        if let Some(file) = file
            && let Err(error) = std::fs::metadata(file)
        {
            return Err(config(format!("`{option}` cannot be read"))
                .detail("path", file.display())
                .source(error));
        }
    }
    let [authorities, certificate] = files.map(|(_, file)| file.map(PathBuf::from));
    if authorities.is_none() && certificate.is_none() {
        return Ok(());
    }
    let mut options = match client.tls.take() {
        Some(Tls::Enabled(options)) => options,
        _ => TlsOptions::default(),
    };
    options.ca_file_path = authorities.or(options.ca_file_path);
    options.cert_key_file_path = certificate.or(options.cert_key_file_path);
    client.tls = Some(Tls::Enabled(options));
    Ok(())
}

fn authenticate(client: &mut ClientOptions, raw: &Raw<'_>) -> Result<()> {
    let mut credential = client.credential.take().unwrap_or_default();
    if raw.user.is_some() {
        let source = credential.source.take();
        credential = Credential::default();
        (credential.username, credential.source) = (raw.user.map(str::to_owned), source);
    }
    if let Some(password) = raw.password {
        if credential.username.is_none() {
            return Err(config("`password` stands without a `user`"));
        }
        credential.password = Some(password.expose().clone());
    }
    if let Some(source) = raw.auth_source {
        credential.source = Some(source.to_owned());
    }
    let is_nobody = credential.username.is_none() && credential.mechanism.is_none();
    if is_nobody && raw.tls_certificate_key_file.is_some() {
        credential.mechanism = Some(AuthMechanism::MongoDbX509);
    }
    if credential.username.is_some() || credential.mechanism.is_some() {
        client.credential = Some(credential);
    }
    Ok(())
}

fn key(raw: &Raw<'_>) -> String {
    let mut hasher = DefaultHasher::new();
    raw.url.hash(&mut hasher);
    (raw.user, raw.password, raw.auth_source).hash(&mut hasher);
    (raw.tls_ca_file, raw.tls_certificate_key_file, raw.max_connections).hash(&mut hasher);
    raw.server_timeout.map(HumanDuration::get).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::MongodbSourceConfig;

    async fn resolved(options: serde_json::Value) -> ConnectionOptions {
        let mut all =
            json!({ "url": "mongodb://someone:secret@a.example,b.example:28000/shop?replicaSet=rs0" });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let config: MongodbSourceConfig = serde_json::from_value(all).unwrap();
        config.connection().await.unwrap()
    }

    #[tokio::test]
    async fn what_the_url_says_holds_where_no_option_says_otherwise() {
        let options = resolved(json!({})).await;
        let client = &options.client;
        assert_eq!((options.database.as_deref(), client.hosts.len()), (Some("shop"), 2));
        assert_eq!(
            (client.max_pool_size, client.server_selection_timeout),
            (Some(16), Some(Duration::from_secs(15)))
        );
        // Nothing switches the driver's own retries off.
        assert!(client.retry_reads.is_none_or(|on| on) && client.retry_writes.is_none_or(|on| on));
        let url = "mongodb://a.example/?maxPoolSize=3&serverSelectionTimeoutMS=700&retryReads=true";
        let client = resolved(json!({ "url": url })).await.client;
        assert_eq!(
            (client.max_pool_size, client.server_selection_timeout),
            (Some(3), Some(Duration::from_millis(700)))
        );
    }

    #[tokio::test]
    async fn options_win_over_the_url() {
        let options = resolved(json!({
            "database": "other", "user": "me", "password": "p", "auth_source": "people", "max_connections": 4,
            "server_timeout": "2s",
        }))
        .await;
        let client = &options.client;
        let credential = client.credential.as_ref().unwrap();
        assert_eq!(options.database.as_deref(), Some("other"));
        assert_eq!(
            (credential.username.as_deref(), credential.source.as_deref()),
            (Some("me"), Some("people"))
        );
        assert_eq!(
            (client.max_pool_size, client.server_selection_timeout),
            (Some(4), Some(Duration::from_secs(2)))
        );
    }

    #[tokio::test]
    async fn only_equal_options_share_a_client() {
        let (one, same) = (resolved(json!({})).await.key, resolved(json!({ "database": "other" })).await.key);
        assert_eq!(one, same);
        assert_ne!(one, resolved(json!({ "user": "me" })).await.key);
        assert!(!one.contains("secret"));
    }
}
