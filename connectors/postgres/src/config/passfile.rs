//! Passwords from files.
//!
//! The form of `.pgpass`: <https://www.postgresql.org/docs/current/libpq-pgpass.html>.

use std::path::{Path, PathBuf};

use towpath_core::{Result, Secret};

use super::connection::Host;
use crate::errors::config;

/// The whole content of a file, without the line break at its end.
pub(super) fn whole(path: &Path) -> Result<Secret> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        config("`password_file` cannot be read").detail("path", path.display()).source(error)
    })?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// The password that a `.pgpass` holds for one of the hosts. A file that was not named need not be there.
pub(super) fn find(
    path: Option<&Path>,
    hosts: &[Host],
    database: &str,
    user: &str,
) -> Result<Option<Secret>> {
    let (text, named) = match path {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                config("`passfile` cannot be read").detail("path", path.display()).source(error)
            })?;
            (text, Some(path.to_owned()))
        }
        None => {
            (default_file().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default(), None)
        }
    };
    let found = hosts.iter().find_map(|host| password(&text, host, database, user));
    if found.is_none()
        && let Some(path) = named
    {
        let text = format!("`passfile` holds no password of `{user}` for database `{database}`");
        return Err(config(text).detail("path", path.display()));
    }
    Ok(found.map(Secret::new))
}

fn default_file() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".pgpass"))
}

/// The last field of the first line whose other fields fit.
fn password(text: &str, host: &Host, database: &str, user: &str) -> Option<String> {
    let name = if host.is_socket() { "localhost" } else { host.name.as_str() };
    let port = host.port.to_string();
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [line_host, line_port, line_database, line_user, password] = fields.as_slice() else {
            return None;
        };
        let fits = |pattern: &str, value: &str| pattern == "*" || pattern == value;
        let all = fits(line_host, name)
            && fits(line_port, &port)
            && fits(line_database, database)
            && fits(line_user, user);
        all.then(|| password.clone())
    })
}

/// Fields between colons; a backslash takes the next character as it is.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let next = match character {
            '\\' => characters.next(),
            ':' if fields.len() < 5 => {
                fields.push(String::new());
                continue;
            }
            other => Some(other),
        };
        if let (Some(next), Some(field)) = (next, fields.last_mut()) {
            field.push(next);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Host {
        Host { name: name.to_owned(), port: 5432 }
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        let text = "# comment\nother:5432:*:ann:no\n*:*:sales:ann:a\\:b\\\\c\ndb:5432:sales:ann:late\n";
        assert_eq!(password(text, &host("db"), "sales", "ann").unwrap(), "a:b\\c");
        assert_eq!(password(text, &host("other"), "x", "ann").unwrap(), "no");
        assert_eq!(password(text, &host("db"), "sales", "bob"), None);
        assert_eq!(password("localhost:*:*:*:x:y", &host("/run"), "d", "u").unwrap(), "x:y");
    }

    #[test]
    fn a_named_file_must_hold_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pass");
        std::fs::write(&path, "db:5432:*:ann:secret\n").unwrap();
        let found = find(Some(&path), &[host("db")], "x", "ann").unwrap().unwrap();
        assert_eq!(found.expose(), "secret");
        let error = find(Some(&path), &[host("db")], "x", "bob").unwrap_err().to_string();
        assert!(error.contains("holds no password of `bob`") && !error.contains("secret"), "{error}");
        std::fs::write(&path, "secret\r\n").unwrap();
        assert_eq!(whole(&path).unwrap().expose(), "secret");
    }
}
