//! One client for each connection: permits, redirects, timeouts, and errors that name the URL without its secrets.
//!
//! `call` is what is sent and what comes, `attempt` one request to one server; here is what leads from one to the next.

mod attempt;
mod call;

use std::sync::Arc;

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, Request, Response, StatusCode};
use towpath_core::{ByteSize, Context, Error, Outcome, Result};
use url::Url;

use crate::auth::{self, Credentials, Home, Rotation, Token, Tokens, Turn};
use crate::body::{Body, Deadline};
use crate::budgets::Budgets;
use crate::config::{ConnectionOptions, PrivateNetworks, Timeouts};
use crate::errors::Refusal;
use crate::limits::Limits;
use crate::network;
use crate::pace::Pace;
use crate::redact::Redactor;
use crate::responses::{Case, JUDGED, Ruling};
use crate::tls;

pub(crate) use call::{Answer, Call, Exchanged};

/// The largest answer of a server that gives tokens.
const TOKEN_BYTES: ByteSize = ByteSize::mib(1);

/// How much of a refusal's body is read for its message.
const REFUSAL_BYTES: usize = 4 << 10;

/// Sends requests.
pub(crate) struct Client {
    http: Arc<reqwest::Client>,
    credentials: Credentials,
    /// Of schemes that fetch theirs.
    tokens: Option<Arc<Tokens>>,
    /// Of schemes that have several.
    rotation: Option<Arc<Rotation>>,
    budgets: Arc<Budgets>,
    networks: PrivateNetworks,
    redactor: Redactor,
    timeouts: Timeouts,
    redirects: u32,
}

impl Client {
    /// The client of this connection. The pool of connections is shared by all its streams.
    pub(crate) async fn new(options: &ConnectionOptions, cx: &Context) -> Result<Self> {
        let mut options = auth::read_in(options).await?;
        if cx.traffic().is_replayed() {
            // A recording need not be spared.
            options.budgets.clear();
        }
        let options = &options;
        let mut redactor = Redactor::default();
        redactor.hide_outside(cx.outside());
        let credentials = Credentials::new(options, &mut redactor)?;
        let tokens = Tokens::shared(options, cx, &mut redactor)?;
        // Whoever replays a recording need not have the files of who made it.
        let (certificates, identity) = if cx.traffic().is_replayed() {
            (Vec::new(), None)
        } else {
            (towpath_web::trusted(options.ca_certificate.as_deref()).await?, tls::identity(options).await?)
        };
        network::hide(options, &mut redactor);
        let (connection, key, reach) = (cx.clone(), network::key(options), options.clone());
        let make = move || network::client(&reach, certificates, identity);
        // Reading the system's certificates takes some milliseconds.
        let http = cx.cpu(move || connection.connection().shared(&key, make)).await?;
        Ok(Self {
            http,
            credentials,
            tokens,
            rotation: Rotation::shared(options, cx)?,
            budgets: Budgets::shared(options, cx)?,
            networks: options.private_networks,
            redactor,
            timeouts: options.timeout,
            redirects: options.redirects,
        })
    }

    /// Hides this text in what servers say.
    pub(crate) fn hide(&mut self, text: &str) {
        self.redactor.hide_value(text);
    }

    /// What is hidden in what servers say.
    pub(crate) fn redactor(&mut self) -> &mut Redactor {
        &mut self.redactor
    }

    /// A URL as it may be shown.
    pub(crate) fn show(&self, url: &Url) -> String {
        self.redactor.url(url)
    }

