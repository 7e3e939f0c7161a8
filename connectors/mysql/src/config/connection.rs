//! Where the server is and how it is spoken to: the options that source and sink share.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{Error, HumanDuration, Result, Secret};

use crate::uri::Uri;

/// Makes a configuration of the connection's options and some more, and a way to the former.
macro_rules! with_connection_options {
    ($(#[$meta:meta])* pub struct $name:ident { $($more:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Where the server is and who we are: `mysql://user:password@host:3306/database`. The other options of the
            /// connection win over its parts. It may end in `?ssl-mode=...&ssl-ca=...&ssl-cert=...&ssl-key=...&socket=...`.
            #[serde(default)]
            pub url: Option<towpath_core::Secret>,
            /// The server's name or address.
            #[serde(default)]
            pub host: Option<String>,
            /// The server's port; 3306 by default.
            #[serde(default)]
            pub port: Option<u16>,
            /// The server's Unix socket, instead of host and port.
            #[serde(default)]
            pub socket: Option<std::path::PathBuf>,
            /// The user.
            #[serde(default)]
            pub user: Option<String>,
            /// The password.
            #[serde(default)]
            pub password: Option<towpath_core::Secret>,
            /// A file that holds the password. Line breaks at its end do not count.
            #[serde(default)]
            pub password_file: Option<std::path::PathBuf>,
            /// The database in which unqualified tables are.
            #[serde(default)]
            pub database: Option<String>,
            /// Encryption, and what is asked of the server's certificate.
            #[serde(default)]
            pub tls: $crate::config::Tls,
            /// Whether what goes over the wire is compressed. It pays over slow networks only.
            #[serde(default)]
            pub compression: bool,
            /// How long making a connection may take; 10s by default.
            #[serde(default)]
            pub connect_timeout: Option<towpath_core::HumanDuration>,
            /// How long one statement may run before the server ends it; no limit by default. MySQL applies it to reading
            /// statements only.
            #[serde(default)]
            pub statement_timeout: Option<towpath_core::HumanDuration>,
            /// How long a statement waits for locks of others; as the server is set by default, and 5s for the lock with which
            /// a snapshot begins, since others wait for that one.
            #[serde(default)]
            pub lock_timeout: Option<towpath_core::HumanDuration>,
            /// The most connections at once; 8 by default. Source and sink count for themselves, and so do streams with
            /// `snapshot: off`.
            #[serde(default)]
            pub max_connections: Option<usize>,
            $($more)*
        }

        impl $name {
            /// The connection's options, resolved.
            pub(crate) fn connection(&self) -> towpath_core::Result<$crate::config::ConnectionOptions> {
                $crate::config::ConnectionOptions::resolve($crate::config::Raw {
                    url: self.url.as_ref(),
                    host: self.host.as_deref(),
                    port: self.port,
                    socket: self.socket.as_deref(),
                    user: self.user.as_deref(),
                    password: self.password.as_ref(),
                    password_file: self.password_file.as_deref(),
                    database: self.database.as_deref(),
                    tls: &self.tls,
                    compression: self.compression,
                    connect_timeout: self.connect_timeout,
                    statement_timeout: self.statement_timeout,
                    lock_timeout: self.lock_timeout,
                    max_connections: self.max_connections,
                })
            }
        }
    };
}

/// Encryption, and what is asked of the server's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// How much is asked. By default `verify_identity`; `preferred` for a server on this machine.
    #[serde(default)]
    pub mode: Option<TlsMode>,
    /// A PEM file with the authorities that may have signed the server's certificate; those of the system by default.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// A PEM file with our own certificate, for servers that ask for one.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// A PEM file with the key of our own certificate.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// How much is asked of the server's encryption, with the meaning that MySQL's own clients give to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// No encryption.
    Disabled,
    /// Encryption if the server can; its certificate is not looked at.
    Preferred,
    /// Encryption; the certificate is not looked at.
    Required,
    /// Encryption, and a known authority has signed the certificate.
    VerifyCa,
    /// Encryption, a known authority has signed the certificate, and it is for this host.
    VerifyIdentity,
}

/// The options of a connection as they were written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) url: Option<&'a Secret>,
    pub(crate) host: Option<&'a str>,
    pub(crate) port: Option<u16>,
    pub(crate) socket: Option<&'a Path>,
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a Secret>,
    pub(crate) password_file: Option<&'a Path>,
    pub(crate) database: Option<&'a str>,
    pub(crate) tls: &'a Tls,
    pub(crate) compression: bool,
    pub(crate) connect_timeout: Option<HumanDuration>,
    pub(crate) statement_timeout: Option<HumanDuration>,
    pub(crate) lock_timeout: Option<HumanDuration>,
    pub(crate) max_connections: Option<usize>,
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    Tcp { name: String, port: u16 },
    Socket(PathBuf),
}

