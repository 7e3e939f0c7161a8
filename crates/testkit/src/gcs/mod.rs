//! Google Cloud Storage in the process of a test, as its documentation describes it.
//!
//! There is no emulator that speaks the XML API in full, so this is one, for what a client of objects needs: objects with
//! generations, preconditions, ranges and transcoding, listings, uploads in parts, access tokens. Who asks for anything else
//! is told that it is not there.

mod auth;
mod bucket;
mod objects;
mod uploads;
mod xml;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use towpath_core::Json;

pub use auth::FEDERATED;
pub use bucket::Object;

use crate::http::{Recorded, Request, Response, TestServer};
use auth::{Accounts, Right};
use bucket::{Bucket, Buckets};
use xml::Refusal;

/// The project of all buckets.
pub const PROJECT: &str = "towpath-test";

/// A server with the buckets `landing`, `public` (anybody may read it), `versions` (which keeps what is replaced) and `paid`
/// (whose readers pay). Dropping it ends it.
pub struct GcsServer {
    server: TestServer,
    state: Arc<State>,
}

struct State {
    buckets: Mutex<Buckets>,
    accounts: Accounts,
    /// Whether an object may change once in a second only.
    is_slow: bool,
}

/// Looks at a request before the server does, and may answer in its place.
type Before = dyn Fn(&Request) -> Option<Response> + Send + Sync;

/// Changes an answer on its way.
type After = dyn Fn(&Request, Response) -> Response + Send + Sync;

/// How a server behaves that does not do its best.
#[derive(Default)]
pub struct Conduct {
    before: Option<Box<Before>>,
    after: Option<Box<After>>,
    token_lifetime: Option<Duration>,
    is_slow: bool,
}

impl Conduct {
    /// Some requests are answered by somebody else.
    pub fn answering(before: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) -> Self {
        Self { before: Some(Box::new(before)), ..Self::default() }
    }

    /// Answers are changed on their way.
    pub fn changing(after: impl Fn(&Request, Response) -> Response + Send + Sync + 'static) -> Self {
        Self { after: Some(Box::new(after)), ..Self::default() }
    }

    /// Tokens that it gives away end so soon.
    pub fn tokens_for(lifetime: Duration) -> Self {
        Self { token_lifetime: Some(lifetime), ..Self::default() }
    }

    /// An object may change once in a second, as the documentation says; those that change more often are refused.
    pub fn slow() -> Self {
        Self { is_slow: true, ..Self::default() }
    }
}

impl GcsServer {
    /// Starts a server.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        Self::start_with(Conduct::default()).await
    }

    /// Starts a server that behaves in a certain way.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start_with(conduct: Conduct) -> Self {
        let Conduct { before, after, token_lifetime, is_slow } = conduct;
        let accounts = Accounts::new(token_lifetime);
        let state = Arc::new(State { buckets: Mutex::new(Buckets::new()), accounts, is_slow });
        let (shared, hooks) = (state.clone(), Arc::new((before, after)));
        let server = TestServer::start(move |request| {
            let (state, hooks) = (shared.clone(), hooks.clone());
            async move {
                let (before, after) = &*hooks;
                let given = before.as_ref().and_then(|before| before(&request));
                let answer = given.unwrap_or_else(|| state.answer(&request));
                match after {
                    Some(after) => after(&request, answer),
                    None => answer,
                }
            }
        })
        .await;
        Self { server, state }
    }

    /// Its URL, without a `/` at the end.
    pub fn url(&self) -> String {
        self.server.url("")
    }

    /// Its host and port.
    pub fn authority(&self) -> String {
        self.server.address().to_string()
    }

    /// A token that may do everything.
    pub fn owner_token(&self) -> String {
        self.state.accounts.owner.clone()
    }

    /// A token that may list and read, and nothing else.
    pub fn reader_token(&self) -> String {
        self.state.accounts.reader.clone()
    }

    /// A token that may do everything but what needs this permission, such as `storage.objects.delete`.
    pub fn token_without(&self, permission: &str) -> String {
        self.state.accounts.without(permission)
    }

    /// The key of a service account that may do everything, as Google gives it away.
    pub fn service_account(&self) -> String {
        auth::service_account().to_string()
    }

    /// What `gcloud auth application-default login` would write for somebody who may do everything.
    pub fn authorized_user(&self) -> String {
        auth::authorized_user(&self.server.url("/token")).to_string()
    }

    /// The credentials of somebody whom the server trusts, whose token [`FEDERATED`] this source gives.
    pub fn external_account(&self, source: &Json, impersonates: bool) -> String {
        auth::external_account(&self.url(), source, impersonates).to_string()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.server.requests()
    }

    /// Forgets the requests so far.
    pub fn clear(&self) {
        self.server.clear();
    }

    /// Writes an object, as somebody else would. Tells its generation.
    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) -> u64 {
        self.put_object(bucket, key, Object::new(bytes.into()))
    }

    /// Writes an object with what it says of itself.
    pub fn put_object(&self, bucket: &str, key: &str, object: Object) -> u64 {
        self.buckets().of(bucket).put(key, object)
    }

    /// An object as it is now.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Object> {
        self.buckets().of(bucket).live(key).cloned()
    }

    /// All keys of a bucket.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.buckets().of(bucket).keys().map(str::to_owned).collect()
    }

    /// Begins an upload that nobody goes on with.
    pub fn begin_upload(&self, bucket: &str, key: &str) {
        self.buckets().of(bucket).begin(key, Object::new(Bytes::new()));
    }

    /// The keys of the uploads that were not completed.
    pub fn uploads(&self, bucket: &str) -> Vec<String> {
        self.buckets().of(bucket).uploads.keys().map(|(key, _)| key.clone()).collect()
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.state.buckets()
    }
}

