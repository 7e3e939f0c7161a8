//! Where a server lives: its folder, its port, its secret, and the account it runs as.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, process};

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// The folder of the services' state, downloads and, where possible, data.
pub(super) fn home(workspace: &Workspace) -> PathBuf {
    workspace.target().join("services")
}

/// Removes a server's folder; one that is gone already is fine.
pub(super) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The place of one server.
pub(super) struct Site {
    home: PathBuf,
    folder: PathBuf,
    /// Servers refuse to run as root; then they run as this account.
    account: Option<Account>,
}

#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Site {
    /// Makes an empty folder that the server's account owns.
    pub(super) fn create(workspace: &Workspace, name: &str) -> Result<Self> {
        let home = home(workspace);
        let account =
            if rustix::process::geteuid().is_root() { Some(Account::unprivileged()?) } else { None };
        let folder = if account.is_none() || others_may_enter(&home) {
            home.join("data").join(name)
        } else {
            // For example a checkout below root's own home, where the server's account cannot go.
            env::temp_dir().join(format!("towpath-{name}-{}", process::id()))
        };
        remove(&folder)?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let site = Self { home, folder, account };
        site.give(&site.folder)?;
        fs::set_permissions(&site.folder, Permissions::from_mode(0o700))?;
        Ok(site)
    }

    /// The folder that all servers share.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder that downloads are kept in, for all servers.
    pub(super) fn downloads(&self) -> PathBuf {
        self.home.join("downloads")
    }

    /// Writes a file that only the server's account can read.
    pub(super) fn write_private(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        write_secret(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        self.give(&path)?;
        Ok(path)
    }

    /// Copies a file that is no secret to where the server's account can read it.
    pub(super) fn copy_for_account(&self, file: &Path) -> Result<PathBuf> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().context("a file has a name")?;
        self.write_private(&name.to_string_lossy(), &text)
    }

    /// A command that runs as the server's account, in the server's folder.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).stdin(Stdio::null());
        if let Some(account) = self.account {
            command.uid(account.user).gid(account.group);
        }
        command
    }

    /// Starts a server that outlives this process and writes to the log of this site.
    pub(super) fn spawn(&self, command: &mut Command) -> Result<Child> {
        let log =
            File::create(self.log()).with_context(|| format!("cannot write {}", self.log().display()))?;
        // A group of its own keeps Ctrl-C in this terminal from ending it.
        command.stdout(log.try_clone()?).stderr(log).process_group(0);
        command.spawn().with_context(|| format!("cannot start `{}`", crate::process::display(command)))
    }

    /// What the server has written so far.
    pub(super) fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The end of the server's log, for an error.
    pub(super) fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// A site of the account that runs the tests.
    #[cfg(test)]
    pub(super) fn for_tests(folder: &Path) -> Self {
        Self { home: folder.to_owned(), folder: folder.to_owned(), account: None }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Makes the server's account the owner of a file or folder.
    pub(super) fn give(&self, path: &Path) -> Result<()> {
        if let Some(account) = self.account {
            chown(path, Some(account.user), Some(account.group))
                .with_context(|| format!("cannot give {} to the server's account", path.display()))?;
        }
        Ok(())
    }
}

impl Account {
    /// The account `nobody`, which every Unix has.
    fn unprivileged() -> Result<Self> {
        let accounts = fs::read_to_string("/etc/passwd").context("cannot read the list of accounts")?;
        Self::parse(&accounts).context("servers must not run as root, and there is no account `nobody`")
    }

    fn parse(accounts: &str) -> Option<Self> {
        let mut fields = accounts.lines().find(|line| line.starts_with("nobody:"))?.split(':').skip(2);
        Some(Self { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
    }
}

/// Whether every folder on the way is open to all accounts.
fn others_may_enter(folder: &Path) -> bool {
    let open =
        |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0);
    folder.ancestors().filter(|path| path.exists()).all(open)
}

/// Writes a file for the owner's eyes only.
pub(super) fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    // A file that lies there may be open to others: its mode is not changed by writing.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

/// A password that nobody can guess.
pub(super) fn random_password() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("no random numbers")?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unprivileged_account_is_read_from_the_list() {
        let accounts = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65533:nobody:/nonexistent:/bin/false\n";
        let account = Account::parse(accounts).unwrap();
        assert_eq!((account.user, account.group), (65534, 65533));
    }

    #[test]
    fn a_folder_below_a_closed_one_cannot_be_entered_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(!others_may_enter(&inner));
        assert!(others_may_enter(Path::new("/")));
    }

    #[test]
    fn passwords_differ() {
        assert_ne!(random_password().unwrap(), random_password().unwrap());
    }
}