impl Host {
    /// Whether nothing that goes there leaves this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Tcp { name, .. } => {
                name.eq_ignore_ascii_case("localhost")
                    || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { name, port } if name.contains(':') => write!(f, "[{name}]:{port}"),
            Self::Tcp { name, port } => write!(f, "{name}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The options of a connection with everything decided. Equal ones may share connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionOptions {
    pub(crate) host: Host,
    pub(crate) user: String,
    pub(crate) password: Option<Secret>,
    pub(crate) database: Option<String>,
    pub(crate) tls_mode: TlsMode,
    pub(crate) tls: Tls,
    pub(crate) compression: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) lock_timeout: Option<Duration>,
    pub(crate) max_connections: usize,
}

const DEFAULT_PORT: u16 = 3306;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_MAX_CONNECTIONS: usize = 8;

impl ConnectionOptions {
    pub(crate) fn resolve(raw: Raw<'_>) -> Result<Self> {
        let uri = raw.url.map(|url| Uri::parse(url.expose())).transpose()?.unwrap_or_default();
        let host = host(&raw, &uri)?;
        let tls = tls(raw.tls, &uri)?;
        let tls_mode = tls_mode(&tls, &host)?;
        let max_connections = raw.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS);
        if max_connections < 2 {
            return Err(wrong("`max_connections` must be at least 2: one to read and one to ask"));
        }
        Ok(Self {
            user: raw.user.map(str::to_owned).or(uri.user.clone()).unwrap_or_else(|| "root".to_owned()),
            password: password(&raw, &uri)?,
            database: raw.database.map(str::to_owned).or(uri.database),
            tls_mode,
            tls,
            compression: raw.compression,
            connect_timeout: positive("connect_timeout", raw.connect_timeout)?
                .unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            statement_timeout: positive("statement_timeout", raw.statement_timeout)?,
            lock_timeout: positive("lock_timeout", raw.lock_timeout)?,
            max_connections,
            host,
        })
    }

    /// The database in which unqualified tables are.
    pub(crate) fn required_database(&self) -> Result<&str> {
        self.database
            .as_deref()
            .ok_or_else(|| wrong("no database").help("set `database`, or write `table: database.table`"))
    }
}

fn host(raw: &Raw<'_>, uri: &Uri) -> Result<Host> {
    let has_host = raw.host.is_some() || raw.port.is_some();
    if let Some(path) = raw.socket {
        if has_host {
            return Err(wrong("`socket` and `host` or `port` exclude each other"));
        }
        return Ok(Host::Socket(path.to_owned()));
    }
    if let (Some(path), false) = (&uri.socket, has_host) {
        return Ok(Host::Socket(path.clone()));
    }
    let name = raw.host.or(uri.host.as_deref());
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Err(wrong("no server").help("set `url`, `host` or `socket`"));
    };
    Ok(Host::Tcp { name: name.to_owned(), port: raw.port.or(uri.port).unwrap_or(DEFAULT_PORT) })
}

fn tls(raw: &Tls, uri: &Uri) -> Result<Tls> {
    let tls = Tls {
        mode: raw.mode.or(uri.tls.mode),
        ca: raw.ca.clone().or(uri.tls.ca.clone()),
        cert: raw.cert.clone().or(uri.tls.cert.clone()),
        key: raw.key.clone().or(uri.tls.key.clone()),
    };
    if tls.cert.is_some() != tls.key.is_some() {
        return Err(wrong("`tls.cert` and `tls.key` need each other"));
    }
    Ok(tls)
}

fn tls_mode(tls: &Tls, host: &Host) -> Result<TlsMode> {
    let mode = match (tls.mode, host) {
        // What goes through a socket does not leave the machine.
        (None | Some(TlsMode::Disabled | TlsMode::Preferred), Host::Socket(_)) => TlsMode::Disabled,
        (Some(_), Host::Socket(_)) => {
            return Err(wrong("a Unix socket is not encrypted").help("remove `tls`, or use `host`"));
        }
        (Some(mode), Host::Tcp { .. }) => mode,
        (None, _) if tls.ca.is_none() && host.is_local() => TlsMode::Preferred,
        (None, _) => TlsMode::VerifyIdentity,
    };
    if tls.ca.is_some() && !matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity) {
        return Err(wrong("`tls.ca` has no effect unless `tls.mode` is verify_ca or verify_identity"));
    }
    if tls.cert.is_some() && mode == TlsMode::Disabled {
        return Err(wrong("`tls.cert` has no effect without encryption").help("set `tls.mode`"));
    }
    Ok(mode)
}

