//! What the target remembers.

use arrow_schema::SchemaRef;
use object_store::{PutMode, UpdateVersion};
use serde::{Deserialize, Serialize};
use towpath_core::{Checkpoint, Error, ErrorKind, Result};

use super::bytes::PartialObjects;
use super::home::Site;
use super::staging::ObjectFile;
use crate::write::Put;

/// The version of the form that this build writes.
const VERSION: u16 = 1;

/// How often a conditional write is tried that the store refuses though nothing has changed.
const ATTEMPTS: usize = 5;

/// What the target remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    version: u16,
    /// `None` after it was reset.
    pub(super) checkpoint: Option<Checkpoint>,
    /// The columns of the last commit, for the schema contract of the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) columns: Option<SchemaRef>,
    /// The names of the lists of committed files.
    #[serde(default)]
    pub(super) commits: Vec<String>,
    /// The number of the next list.
    #[serde(default)]
    pub(super) next: u64,
    /// The commit under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) intent: Option<Intent>,
    /// Lists whose files were replaced and are being removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) removing: Vec<String>,
    /// Lists whose files stand in another list now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) merged: Vec<String>,
    /// Earlier runs that may have left something behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) stale: Vec<String>,
    /// The objects of which some bytes are committed.
    #[serde(default, skip_serializing_if = "PartialObjects::is_empty")]
    pub(super) partials: PartialObjects,
}

/// What a commit is about to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// The checkpoint once it is done.
    pub(super) checkpoint: Checkpoint,
    /// The list of its files.
    pub(super) list: String,
    /// Whether the files of earlier commits go.
    pub(super) replace: bool,
    /// The objects of which some bytes are committed, once it is done.
    #[serde(default, skip_serializing_if = "PartialObjects::is_empty")]
    pub(super) partials: PartialObjects,
}

/// The files of a commit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct FileList {
    version: u16,
    pub(super) files: Vec<ObjectFile>,
}

/// A manifest as it was read or written, and what the store calls this content.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) manifest: Manifest,
    pub(super) version: UpdateVersion,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            version: VERSION,
            checkpoint: None,
            columns: None,
            commits: Vec::new(),
            next: 0,
            intent: None,
            removing: Vec::new(),
            merged: Vec::new(),
            stale: Vec::new(),
            partials: PartialObjects::new(),
        }
    }
}

impl Manifest {
    /// A name for a new list: it sorts behind the others, and no other run can have it.
    pub(super) fn name_list(&mut self, run: &str) -> String {
        let name = format!("{:010}-{run}.json", self.next);
        self.next += 1;
        name
    }

    /// With nothing but these lists of committed files.
    pub(super) fn of_lists(commits: Vec<String>) -> Self {
        Self { commits, ..Self::default() }
    }

    /// Without anything but the lists of committed files.
    pub(super) fn forgotten(self) -> Self {
        Self { checkpoint: None, columns: None, stale: Vec::new(), partials: PartialObjects::new(), ..self }
    }

    /// Notes a run that may have left something behind.
    pub(super) fn note_stale(&mut self, run: &str) {
        /// More runs than ever break off in a row.
        const MOST: usize = 100;
        if !self.stale.iter().any(|known| known == run) {
            self.stale.push(run.to_owned());
        }
        if self.stale.len() > MOST {
            self.stale.remove(0);
        }
    }
}

impl Site {
    /// The manifest; `None` before the first run.
    pub(super) async fn load(&self) -> Result<Option<Held>> {
        let key = self.home.manifest();
        let Some(found) = self.bucket.read_whole(&key).await? else { return Ok(None) };
        let manifest =
            parse(&found.bytes).map_err(|error| error.detail("object", self.bucket.display(&key)))?;
        Ok(Some(Held { manifest, version: found.version }))
    }

    /// The manifest, which a run has made.
    pub(super) async fn held(&self) -> Result<Held> {
        self.load().await?.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "the manifest is gone")
                .detail("object", self.bucket.display(&self.home.manifest()))
                .help("do not remove `.towpath` while a run is under way; run again")
        })
    }

    /// Puts a manifest in place of the one that was read, or of none. `None` when somebody else was faster.
    pub(super) async fn store(
        &self,
        manifest: Manifest,
        held: Option<&UpdateVersion>,
    ) -> Result<Option<Held>> {
        let key = self.home.manifest();
        let text = serde_json::to_vec(&manifest)
            .map_err(|error| Error::unexpected("the manifest cannot be written").source(error))?;
        let text = bytes::Bytes::from(text);
        for _ in 0..ATTEMPTS {
            let mode = held.map_or(PutMode::Create, |version| PutMode::Update(version.clone()));
            if let Put::Done(version) = self.bucket.put(&key, text.clone(), mode).await? {
                return Ok(Some(Held { manifest, version }));
            }
            match self.bucket.read_whole(&key).await? {
                // It was written, and the answer was lost.
                Some(found) if found.bytes == text => {
                    return Ok(Some(Held { manifest, version: found.version }));
                }
                // The store was busy with another attempt, which failed.
                Some(found) if Some(&found.version) == held => {}
                None if held.is_none() => {}
                _ => return Ok(None),
            }
        }
        Err(Error::unavailable(
            "the manifest cannot be changed: the store refuses, and nothing else changes it",
        )
        .detail("object", self.bucket.display(&key)))
    }

    /// Puts a manifest in place, whatever is there.
    pub(super) async fn overwrite(&self, manifest: &Manifest) -> Result<()> {
        let text = serde_json::to_vec(manifest)
            .map_err(|error| Error::unexpected("the manifest cannot be written").source(error))?;
        self.bucket.put(&self.home.manifest(), text, PutMode::Overwrite).await.map(drop)
    }

    /// Writes a list of files.
    pub(super) async fn write_list(&self, name: &str, files: Vec<ObjectFile>) -> Result<()> {
        let text = serde_json::to_vec(&FileList { version: VERSION, files })
            .map_err(|error| Error::unexpected("a list of files cannot be written").source(error))?;
        self.bucket.put(&self.home.commit(name), text, PutMode::Overwrite).await.map(drop)
    }

    /// Reads a list of files; an empty one when it is gone.
    pub(super) async fn read_list(&self, name: &str) -> Result<Vec<ObjectFile>> {
        let key = self.home.commit(name);
        let Some(found) = self.bucket.read_whole(&key).await? else { return Ok(Vec::new()) };
        let list: FileList = serde_json::from_slice(&found.bytes).map_err(|error| {
            Error::data("a list of committed files is damaged")
                .detail("object", self.bucket.display(&key))
                .source(error)
                .help("put it back from a backup")
        })?;
        Ok(list.files)
    }
}

/// Reads a manifest.
fn parse(text: &[u8]) -> Result<Manifest> {
    #[derive(Deserialize)]
    struct Version {
        version: u16,
    }
    let damaged = |error: serde_json::Error| {
        Error::data("the manifest is damaged").source(error).help(
            "put it back from a backup; without it the next run begins anew, and an `append` writes all rows again",
        )
    };
    let known: Version = serde_json::from_slice(text).map_err(damaged)?;
    if known.version > VERSION {
        return Err(Error::unsupported(format!(
            "the manifest has version {}, this build reads up to {VERSION}",
            known.version
        ))
        .help("use the newer towpath that wrote it"));
    }
    serde_json::from_slice(text).map_err(damaged)
}
