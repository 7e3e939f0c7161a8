//! Where the server is and how it is spoken to: the options that source and sink share.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{HumanDuration, Result, Secret};
use towpath_tls::{Files, Trust};

use super::passfile;
use super::url::ParsedUrl;
use crate::errors::config;

/// Makes a configuration of the connection's options and some more, and a way to the former.
macro_rules! with_connection_options {
    ($(#[$meta:meta])* pub struct $name:ident { $($more:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Where the server is and who we are: `postgres://user:password@host:5432/database?sslmode=verify-full`, with
            /// several hosts as `host1:5432,host2:5432`. The other options of the connection win over its parts.
            #[serde(default)]
            pub url: Option<towpath_core::Secret>,
            /// The server's name or address, several with commas between, or the folder of its Unix socket.
            #[serde(default)]
            pub host: Option<String>,
            /// The server's port; 5432 by default.
            #[serde(default)]
            pub port: Option<u16>,
            /// The database; that of the user's name by default.
            #[serde(default)]
            pub database: Option<String>,
            /// The user; `postgres` by default.
            #[serde(default)]
            pub user: Option<String>,
            /// The password.
            #[serde(default)]
            pub password: Option<towpath_core::Secret>,
            /// A file that holds the password and nothing else. A line break at its end does not count.
            #[serde(default)]
            pub password_file: Option<std::path::PathBuf>,
            /// A file in the form of `.pgpass`; `~/.pgpass` by default. It counts where no password is set.
            #[serde(default)]
            pub passfile: Option<std::path::PathBuf>,
            /// Encryption, with the meaning that it has in libpq. `verify-full` by default, and `prefer` for a server on
            /// this machine.
            #[serde(default)]
            pub sslmode: Option<$crate::config::SslMode>,
            /// A PEM file with the authorities that may have signed the server's certificate; those of the system by default.
            #[serde(default)]
            pub sslrootcert: Option<std::path::PathBuf>,
            /// A PEM file with our own certificate, for servers that ask for one.
            #[serde(default)]
            pub sslcert: Option<std::path::PathBuf>,
            /// A PEM file with the key of our own certificate.
            #[serde(default)]
            pub sslkey: Option<std::path::PathBuf>,
            /// Which server to take of several hosts: `any`, `read-write` (the primary) or `read-only` (a replica).
            #[serde(default)]
            pub target_session_attrs: Option<$crate::config::TargetSessionAttrs>,
            /// How the server calls our sessions, in `pg_stat_activity`; `towpath` by default.
            #[serde(default)]
            pub application_name: Option<String>,
            /// How long making a connection may take; 10s by default.
            #[serde(default)]
            pub connect_timeout: Option<towpath_core::HumanDuration>,
            /// How long one statement may run before the server ends it; no limit by default. Reading a split is one
            /// statement.
            #[serde(default)]
            pub statement_timeout: Option<towpath_core::HumanDuration>,
            /// How long a statement waits for a lock of others; as the server is set by default.
            #[serde(default)]
            pub lock_timeout: Option<towpath_core::HumanDuration>,
            /// After how much silence the network is asked whether the server is still there; 60s by default.
            #[serde(default)]
            pub keepalive: Option<towpath_core::HumanDuration>,
            /// The most connections at once; 8 by default. Source and sink count for themselves.
            #[serde(default)]
            pub max_connections: Option<usize>,
            /// Set it where a pooler stands before the server that gives each transaction another session, such as
            /// `PgBouncer` with `pool_mode = transaction`. Then no connection is kept from one transaction to the next, and
            /// each removes the statements that others left prepared.
            #[serde(default)]
            pub transaction_pooling: bool,
            $($more)*
        }

        impl $name {
            /// The connection's options, resolved.
            pub(crate) fn connection(&self) -> towpath_core::Result<$crate::config::ConnectionOptions> {
                $crate::config::ConnectionOptions::resolve(&$crate::config::Raw {
                    url: self.url.as_ref(),
                    host: self.host.as_deref(),
                    port: self.port,
                    database: self.database.as_deref(),
                    user: self.user.as_deref(),
                    password: self.password.as_ref(),
                    password_file: self.password_file.as_deref(),
                    passfile: self.passfile.as_deref(),
                    sslmode: self.sslmode,
                    sslrootcert: self.sslrootcert.as_deref(),
                    sslcert: self.sslcert.as_deref(),
                    sslkey: self.sslkey.as_deref(),
                    target_session_attrs: self.target_session_attrs,
                    application_name: self.application_name.as_deref(),
                    connect_timeout: self.connect_timeout,
                    statement_timeout: self.statement_timeout,
                    lock_timeout: self.lock_timeout,
                    keepalive: self.keepalive,
                    max_connections: self.max_connections,
                    transaction_pooling: self.transaction_pooling,
                })
            }
        }
    };
}
pub(super) use with_connection_options;

