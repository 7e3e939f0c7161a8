//! What the target remembers: the checkpoint, the commit under way, and the files that were written.
//!
//! Beside the files lies a hidden folder for each stream of each pipeline:
//!
//! ```text
//! out/.towpath/PIPELINE/STREAM/lock            held while the manifest changes
//!                              manifest.json   the checkpoint, and the commit under way
//!                              files           the committed files, one a line, below `out`
//!                              columns.json    the columns of the last commit, for the schema contract of the next run
//!                              staged/RUN/     files that are written and not committed
//!                              staged/partial/ files of which the manifest knows some bytes, with `format: bytes`
//! ```
//!
//! A commit first notes in the manifest what it is about to do, then does it, then notes that it is done. Whoever finds
//! a commit under way finishes it: every step can be done twice.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind as Io, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use towpath_core::{Checkpoint, Error, LoadSpec, Result};

use crate::errors::{CONNECTOR, io_error};
use towpath_files::names::encode;
use towpath_files::sink::Partials;

/// The version of the form that this build writes.
const VERSION: u16 = 1;

/// Where a stream's manifest and its staged files lie.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    /// The folder that all files of the stream lie in.
    base: PathBuf,
    /// The stream's hidden folder, below the base.
    below: String,
    folder: PathBuf,
}

/// What the target remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    version: u16,
    pub(crate) checkpoint: Checkpoint,
    /// The commit under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) intent: Option<Intent>,
    /// The files of which some bytes are committed.
    #[serde(default, skip_serializing_if = "Partials::is_empty")]
    pub(crate) partials: Partials,
}

/// What a commit is about to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The checkpoint once it is done.
    pub(crate) checkpoint: Checkpoint,
    pub(crate) moves: Vec<Move>,
    /// Whether the files of earlier commits go.
    pub(crate) replace: bool,
    /// The files of which some bytes are committed, once it is done.
    #[serde(default, skip_serializing_if = "Partials::is_empty")]
    pub(crate) partials: Partials,
}

/// A staged file and its place, both below the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    pub(crate) staged: String,
    pub(crate) target: String,
}

impl Home {
    pub(crate) fn new(base: &Path, load: &LoadSpec) -> Self {
        let below = format!(".towpath/{}/{}", encode(&load.pipeline), encode(&load.stream));
        Self { base: base.to_owned(), folder: base.join(&below), below }
    }

    /// Where a run stages its files.
    pub(crate) fn staging(&self, run: &str) -> PathBuf {
        self.folder.join("staged").join(encode(run))
    }

    /// A staged file below the base, as the manifest stores it.
    pub(crate) fn staged(&self, run: &str, name: &str) -> String {
        format!("{}/staged/{}/{name}", self.below, encode(run))
    }

    /// A path that the manifest or a receipt holds. It never leads out of the base.
    pub(crate) fn path(&self, relative: &str) -> Result<PathBuf> {
        let mut components = Path::new(relative).components();
        if relative.is_empty() || !components.all(|part| matches!(part, Component::Normal(_))) {
            return Err(outside(relative));
        }
        Ok(self.base.join(relative))
    }

    /// Whether anything was ever written here.
    pub(crate) fn exists(&self) -> bool {
        self.folder.is_dir()
    }

    fn manifest(&self) -> PathBuf {
        self.folder.join("manifest.json")
    }

    /// The manifest as it is; `None` before the first run. It is replaced as a whole, so it can be read at any time.
    pub(crate) fn load(&self) -> Result<Option<Manifest>> {
        let path = self.manifest();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == Io::NotFound => return Ok(None),
            Err(error) => return Err(io_error(error, "read the manifest", path.display())),
        };
        let damaged = |error: serde_json::Error| {
            Error::data("the manifest is damaged").connector(CONNECTOR).detail("path", path.display()).source(error).help(
                "put it back from a backup; without it the next run begins anew, and an `append` writes all rows again",
            )
        };
        let known: Version = serde_json::from_slice(&text).map_err(damaged)?;
        if known.version > VERSION {
            let message =
                format!("the manifest has version {}, this build reads up to {VERSION}", known.version);
            return Err(Error::unsupported(message)
                .connector(CONNECTOR)
                .detail("path", path.display())
                .help("use the newer towpath that wrote it"));
        }
        serde_json::from_slice(&text).map(Some).map_err(damaged)
    }

    fn columns_path(&self) -> PathBuf {
        self.folder.join("columns.json")
    }

    /// The columns of the last commit; `None` before the first one.
    pub(crate) fn columns(&self) -> Result<Option<SchemaRef>> {
        let path = self.columns_path();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
                Error::data("the list of columns is damaged")
                    .connector(CONNECTOR)
                    .detail("path", path.display())
                    .source(error)
                    .help("remove it; the next run takes the columns as they come")
            }),
            Err(error) if error.kind() == Io::NotFound => Ok(None),
            Err(error) => Err(io_error(error, "read the columns", path.display())),
        }
    }

    /// Waits until nobody else changes the manifest, and holds the others off.
    pub(crate) fn lock(&self) -> Result<Locked> {
        fs::create_dir_all(&self.folder).map_err(|error| io_error(error, "begin", self.folder.display()))?;
        let path = self.folder.join("lock");
        let failed = |error| io_error(error, "lock", path.display());
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        lock.lock().map_err(failed)?;
        Ok(Locked { home: self.clone(), _lock: lock })
    }
}

