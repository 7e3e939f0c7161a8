//! PostgreSQL, with logical replication switched on and password authentication by SCRAM.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::site::{Site, free_port, random_password};
use super::{Server, Service, provision};
use crate::process;

/// `SIGINT` asks for a fast shutdown: open connections are ended, data is written.
pub(super) const SERVICE: Service =
    Service { name: "postgres", variable: "TOWPATH_TEST_POSTGRES_URL", stop: Signal::INT, start };

const USER: &str = "towpath";

/// Another program may take the port between the choice and the start, so the start is tried again.
const ATTEMPTS: usize = 3;

/// How long the server may take to answer, in steps of [`STEP`].
const STEPS: usize = 600;
const STEP: Duration = Duration::from_millis(50);

fn start(site: &Site) -> Result<Server> {
    let installation = Installation::find_or_get(site)?;
    let password = random_password()?;
    let data = site.folder().join("data");
    initialize(site, &installation, &data, &password)?;

    let mut outcome = Err(anyhow::anyhow!("not tried"));
    for _ in 0..ATTEMPTS {
        let port = free_port()?;
        let url = format!("postgres://{USER}:{password}@127.0.0.1:{port}/postgres");
        outcome = serve(site, &installation, &data, port).map(|pid| Server { pid, url });
        if outcome.is_ok() {
            break;
        }
    }
    outcome
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
    Ok(())
}

fn serve(site: &Site, installation: &Installation, data: &Path, port: u16) -> Result<u32> {
    let port = format!("port={port}");
    // No `synchronous_commit=off`: logical slots would lag behind commits.
    let settings = [
        &port,
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "wal_level=logical",
        "fsync=off",
        "ssl=off",
    ];
    let mut command = installation.command(site, "postgres");
    command.arg("-D").arg(data);
    for setting in settings {
        command.args(["-c", setting]);
    }
    let mut server = site.spawn(&mut command)?;
    wait_until_ready(site, &mut server, &data.join("postmaster.pid"))?;
    Ok(server.id())
}

/// The server itself writes its status into the eighth line of its lock file.
fn wait_until_ready(site: &Site, server: &mut Child, lock_file: &Path) -> Result<()> {
    for _ in 0..STEPS {
        if let Some(status) = server.try_wait()? {
            bail!("the server ended at once: {status}\n{}", site.log_tail());
        }
        let lock = fs::read_to_string(lock_file).unwrap_or_default();
        if lock.lines().nth(7).is_some_and(|line| line.trim_end() == "ready") {
            return Ok(());
        }
        sleep(STEP);
    }
    server.kill()?;
    server.wait()?;
    bail!("the server did not get ready\n{}", site.log_tail())
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
            return Ok(Self { binaries, library_path: None });
        }
        let root = provision::debian(site, &["postgresql"])?;
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
}