/// Encryption, with the meaning that it has in libpq.
///
/// <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No encryption.
    Disable,
    /// Encryption if the server can; its certificate is not looked at.
    Prefer,
    /// Encryption; the certificate is looked at only if `sslrootcert` is set.
    Require,
    /// Encryption, and a known authority has signed the certificate.
    VerifyCa,
    /// Encryption, and a known authority has signed the certificate for this host.
    VerifyFull,
}

/// Which server to take of several hosts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSessionAttrs {
    /// The first that answers.
    #[default]
    Any,
    /// The first that takes writes.
    ReadWrite,
    /// The first that takes none.
    ReadOnly,
}

/// The options of a connection as they were written.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) url: Option<&'a Secret>,
    pub(crate) host: Option<&'a str>,
    pub(crate) port: Option<u16>,
    pub(crate) database: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a Secret>,
    pub(crate) password_file: Option<&'a Path>,
    pub(crate) passfile: Option<&'a Path>,
    pub(crate) sslmode: Option<SslMode>,
    pub(crate) sslrootcert: Option<&'a Path>,
    pub(crate) sslcert: Option<&'a Path>,
    pub(crate) sslkey: Option<&'a Path>,
    pub(crate) target_session_attrs: Option<TargetSessionAttrs>,
    pub(crate) application_name: Option<&'a str>,
    pub(crate) connect_timeout: Option<HumanDuration>,
    pub(crate) statement_timeout: Option<HumanDuration>,
    pub(crate) lock_timeout: Option<HumanDuration>,
    pub(crate) keepalive: Option<HumanDuration>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) transaction_pooling: bool,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    /// A name, an address, or the folder of a socket.
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl Host {
    pub(crate) fn is_socket(&self) -> bool {
        self.name.starts_with('/')
    }

    /// Whether nothing that goes there leaves this machine.
    fn is_local(&self) -> bool {
        self.is_socket()
            || self.name.eq_ignore_ascii_case("localhost")
            || self.name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// The options of a connection with everything decided. Equal ones may share connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionOptions {
    pub(crate) hosts: Vec<Host>,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) password: Option<Secret>,
    pub(crate) sslmode: SslMode,
    pub(crate) files: Files,
    pub(crate) target_session_attrs: TargetSessionAttrs,
    pub(crate) application_name: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) lock_timeout: Option<Duration>,
    pub(crate) keepalive: Duration,
    pub(crate) max_connections: usize,
    pub(crate) transaction_pooling: bool,
}

const DEFAULT_PORT: u16 = 5432;
const DEFAULT_MAX_CONNECTIONS: usize = 8;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_KEEPALIVE: Duration = Duration::from_mins(1);

impl ConnectionOptions {
    pub(crate) fn resolve(raw: &Raw<'_>) -> Result<Self> {
        let url = raw.url.map(|url| ParsedUrl::parse(url.expose())).transpose()?.unwrap_or_default();
        let hosts = hosts(raw, &url)?;
        let user = raw.user.map(str::to_owned).or(url.user.clone()).unwrap_or_else(|| "postgres".to_owned());
        let database =
            raw.database.map(str::to_owned).or(url.database.clone()).unwrap_or_else(|| user.clone());
        let max_connections = raw.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS);
        if max_connections < 2 {
            return Err(config("`max_connections` must be at least 2: one to ask and one to move rows"));
        }
        let files = files(raw, &url)?;
        let local = hosts.iter().all(Host::is_local);
        let default_mode = if local { SslMode::Prefer } else { SslMode::VerifyFull };
        Ok(Self {
            password: password(raw, &url, &hosts, &database, &user)?,
            sslmode: raw.sslmode.or(url.sslmode).unwrap_or(default_mode),
            files,
            target_session_attrs: raw.target_session_attrs.or(url.target_session_attrs).unwrap_or_default(),
            application_name: raw
                .application_name
                .map(str::to_owned)
                .or(url.application_name)
                .unwrap_or_else(|| "towpath".to_owned()),
            connect_timeout: positive("connect_timeout", raw.connect_timeout)?
                .or(url.connect_timeout)
                .unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            statement_timeout: positive("statement_timeout", raw.statement_timeout)?,
            lock_timeout: positive("lock_timeout", raw.lock_timeout)?,
            keepalive: positive("keepalive", raw.keepalive)?.unwrap_or(DEFAULT_KEEPALIVE),
            max_connections,
            transaction_pooling: raw.transaction_pooling,
            hosts,
            user,
            database,
        })
    }

    /// What is asked of the server's certificate.
    pub(crate) fn trust(&self) -> Trust {
        match self.sslmode {
            // As in libpq: whoever names authorities wants them to count.
            SslMode::Require if self.files.authorities.is_some() => Trust::Authority,
            SslMode::Disable | SslMode::Prefer | SslMode::Require => Trust::Anyone,
            SslMode::VerifyCa => Trust::Authority,
            SslMode::VerifyFull => Trust::Host,
        }
    }

    /// The servers, for messages.
    pub(crate) fn servers(&self) -> String {
        self.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

fn hosts(raw: &Raw<'_>, url: &ParsedUrl) -> Result<Vec<Host>> {
    let port = raw.port.unwrap_or(DEFAULT_PORT);
    let named: Vec<Host> = match raw.host {
        Some(hosts) => hosts
            .split(',')
            .map(|host| Host { name: host.trim().to_owned(), port })
            .filter(|host| !host.name.is_empty())
            .collect(),
        None => url
            .hosts
            .iter()
            .map(|(name, own)| Host { name: name.clone(), port: raw.port.or(*own).unwrap_or(DEFAULT_PORT) })
            .collect(),
    };
    if named.is_empty() {
        return Err(config("no server").help("set `url` or `host`"));
    }
    Ok(named)
}

fn files(raw: &Raw<'_>, url: &ParsedUrl) -> Result<Files> {
    let file = |name: &'static str, own: Option<&Path>, other: &Option<PathBuf>| {
        own.map(Path::to_owned).or(other.clone()).map(|path| (name, path))
    };
    let files = Files {
        authorities: file("sslrootcert", raw.sslrootcert, &url.sslrootcert),
        certificate: file("sslcert", raw.sslcert, &url.sslcert),
        key: file("sslkey", raw.sslkey, &url.sslkey),
    };
    if files.certificate.is_some() != files.key.is_some() {
        return Err(config("`sslcert` and `sslkey` need each other"));
    }
    Ok(files)
}

