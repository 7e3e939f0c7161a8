//! Who asks, and what they may do.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use chrono::Utc;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};

use super::bucket::Bucket;
use super::xml::Refusal;
use super::{PROJECT, Request, Response};

/// Where the metadata server of an instance gives tokens away.
pub(super) const METADATA: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// The private key of the service account. It opens nothing but this server.
const KEY: &str = include_str!("account.pem");

const ACCOUNT: &str = "loader@towpath-test.iam.gserviceaccount.com";

/// What stands in the file of somebody who has logged in.
const CLIENT: [(&str, &str); 3] =
    [("client_id", "towpath-client"), ("client_secret", "client-hush"), ("refresh_token", "refresh-hush")];

/// Whom federation is for.
const AUDIENCE: &str =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/tests";

/// The token of somebody else, whom the server trusts.
pub const FEDERATED: &str = "federated-hush";

const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// A right, which a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    ListBuckets,
    List,
    Get,
    Create,
    Delete,
    ListUploads,
    Abort,
    Unknown,
}

impl Right {
    const ALL: [Self; 7] = [
        Self::ListBuckets,
        Self::List,
        Self::Get,
        Self::Create,
        Self::Delete,
        Self::ListUploads,
        Self::Abort,
    ];

    /// The right that a request for this key needs, or for the bucket where the key is empty.
    pub(super) fn of(request: &Request, key: &str) -> Self {
        let has = |name: &str| request.param(name).is_some();
        match (request.method.as_str(), key.is_empty()) {
            ("GET", true) if has("uploads") => Self::ListUploads,
            ("GET", true) if request.param("list-type").as_deref() == Some("2") => Self::List,
            ("GET" | "HEAD", false) => Self::Get,
            ("PUT" | "POST", false) => Self::Create,
            ("DELETE", false) if has("uploadId") => Self::Abort,
            ("DELETE", false) => Self::Delete,
            _ => Self::Unknown,
        }
    }

    pub(super) fn permission(self) -> &'static str {
        match self {
            Self::ListBuckets => "storage.buckets.list",
            Self::List => "storage.objects.list",
            Self::Get => "storage.objects.get",
            Self::Create => "storage.objects.create",
            Self::Delete => "storage.objects.delete",
            Self::ListUploads => "storage.multipartUploads.list",
            Self::Abort => "storage.multipartUploads.abort",
            Self::Unknown => "storage.unknown",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    Owner,
    Reader,
    /// May do all but this.
    Without(Right),
    Anybody,
}

impl Caller {
    pub(super) fn may(self, right: Right, bucket: Option<&Bucket>) -> bool {
        let reads = matches!(right, Right::List | Right::Get);
        match self {
            Self::Owner => true,
            Self::Reader => reads,
            Self::Without(lacking) => right != lacking,
            Self::Anybody => reads && bucket.is_some_and(|bucket| bucket.public),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Owner => ACCOUNT,
            Self::Reader => "reader@towpath-test.iam.gserviceaccount.com",
            Self::Without(_) => "partly@towpath-test.iam.gserviceaccount.com",
            Self::Anybody => "Anonymous caller",
        }
    }
}

/// The tokens that open the server.
pub(super) struct Accounts {
    pub(super) owner: String,
    pub(super) reader: String,
    lifetime: Duration,
    given: Mutex<HashMap<String, Instant>>,
    /// What the holders of tokens may not do.
    partial: Mutex<HashMap<String, Right>>,
}

impl Accounts {
    pub(super) fn new(lifetime: Option<Duration>) -> Self {
        let lifetime = lifetime.unwrap_or(Duration::from_hours(1));
        Self {
            owner: fresh("owner"),
            reader: fresh("reader"),
            lifetime,
            given: Mutex::default(),
            partial: Mutex::default(),
        }
    }

