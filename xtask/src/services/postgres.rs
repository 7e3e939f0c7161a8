//! PostgreSQL, with logical replication switched on and password authentication by SCRAM.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::certificate::{self, Certificate};
use super::site::{Site, random_password};
use super::startup::{self, Started};
use super::{Server, Service, provision};
use crate::process;

/// `SIGINT` asks for a fast shutdown: open connections are ended, data is written.
pub(super) const SERVICE: Service = Service {
    name: "postgres",
    url_variable: "TOWPATH_TEST_POSTGRES_URL",
    authority_variable: "TOWPATH_TEST_POSTGRES_CA",
    stop: Signal::INT,
    start,
};

const USER: &str = "towpath";

/// The package with `PostGIS` for the server of the distribution.
const POSTGIS: &str = "postgresql-postgis";

/// What the server is told, beside port and files.
///
/// No `synchronous_commit=off`: logical slots would lag behind commits.
const SETTINGS: [&str; 7] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "wal_level=logical",
    "fsync=off",
    "ssl=on",
    "max_connections=500",
    "shared_buffers=256MB",
];

fn start(site: &Site) -> Result<Server> {
    let installation = Installation::find_or_get(site)?;
    let password = random_password()?;
    let data = site.folder().join("data");
    initialize(site, &installation, &data, &password)?;

    let certificate = certificate::issue(site)?;
    certificate::issue_for_clients(site.home())?;
    let authority = site.copy_for_account(&certificate::authority(site.home()))?;
    let command =
        |port| Ok(serve(installation.command(site, "postgres"), &data, port, &certificate, &authority));
    let lock_file = data.join("postmaster.pid");
    let ready = || is_ready(&fs::read_to_string(&lock_file).unwrap_or_default());
    let Started { pid, port } = startup::start(site, command, ready)?;
    Ok(Server { pid, url: format!("postgres://{USER}:{password}@127.0.0.1:{port}/postgres") })
}

fn initialize(site: &Site, installation: &Installation, data: &Path, password: &str) -> Result<()> {
    let password_file = site.write_private("password", password)?;
    let mut command = installation.command(site, "initdb");
    command.args([
        "--username",
        USER,
        "--auth",
        "scram-sha-256",
        "--encoding",
        "UTF8",
        "--locale",
        "C",
        "--no-sync",
    ]);
    process::capture(command.arg("--pgdata").arg(data).arg("--pwfile").arg(&password_file))?;
    fs::remove_file(password_file)?;
    let rules = data.join("pg_hba.conf");
    fs::read_to_string(&rules)
        .and_then(|others| fs::write(&rules, format!("{}{others}", rule_for_clients())))
        .with_context(|| format!("cannot write {}", rules.display()))
}

/// A user who shows a certificate and has no password, for tests to make.
fn rule_for_clients() -> String {
    format!("hostssl all {} 127.0.0.1/32 cert\n", certificate::CLIENT)
}

fn serve(
    mut command: Command,
    data: &Path,
    port: u16,
    certificate: &Certificate,
    authority: &Path,
) -> Command {
    let more = [
        format!("port={port}"),
        format!("ssl_cert_file={}", certificate.certificate.display()),
        format!("ssl_key_file={}", certificate.key.display()),
        format!("ssl_ca_file={}", authority.display()),
    ];
    command.arg("-D").arg(data);
    for setting in SETTINGS.into_iter().chain(more.iter().map(String::as_str)) {
        command.args(["-c", setting]);
    }
    command
}

/// The server itself writes its status into the eighth line of its lock file.
fn is_ready(lock_file: &str) -> bool {
    lock_file.lines().nth(7).is_some_and(|line| line.trim_end() == "ready")
}

/// Where the programs are.
struct Installation {
    binaries: PathBuf,
    /// Set for an unpacked tree, whose libraries no linker knows.
    library_path: Option<String>,
}

impl Installation {
    fn find_or_get(site: &Site) -> Result<Self> {
        if let Some(binaries) = find(Path::new("/")) {
            if !has_postgis(Path::new("/")) && provision::can_install() {
                provision::debian(site, &[POSTGIS])?;
            }
            return Ok(Self { binaries, library_path: None });
        }
        let root = provision::debian(site, &["postgresql", POSTGIS])?;
        let binaries =
            find(&root).context("the package holds no initdb and postgres where they are expected")?;
        let library_path = (root != Path::new("/")).then(|| provision::library_path(&root));
        Ok(Self { binaries, library_path })
    }

    fn command(&self, site: &Site, program: &str) -> Command {
        let mut command = site.command(&self.binaries.join(program));
        if let Some(path) = &self.library_path {
            command.env("LD_LIBRARY_PATH", path);
        }
        command
    }
}

/// The folder with the server's programs: the newest of Debian's, or that of `PATH`.
fn find(root: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(root.join("usr/lib/postgresql")).ok().into_iter().flatten().flatten();
    let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    let debian = newest.map(|version| root.join(format!("usr/lib/postgresql/{version}/bin")));
    let on_path = || process::find("initdb")?.canonicalize().ok()?.parent().map(Path::to_owned);
    let complete = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    debian.filter(complete).or_else(|| on_path().filter(complete))
}

/// Whether a server can make the types of `PostGIS`.
fn has_postgis(root: &Path) -> bool {
    let versions = fs::read_dir(root.join("usr/share/postgresql")).ok().into_iter().flatten().flatten();
    versions.into_iter().any(|version| version.path().join("extension/postgis.control").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_installed_version_is_found() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "15", "14"] {
            let folder = root.path().join("usr/lib/postgresql").join(version).join("bin");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("initdb"), "").unwrap();
            fs::write(folder.join("postgres"), "").unwrap();
        }
        assert_eq!(find(root.path()), Some(root.path().join("usr/lib/postgresql/15/bin")));
    }

    #[test]
    fn the_server_is_ready_when_its_lock_file_says_so() {
        assert!(!is_ready("1\n/data\n0\n5432\n\n127.0.0.1\n0 0\nstarting\n"));
        assert!(is_ready("1\n/data\n0\n5432\n\n127.0.0.1\n0 0\nready   \n"));
    }
}
