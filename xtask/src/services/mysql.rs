//! MariaDB, for what speaks the protocol of MySQL: with a binary log of rows and password authentication.

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

pub(super) const SERVICE: Service = Service {
    name: "mysql",
    url_variable: "TOWPATH_TEST_MYSQL_URL",
    authority_variable: "TOWPATH_TEST_MYSQL_CA",
    stop: Signal::TERM,
    start,
};

const USER: &str = "towpath";

/// These start no service of the system.
const PACKAGES: [&str; 2] = ["mariadb-server-core", "mariadb-client-core"];

/// What the server is told, beside folders, port and files.
///
/// - No socket: a server that only tests reach needs no path, which could be too long.
/// - No names of hosts: accounts of `localhost` stay out of reach, and no resolver is asked.
/// - Nothing is flushed: the data does not outlive the server.
const SETTINGS: [&str; 14] = [
    "--bind-address=127.0.0.1",
    "--socket=",
    "--skip-name-resolve",
    "--server-id=1",
    "--log-bin=binlog",
    "--binlog-format=ROW",
    "--binlog-row-metadata=FULL",
    "--local-infile=1",
    "--character-set-server=utf8mb4",
    "--max-connections=500",
    "--innodb-buffer-pool-size=256M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--sync-binlog=0",
];

fn start(site: &Site) -> Result<Server> {
    let installation = Installation::find_or_get(site)?;
    let data = site.folder().join("data");
    initialize(site, &installation, &data)?;

    let password = random_password()?;
    let accounts = site.write_private("accounts.sql", &accounts(&password))?;
    let certificate = certificate::issue(site)?;
    let command = |port| {
        let mut command = installation.command(site, "mariadbd")?;
        command.arg("--no-defaults").args(installation.folders()).args(SETTINGS);
        command.args(files(&data, &accounts, &certificate)).arg(format!("--port={port}"));
        Ok(command)
    };
    let Started { pid, port } = startup::start(site, command, || is_ready(&site.log_text()))?;
    fs::remove_file(accounts)?;
    Ok(Server { pid, url: format!("mysql://{USER}:{password}@127.0.0.1:{port}/") })
}

fn files(data: &Path, accounts: &Path, certificate: &Certificate) -> [String; 4] {
    [
        format!("--datadir={}", data.display()),
        format!("--init-file={}", accounts.display()),
        format!("--ssl-cert={}", certificate.certificate.display()),
        format!("--ssl-key={}", certificate.key.display()),
    ]
}

/// Makes the system tables, in which no account has an empty password.
fn initialize(site: &Site, installation: &Installation, data: &Path) -> Result<()> {
    let mut command = installation.command(site, "mariadb-install-db")?;
    command.arg("--no-defaults").args(installation.folders());
    command.arg(format!("--datadir={}", data.display()));
    command.args(["--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve"]);
    process::capture(&mut command)?;
    Ok(())
}

/// The server runs these statements, one a line, before it answers.
fn accounts(password: &str) -> String {
    format!(
        "CREATE USER '{USER}'@'%' IDENTIFIED BY '{password}';\n\
         GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
    )
}

fn is_ready(log: &str) -> bool {
    log.contains(": ready for connections.")
}

/// Where the programs and what they need are: `/usr`, or such a folder of an unpacked tree.
struct Installation {
    base: PathBuf,
    /// Set for an unpacked tree, whose libraries no linker knows.
    library_path: Option<String>,
}

impl Installation {
    fn find_or_get(site: &Site) -> Result<Self> {
        let system = Self { base: "/usr".into(), library_path: None };
        if system.is_complete() {
            return Ok(system);
        }
        if let Some(elsewhere) = Self::on_path().filter(Self::is_complete) {
            return Ok(elsewhere);
        }
        let root = provision::debian(site, &PACKAGES)?;
        let library_path = (root != Path::new("/")).then(|| provision::library_path(&root));
        Ok(Self { base: root.join("usr"), library_path })
    }

    /// The installation whose server is found in `PATH`.
    fn on_path() -> Option<Self> {
        let server = process::find("mariadbd")?.canonicalize().ok()?;
        Some(Self { base: server.parent()?.parent()?.to_owned(), library_path: None })
    }

    fn is_complete(&self) -> bool {
        self.program("mariadbd").is_some() && self.program("mariadb-install-db").is_some()
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let folders = ["sbin", "bin", "scripts"].map(|folder| self.base.join(folder));
        folders.into_iter().map(|folder| folder.join(name)).find(|program| program.is_file())
    }

    fn command(&self, site: &Site, program: &str) -> Result<Command> {
        let missing = || format!("there is no {program} below {}", self.base.display());
        let mut command = site.command(&self.program(program).with_context(missing)?);
        if let Some(path) = &self.library_path {
            command.env("LD_LIBRARY_PATH", path);
        }
        Ok(command)
    }

    /// Tells the programs where they lie; those of an unpacked tree look for the rest where they were built for.
    fn folders(&self) -> Vec<String> {
        let base = self.base.display();
        let mut folders = vec![format!("--basedir={base}")];
        if self.library_path.is_some() {
            folders.push(format!("--lc-messages-dir={base}/share/mysql"));
            folders.push(format!("--plugin-dir={base}/lib/mysql/plugin"));
            folders.push(format!("--character-sets-dir={base}/share/mysql/charsets"));
        }
        folders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(programs: &[&str]) -> (tempfile::TempDir, Installation) {
        let root = tempfile::tempdir().unwrap();
        for program in programs {
            let path = root.path().join(program);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let base = root.path().to_owned();
        (root, Installation { base, library_path: None })
    }

    #[test]
    fn an_installation_without_the_script_that_makes_data_is_not_taken() {
        let (_root, installation) = tree(&["sbin/mariadbd", "bin/mariadb-install-db"]);
        assert!(installation.is_complete());
        let (_root, installation) = tree(&["bin/mariadbd"]);
        assert!(!installation.is_complete());
    }

    #[test]
    fn programs_of_an_unpacked_tree_look_into_that_tree() {
        let mut installation = Installation { base: "/unpacked/usr".into(), library_path: None };
        assert_eq!(installation.folders(), ["--basedir=/unpacked/usr"]);
        installation.library_path = Some("/unpacked/usr/lib".into());
        assert!(installation.folders().iter().all(|folder| folder.contains("=/unpacked/usr")));
        assert_eq!(installation.folders().len(), 4);
    }

    #[test]
    fn the_server_is_ready_when_its_log_says_so() {
        assert!(!is_ready("[Note] Reading of all Master_info entries succeeded\n"));
        assert!(is_ready("[Note] /usr/sbin/mariadbd: ready for connections.\nVersion: '10.11.14'"));
    }
}