fn outside(path: &str) -> Error {
    Error::unexpected("a path of the manifest or of a receipt leads out of the target's folder")
        .connector(CONNECTOR)
        .detail("path", path)
}

/// The manifest, while nobody else can change it.
#[derive(Debug)]
pub(crate) struct Locked {
    home: Home,
    _lock: File,
}

impl Locked {
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// The manifest as it is; `None` before the first run.
    pub(crate) fn load(&self) -> Result<Option<Manifest>> {
        self.home.load()
    }

    /// Puts the manifest in place of the old one, durably.
    pub(crate) fn store(&self, checkpoint: &Checkpoint, intent: Option<&Intent>) -> Result<Manifest> {
        self.store_with(checkpoint, Partials::new(), intent)
    }

    /// The same with files of which some bytes are committed.
    pub(crate) fn store_with(
        &self,
        checkpoint: &Checkpoint,
        partials: Partials,
        intent: Option<&Intent>,
    ) -> Result<Manifest> {
        let manifest =
            Manifest { version: VERSION, checkpoint: checkpoint.clone(), intent: intent.cloned(), partials };
        let text = serde_json::to_vec(&manifest)
            .map_err(|error| Error::unexpected("the manifest cannot be written").source(error))?;
        self.replace(&self.home.manifest(), &text)?;
        Ok(manifest)
    }

    /// Finishes the commit under way, if there is one.
    pub(crate) fn roll_forward(&self, manifest: Manifest) -> Result<Manifest> {
        let Some(intent) = &manifest.intent else { return Ok(manifest) };
        self.do_moves(&intent.moves)?;
        if intent.replace {
            self.remove_others(&intent.moves)?;
        }
        self.store_with(&intent.checkpoint, intent.partials.clone(), None)
    }

