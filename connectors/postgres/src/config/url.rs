//! Connection URLs: `postgres://user:password@host:port,host:port/database?option=value`.
//!
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;
use towpath_core::{Result, Secret};

use super::connection::{SslMode, TargetSessionAttrs};
use crate::errors::config;

/// What a URL says of the connection.
#[derive(Debug, Default)]
pub(crate) struct ParsedUrl {
    pub(crate) hosts: Vec<(String, Option<u16>)>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) database: Option<String>,
    pub(crate) sslmode: Option<SslMode>,
    pub(crate) sslrootcert: Option<PathBuf>,
    pub(crate) sslcert: Option<PathBuf>,
    pub(crate) sslkey: Option<PathBuf>,
    pub(crate) passfile: Option<PathBuf>,
    pub(crate) target_session_attrs: Option<TargetSessionAttrs>,
    pub(crate) application_name: Option<String>,
    pub(crate) connect_timeout: Option<Duration>,
}

/// What a URI of `towpath copy` says beside the connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) table: Option<String>,
    pub(crate) query: Option<String>,
}

/// Takes `table` and `query` out of a URI. The rest is the URL of the connection.
pub(crate) fn split_target(uri: &str) -> Result<(String, Target)> {
    let (base, query) = uri.split_once('?').unwrap_or((uri, ""));
    let (mut target, mut rest) = (Target::default(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "table" => target.table = Some(decode(value)?),
            "query" => target.query = Some(decode(value)?),
            _ => rest.push(pair),
        }
    }
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Ok((url, target))
}

impl ParsedUrl {
    /// Reads a URL. No part of it is shown in an error: it may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or_else(|| config("`url` must begin with `postgres://`"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user_info, hosts) = match authority.rsplit_once('@') {
            Some((user_info, hosts)) => (Some(user_info), hosts),
            None => (None, authority),
        };
        let mut parsed = Self::default();
        if let Some(user_info) = user_info {
            let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
            parsed.user = present(decode(user)?);
            parsed.password = present(decode(password)?).map(Secret::new);
        }
        for host in hosts.split(',').filter(|host| !host.is_empty()) {
            parsed.hosts.push(host_and_port(host)?);
        }
        parsed.database = present(decode(database)?);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            parsed.option(key, decode(value)?)?;
        }
        Ok(parsed)
    }

    fn option(&mut self, key: &str, value: String) -> Result<()> {
        match key {
            "host" => self.hosts = value.split(',').map(|host| (host.to_owned(), None)).collect(),
            "port" => {
                let port = value.parse().map_err(|_| config("`port` in `url` is no port"))?;
                for host in &mut self.hosts {
                    host.1 = Some(port);
                }
            }
            "user" => self.user = Some(value),
            "password" => self.password = Some(Secret::new(value)),
            "dbname" => self.database = Some(value),
            "sslmode" => {
                // libpq's `allow` would take an unencrypted connection first.
                let value = if value == "allow" { "prefer" } else { &value };
                self.sslmode =
                    Some(choice(key, value, "disable, prefer, require, verify-ca or verify-full")?);
            }
            "sslrootcert" => self.sslrootcert = Some(value.into()),
            "sslcert" => self.sslcert = Some(value.into()),
            "sslkey" => self.sslkey = Some(value.into()),
            "passfile" => self.passfile = Some(value.into()),
            "application_name" => self.application_name = Some(value),
            "target_session_attrs" => {
                let value = match value.as_str() {
                    "primary" => "read-write",
                    "standby" => "read-only",
                    other => other,
                };
                self.target_session_attrs = Some(choice(key, value, "any, read-write or read-only")?);
            }
            "connect_timeout" => {
                let seconds = value.parse().map_err(|_| config("`connect_timeout` in `url` is no number"))?;
                self.connect_timeout =
                    Some(Duration::from_secs(seconds)).filter(|timeout| !timeout.is_zero());
            }
            _ => {
                return Err(config(format!("`url` has an option `{key}` that is not known"))
                    .help("`towpath connectors postgres` lists the options of a connection"));
            }
        }
        Ok(())
    }
}

fn choice<'a, T: Deserialize<'a>>(key: &str, value: &'a str, choices: &str) -> Result<T> {
    let text: StrDeserializer<'a, serde::de::value::Error> = value.into_deserializer();
    T::deserialize(text).map_err(|_| config(format!("`{key}` in `url` must be {choices}")))
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').ok_or_else(|| config("`url` has a `[` without `]`"))?;
            (host, behind.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port.filter(|port| !port.is_empty()) {
        None => None,
        Some(port) => Some(port.parse().map_err(|_| config("`url` has a port that is no number"))?),
    };
    Ok((decode(host)?, port))
}

fn present(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Resolves `%41`.
fn decode(text: &str) -> Result<String> {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| config("`url` holds `%` codes that are no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let url = "postgresql://a%40b:p%3Aw@h1:1,[::1]:2,h3/my%20db?sslmode=verify-ca&connect_timeout=3&\
                   target_session_attrs=standby&application_name=x";
        let parsed = ParsedUrl::parse(url).unwrap();
        assert_eq!(
            parsed.hosts,
            [("h1".to_owned(), Some(1)), ("::1".to_owned(), Some(2)), ("h3".to_owned(), None)]
        );
        assert_eq!((parsed.user.as_deref(), parsed.database.as_deref()), (Some("a@b"), Some("my db")));
        assert_eq!(parsed.password.unwrap().expose(), "p:w");
        assert_eq!(parsed.sslmode, Some(SslMode::VerifyCa));
        assert_eq!(parsed.target_session_attrs, Some(TargetSessionAttrs::ReadOnly));
        assert_eq!(parsed.connect_timeout, Some(Duration::from_secs(3)));
        let socket = ParsedUrl::parse("postgres:///db?host=/run/postgresql").unwrap();
        assert_eq!(socket.hosts, [("/run/postgresql".to_owned(), None)]);
    }

    #[test]
    fn no_error_shows_a_part_of_the_url() {
        for url in [
            "mysql://u:hidden@h",
            "postgres://u:hidden@h:x/",
            "postgres://u:hidden@h?sslmode=hidden",
            "postgres://u:hidden@h?unknown=hidden",
            "postgres://hidden%ff@h",
        ] {
            let error = ParsedUrl::parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
        }
    }

    #[test]
    fn a_table_is_taken_out_of_a_uri() {
        let (url, target) = split_target("postgres://h/d?table=a.b&sslmode=disable").unwrap();
        assert_eq!(url, "postgres://h/d?sslmode=disable");
        assert_eq!(target, Target { table: Some("a.b".to_owned()), query: None });
        let (url, target) = split_target("postgres://h/d?query=select%201").unwrap();
        assert_eq!((url.as_str(), target.query.as_deref()), ("postgres://h/d", Some("select 1")));
    }
}
