//! Who we are: a key out of the options, or wherever the tools of Google find one.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use towpath_core::{Error, ErrorKind, Result, ResultExt, Secret};

use crate::config::ConnectionOptions;
use crate::federation::Federation;

/// Where a login gets its tokens, unless its file says another place.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// What says who we are.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// Nobody in particular.
    Anybody,
    /// Whoever this token belongs to.
    Token(Secret),
    /// A service account, which signs its tokens itself: the whole key, as JSON.
    ServiceAccount(Secret),
    /// Somebody who has logged in.
    User(User),
    /// Somebody whom Google trusts.
    Federation(Box<Federation>),
    /// Whoever the machine runs as.
    Instance,
}

/// Somebody who has logged in.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct User {
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret,
    pub(crate) refresh_token: Secret,
    #[serde(default = "token_url")]
    pub(crate) token_uri: String,
}

fn token_url() -> String {
    TOKEN_URL.to_owned()
}

/// Who we are, and in which project.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) identity: Identity,
    pub(crate) project: Option<String>,
}

impl From<Identity> for Credentials {
    fn from(identity: Identity) -> Self {
        Self { identity, project: None }
    }
}

impl Credentials {
    /// From the options, or from where they are looked for.
    ///
    /// # Errors
    /// `Config` for a file that is no key, or one of a kind that cannot be used.
    pub(crate) async fn find(options: &ConnectionOptions) -> Result<Self> {
        if options.anonymous {
            return Ok(Identity::Anybody.into());
        }
        if let Some(token) = &options.access_token {
            return Ok(Identity::Token(token.clone()).into());
        }
        if let Some(json) = &options.credentials {
            return parsed(json.expose()).map_err(|error| error.detail("option", "credentials"));
        }
        let told = options.credentials_file.clone().or_else(|| variable("GOOGLE_APPLICATION_CREDENTIALS"));
        if let Some(path) = told {
            return read(&path).await;
        }
        match login() {
            Some(path) if tokio::fs::try_exists(&path).await.unwrap_or(false) => read(&path).await,
            _ => Ok(Identity::Instance.into()),
        }
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where `gcloud` leaves a login.
fn login() -> Option<PathBuf> {
    let folder = variable("CLOUDSDK_CONFIG").or_else(|| {
        if cfg!(windows) {
            return variable("APPDATA").map(|folder| folder.join("gcloud"));
        }
        variable("HOME").map(|home| home.join(".config").join("gcloud"))
    });
    folder.map(|folder| folder.join("application_default_credentials.json"))
}

async fn read(path: &Path) -> Result<Credentials> {
    let json = tokio::fs::read_to_string(path).await.operation("read credentials");
    let found = json.and_then(|json| parsed(&json));
    found.map_err(|error| error.detail("path", path.display()))
}

/// What a file says. Its text is never shown.
fn parsed(json: &str) -> Result<Credentials> {
    let wrong = |message: String| {
        Error::config(message).help(
            "give the key of a service account, as `gcloud iam service-accounts keys create` writes it, or what \
             `gcloud auth application-default login` or `gcloud iam workload-identity-pools create-cred-config` have \
             written",
        )
    };
    let found: Value =
        serde_json::from_str(json).map_err(|_| wrong("the credentials are no JSON".to_owned()))?;
    let text = |name: &str| found[name].as_str().map(str::to_owned);
    let missing = |names: &[&str]| match names.iter().find(|name| text(name).is_none()) {
        Some(name) => Err(wrong(format!("the credentials have no `{name}`"))),
        None => Ok(()),
    };
    let identity = match found["type"].as_str() {
        Some("service_account") => {
            missing(&["client_email", "private_key", "private_key_id"])?;
            Identity::ServiceAccount(Secret::new(json.to_owned()))
        }
        Some("authorized_user") => {
            missing(&["client_id", "client_secret", "refresh_token"])?;
            let user = User::deserialize(&found);
            Identity::User(user.map_err(|_| wrong("the credentials of a user cannot be read".to_owned()))?)
        }
        Some("external_account") => {
            let federation = Federation::deserialize(&found).map_err(|_| {
                wrong("the credentials of workload identity federation cannot be read".to_owned())
            })?;
            federation.check()?;
            Identity::Federation(Box::new(federation))
        }
        Some(other) => {
            let message = format!("credentials of the type `{other}` cannot be used");
            return Err(Error::new(ErrorKind::Unsupported, message).help(
                "give the key of a service account, or a token with `access_token`, such as \
                 `gcloud auth print-access-token` prints",
            ));
        }
        None => return Err(wrong("the credentials have no `type`".to_owned())),
    };
    Ok(Credentials { identity, project: text("project_id").or_else(|| text("quota_project_id")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        parsed(json).unwrap_err().to_string()
    }

    #[test]
    fn a_file_says_what_it_lacks_and_nothing_that_it_holds() {
        assert!(refused("hush").contains("no JSON"));
        assert!(refused("{}").contains("no `type`"));
        let error = refused(r#"{"type": "service_account", "private_key": "hush"}"#);
        assert!(error.contains("`client_email`") && !error.contains("hush"), "{error}");
        let error = refused(r#"{"type": "authorized_user", "client_id": "a", "client_secret": "hush"}"#);
        assert!(error.contains("`refresh_token`") && !error.contains("hush"), "{error}");
        let error = refused(r#"{"type": "impersonated_service_account"}"#);
        assert!(
            error.contains("`impersonated_service_account`") && error.contains("`access_token`"),
            "{error}"
        );
        let error = refused(r#"{"type": "external_account", "audience": "hush"}"#);
        assert!(error.contains("federation") && !error.contains("hush"), "{error}");
        let of_aws = r#"{"type": "external_account", "audience": "a", "subject_token_type": "b", "token_url": "c",
            "credential_source": {"environment_id": "aws1", "url": "http://169.254.169.254"}}"#;
        assert!(refused(of_aws).contains("`credential_source`"));
    }

    #[test]
    fn the_project_comes_with_the_credentials() {
        let json = r#"{"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c",
            "quota_project_id": "ours"}"#;
        let found = parsed(json).unwrap();
        assert_eq!(found.project.as_deref(), Some("ours"));
        assert!(!format!("{found:?}").contains("\"c\""), "{found:?}");
    }
}
