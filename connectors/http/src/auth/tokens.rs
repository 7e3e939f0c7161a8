//! Tokens that are fetched: once for all requests of a connection, and again before they expire.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use towpath_core::{Context, Error, ErrorKind, Result, Retry, Secret};

use super::carrier::Carrier;
use super::grant::{Grant, Granted};
use super::jwt::Issuer;
use super::keys::TokenKey;
use super::token_file::{Access, Stored, TokenFile};
use crate::client::Client;
use crate::config::{Auth, ConnectionOptions, TokenAlgorithm, TokenPlace};
use crate::redact::Redactor;

/// How long before its end a token is not used any more; for short-lived ones, a tenth of their life.
const LONGEST_MARGIN: Duration = Duration::from_secs(30);

/// A token, ready to be put on requests.
pub(crate) struct Token {
    pub(super) carrier: Carrier,
    value: Secret,
    /// When it is to be renewed.
    until: Option<Instant>,
}

impl Token {
    /// One that is good until the server refuses it.
    pub(super) fn lasting(carrier: Carrier, value: Secret) -> Self {
        Self { carrier, value, until: None }
    }

    /// Whether it is to be renewed.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// A text without this token.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut redactor = Redactor::default();
        self.tell(&mut redactor);
        redactor.text(text)
    }

    /// Tells the redactor this token.
    pub(crate) fn tell(&self, redactor: &mut Redactor) {
        redactor.hide_value(self.value.expose());
    }
}

/// The tokens of one configuration of a connection.
pub(crate) struct Tokens {
    way: Way,
    /// Where the refresh token is kept.
    file: Option<TokenFile>,
    /// Held while a token is fetched, so that all others wait for that one.
    state: tokio::sync::Mutex<State>,
}

/// A token that was fetched, until when it is used, and the refresh token that came with it.
struct Fetched {
    value: Secret,
    until: Option<SystemTime>,
    refresh: Option<Secret>,
}

/// How tokens come about.
enum Way {
    /// A server is asked for them.
    Asked(Box<Grant>),
    /// We sign them.
    Signed { issuer: Box<Issuer>, place: Option<TokenPlace> },
}

impl Way {
    fn new(auth: &Auth, options: &ConnectionOptions, redactor: &mut Redactor) -> Result<Option<Self>> {
        let Auth::Jwt { secret, secret_in, private_key, algorithm, claims, key_id, expires_in, send, .. } =
            auth
        else {
            return Ok(Grant::new(auth, options, redactor)?.map(|grant| Self::Asked(Box::new(grant))));
        };
        for secret in [secret, private_key].into_iter().flatten() {
            redactor.hide_value(secret.expose());
        }
        if let Some(place) = send {
            place.check()?;
        }
        let usual = if private_key.is_some() { TokenAlgorithm::Rs256 } else { TokenAlgorithm::Hs256 };
        let algorithm = algorithm.unwrap_or(usual);
        let secret = secret.as_ref().map(|secret| (secret, *secret_in));
        let key = (algorithm, TokenKey::new(algorithm, secret, private_key.as_ref())?);
        let issuer = Issuer::new(key, key_id.as_deref(), claims.clone(), *expires_in)?;
        Ok(Some(Self::Signed { issuer: Box::new(issuer), place: send.clone() }))
    }

    async fn token(&self, client: &Client, cx: &Context, refresh: Option<&Secret>) -> Result<Granted> {
        match self {
            // No recording holds tokens, and whoever gives its answers asks for none.
            Self::Asked(_) if cx.traffic().is_replayed() => {
                Ok(Granted { value: Secret::new("replayed".to_owned()), lifetime: None, refresh: None })
            }
            Self::Asked(grant) => grant.fetch(client, cx, refresh).await,
            Self::Signed { issuer, .. } => {
                let value = Secret::new(issuer.token(cx.clock().now())?);
                Ok(Granted { value, lifetime: Some(issuer.lifetime()), refresh: None })
            }
        }
    }

    /// A token in its place.
    fn carrier(&self, token: &str) -> Result<Carrier> {
        match self {
            Self::Asked(grant) => grant.carrier(token),
            Self::Signed { place: Some(place), .. } => Carrier::placed(place, token),
            Self::Signed { place: None, .. } => Carrier::bearer(token),
        }
    }
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    /// The refresh token that came last, where no file holds it.
    refresh: Option<Secret>,
    /// The token that the server has refused last.
    refused: Option<Secret>,
    /// Why there will be no token. Asking once more for each stream that waits might lock the account.
    refusal: Option<Refused>,
}

/// A final refusal, to be told to everybody.
struct Refused {
    message: String,
    help: Option<String>,
    details: Vec<(&'static str, String)>,
}

impl Refused {
    /// What an error tells, if nothing will change about it.
    fn finally(error: &Error) -> Option<Self> {
        if error.kind() != ErrorKind::Unauthenticated || error.is_retryable() {
            return None;
        }
        let details = ["url", "reason"].map(|name| Some((name, error.detail_value(name)?.to_owned())));
        Some(Self {
            message: error.message().to_owned(),
            help: error.help_text().map(str::to_owned),
            details: details.into_iter().flatten().collect(),
        })
    }

