//! The options, as pipeline files write them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use towpath_core::{Error, Realm, Result, Secret};
use towpath_files::{with_sink_options, with_source_options};
use towpath_objects::sink::Layout;
use towpath_objects::{NetworkOptions, Timeouts};

use crate::store::CONNECTOR;
use crate::uri;

/// Adds the options of a connection to those of a source or a sink, which `$callback` makes of them.
macro_rules! with_connection {
    ($callback:ident! { $(#[$meta:meta])* pub struct $name:ident { $($own:tt)* } }) => {
        $callback! {
            $(#[$meta])*
            pub struct $name {
                $($own)*
                /// The container. Not needed where `path` is a whole URL, such as `az://container/key`.
                #[serde(default)]
                pub container: Option<String>,
                /// The storage account. By default the URL in `path`, the connection string or the environment says
                /// (`AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT`).
                #[serde(default)]
                pub account: Option<String>,
                /// The URL of the blob service, such as `https://lake.blob.core.usgovcloudapi.net`, or
                /// `http://127.0.0.1:10000/devstoreaccount1` for an emulator, with the account in its path. By default the URL in
                /// `path`, the connection string or the environment says (`AZURE_STORAGE_ENDPOINT`), or it is the one of Azure's
                /// public cloud.
                #[serde(default)]
                pub endpoint: Option<String>,
                /// A key of the account. Without any credentials here, they are looked for in the environment
                /// (`AZURE_STORAGE_CONNECTION_STRING`, `AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_STORAGE_SAS_TOKEN`, `AZURE_CLIENT_ID`
                /// with `AZURE_TENANT_ID` and `AZURE_CLIENT_SECRET` or `AZURE_FEDERATED_TOKEN_FILE`), and then it is the managed
                /// identity of this machine.
                #[serde(default)]
                pub access_key: Option<Secret>,
                /// A shared access signature: what stands behind the `?` of a URL that was signed.
                #[serde(default)]
                pub sas_token: Option<Secret>,
                /// A connection string, as the portal shows it.
                #[serde(default)]
                pub connection_string: Option<Secret>,
                /// The tenant of an application that signs in by `client_secret` or `federated_token_file`.
                #[serde(default)]
                pub tenant_id: Option<String>,
                /// The id of the application; with `managed_identity`, the one of an identity that was assigned by a user.
                #[serde(default)]
                pub client_id: Option<String>,
                /// The secret of the application.
                #[serde(default)]
                pub client_secret: Option<Secret>,
                /// A file with a token of another issuer that vouches for the application (workload identity). It is read
                /// whenever a new token is needed.
                #[serde(default)]
                pub federated_token_file: Option<PathBuf>,
                /// Where applications sign in; by default `AZURE_AUTHORITY_HOST`, or `https://login.microsoftonline.com`.
                #[serde(default)]
                pub authority: Option<String>,
                /// Whether the managed identity of this machine is used, whatever the environment says. `false` by default.
                #[serde(default)]
                pub managed_identity: bool,
                /// Whether the login of the command `az` is used. `false` by default.
                #[serde(default)]
                pub azure_cli: bool,
                /// Whether requests go without credentials, for public containers. `false` by default.
                #[serde(default)]
                pub anonymous: bool,
                /// The proxy that requests go through: `http://`, `https://` or `socks5://`, with `user:password@` if it wants
                /// them, or `none`. By default the environment says (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
                #[serde(default)]
                pub proxy: Option<Secret>,
                /// A PEM file with certificates to trust besides those of the system.
                #[serde(default)]
                pub ca_certificate: Option<PathBuf>,
                /// How long is waited for what.
                #[serde(default)]
                pub timeout: Timeouts,
            }
        }

        impl $name {
            /// The options of the connection.
            pub(crate) fn connection(&self) -> ConnectionOptions {
                ConnectionOptions {
                    container: self.container.clone().filter(|name| !name.is_empty()),
                    account: self.account.clone(),
                    endpoint: self.endpoint.clone(),
                    access_key: self.access_key.clone(),
                    sas_token: self.sas_token.clone(),
                    connection_string: self.connection_string.clone(),
                    tenant_id: self.tenant_id.clone(),
                    client_id: self.client_id.clone(),
                    client_secret: self.client_secret.clone(),
                    federated_token_file: self.federated_token_file.clone(),
                    authority: self.authority.clone(),
                    managed_identity: self.managed_identity,
                    azure_cli: self.azure_cli,
                    anonymous: self.anonymous,
                    network: NetworkOptions {
                        proxy: self.proxy.clone(),
                        ca_certificate: self.ca_certificate.clone(),
                        timeout: self.timeout,
                    },
                }
            }
        }
    };
}

with_connection! { with_source_options! {
    /// The options of the source.
    pub struct SourceConfig {
        /// A key, a prefix that ends with `/` (everything below it), or a glob such as `landing/**/*.{csv,csv.gz}`; or a
        /// list of these. It may be a whole URL: `az://container/key`, `abfss://container@account.dfs.core.windows.net/key`
        /// or `https://account.blob.core.windows.net/container/key`. Only the prefixes that a glob needs are listed: folder by
        /// folder where a part has wildcards, in parallel, and everything below `**`. A name that begins with a dot is left
        /// out unless the glob spells the dot.
        path;
    }
} }

with_connection! { with_sink_options! {
    /// The options of the sink.
    pub struct SinkConfig {
        /// Where the rows go. A plain key is exactly that blob, replaced in one step. With `{part}` it is as many blobs as
        /// needed, and rows can be appended. Placeholders: `{stream}`, `{run}` (the run's id), `{part}` (the number of the
        /// blob in the run, behind the run's id unless the path holds `{run}`), and `{sequence}` (the number of the blob
        /// within its writer, otherwise a part of `{part}` from the second blob on). It may be a whole URL, such as
        /// `az://container/key`.
        path;
        /// How blobs are remembered. `manifest` (the default) is exactly once: beside the blobs, in `.towpath/`, lies what
        /// was committed, and it changes on conditions that Azure checks. `plain` writes nothing but the blobs: rows of a run
        /// that was killed may come twice, and only a path that is one blob can be replaced.
        #[serde(default)]
        pub layout: Layout,
        /// How many bytes the blocks of a blob have, from 5 MiB to 4000 MiB; 8 MiB by default. A blob has up to 50,000 blocks.
        /// With `partition_by`, a writer keeps as many blobs open as gather 128 MiB of blocks, and at least 4.
        #[serde(default = "towpath_objects::sink::UploadSettings::default_part_size")]
        pub part_size: towpath_core::ByteSize,
        /// How many blocks of the stream are on their way at once; 8 by default.
        #[serde(default = "towpath_objects::sink::UploadSettings::default_parts_in_flight")]
        pub parts_in_flight: usize,
        /// The media type of the blobs, such as `text/csv`; by default what Azure takes for unknown.
        #[serde(default)]
        pub content_type: Option<String>,
        /// What readers are told that the bytes are encoded with, such as `gzip`. Nothing is encoded by it; none by default.
        #[serde(default)]
        pub content_encoding: Option<String>,
        /// How caches treat the blobs, such as `max-age=3600`; not told by default.
        #[serde(default)]
        pub cache_control: Option<String>,
        /// The access tier of the blobs, such as `Cool`; by default the account says.
        #[serde(default)]
        pub access_tier: Option<String>,
        /// Index tags of the blobs, such as `{ team: sales }`; none by default.
        #[serde(default)]
        pub tags: BTreeMap<String, String>,
    }
} }

/// What source and sink have in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionOptions {
    pub container: Option<String>,
    pub account: Option<String>,
    pub endpoint: Option<String>,
    pub access_key: Option<Secret>,
    pub sas_token: Option<Secret>,
    pub connection_string: Option<Secret>,
    pub tenant_id: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<Secret>,
    pub federated_token_file: Option<PathBuf>,
    pub authority: Option<String>,
    pub managed_identity: bool,
    pub azure_cli: bool,
    pub anonymous: bool,
    pub network: NetworkOptions,
}

impl ConnectionOptions {
    /// The key in a path. One that is a whole URL names the container, and perhaps the account, which are the same for all.
    pub(crate) fn take_key(&mut self, path: &str) -> Result<String> {
        let Some(named) = uri::split(path)? else { return Ok(path.to_owned()) };
        let same =
            |what: &str, known: &mut Option<String>, named: Option<String>| match (known.as_ref(), named) {
                (Some(known), Some(named)) if *known != named => {
                    Err(Error::config(format!("a stream has one {what}"))
                        .detail(what.to_owned(), known)
                        .detail("path", path)
                        .help("make a stream for each"))
                }
                (None, named) => {
                    *known = named;
                    Ok(())
                }
                _ => Ok(()),
            };
        same("container", &mut self.container, Some(named.container).filter(|name| !name.is_empty()))?;
        same("account", &mut self.account, named.account)?;
        if self.endpoint.is_none() {
            self.endpoint = named.endpoint;
        }
        Ok(named.key)
    }

    /// The container's name, which somebody must have told.
    pub(crate) fn container(&self) -> Result<&str> {
        self.container.as_deref().ok_or_else(|| {
            Error::config("which container?").help("set `container`, or write `path` as az://container/key")
        })
    }

    /// The credentials that the options name.
    pub(crate) fn credentials(&self) -> Vec<&'static str> {
        let named = [
            ("access_key", self.access_key.is_some()),
            ("sas_token", self.sas_token.is_some()),
            ("connection_string", self.connection_string.is_some()),
            ("client_secret", self.client_secret.is_some()),
            ("federated_token_file", self.federated_token_file.is_some()),
            ("managed_identity", self.managed_identity),
            ("azure_cli", self.azure_cli),
            ("anonymous", self.anonymous),
        ];
        named.into_iter().filter(|(_, is_named)| *is_named).map(|(name, _)| name).collect()
    }

    /// Whether the options go together.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |message: &str, help: &str| Err(Error::config(message).help(help));
        if let [first, second, ..] = self.credentials()[..] {
            return wrong(&format!("`{first}` does not go with `{second}`"), "remove one of them");
        }
        let is_application = self.client_secret.is_some() || self.federated_token_file.is_some();
        if is_application && (self.client_id.is_none() || self.tenant_id.is_none()) {
            return wrong(
                "an application signs in with its id and its tenant",
                "set `client_id` and `tenant_id`",
            );
        }
        if self.tenant_id.is_some() && !is_application {
            return wrong(
                "`tenant_id` is that of an application that signs in",
                "set `client_secret` or `federated_token_file`, or remove it",
            );
        }
        if self.client_id.is_some() && !is_application && !self.managed_identity {
            return wrong(
                "`client_id` says who signs in, and not how",
                "set `client_secret`, `federated_token_file` or `managed_identity: true`",
            );
        }
        if self.authority.is_some() && !is_application {
            return wrong(
                "`authority` is where an application signs in",
                "set `client_secret` or `federated_token_file`, or remove it",
            );
        }
        Ok(())
    }

    /// Where Azure copies by itself: within an account, as the same credentials permit.
    pub(crate) fn realm(&self) -> Realm {
        let anywhere = Self { container: None, network: NetworkOptions::default(), ..self.clone() };
        Realm::new(CONNECTOR, &anywhere.key())
    }

    /// What makes connections different: those with the same key share credentials. It is never shown.
    pub(crate) fn key(&self) -> String {
        let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().clone());
        let Self {
            account, endpoint, tenant_id, client_id, federated_token_file, authority, network, ..
        } = self;
        let secrets =
            [&self.access_key, &self.sas_token, &self.connection_string, &self.client_secret, &network.proxy]
                .map(secret);
        let flags = (self.managed_identity, self.azure_cli, self.anonymous);
        format!(
            "{account:?} {endpoint:?} {tenant_id:?} {client_id:?} {federated_token_file:?} {authority:?} {secrets:?} \
             {flags:?} {:?} {:?}",
            network.ca_certificate, network.timeout
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn connection(more: &Value) -> ConnectionOptions {
        let mut options = json!({"path": "a.csv"});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<SourceConfig>(options).unwrap().connection()
    }

    #[test]
    fn credentials_that_contradict_each_other_are_refused() {
        for (more, why) in [
            (json!({}), ""),
            (json!({"access_key": "aHVzaA=="}), ""),
            (json!({"managed_identity": true, "client_id": "7"}), ""),
            (
                json!({"client_secret": "hush", "client_id": "7", "tenant_id": "t", "authority": "https://x"}),
                "",
            ),
            (
                json!({"access_key": "aHVzaA==", "anonymous": true}),
                "`access_key` does not go with `anonymous`",
            ),
            (json!({"sas_token": "sv=1", "azure_cli": true}), "`sas_token` does not go with `azure_cli`"),
            (json!({"client_secret": "hush", "client_id": "7"}), "`tenant_id`"),
            (json!({"federated_token_file": "f", "tenant_id": "7"}), "`client_id`"),
            (json!({"tenant_id": "t"}), "`client_secret`"),
            (json!({"client_id": "t"}), "`managed_identity: true`"),
            (json!({"authority": "https://x"}), "`authority`"),
        ] {
            let said = connection(&more).check().map_or_else(|error| error.to_string(), |()| String::new());
            assert!(said.contains(why) && said.is_empty() == why.is_empty(), "{more}: {said}");
        }
    }

    #[test]
    fn a_url_names_container_and_account_which_are_one_for_all_paths() {
        let mut options = connection(&json!({}));
        assert_eq!(options.take_key("abfss://c@lake.dfs.core.windows.net/a").unwrap(), "a");
        assert_eq!(options.take_key("az://c/b").unwrap(), "b");
        assert_eq!(options.take_key("b").unwrap(), "b");
        assert_eq!((options.container().unwrap(), options.account.as_deref()), ("c", Some("lake")));
        for (path, why) in
            [("az://d/b", "one container"), ("https://sea.blob.core.windows.net/c/b", "one account")]
        {
            let error = options.take_key(path).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn no_secret_is_printed() {
        let more = json!({
            "access_key": "hush1", "sas_token": "hush2", "connection_string": "hush3", "client_secret": "hush4",
            "proxy": "http://ann:hush5@proxy:1",
        });
        let mut options = json!({"path": "a"});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config: SourceConfig = serde_json::from_value(options).unwrap();
        let printed = format!("{config:?} {:?}", config.connection());
        assert!(!printed.contains("hush"), "{printed}");
    }
}
