//! The options, as pipeline files write them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{Error, Realm, Result, Secret};
use towpath_files::{with_sink_options, with_source_options};
use towpath_objects::sink::Layout;
use towpath_objects::{NetworkOptions, Timeouts};

use crate::sink::Encryption;
use crate::store::CONNECTOR;

/// Adds the options of a connection to those of a source or a sink, which `$callback` makes of them.
macro_rules! with_connection {
    ($callback:ident! { $(#[$meta:meta])* pub struct $name:ident { $($own:tt)* } }) => {
        $callback! {
            $(#[$meta])*
            pub struct $name {
                $($own)*
                /// The bucket. Not needed where `path` is a whole URL, `s3://bucket/key`.
                #[serde(default)]
                pub bucket: Option<String>,
                /// The region, such as `eu-west-1`. By default the bucket is asked for it; with `endpoint`, the environment and
                /// the profile say, or it is `us-east-1`.
                #[serde(default)]
                pub region: Option<String>,
                /// The URL of a server that speaks the protocol of S3, such as `https://minio.example:9000`. By default the
                /// environment and the profile say (`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`), or it is AWS.
                #[serde(default)]
                pub endpoint: Option<String>,
                /// Whether the bucket stands in the path of a URL and not in the host's name. By default it does where there is
                /// an `endpoint`, and for buckets with a dot in their name.
                #[serde(default)]
                pub path_style: Option<bool>,
                /// The id of a key. Without it, credentials are looked for where all tools of AWS find them: environment,
                /// profile, web identity, container, instance.
                #[serde(default)]
                pub access_key_id: Option<String>,
                /// The secret of the key.
                #[serde(default)]
                pub secret_access_key: Option<Secret>,
                /// The token of a key that is temporary.
                #[serde(default)]
                pub session_token: Option<Secret>,
                /// The profile in `~/.aws/config`; by default `AWS_PROFILE`, or `default`.
                #[serde(default)]
                pub profile: Option<String>,
                /// A role that is assumed with these credentials: `{ role: "arn:aws:iam::123456789012:role/reader" }`.
                #[serde(default)]
                pub assume_role: Option<AssumeRole>,
                /// Whether requests go without credentials, for public buckets. `false` by default.
                #[serde(default)]
                pub anonymous: bool,
                /// Whether we pay for requests and transfer of a bucket that wants its readers to. `false` by default.
                #[serde(default)]
                pub requester_pays: bool,
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
                    region: self.region.clone(),
                    endpoint: self.endpoint.clone(),
                    path_style: self.path_style,
                    access_key_id: self.access_key_id.clone(),
                    secret_access_key: self.secret_access_key.clone(),
                    session_token: self.session_token.clone(),
                    profile: self.profile.clone(),
                    assume_role: self.assume_role.clone(),
                    anonymous: self.anonymous,
                    requester_pays: self.requester_pays,
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
        /// list of these. It may be a whole URL, `s3://bucket/key`. Only the prefixes that a glob needs are listed: folder by
        /// folder where a part has wildcards, in parallel, and everything below `**`. A name that begins with a dot is left
        /// out unless the glob spells the dot.
        path;
        /// The version of the object to read, where `path` is the key of one object in a bucket with versions. By default the
        /// latest one.
        #[serde(default)]
        pub version: Option<String>,
    }
} }

with_connection! { with_sink_options! {
    /// The options of the sink.
    pub struct SinkConfig {
        /// Where the rows go. A plain key is exactly that object, replaced in one step. With `{part}` it is as many objects as
        /// needed, and rows can be appended. Placeholders: `{stream}`, `{run}` (the run's id), `{part}` (the number of the
        /// object in the run, behind the run's id unless the path holds `{run}`), and `{sequence}` (the number of the object
        /// within its writer, otherwise a part of `{part}` from the second object on). It may be a whole URL,
        /// `s3://bucket/key`.
        path;
        /// How objects are remembered. `manifest` (the default) is exactly once: beside the objects, in `.towpath/`, lies what
        /// was committed, and it changes on conditions that S3 checks. `plain` writes nothing but the objects: rows of a run
        /// that was killed may come twice, and only a path that is one object can be replaced.
        #[serde(default)]
        pub layout: Layout,
        /// How many bytes the parts of an upload have, from 5 MiB on; 8 MiB by default. An object has up to 10,000 parts.
        /// With `partition_by`, a writer keeps as many objects open as gather 128 MiB of parts, and at least 4.
        #[serde(default = "towpath_objects::sink::UploadSettings::default_part_size")]
        pub part_size: towpath_core::ByteSize,
        /// How many parts of the stream are on their way at once; 8 by default.
        #[serde(default = "towpath_objects::sink::UploadSettings::default_parts_in_flight")]
        pub parts_in_flight: usize,
        /// The media type of the objects, such as `text/csv`; by default what S3 takes for unknown.
        #[serde(default)]
        pub content_type: Option<String>,
        /// What readers are told that the bytes are encoded with, such as `gzip`. Nothing is encoded by it; none by default.
        #[serde(default)]
        pub content_encoding: Option<String>,
        /// How caches treat the objects, such as `max-age=3600`; not told by default.
        #[serde(default)]
        pub cache_control: Option<String>,
        /// The storage class of the objects, such as `STANDARD_IA` or `INTELLIGENT_TIERING`; by default `STANDARD`.
        #[serde(default)]
        pub storage_class: Option<String>,
        /// Tags of the objects, such as `{ team: sales }`; none by default.
        #[serde(default)]
        pub tags: BTreeMap<String, String>,
        /// Who else may read the objects: `private`, `bucket-owner-full-control`, `public-read` and so on. By default the bucket
        /// says.
        #[serde(default)]
        pub acl: Option<String>,
        /// How S3 encrypts what it stores: `aes256`, `kms` or `kms_dsse`. By default the bucket says.
        #[serde(default)]
        pub encryption: Option<Encryption>,
        /// The id or ARN of the key, with `encryption: kms` or `kms_dsse`; by default the one of the account.
        #[serde(default)]
        pub kms_key: Option<String>,
        /// Whether a key of the bucket saves requests to KMS, with `encryption: kms`. By default the bucket says.
        #[serde(default)]
        pub bucket_key: Option<bool>,
    }
} }

/// A role that is assumed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssumeRole {
    /// Its ARN.
    pub role: String,
    /// What its owner asks for, if somebody else owns it.
    #[serde(default)]
    pub external_id: Option<String>,
    /// What the session is called in logs; `towpath` by default.
    #[serde(default)]
    pub session_name: Option<String>,
}

/// What source and sink have in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionOptions {
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub path_style: Option<bool>,
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
    pub session_token: Option<Secret>,
    pub profile: Option<String>,
    pub assume_role: Option<AssumeRole>,
    pub anonymous: bool,
    pub requester_pays: bool,
    pub network: NetworkOptions,
}

impl ConnectionOptions {
    /// Whether the options go together.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |message: &str, help: &str| Err(Error::config(message.to_owned()).help(help.to_owned()));
        let has_key = match (&self.access_key_id, &self.secret_access_key) {
            (Some(_), Some(_)) => true,
            (None, None) if self.session_token.is_none() => false,
            (Some(_), None) => return wrong("`access_key_id` needs its secret", "set `secret_access_key`"),
            (None, _) => return wrong("the secret of a key needs its id", "set `access_key_id`"),
        };
        if self.anonymous && (has_key || self.profile.is_some() || self.assume_role.is_some()) {
            return wrong(
                "`anonymous` does not go with credentials",
                "remove `access_key_id`, `profile` and `assume_role`, or `anonymous`",
            );
        }
        if has_key && self.profile.is_some() {
            return wrong("`access_key_id` does not go with `profile`", "remove one of them");
        }
        if let Some(endpoint) = &self.endpoint {
            let url = url::Url::parse(endpoint).ok();
            if !url.is_some_and(|url| url.has_host() && matches!(url.scheme(), "http" | "https")) {
                return Err(Error::config("`endpoint` is no URL of a server")
                    .detail("endpoint", endpoint)
                    .help("write https://host or http://host:port"));
            }
        }
        Ok(())
    }

    /// Where AWS, or another server, copies by itself: wherever the same credentials are good. Regions are no borders.
    pub(crate) fn realm(&self) -> Realm {
        let anywhere =
            Self { region: None, path_style: None, network: NetworkOptions::default(), ..self.clone() };
        Realm::new(CONNECTOR, &format!("{} {}", anywhere.key(), self.requester_pays))
    }

    /// What makes connections different: those with the same key share credentials. It is never shown.
    pub(crate) fn key(&self) -> String {
        let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().clone());
        let Self {
            region,
            endpoint,
            path_style,
            access_key_id,
            profile,
            assume_role,
            anonymous,
            network,
            ..
        } = self;
        let (key, token, proxy) =
            (secret(&self.secret_access_key), secret(&self.session_token), secret(&network.proxy));
        let certificate = &network.ca_certificate;
        format!(
            "{region:?} {endpoint:?} {path_style:?} {access_key_id:?} {key:?} {token:?} {profile:?} {assume_role:?} \
             {anonymous} {certificate:?} {proxy:?}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn checked(options: Value) -> String {
        let config: SourceConfig = serde_json::from_value(options).unwrap();
        config.connection().check().map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn credentials_that_contradict_each_other_are_refused() {
        let base = json!({"path": "a.csv"});
        let with = |more: Value| {
            let mut options = base.clone();
            options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            checked(options)
        };
        assert_eq!(with(json!({})), "");
        assert_eq!(with(json!({"access_key_id": "A", "secret_access_key": "hush"})), "");
        assert!(with(json!({"access_key_id": "A"})).contains("`secret_access_key`"));
        assert!(with(json!({"secret_access_key": "hush"})).contains("`access_key_id`"));
        assert!(with(json!({"anonymous": true, "profile": "x"})).contains("`anonymous`"));
        assert!(with(json!({"endpoint": "localhost:9000"})).contains("`endpoint`"));
    }

    #[test]
    fn a_realm_is_a_server_and_who_asks_it() {
        let realm = |more: Value| {
            let mut options = json!({"path": "a", "access_key_id": "A", "secret_access_key": "hush"});
            options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value::<SourceConfig>(options).unwrap().connection().realm()
        };
        let ours = realm(json!({"region": "eu-west-1"}));
        assert_eq!(ours, realm(json!({"region": "us-east-1", "path_style": true})));
        for other in [
            json!({"endpoint": "https://minio.example"}),
            json!({"secret_access_key": "other"}),
            json!({"assume_role": {"role": "arn:aws:iam::123456789012:role/reader"}}),
            json!({"requester_pays": true}),
        ] {
            assert_ne!(ours, realm(other.clone()), "{other}");
        }
        assert!(!format!("{ours:?}").contains("hush"));
    }

    #[test]
    fn no_secret_is_printed() {
        let options = json!({
            "path": "a", "access_key_id": "A", "secret_access_key": "hush1", "session_token": "hush2",
            "proxy": "http://ann:hush3@proxy:1",
        });
        let config: SourceConfig = serde_json::from_value(options).unwrap();
        let printed = format!("{config:?} {:?}", config.connection());
        assert!(!printed.contains("hush"), "{printed}");
    }
}
