//! What was started and is not stopped yet, kept in `target/services/state.json`.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::{io, io::Write as _};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::process_id::ProcessId;
use super::site;
use crate::workspace::Workspace;

/// A server that was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) process: ProcessId,
    pub(super) url: String,
    pub(super) folder: PathBuf,
}

/// All servers by name. Whoever changes it holds the lock from load to drop.
pub(super) struct State {
    file: PathBuf,
    servers: BTreeMap<String, Running>,
    _lock: Option<File>,
}

impl State {
    /// Reads the state, to look at.
    pub(super) fn load(workspace: &Workspace) -> Result<Self> {
        Self::read(&site::home(workspace), None)
    }

    /// Reads the state, to change it: another process that wants to do so waits until this value is dropped.
    pub(super) fn lock(workspace: &Workspace) -> Result<Self> {
        let home = site::home(workspace);
        fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
        let lock = File::create(home.join("lock")).context("cannot make the lock file of the services")?;
        lock.lock().context("cannot lock the state of the services")?;
        Self::read(&home, Some(lock))
    }

    fn read(home: &Path, lock: Option<File>) -> Result<Self> {
        let file = home.join("state.json");
        let servers = match fs::read(&file) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        Ok(Self { file, servers, _lock: lock })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Running> {
        self.servers.get(name)
    }

    pub(super) fn insert(&mut self, name: &str, running: Running) -> Result<()> {
        self.servers.insert(name.to_owned(), running);
        self.write()
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<Option<Running>> {
        let removed = self.servers.remove(name);
        if removed.is_some() {
            self.write()?;
        }
        Ok(removed)
    }

    /// Writes for the owner's eyes only, because URLs hold passwords.
    fn write(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.servers)?;
        let draft = self.file.with_extension("draft");
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| file.write_all(&text))
            .and_then(|()| fs::rename(&draft, &self.file))
            .with_context(|| format!("cannot write {}", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_recorded_is_read_back_and_only_by_its_owner() {
        let home = tempfile::tempdir().unwrap();
        let process = ProcessId::of(std::process::id()).unwrap();
        let running = Running { process, url: "postgres://u:p@127.0.0.1:1/d".into(), folder: "data".into() };

        State::read(home.path(), None).unwrap().insert("postgres", running.clone()).unwrap();
        let mut state = State::read(home.path(), None).unwrap();
        assert_eq!(state.get("postgres"), Some(&running));
        let mode = fs::metadata(home.path().join("state.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        state.remove("postgres").unwrap();
        assert_eq!(State::read(home.path(), None).unwrap().get("postgres"), None);
    }
}
