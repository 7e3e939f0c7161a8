//! Keys that stand in files of their own.

use std::path::Path;

use serde::Deserialize;
use towpath_core::{Error, Result, ResultExt, Secret};

use crate::config::{Auth, ConnectionOptions};

/// The key file of a service account.
#[derive(Deserialize)]
struct ServiceAccount {
    client_email: String,
    private_key: Secret,
    private_key_id: Option<String>,
    token_uri: String,
}

/// The options with what the files hold, so that everything else knows no files.
pub(crate) async fn read_in(options: &ConnectionOptions) -> Result<ConnectionOptions> {
    let mut options = options.clone();
    match &mut options.auth {
        Some(Auth::Jwt { private_key, private_key_file, .. }) => {
            replace(private_key, private_key_file.as_deref()).await?;
        }
        Some(Auth::JwtBearer {
            service_account_file,
            token_url,
            issuer,
            private_key,
            private_key_file,
            key_id,
            ..
        }) => {
            replace(private_key, private_key_file.as_deref()).await?;
            if let Some(path) = service_account_file.as_deref() {
                let account = service_account(path).await?;
                if private_key.is_some() {
                    return Err(Error::config("`service_account_file` holds the private key already")
                        .help("remove `private_key` and `private_key_file`"));
                }
                *private_key = Some(account.private_key);
                *key_id = key_id.take().or(account.private_key_id);
                token_url.get_or_insert(account.token_uri);
                issuer.get_or_insert(account.client_email);
            }
        }
        _ => {}
    }
    Ok(options)
}

async fn replace(key: &mut Option<Secret>, file: Option<&Path>) -> Result<()> {
    let Some(path) = file else { return Ok(()) };
    if key.is_some() {
        return Err(Error::config("`private_key` and `private_key_file` cannot both be set"));
    }
    *key = Some(Secret::new(text("read `private_key_file`", path).await?));
    Ok(())
}

async fn service_account(path: &Path) -> Result<ServiceAccount> {
    let text = text("read `service_account_file`", path).await?;
    // What exactly is wrong is left out: the error has seen the key.
    serde_json::from_str(&text).map_err(|_| {
        Error::config("`service_account_file` is no key file of a service account")
            .detail("path", path.display())
            .help("give the JSON file with `client_email`, `private_key` and `token_uri`")
    })
}

async fn text(operation: &'static str, path: &Path) -> Result<String> {
    tokio::fs::read_to_string(path).await.operation(operation).detail("path", path.display())
}