    fn error(&self) -> Error {
        let error = Error::new(ErrorKind::Unauthenticated, self.message.clone()).retry(Retry::Never);
        let error = match &self.help {
            Some(help) => error.help(help.clone()),
            None => error,
        };
        self.details.iter().fold(error, |error, (name, value)| error.detail(*name, value))
    }
}

/// What the streams of a connection share.
#[derive(Default)]
struct Known(Mutex<Vec<Kept>>);

/// Tokens, and what they are for: the scheme, and the base URL of its path.
type Kept = (Auth, Option<String>, Arc<Tokens>);

impl Tokens {
    /// The tokens for these options, if their scheme has any. Streams with the same options share them.
    ///
    /// # Errors
    /// `Config`.
    pub(crate) fn shared(
        options: &ConnectionOptions,
        cx: &Context,
        redactor: &mut Redactor,
    ) -> Result<Option<Arc<Self>>> {
        let Some(auth) = &options.auth else { return Ok(None) };
        let Some(way) = Way::new(auth, options, redactor)? else { return Ok(None) };
        let known = cx.connection().shared("", || Ok(Known::default()))?;
        let mut known = known.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = known.iter().find(|(other, base, _)| other == auth && *base == options.base_url);
        if let Some((.., tokens)) = same {
            return Ok(Some(tokens.clone()));
        }
        let tokens = Arc::new(Self { way, file: TokenFile::of(auth), state: tokio::sync::Mutex::default() });
        known.push((auth.clone(), options.base_url.clone(), tokens.clone()));
        Ok(Some(tokens))
    }

    /// A token that is good for a while.
    ///
    /// # Errors
    /// When none can be had.
    pub(crate) async fn current(&self, client: &Client, cx: &Context) -> Result<Arc<Token>> {
        let mut state = self.state.lock().await;
        let now = cx.clock().monotonic();
        if let Some(token) = state.token.as_ref().filter(|token| !token.is_over(now)) {
            return Ok(token.clone());
        }
        state.token = None;
        if let Some(refusal) = &state.refusal {
            return Err(refusal.error());
        }
        // Whoever replays a recording has no such file, and asks for no token.
        let file = self.file.as_ref().filter(|_| !cx.traffic().is_replayed());
        let fetched = if let Some(file) = file {
            self.fetch_or_take(file, client, cx, &mut state).await?
        } else {
            let refresh = state.refresh.clone();
            let fetched = self.fetch(client, cx, &mut state, refresh.as_ref()).await?;
            state.refresh = fetched.refresh.clone().or(refresh);
            fetched
        };
        let left = |until: SystemTime| until.duration_since(cx.clock().now()).unwrap_or_default();
        let token = Arc::new(Token {
            carrier: self.way.carrier(fetched.value.expose())?,
            value: fetched.value,
            until: fetched.until.and_then(|until| now.checked_add(left(until))),
        });
        state.token = Some(token.clone());
        tracing::debug!(connection = cx.connection().name(), "fetched a token");
        Ok(token)
    }

    async fn fetch(
        &self,
        client: &Client,
        cx: &Context,
        state: &mut State,
        refresh: Option<&Secret>,
    ) -> Result<Fetched> {
        let granted = self.way.token(client, cx, refresh).await;
        let granted = granted.inspect_err(|error| state.refusal = Refused::finally(error))?;
        let good_for = |lifetime: Duration| lifetime.saturating_sub(LONGEST_MARGIN.min(lifetime / 10));
        let until = granted.lifetime.and_then(|lifetime| cx.clock().now().checked_add(good_for(lifetime)));
        Ok(Fetched { value: granted.value, until, refresh: granted.refresh })
    }

    /// The token that another process has fetched, if it is still good; else another one, while all others wait for it.
    async fn fetch_or_take(
        &self,
        file: &TokenFile,
        client: &Client,
        cx: &Context,
        state: &mut State,
    ) -> Result<Fetched> {
        let locked = file.lock(cx).await?;
        let refresh = if let Some(unkept) = state.refresh.clone() {
            // The file could not take it, so what is there has been spent.
            unkept
        } else {
            let Stored { refresh, access } = locked.load().await?;
            let is_good = |access: &Access| {
                access.until > cx.clock().now() && state.refused.as_ref() != Some(&access.value)
            };
            if let Some(Access { value, until }) = access.filter(is_good) {
                return Ok(Fetched { value, until: Some(until), refresh: None });
            }
            refresh
        };
        let fetched = self.fetch(client, cx, state, Some(&refresh)).await?;
        if let Some(refresh) = &fetched.refresh {
            let access = fetched.until.map(|until| Access { value: fetched.value.clone(), until });
            let is_kept = locked.keep(refresh, access.as_ref(), cx).await;
            state.refresh = (!is_kept).then(|| refresh.clone());
        }
        Ok(fetched)
    }

    /// Does not use a token any more, which the server has refused. Whoever comes next fetches another, unless somebody has.
    pub(crate) async fn forget(&self, refused: &Arc<Token>) {
        let mut state = self.state.lock().await;
        if state.token.as_ref().is_some_and(|token| Arc::ptr_eq(token, refused)) {
            state.token = None;
            state.refused = Some(refused.value.clone());
        }
    }
}
