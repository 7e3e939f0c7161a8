//! The options, as pipeline files write them.

use std::path::PathBuf;

use towpath_core::{Error, Result, Secret};
use towpath_files::{with_sink_options, with_source_options};
use towpath_objects::sink::Layout;
use towpath_objects::{NetworkOptions, Timeouts};
use url::Url;

/// Where Google is.
const ENDPOINT: &str = "https://storage.googleapis.com";

/// Adds the options of a connection to those of a source or a sink, which `$callback` makes of them.
macro_rules! with_connection {
    ($callback:ident! { $(#[$meta:meta])* pub struct $name:ident { $($own:tt)* } }) => {
        $callback! {
            $(#[$meta])*
            pub struct $name {
                $($own)*
                /// The bucket. Not needed where `path` is a whole URL, `gs://bucket/key`.
                #[serde(default)]
                pub bucket: Option<String>,
                /// The URL of a server that speaks the protocol of Google, such as a private endpoint; by default
                /// `https://storage.googleapis.com`.
                #[serde(default)]
                pub endpoint: Option<String>,
                /// A file with the key of a service account, or what `gcloud auth application-default login` or
                /// `gcloud iam workload-identity-pools create-cred-config` have written.
                /// Without credentials in the options they are looked for where all tools of Google find them:
                /// `GOOGLE_APPLICATION_CREDENTIALS`, the file of `gcloud`, and the metadata server of an instance or a pod.
                #[serde(default)]
                pub credentials_file: Option<PathBuf>,
                /// What `credentials_file` would hold, as JSON: for a key that is kept in a variable.
                #[serde(default)]
                pub credentials: Option<Secret>,
                /// A token, such as `gcloud auth print-access-token` prints. Nobody renews it.
                #[serde(default)]
                pub access_token: Option<Secret>,
                /// Whether requests go without credentials, for public buckets. `false` by default.
                #[serde(default)]
                pub anonymous: bool,
                /// The project that pays for requests and transfer, for a bucket that wants its readers to; by default the
                /// bucket's.
                #[serde(default)]
                pub user_project: Option<String>,
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
                    endpoint: self.endpoint.clone(),
                    credentials_file: self.credentials_file.clone(),
                    credentials: self.credentials.clone(),
                    access_token: self.access_token.clone(),
                    anonymous: self.anonymous,
                    user_project: self.user_project.clone(),
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
        /// list of these. It may be a whole URL, `gs://bucket/key`. Only the prefixes that a glob needs are listed: folder by
        /// folder where a part has wildcards, in parallel, and everything below `**`. A name that begins with a dot is left
        /// out unless the glob spells the dot.
        path;
        /// The generation of the object to read, where `path` is the key of one object in a bucket with versions. By default
        /// the latest one.
        #[serde(default)]
        pub generation: Option<String>,
        /// The project whose buckets `towpath discover gs://` lists; by default the one of the credentials, or
        /// `GOOGLE_CLOUD_PROJECT`.
        #[serde(default)]
        pub project: Option<String>,
    }
} }

with_connection! { with_sink_options! {
    /// The options of the sink.
    pub struct SinkConfig {
        /// Where the rows go. A plain key is exactly that object, replaced in one step. With `{part}` it is as many objects as
        /// needed, and rows can be appended. Placeholders: `{stream}`, `{run}` (the run's id), `{part}` (the number of the
        /// object in the run, behind the run's id unless the path holds `{run}`), and `{sequence}` (the number of the object
        /// within its writer, otherwise a part of `{part}` from the second object on). It may be a whole URL,
        /// `gs://bucket/key`.
        path;
        /// How objects are remembered. `manifest` (the default) is exactly once: beside the objects, in `.towpath/`, lies what
        /// was committed, and it changes on conditions that Google checks. `plain` writes nothing but the objects: rows of a
        /// run that was killed may come twice, and only a path that is one object can be replaced.
        #[serde(default)]
        pub layout: Layout,
        /// How many bytes the parts of an upload have, from 5 MiB on; 8 MiB by default. An object has up to 10,000 parts.
        /// With `partition_by`, a writer keeps as many objects open as gather 128 MiB of parts, and at least 4.
        #[serde(default = "towpath_objects::sink::UploadSettings::default_part_size")]
        pub part_size: towpath_core::ByteSize,
        /// How many parts of the stream are on their way at once; 8 by default.
        #[serde(default = "towpath_objects::sink::UploadSettings::default_parts_in_flight")]
        pub parts_in_flight: usize,
        /// The media type of the objects, such as `text/csv`; by default `application/octet-stream`.
        #[serde(default)]
        pub content_type: Option<String>,
        /// What readers are told that the bytes are encoded with, such as `gzip`. Nothing is encoded by it; none by default.
        /// Google decodes `gzip` for readers who do not take it.
        #[serde(default)]
        pub content_encoding: Option<String>,
        /// How caches treat the objects, such as `max-age=3600`; not told by default.
        #[serde(default)]
        pub cache_control: Option<String>,
        /// The storage class of the objects: `STANDARD`, `NEARLINE`, `COLDLINE` or `ARCHIVE`; by default the bucket says.
        #[serde(default)]
        pub storage_class: Option<String>,
        /// Who else may read the objects, in buckets with lists of access: `bucket-owner-full-control`, `project-private`,
        /// `public-read` and so on. By default the bucket says.
        #[serde(default)]
        pub acl: Option<String>,
        /// The key of KMS that encrypts the objects and what is remembered beside them, such as
        /// `projects/p/locations/eu/keyRings/r/cryptoKeys/k`. By default the bucket says.
        #[serde(default)]
        pub kms_key: Option<String>,
    }
} }

/// What source and sink have in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionOptions {
    pub endpoint: Option<String>,
    pub credentials_file: Option<PathBuf>,
    pub credentials: Option<Secret>,
    pub access_token: Option<Secret>,
    pub anonymous: bool,
    pub user_project: Option<String>,
    pub network: NetworkOptions,
}

impl ConnectionOptions {
    /// Whether the options go together.
    pub(crate) fn check(&self) -> Result<()> {
        let given = [
            ("credentials_file", self.credentials_file.is_some()),
            ("credentials", self.credentials.is_some()),
            ("access_token", self.access_token.is_some()),
            ("anonymous", self.anonymous),
        ];
        let mut given = given.iter().filter(|(_, is_given)| *is_given);
        if let (Some((first, _)), Some((second, _))) = (given.next(), given.next()) {
            return Err(Error::config(format!("`{first}` does not go with `{second}`"))
                .help("say in one way who is asking, and remove the other"));
        }
        self.endpoint_url().map(drop)
    }

    /// The server.
    pub(crate) fn endpoint_url(&self) -> Result<Url> {
        let endpoint = self.endpoint.as_deref().unwrap_or(ENDPOINT).trim_end_matches('/');
        let url = Url::parse(endpoint).ok();
        let url = url.filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
        url.ok_or_else(|| {
            Error::config("`endpoint` is no URL of a server")
                .detail("endpoint", endpoint)
                .help("write https://host or http://host:port")
        })
    }

    /// What makes connections different: those with the same key share credentials. It is never shown.
    pub(crate) fn key(&self) -> String {
        let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().clone());
        let Self { endpoint, credentials_file, anonymous, user_project, network, .. } = self;
        let (credentials, token) = (secret(&self.credentials), secret(&self.access_token));
        let (proxy, certificate) = (secret(&network.proxy), &network.ca_certificate);
        format!(
            "{endpoint:?} {credentials_file:?} {credentials:?} {token:?} {anonymous} {user_project:?} {certificate:?} \
             {proxy:?}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn checked(more: &Value) -> String {
        let mut options = json!({"path": "a.csv"});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config: SourceConfig = serde_json::from_value(options).unwrap();
        config.connection().check().map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn who_asks_is_said_in_one_way() {
        assert_eq!(checked(&json!({})), "");
        assert_eq!(checked(&json!({"access_token": "hush"})), "");
        let both = checked(&json!({"access_token": "hush", "anonymous": true}));
        assert!(both.contains("`access_token` does not go with `anonymous`"), "{both}");
        let both = checked(&json!({"credentials_file": "key.json", "credentials": "hush"}));
        assert!(both.contains("`credentials_file` does not go with `credentials`"), "{both}");
        assert!(checked(&json!({"endpoint": "localhost:9000"})).contains("`endpoint`"));
    }

    #[test]
    fn no_secret_is_printed() {
        let options = json!({
            "path": "a", "credentials": "hush1", "access_token": "hush2", "proxy": "http://ann:hush3@proxy:1",
        });
        let config: SourceConfig = serde_json::from_value(options).unwrap();
        let printed = format!("{config:?} {:?}", config.connection());
        assert!(!printed.contains("hush"), "{printed}");
    }
}