fn password(
    raw: &Raw<'_>,
    url: &ParsedUrl,
    hosts: &[Host],
    database: &str,
    user: &str,
) -> Result<Option<Secret>> {
    if let (Some(_), Some(_)) = (raw.password, raw.password_file) {
        return Err(config("`password` and `password_file` exclude each other"));
    }
    if let Some(path) = raw.password_file {
        return passfile::whole(path).map(Some);
    }
    if let Some(password) = raw.password.cloned().or_else(|| url.password.clone()) {
        return Ok(Some(password));
    }
    passfile::find(raw.passfile.or(url.passfile.as_deref()), hosts, database, user)
}

fn positive(name: &str, duration: Option<HumanDuration>) -> Result<Option<Duration>> {
    match duration.map(HumanDuration::get) {
        Some(Duration::ZERO) => Err(config(format!("`{name}` must be longer than nothing"))),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(raw: &Raw<'_>) -> ConnectionOptions {
        ConnectionOptions::resolve(raw).unwrap()
    }

    fn of_url(url: &str) -> ConnectionOptions {
        resolve(&Raw { url: Some(&Secret::new(url.to_owned())), ..Raw::default() })
    }

    #[test]
    fn options_win_over_the_parts_of_the_url() {
        let url = Secret::new("postgres://ann:pw@db.example:6543/sales?sslmode=require".to_owned());
        let options =
            resolve(&Raw { url: Some(&url), user: Some("bob"), port: Some(7000), ..Raw::default() });
        assert_eq!((options.user.as_str(), options.database.as_str()), ("bob", "sales"));
        assert_eq!(options.servers(), "db.example:7000");
        assert_eq!(options.sslmode, SslMode::Require);
        assert_eq!(options.password.as_ref().unwrap().expose(), "pw");
        assert!(!format!("{options:?}").contains("pw"));
    }

    #[test]
    fn remote_servers_are_verified_unless_told_otherwise() {
        assert_eq!(of_url("postgres://db.example/x").trust(), Trust::Host);
        assert_eq!(of_url("postgres://127.0.0.1/x").sslmode, SslMode::Prefer);
        assert_eq!(of_url("postgres://localhost,db.example/x").trust(), Trust::Host);
        assert_eq!(of_url("postgres://db.example/x?sslmode=require").trust(), Trust::Anyone);
        assert_eq!(of_url("postgres://h/x?sslmode=require&sslrootcert=ca.pem").trust(), Trust::Authority);
        assert_eq!(of_url("postgres://h/x?sslmode=verify-ca").trust(), Trust::Authority);
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let error = |raw: &Raw<'_>| ConnectionOptions::resolve(raw).unwrap_err().to_string();
        let secret = Secret::new("x".to_owned());
        assert!(error(&Raw::default()).contains("no server"));
        let both = Raw {
            host: Some("h"),
            password: Some(&secret),
            password_file: Some(Path::new("f")),
            ..Raw::default()
        };
        assert!(error(&both).contains("exclude each other"));
        let half = Raw { host: Some("h"), sslcert: Some(Path::new("c")), ..Raw::default() };
        assert!(error(&half).contains("need each other"));
        let one = Raw { host: Some("h"), max_connections: Some(1), ..Raw::default() };
        assert!(error(&one).contains("at least 2"));
    }
}
