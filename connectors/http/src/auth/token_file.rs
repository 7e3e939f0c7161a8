//! The file in which the last refresh token is kept, for the next run and for others at the same time.
//!
//! A refresh token that is good once must be spent by one process alone. So the file is read, the token spent and the new one
//! written under a lock of the platform, on a file beside it: the token's own is replaced as a whole. With the refresh token
//! goes the access token that came with it, so that whoever waited for the lock need not spend another one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, Json, Result, ResultExt, Secret};

use super::keys::random;
use super::signature::sha256;
use crate::config::Auth;

/// How often we look whether the lock is free.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// How long the lock is waited for. Whoever holds it waits for one answer of the server.
const LONGEST_LOCK: Duration = Duration::from_mins(3);

/// Where the last refresh token is kept.
pub(super) struct TokenFile {
    path: PathBuf,
    /// The one of the pipeline file.
    configured: Secret,
    /// A digest of what else access tokens depend on.
    asked_for: String,
}

/// The file, while nobody else can change it.
pub(super) struct Locked<'a> {
    file: &'a TokenFile,
    lock: File,
}

/// What the file holds.
pub(super) struct Stored {
    pub(super) refresh: Secret,
    pub(super) access: Option<Access>,
}

/// An access token, and until when it is used.
pub(super) struct Access {
    pub(super) value: Secret,
    pub(super) until: SystemTime,
}

impl TokenFile {
    /// The file of a scheme that has one.
    pub(super) fn of(auth: &Auth) -> Option<Self> {
        let Auth::RefreshToken { token_url, client_id, refresh_token, token_file, scopes, params, .. } = auth
        else {
            return None;
        };
        let params: Vec<_> = params.iter().map(|(name, value)| (name, value.expose())).collect();
        let asked_for = json!([token_url, client_id, scopes, params]).to_string();
        token_file.as_deref().map(|path| Self {
            path: path.to_owned(),
            configured: refresh_token.clone(),
            asked_for: sha256(asked_for.as_bytes()),
        })
    }

    /// Waits until no other process has it.
    ///
    /// # Errors
    /// When it cannot be locked, or somebody else holds it for too long.
    pub(super) async fn lock(&self, cx: &Context) -> Result<Locked<'_>> {
        let path = beside(&self.path);
        let since = cx.clock().monotonic();
        let locked = async {
            let at = path.clone();
            let open = move || for_us_only().create(true).truncate(false).open(at);
            let lock = in_background(move || open().operation("lock `token_file`")).await?;
            loop {
                match lock.try_lock() {
                    Ok(()) => return Ok(Locked { file: self, lock }),
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(cannot_lock(error)),
                }
                if cx.clock().monotonic().saturating_duration_since(since) > LONGEST_LOCK {
                    return Err(Error::unavailable("another process does not give `token_file` back")
                        .help("see which process holds the lock, and whether it still runs"));
                }
                cx.sleep(LOCK_POLL).await?;
            }
        };
        locked.await.map_err(|error| error.detail("path", path.display()))
    }

    fn digest(&self) -> String {
        sha256(self.configured.expose().as_bytes())
    }
}

impl Locked<'_> {
    /// What was kept last. When the pipeline file has another refresh token than before, that one counts. The file is written
    /// if it is not there, so that one that cannot be written is noticed before a token is spent.
    ///
    /// # Errors
    /// When the file cannot be read, or holds something else.
    pub(super) async fn load(&self) -> Result<Stored> {
        let Self { file, .. } = self;
        let configured = || Stored { refresh: file.configured.clone(), access: None };
        let loaded = async {
            let text = match tokio::fs::read(&file.path).await {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let (path, content) = (file.path.clone(), self.content(&file.configured, None));
                    in_background(move || write(&path, &content)).await?;
                    return Ok(configured());
                }
                Err(error) => return Err(error).operation("read `token_file`"),
            };
            let stored: Json = serde_json::from_slice(&text).unwrap_or_default();
            // Only a digest of the other one is there.
            match (stored["configured_sha256"].as_str(), stored["refresh_token"].as_str()) {
                (Some(digest), Some(token)) if digest == file.digest() => {
                    Ok(Stored { refresh: Secret::new(token.to_owned()), access: self.access(&stored) })
                }
                (Some(_), Some(_)) => Ok(configured()),
                _ => Err(Error::data("`token_file` holds no refresh token").help("remove the file")),
            }
        };
        loaded.await.map_err(|error| error.detail("path", file.path.display()))
    }

    /// The access token, if it is one that we would get.
    fn access(&self, stored: &Json) -> Option<Access> {
        let access = &stored["access"];
        let is_ours = access["asked_for_sha256"].as_str() == Some(self.file.asked_for.as_str());
        let (token, until) = (access["token"].as_str()?, access["until"].as_u64()?);
        let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(until))?;
        is_ours.then(|| Access { value: Secret::new(token.to_owned()), until })
    }

    /// Keeps a new refresh token, and the access token that came with it. Whether that was possible; if not, it is good for
    /// this run, and the report says so. A run that is stopped meanwhile keeps it all the same.
    pub(super) async fn keep(self, refresh: &Secret, access: Option<&Access>, cx: &Context) -> bool {
        let content = self.content(refresh, access);
        let Self { file, lock } = self;
        let path = file.path.clone();
        let written = in_background(move || {
            let written = write(&path, &content);
            drop(lock);
            written
        });
        let written = written.await;
        if let Err(error) = &written {
            cx.metrics().warn(format!(
                "the new refresh token cannot be kept in {}: the next run needs another one ({error})",
                file.path.display()
            ));
        }
        written.is_ok()
    }

    fn content(&self, refresh: &Secret, access: Option<&Access>) -> Json {
        let mut content =
            json!({ "configured_sha256": self.file.digest(), "refresh_token": refresh.expose() });
        let until = access.and_then(|access| access.until.duration_since(SystemTime::UNIX_EPOCH).ok());
        if let (Some(access), Some(until)) = (access, until) {
            content["access"] = json!({
                "token": access.value.expose(),
                "until": until.as_secs(),
                "asked_for_sha256": self.file.asked_for,
            });
        }
        content
    }
}

/// The file that is locked. It stays where it is: one that is removed and made anew would be two.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    path.with_file_name(name)
}

fn cannot_lock(error: std::io::Error) -> Error {
    let error = match error.kind() {
        std::io::ErrorKind::Unsupported => {
            Error::new(ErrorKind::Unsupported, "there are no locks where `token_file` is").source(error)
        }
        _ => Error::from(error),
    };
    error.operation("lock `token_file`").help("put `token_file` on a local disk")
}

/// Writes a file of its own, and puts it in the place of the old one.
fn write(path: &Path, content: &Json) -> Result<()> {
    let name = format!(".towpath-{}", HEXLOWER.encode(&random::<8>()?));
    let new = path.with_file_name(name);
    let written = || {
        let mut file = for_us_only().create_new(true).open(&new)?;
        file.write_all(content.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    let written = written();
    if written.is_err() {
        // It may never have been made.
        let _ = fs::remove_file(&new);
    }
    written.operation("write `token_file`")
}

fn for_us_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Does what may wait for a disk on another thread, to its end.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::unexpected("work on `token_file` has ended early").source(error)))
}