impl State {
    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request) -> Response {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", auth::METADATA) => self.accounts.of_instance(request),
            ("POST", "/token") => self.accounts.refreshed(request),
            ("POST", "/sts") => self.accounts.exchanged(request),
            ("POST", "/impersonate") => self.accounts.impersonated(request),
            ("GET", "/storage/v1/b") => self.list_buckets(request),
            _ => self.xml(request).unwrap_or_else(Refusal::response),
        }
    }

    /// The one method of the JSON API.
    fn list_buckets(&self, request: &Request) -> Response {
        const PAGE: usize = 2;
        let refused = |code: u16, reason: &str, message: &str| {
            let error =
                json!({"code": code, "message": message, "errors": [{"reason": reason, "message": message}]});
            Response::json(&json!({ "error": error })).with_status(code)
        };
        match self.accounts.identify(request) {
            Err(_) => return refused(401, "authError", "Invalid Credentials"),
            Ok(who) if !who.may(Right::ListBuckets, None) => {
                let message =
                    "the caller does not have storage.buckets.list access to the Google Cloud project.";
                return refused(403, "forbidden", message);
            }
            Ok(_) => {}
        }
        match request.param("project") {
            None => return refused(400, "required", "Required parameter: project"),
            Some(project) if project != PROJECT => {
                return refused(404, "notFound", "The requested project was not found.");
            }
            Some(_) => {}
        }
        let names: Vec<String> = self.buckets().names().map(str::to_owned).collect();
        let begin = usize::try_from(request.number("pageToken").unwrap_or(0)).unwrap_or(0);
        let page: Vec<_> = names.iter().skip(begin).take(PAGE).map(|name| json!({ "name": name })).collect();
        let end = begin + page.len();
        let mut body = json!({"kind": "storage#buckets", "items": page});
        if end < names.len() {
            body["nextPageToken"] = json!(end.to_string());
        }
        Response::json(&body)
    }

    fn xml(&self, request: &Request) -> Result<Response, Refusal> {
        let path = request.decoded_path();
        let path = path.trim_start_matches('/');
        let (name, key) = path.split_once('/').unwrap_or((path, ""));
        let who = self.accounts.identify(request)?;
        let mut buckets = self.buckets();
        let bucket = buckets.get(name).ok_or_else(|| Refusal::no_such_bucket(name))?;
        if bucket.payer && request.header("x-goog-user-project").is_none() {
            return Err(Refusal::user_project_missing());
        }
        let right = Right::of(request, key);
        if !who.may(right, Some(bucket)) {
            return Err(Refusal::denied(who.name(), right));
        }
        // Who replaces an object removes the one that was there.
        let replaces = right == Right::Create && request.method == "PUT" && bucket.live(key).is_some();
        if replaces && request.param("uploadId").is_none() && !who.may(Right::Delete, Some(bucket)) {
            return Err(Refusal::denied(who.name(), Right::Delete));
        }
        let mut call = Call { request, bucket, key, is_slow: self.is_slow };
        match right {
            Right::List => Ok(call.list()),
            Right::ListUploads => Ok(call.list_uploads()),
            Right::Get => call.get(),
            Right::Delete => call.delete(),
            Right::Abort => call.abort(),
            Right::Create => match (request.method.as_str(), request.param("uploadId")) {
                _ if request.header("content-length").is_none() => Err(Refusal::no_length()),
                ("PUT", None) => call.put(),
                ("PUT", Some(id)) => call.put_part(&id),
                ("POST", None) if request.param("uploads").is_some() => Ok(call.begin()),
                ("POST", Some(id)) => call.complete(&id),
                _ => Err(Refusal::not_implemented()),
            },
            Right::ListBuckets | Right::Unknown => Err(Refusal::not_implemented()),
        }
    }
}

/// A request for a bucket, or an object in it.
struct Call<'a> {
    request: &'a Request,
    bucket: &'a mut Bucket,
    key: &'a str,
    is_slow: bool,
}
