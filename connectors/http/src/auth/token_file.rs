//! The file in which the last refresh token is kept from one run to the next.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde_json::json;
use tokio::fs;
use tokio::io::AsyncWriteExt;
use towpath_core::{Context, Error, Json, Result, ResultExt, Secret};

use super::keys::random;
use super::signature::sha256;

/// Where the last refresh token is kept.
pub(super) struct TokenFile {
    path: PathBuf,
    /// The one of the pipeline file.
    configured: Secret,
}

impl TokenFile {
    pub(super) fn new(path: &Path, configured: &Secret) -> Self {
        Self { path: path.to_owned(), configured: configured.clone() }
    }

    /// The last token. When the pipeline file has another one than before, that one counts. The file is written if it is not
    /// there, so that one that cannot be written is noticed before a token is spent.
    pub(super) async fn load(&self) -> Result<Secret> {
        let loaded = async {
            let text = match fs::read(&self.path).await {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    self.write(&self.configured).await?;
                    return Ok(self.configured.clone());
                }
                Err(error) => return Err(error).operation("read `token_file`"),
            };
            let stored: Json = serde_json::from_slice(&text).unwrap_or_default();
            // Only a digest of the other one is there.
            match (stored["configured_sha256"].as_str(), stored["refresh_token"].as_str()) {
                (Some(digest), Some(token)) if digest == self.digest() => Ok(Secret::new(token.to_owned())),
                (Some(_), Some(_)) => Ok(self.configured.clone()),
                _ => Err(Error::data("`token_file` holds no refresh token").help("remove the file")),
            }
        };
        loaded.await.map_err(|error| error.detail("path", self.path.display()))
    }

    /// Keeps a token. One that cannot be kept is good for this run, and the report says so.
    pub(super) async fn keep(&self, token: &Secret, cx: &Context) {
        if let Err(error) = self.write(token).await {
            cx.metrics().warn(format!(
                "the new refresh token cannot be kept in {}: the next run needs another one ({error})",
                self.path.display()
            ));
        }
    }

    fn digest(&self) -> String {
        sha256(self.configured.expose().as_bytes())
    }

    /// Writes a file of its own, for our eyes only, and puts it in the place of the old one.
    async fn write(&self, token: &Secret) -> Result<()> {
        let content = json!({ "configured_sha256": self.digest(), "refresh_token": token.expose() });
        let name = format!(".towpath-{}", HEXLOWER.encode(&random::<8>()?));
        let new = self.path.with_file_name(name);
        let written = async {
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            options.mode(0o600);
            let mut file = options.open(&new).await?;
            file.write_all(content.to_string().as_bytes()).await?;
            file.sync_all().await?;
            fs::rename(&new, &self.path).await
        };
        let written = written.await;
        if written.is_err() {
            // It may never have been made.
            let _ = fs::remove_file(&new).await;
        }
        written.operation("write `token_file`")
    }
}