    /// Moves the staged files that are not yet in place.
    fn do_moves(&self, moves: &[Move]) -> Result<()> {
        let mut folders = BTreeSet::new();
        for step in moves {
            let (from, to) = (self.home.path(&step.staged)?, self.home.path(&step.target)?);
            match fs::rename(&from, &to) {
                Ok(()) => {}
                Err(error) if error.kind() == Io::NotFound && !from.exists() && to.exists() => {}
                Err(error) => return Err(io_error(error, "commit", to.display())),
            }
            folders.extend(to.parent().map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| sync_folder(folder))
    }

    /// Removes the files of earlier commits, and the folders that are empty without them. Nothing else is touched.
    fn remove_others(&self, moves: &[Move]) -> Result<()> {
        let kept: BTreeSet<&str> = moves.iter().map(|step| step.target.as_str()).collect();
        for file in self.files()?.iter().filter(|file| !kept.contains(file.as_str())) {
            let path = self.home.path(file)?;
            match fs::remove_file(&path) {
                Err(error) if !is_gone(&error) => return Err(io_error(error, "remove", path.display())),
                _ => self.remove_empty_folders(&path),
            }
        }
        let text: String = kept.iter().flat_map(|file| [*file, "\n"]).collect();
        self.replace(&self.files_path(), text.as_bytes())
    }

    fn remove_empty_folders(&self, file: &Path) {
        let folders = file.ancestors().skip(1).take_while(|folder| *folder != self.home.base);
        for folder in folders {
            // A folder that still holds something stays.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }

    /// The committed files; a commit that broke off early may have left names of files that never came to be.
    pub(crate) fn files(&self) -> Result<Vec<String>> {
        match fs::read_to_string(self.files_path()) {
            Ok(text) => Ok(text
                .split_inclusive('\n')
                .filter_map(|line| line.strip_suffix('\n'))
                .map(str::to_owned)
                .collect()),
            Err(error) if error.kind() == Io::NotFound => Ok(Vec::new()),
            Err(error) => Err(io_error(error, "read the list of files", self.files_path().display())),
        }
    }

    /// Notes files that are about to be committed.
    pub(crate) fn note_files<'a>(&self, files: impl Iterator<Item = &'a str>) -> Result<()> {
        let path = self.files_path();
        let text: String = files.flat_map(|file| [file, "\n"]).collect();
        let append = || {
            let mut log = OpenOptions::new().create(true).append(true).read(true).open(&path)?;
            drop_torn_line(&mut log)?;
            log.write_all(text.as_bytes())?;
            log.sync_all()
        };
        append().map_err(|error| io_error(error, "commit", path.display()))
    }

    /// Notes the columns of a commit, unless they are noted already.
    pub(crate) fn note_columns(&self, columns: &SchemaRef) -> Result<()> {
        let text = serde_json::to_vec(columns)
            .map_err(|error| Error::unexpected("the columns cannot be written").source(error))?;
        let path = self.home.columns_path();
        if fs::read(&path).is_ok_and(|known| known == text) { Ok(()) } else { self.replace(&path, &text) }
    }

    /// Forgets the checkpoint and the columns.
    pub(crate) fn remove_manifest(&self) -> Result<()> {
        for path in [self.home.manifest(), self.home.columns_path()] {
            match fs::remove_file(&path) {
                Err(error) if !is_gone(&error) => return Err(io_error(error, "reset", path.display())),
                _ => {}
            }
        }
        sync_folder(&self.home.folder)
    }

    /// Throws away what other runs than this one have staged.
    pub(crate) fn clear_staged(&self, run: Option<&str>) -> Result<()> {
        let folder = self.home.folder.join("staged");
        let failed = |error| io_error(error, "clear staged files", folder.display());
        let runs = match fs::read_dir(&folder) {
            Ok(runs) => runs,
            Err(error) if error.kind() == Io::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        for entry in runs {
            let path = entry.map_err(failed)?.path();
            if run.is_none_or(|run| path != self.home.staging(run)) {
                match fs::remove_dir_all(&path) {
                    Err(error) if !is_gone(&error) => {
                        return Err(io_error(error, "clear staged files", path.display()));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Throws away what is staged, but for the files of which some bytes are committed. Tells the paths.
    pub(crate) fn sweep_staged(&self, partials: &Partials) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        for run in entries(&self.home.folder.join("staged"))? {
            for file in entries(&run)? {
                let is_kept = file.file_name().and_then(|name| name.to_str());
                if is_kept.is_some_and(|key| partials.contains_key(key)) {
                    continue;
                }
                fs::remove_file(&file).map_err(|error| io_error(error, "sweep", file.display()))?;
                removed.push(file.display().to_string());
            }
            // It stays while something is left in it.
            let _ = fs::remove_dir(&run);
        }
        Ok(removed)
    }

    fn files_path(&self) -> PathBuf {
        self.home.folder.join("files")
    }

    /// Writes a file beside its place and moves it there, so that it is either the old or the new one.
    fn replace(&self, path: &Path, content: &[u8]) -> Result<()> {
        let new = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&new);
            io_error(error, "commit", path.display())
        })?;
        sync_folder(&self.home.folder)
    }
}

#[derive(Deserialize)]
struct Version {
    version: u16,
}

/// The paths in a folder, in order; none when it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| io_error(error, "sweep", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), Io::NotFound | Io::NotADirectory)
}

/// Removes the end of a line that broke off in a crash, which is no name of a file.
fn drop_torn_line(log: &mut File) -> io::Result<()> {
    let mut text = Vec::new();
    let length = log.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok(());
    }
    log.seek(SeekFrom::End(-1))?;
    log.read_to_end(&mut text)?;
    if text == b"\n" {
        return Ok(());
    }
    log.seek(SeekFrom::Start(0))?;
    text.clear();
    log.read_to_end(&mut text)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    log.set_len(whole as u64)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        let sync = || File::open(folder)?.sync_all();
        sync().map_err(|error| io_error(error, "commit", folder.display()))?;
    }
    Ok(())
}