fn password(raw: &Raw<'_>, uri: &Uri) -> Result<Option<Secret>> {
    let Some(path) = raw.password_file else { return Ok(raw.password.cloned().or(uri.password.clone())) };
    if raw.password.is_some() {
        return Err(wrong("`password` and `password_file` exclude each other"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        wrong("`password_file` cannot be read").detail("path", path.display()).source(error)
    })?;
    Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned())))
}

fn positive(name: &str, duration: Option<HumanDuration>) -> Result<Option<Duration>> {
    match duration.map(HumanDuration::get) {
        Some(Duration::ZERO) => Err(wrong(format!("`{name}` must be above zero"))),
        other => Ok(other),
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::config(message).connector(crate::NAME)
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the configurations that the macro makes are public")]
mod tests {
    use serde_json::json;
    use towpath_core::{ErrorKind, Json};

    use super::*;

    with_connection_options! {
        /// Only the connection.
        pub struct Alone {}
    }

    fn resolve(options: Json) -> Result<ConnectionOptions> {
        serde_json::from_value::<Alone>(options).expect("the options of a test are right").connection()
    }

    fn refused(options: Json) -> String {
        let error = resolve(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }

    #[test]
    fn the_parts_of_a_url_give_way_to_options() {
        let url = "mysql://ann:s3cret@db.example:3307/shop";
        let from_url = resolve(json!({ "url": url })).unwrap();
        assert_eq!(from_url.host.to_string(), "db.example:3307");
        assert_eq!((from_url.user.as_str(), from_url.database.as_deref()), ("ann", Some("shop")));
        assert_eq!(from_url.password.unwrap().expose(), "s3cret");
        let changed =
            resolve(json!({ "url": url, "host": "::1", "user": "bob", "database": "x", "password": "p" }))
                .unwrap();
        assert_eq!(changed.host.to_string(), "[::1]:3307");
        assert_eq!((changed.user.as_str(), changed.database.as_deref()), ("bob", Some("x")));
        assert_eq!(changed.password.unwrap().expose(), "p");
    }

    #[test]
    fn what_leaves_the_machine_is_verified_by_default() {
        let mode = |options| resolve(options).unwrap().tls_mode;
        assert_eq!(mode(json!({ "host": "db.example" })), TlsMode::VerifyIdentity);
        assert_eq!(mode(json!({ "host": "127.0.0.1" })), TlsMode::Preferred);
        assert_eq!(mode(json!({ "host": "localhost", "tls": {"ca": "ca.pem"} })), TlsMode::VerifyIdentity);
        assert_eq!(mode(json!({ "socket": "/run/mysqld.sock" })), TlsMode::Disabled);
        assert_eq!(mode(json!({ "url": "mysql://db.example/?ssl-mode=REQUIRED" })), TlsMode::Required);
        assert_eq!(
            mode(json!({ "url": "mysql://h/?ssl-mode=REQUIRED", "tls": {"mode": "verify_ca"} })),
            TlsMode::VerifyCa
        );
    }

    #[test]
    fn options_that_cannot_have_an_effect_together_are_refused() {
        for (options, says) in [
            (json!({}), "no server"),
            (json!({ "socket": "s", "port": 1 }), "exclude each other"),
            (json!({ "socket": "s", "tls": {"mode": "required"} }), "not encrypted"),
            (json!({ "host": "h", "tls": {"mode": "required", "ca": "x"} }), "no effect"),
            (json!({ "host": "h", "tls": {"cert": "x"} }), "need each other"),
            (json!({ "host": "h", "password": "p", "password_file": "f" }), "exclude each other"),
            (json!({ "host": "h", "password_file": "does/not/exist" }), "does/not/exist"),
            (json!({ "host": "h", "max_connections": 1 }), "at least 2"),
            (json!({ "host": "h", "connect_timeout": "0s" }), "above zero"),
        ] {
            let text = refused(options.clone());
            assert!(text.contains(says), "{options}: {text}");
        }
    }

    #[test]
    fn the_password_comes_from_a_file_without_its_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "s3 cret\r\n").unwrap();
        let options = resolve(json!({ "host": "h", "password_file": path })).unwrap();
        assert_eq!(options.password.as_ref().unwrap().expose(), "s3 cret");
        assert!(!format!("{options:?}").contains("cret"));
    }
}