    /// A token of somebody who lacks one permission.
    pub(super) fn without(&self, permission: &str) -> String {
        let lacking = Right::ALL.into_iter().find(|right| right.permission() == permission);
        let lacking = lacking.expect("the test names a permission that the server knows");
        let token = fresh("partial");
        self.partial.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), lacking);
        token
    }

    /// Who asks, by the token of the request.
    pub(super) fn identify(&self, request: &Request) -> Result<Caller, Refusal> {
        let Some(header) = request.header("authorization") else { return Ok(Caller::Anybody) };
        let token = header.strip_prefix("Bearer ").ok_or_else(Refusal::unauthenticated)?;
        let until = self.given.lock().unwrap_or_else(PoisonError::into_inner).get(token).copied();
        let is_known = token == self.owner
            || until.is_some_and(|until| Instant::now() < until)
            || is_signed(token, SystemTime::now()).is_some();
        let lacking = self.partial.lock().unwrap_or_else(PoisonError::into_inner).get(token).copied();
        match lacking {
            _ if is_known => Ok(Caller::Owner),
            _ if token == self.reader => Ok(Caller::Reader),
            Some(lacking) => Ok(Caller::Without(lacking)),
            None => Err(Refusal::unauthenticated()),
        }
    }

    /// A token of the account that an instance runs as.
    pub(super) fn of_instance(&self, request: &Request) -> Response {
        if request.header("metadata-flavor") != Some("Google") {
            return Response::text("Missing required header: Metadata-Flavor").with_status(403);
        }
        self.give()
    }

    /// A token for somebody who has logged in.
    pub(super) fn refreshed(&self, request: &Request) -> Response {
        let form = form(request);
        if form.param("grant_type").as_deref() != Some("refresh_token") {
            return refused(400, "unsupported_grant_type", "Invalid grant_type");
        }
        let [is_client, is_secret, is_token] =
            CLIENT.map(|(name, value)| form.param(name).as_deref() == Some(value));
        match (is_client && is_secret, is_token) {
            (false, _) => refused(401, "invalid_client", "The OAuth client was not found."),
            (true, false) => refused(400, "invalid_grant", "Token has been expired or revoked."),
            (true, true) => self.give(),
        }
    }

    /// A token for somebody else's.
    pub(super) fn exchanged(&self, request: &Request) -> Response {
        let form = form(request);
        let is_right = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", AUDIENCE),
            ("subject_token", FEDERATED),
            ("subject_token_type", JWT),
        ];
        if is_right.iter().all(|(name, value)| form.param(name).as_deref() == Some(value)) {
            return self.give();
        }
        refused(400, "invalid_grant", "The token of the other is not trusted.")
    }

    /// A token of the service account, for somebody who may be it.
    pub(super) fn impersonated(&self, request: &Request) -> Response {
        let right = serde_json::from_slice::<Value>(&request.body);
        let wants_scope = right.is_ok_and(|body| body["scope"][0].is_string());
        match self.identify(request) {
            Ok(Caller::Owner) if wants_scope => {
                let until = Utc::now() + self.lifetime;
                let until = until.format("%Y-%m-%dT%H:%M:%SZ").to_string();
                Response::json(&json!({"accessToken": self.token(), "expireTime": until}))
            }
            _ => refused(403, "forbidden", "Permission 'iam.serviceAccounts.getAccessToken' denied"),
        }
    }

    fn give(&self) -> Response {
        let seconds = self.lifetime.as_secs();
        Response::json(&json!({"access_token": self.token(), "expires_in": seconds, "token_type": "Bearer"}))
    }

    fn token(&self) -> String {
        let token = fresh("given");
        let until = Instant::now() + self.lifetime;
        self.given.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), until);
        token
    }
}

/// The fields of a form, as if they stood in the query.
fn form(request: &Request) -> Request {
    Request { query: String::from_utf8_lossy(&request.body).into_owned(), ..request.clone() }
}

/// How those who give tokens refuse.
fn refused(status: u16, error: &str, description: &str) -> Response {
    Response::json(&json!({"error": error, "error_description": description})).with_status(status)
}

/// A token that nobody guesses.
fn fresh(name: &str) -> String {
    let unique = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), name);
    format!("ya29.{name}-{unique:016x}")
}

/// The key of a service account, as Google gives it away.
pub(super) fn service_account() -> Value {
    json!({
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "0123456789abcdef",
        "private_key": KEY,
        "client_email": ACCOUNT,
        "client_id": "100000000000000000001",
        "token_uri": "https://oauth2.googleapis.com/token",
    })
}

/// What a login leaves behind.
pub(super) fn authorized_user(token_uri: &str) -> Value {
    let mut user = json!({"type": "authorized_user", "quota_project_id": PROJECT, "token_uri": token_uri});
    for (name, value) in CLIENT {
        user[name] = json!(value);
    }
    user
}

/// What `gcloud iam workload-identity-pools create-cred-config` would write.
pub(super) fn external_account(server: &str, source: &Value, impersonates: bool) -> Value {
    let mut account = json!({
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": JWT,
        "token_url": format!("{server}/sts"),
        "credential_source": source,
    });
    if impersonates {
        account["service_account_impersonation_url"] = json!(format!("{server}/impersonate"));
    }
    account
}

/// Whether a token is one that the service account has signed for itself; `None` when it is not.
fn is_signed(token: &str, now: SystemTime) -> Option<()> {
    static PUBLIC: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let lines: String = KEY.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = BASE64.decode(lines.as_bytes()).expect("the key is base64");
        let pair = RsaKeyPair::from_pkcs8(&der).expect("the key is one of RSA");
        pair.public_key().as_ref().to_vec()
    });
    let (message, signature) = token.rsplit_once('.')?;
    let (head, claims) = message.split_once('.')?;
    let decoded = |text: &str| -> Option<Value> {
        serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).ok()?).ok()
    };
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &*PUBLIC);
    public.verify(message.as_bytes(), &signature).ok()?;
    let (head, claims) = (decoded(head)?, decoded(claims)?);
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let is_right = head["alg"] == "RS256"
        && claims["iss"] == ACCOUNT
        && claims["sub"] == ACCOUNT
        && claims["scope"].as_str()?.contains("https://www.googleapis.com/auth/")
        && claims["exp"].as_u64()? > now
        && claims["exp"].as_u64()? - claims["iat"].as_u64()? <= 3600
        && claims["iat"].as_u64()? <= now + 300;
    is_right.then_some(())
}