    /// Takes our key out of a URL that a server gave.
    pub(crate) fn take_key_out(&self, url: &mut Url) {
        self.credentials.take_out(url);
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// Everything that is no success, with the URL.
    pub(crate) async fn send(&self, cx: &Context, mut call: Call) -> Result<Answer> {
        let sent = self.follow(cx, &mut call).await;
        sent.map_err(|error| error.detail("url", self.show(&call.url)))
    }

    /// Follows redirects until there is an answer. `call.url` is where it stands.
    async fn follow(&self, cx: &Context, call: &mut Call) -> Result<Answer> {
        let (mut visited, mut renewed, mut waited) = (Vec::new(), false, false);
        let mut turn = Turn::default();
        loop {
            let spacing = match &call.robots {
                Some(robots) => Box::pin(robots.admit(self, cx, &call.home, &call.url)).await?,
                None => None,
            };
            // Before the permit, because a request for a token needs one as well.
            let token = self.token(cx, call, &mut turn).await?;
            let mut pace = Pace::new(&self.budgets, cx, &call.url, turn.is_taken()).await?;
            let permit = match &spacing {
                Some(spacing) => spacing.permit(cx, pace.origin()).await?,
                None => cx.permit(pace.origin()).await?,
            };
            let now = cx.clock().monotonic();
            if !waited && token.as_ref().is_some_and(|token| token.is_over(now)) {
                // It expired while we waited. Where tokens live shorter than a wait, this one has to do.
                waited = true;
                continue;
            }
            let deadline = Deadline::new(cx, self.timeouts.total.map(towpath_core::HumanDuration::get));
            pace.sent();
            turn.sent();
            let (mut response, permit) = self.attempt(cx, call, token.as_deref(), deadline, permit).await?;
            pace.answered();
            let limits = limits(cx, response.headers());
            if self.rotation.as_ref().is_some_and(|all| all.learn(cx, &mut turn, response.status(), limits)) {
                let headers = std::mem::take(response.headers_mut());
                let mut body = Body::new(response, &headers, cx, permit, self.timeouts.idle.get(), deadline)?;
                body.beginning(REFUSAL_BYTES, Outcome::Success).await;
                continue;
            }
            if let Some(target) = redirect(&response, call)? {
                permit.finish(Outcome::Success, cx.clock().monotonic());
                visited.push(call.url.clone());
                if visited.len() > self.redirects as usize {
                    return Err(self.too_many_redirects(&visited, &target));
                }
                call.redirect(response.status(), target);
                continue;
            }
            let status = response.status();
            let headers = std::mem::take(response.headers_mut());
            let at = cx.clock().now();
            let idle = self.timeouts.idle.get();
            let mut body = if call.raw && status.is_success() {
                Body::raw(response, cx, permit, idle, deadline)
            } else {
                Body::new(response, &headers, cx, permit, idle, deadline)?
            };
            let redirected = !visited.is_empty();
            if status.is_success() || call.also == Some(status) || call.takes.contains(&status) {
                if let Some(pause) = limits.exhausted {
                    pace.hold_back(cx, pause, false);
                }
                let url = call.url.clone();
                return Ok(Answer { status, headers, url, redirected, at, token, body, ruling: None });
            }
            if let (StatusCode::UNAUTHORIZED, false, Some(tokens), Some(token)) =
                (status, renewed, &self.tokens, &token)
            {
                renewed = true;
                body.beginning(REFUSAL_BYTES, Outcome::Success).await;
                tokens.forget(token).await;
                continue;
            }
            let ruling = self.refuse(cx, call, &pace, (status, limits), &mut body, token.as_deref()).await?;
            let url = call.url.clone();
            return Ok(Answer { status, headers, url, redirected, at, token, body, ruling: Some(ruling) });
        }
    }

    /// The token for a request, if it gets one.
    async fn token(&self, cx: &Context, call: &Call, turn: &mut Turn) -> Result<Option<Arc<Token>>> {
        match (&self.tokens, &self.rotation) {
            _ if !call.home.owns(&call.url) => Ok(None),
            (Some(tokens), _) => Box::pin(tokens.current(self, cx)).await.map(Some),
            (None, Some(rotation)) => rotation.next(cx, turn).await.map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Sends a request for a token. Nothing follows its redirects, and nothing shows its answer.
    pub(crate) async fn exchange(&self, cx: &Context, request: Request) -> Result<Exchanged> {
        let mut pace = Pace::new(&self.budgets, cx, request.url(), false).await?;
        let method = request.method().clone();
        let permit = cx.permit(pace.origin()).await?;
        pace.sent();
        let deadline = Deadline::new(cx, self.timeouts.total.map(towpath_core::HumanDuration::get));
        let (mut response, permit) = self.execute(cx, request, None, deadline, permit).await?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let limits = limits(cx, &headers);
        let mut body = Body::new(response, &headers, cx, permit, self.timeouts.idle.get(), deadline)?;
        if status.is_success() {
            return Ok(Exchanged { status, headers, limits, body: body.collect(TOKEN_BYTES).await? });
        }
        let refusal =
            Refusal { status, limits, body: String::new(), method: &method, with_credentials: true };
        pace.slow_down(cx, &refusal);
        let body = body.beginning(REFUSAL_BYTES, pace.outcome(&refusal)).await;
        Ok(Exchanged { status, headers, limits, body: body.into() })
    }

    /// The error of a chain of redirects that is too long.
    fn too_many_redirects(&self, visited: &[Url], target: &Url) -> Error {
        let Some(at) = visited.iter().rposition(|url| url == target) else {
            return Error::config(format!("the server redirects more than {} times", self.redirects))
                .detail("to", self.show(target))
                .help("set `url` to the final target, or raise `redirects`");
        };
        let circle = visited[at..].iter().chain([target]).map(|url| self.show(url)).collect::<Vec<_>>();
        Error::config("the server redirects in a circle").detail("redirects", circle.join(" -> ")).help(
            "check `url`, and whether the server expects credentials or a cookie: set `auth` or `headers`",
        )
    }

    /// Ends a request that was refused.
    ///
    /// # Errors
    /// The refusal, unless a rule says that it is none.
    async fn refuse(
        &self,
        cx: &Context,
        call: &Call,
        pace: &Pace,
        (status, limits): (StatusCode, Limits),
        body: &mut Body,
        token: Option<&Token>,
    ) -> Result<Ruling> {
        let mut refusal = Refusal {
            status,
            limits,
            body: String::new(),
            method: if call.reads { &Method::GET } else { &call.method },
            with_credentials: self.credentials.present,
        };
        pace.slow_down(cx, &refusal);
        let rules = call.responses.as_deref().filter(|rules| rules.has(status));
        let most = if rules.is_some() { JUDGED } else { REFUSAL_BYTES };
        let said = body.beginning(most, pace.outcome(&refusal)).await;
        refusal.body = self.without_secrets(&said, &call.home, token);
        let Some(rules) = rules else { return Err(refusal.error()) };
        let case = Case { status, body: Some(&said), shown: &refusal.body, wait: refusal.limits.wait() };
        let ruling = rules.judge(&case, Some(refusal.error()))?;
        ruling.ok_or_else(|| refusal.error())
    }

    /// What a server says, without our secrets.
    pub(crate) fn without_secrets(&self, text: &str, home: &Home, token: Option<&Token>) -> String {
        let text = home.hide(&self.redact(text));
        token.map_or_else(|| text.clone(), |token| token.hide(&text))
    }

    /// A text without the secrets of the configuration.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.redactor.text(text)
    }
}

/// What an answer says about limits.
fn limits(cx: &Context, headers: &HeaderMap) -> Limits {
    let limits = Limits::of(headers, cx.clock().now());
    if cx.traffic().is_replayed() { limits.at_once() } else { limits }
}

/// Where an answer redirects to, if it does.
fn redirect(response: &Response, call: &Call) -> Result<Option<Url>> {
    let follows = match response.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        // These turn a POST into a GET, which would lose the rows of a write.
        StatusCode::SEE_OTHER => call.reads || call.method == Method::GET,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => {
            matches!(call.method, Method::GET | Method::HEAD)
        }
        _ => false,
    };
    let Some(location) = response.headers().get(LOCATION).filter(|_| follows) else { return Ok(None) };
    let target =
        std::str::from_utf8(location.as_bytes()).ok().and_then(|location| call.url.join(location).ok());
    match target.filter(|target| matches!(target.scheme(), "http" | "https")) {
        Some(target) => Ok(Some(target)),
        None => Err(Error::data("the server redirects to something that is no HTTP URL")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source_config;
    use serde_json::json;
    use towpath_testkit::http::{Response, TestServer};

    #[tokio::test]
    async fn each_redirect_is_looked_at() {
        // Another test's thread may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let metadata = "http://169.254.169.254/latest/meta-data/";
        let server =
            TestServer::start(move |_| async move { Response::status(302).header("location", metadata) })
                .await;
        let cx = towpath_testkit::context_with(|builder| builder);
        let mut client = Client::new(&source_config(json!({})).connection(), &cx).await.unwrap();
        // Its resolver still finds this machine, as if that was a public server.
        client.networks = PrivateNetworks::Refuse;
        let mut url = Url::parse(&server.url("/").replace("127.0.0.1", "localhost")).unwrap();
        let home = Arc::new(Home::new(None, &mut url).unwrap());
        let Err(error) = client.send(&cx, Call::read(Method::GET, url, home)).await else {
            panic!("it was followed")
        };
        assert_eq!(error.message(), "the address lies in a private network");
        assert_eq!(error.detail_value("url"), Some(metadata));
        assert_eq!(server.requests().len(), 1);
    }
}
