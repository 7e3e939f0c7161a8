//! A project folder, and the built `towpath` command run in it as a user would.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long a condition may take to come true before the test fails. Generous, because machines can be busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// The built command.
///
/// # Panics
/// When it has not been built.
pub fn towpath() -> PathBuf {
    if let Some(path) = std::env::var_os("TOWPATH_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let beside = test.ancestors().nth(2).map(|folder| folder.join("towpath")).filter(|path| path.is_file());
    beside.unwrap_or_else(|| {
        panic!("the command is not built; `cargo xtask test` builds it and runs the tests")
    })
}

/// A folder of its own for each test.
pub struct Project {
    folder: TempDir,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Project {
    /// An empty folder.
    ///
    /// # Panics
    /// When the system gives none.
    #[expect(clippy::new_without_default, reason = "a folder on the disk is no default value")]
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("the system has a folder for temporary files") }
    }

    /// A path below the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, with the folders above it.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folders can be made");
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// The text of a file.
    ///
    /// # Panics
    /// When it is not there.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The command with these arguments, to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(towpath());
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null()).env_remove("RUST_LOG");
        command
    }

    /// Runs the command to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn towpath(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().expect("the command can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Runs `pipeline.yaml` and gives its report.
    ///
    /// # Panics
    /// When there is no report.
    pub fn run(&self) -> (Ended, Value) {
        let ended = self.towpath(&["run", "pipeline.yaml", "--json"]);
        let report = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        (ended, report)
    }

    /// Starts `pipeline.yaml` and leaves it running.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&self) -> Child {
        let mut command = self.command(&["run", "pipeline.yaml", "--json"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command can be started")
    }

    /// The visible files below a folder, sorted.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = BTreeSet::new();
        collect(&self.path(folder), &mut found);
        found.into_iter().collect()
    }

    /// The rows of all NDJSON files below a folder.
    ///
    /// # Panics
    /// When one of them is not NDJSON.
    pub fn rows(&self, folder: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        for file in self.files(folder) {
            let text =
                std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            rows.extend(text.lines().map(|line| {
                serde_json::from_str::<Value>(line)
                    .unwrap_or_else(|error| panic!("{}: {error}: {line}", file.display()))
            }));
        }
        rows
    }

    /// The `id`s of all rows below a folder, sorted.
    ///
    /// # Panics
    /// When a row has none.
    pub fn ids(&self, folder: &str) -> Vec<u64> {
        let mut ids: Vec<_> = self
            .rows(folder)
            .iter()
            .map(|row| row["id"].as_u64().unwrap_or_else(|| panic!("{row}")))
            .collect();
        ids.sort_unstable();
        ids
    }
}

fn collect(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        match (hidden, path.is_dir()) {
            (true, _) => {}
            (false, true) => collect(&path, found),
            (false, false) => drop(found.insert(path)),
        }
    }
}

/// A text of these lines.
pub fn lines(lines: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Sends a signal, such as `INT` or `KILL`.
///
/// # Panics
/// When there is no such process.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "the process is still there");
}

/// Waits until something is true.
///
/// # Panics
/// When it does not come true for a very long time.
pub async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < PATIENCE, "it never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs blocking work, such as waiting for a command, while the servers of the test go on.
///
/// # Panics
/// When the work panics.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Rows with ids from 0 on, as CSV.
pub fn numbered_csv(rows: u64) -> String {
    let header = std::iter::once("id,name".to_owned());
    lines(header.chain((0..rows).map(|id| format!("{id},\"row, {id}\""))))
}

/// Loads rows of a source with ids from 0 on into files, kills that in the middle, and has the next run finish it.
///
/// # Panics
/// When a row is missing or there twice, or when the next run begins anew.
pub async fn assert_a_kill_is_survived(project: Project, source: &str, rows: u64) {
    project.write(
        "pipeline.yaml",
        format!(
            "name: large\nstreams:\n  rows:\n    source: {source}\n    \
             sink: {{ connector: file, path: \"out/{{run}}-{{part}}-{{sequence}}.ndjson\" }}\n    commit: {{ rows: 20000 }}\n"
        ),
    );
    let mut child = project.start();
    until("rows are committed, or it is done", || !project.files("out").is_empty()).await;
    // It may be done already on a fast machine; then there is nothing to kill, and nothing to go on with.
    let was_killed = child.try_wait().expect("it can be asked").is_none();
    if was_killed {
        signal(&child, "KILL");
    }
    blocking(move || {
        child.wait().expect("it ended");
        let state = project.towpath(&["state", "show", "pipeline.yaml", "--json"]);
        if was_killed && state.stdout.contains("\"progress\": {") {
            let (ended, report) = project.run();
            assert_eq!(ended.code, Some(0), "{report:#}");
            assert_eq!(report["streams"][0]["resumed"], true, "{report:#}");
        }
        assert_eq!(project.ids("out"), (0..rows).collect::<Vec<_>>());
    })
    .await;
}
