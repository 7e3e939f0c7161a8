//! Several tokens in rotation, each with a budget of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use towpath_core::{Context, Error, ErrorKind, Rate, Result, Secret};

use super::carrier::Carrier;
use super::tokens::Token;
use crate::budgets::{Budget, Ticket};
use crate::config::{Auth, BudgetWindow, ConnectionOptions};
use crate::limits::{LONGEST_PAUSE, Limits};

/// How long a token rests that has sent too much, when the server does not say.
const SHORT_REST: Duration = Duration::from_secs(1);

/// The tokens of one configuration of a connection.
pub(crate) struct Rotation(Vec<Member>);

struct Member {
    token: Arc<Token>,
    budget: Option<Arc<Budget>>,
    condition: Mutex<Condition>,
}

#[derive(Default)]
struct Condition {
    /// The server does not take it.
    is_aside: bool,
    rests_until: Option<Instant>,
    requests: u64,
}

/// The tokens that one request has had.
#[derive(Default)]
pub(crate) struct Turn {
    current: Option<usize>,
    ticket: Option<Ticket>,
    /// Those that were forbidden what this request asks for.
    forbidden: Vec<usize>,
}

impl Rotation {
    /// The tokens of these options, if there are several. Streams with the same ones share them.
    ///
    /// # Errors
    /// `Config`.
    pub(crate) fn shared(options: &ConnectionOptions, cx: &Context) -> Result<Option<Arc<Self>>> {
        let (tokens, rate, name) = match &options.auth {
            Some(Auth::Bearer { token, tokens, rate_limit }) => {
                (choice("token", token.as_ref(), tokens, *rate_limit)?, *rate_limit, None)
            }
            Some(Auth::ApiKey { name, value, values, place, rate_limit }) => {
                (choice("value", value.as_ref(), values, *rate_limit)?, *rate_limit, Some((*place, name)))
            }
            _ => return Ok(None),
        };
        if tokens.is_empty() {
            return Ok(None);
        }
        let now = cx.clock().monotonic();
        let member = |token: &Secret| -> Result<Member> {
            let carrier = match name {
                Some((place, name)) => Carrier::new(place, name, token.expose())?,
                None => Carrier::bearer(token.expose())?,
            };
            let budget = rate.map(|rate| Arc::new(Budget::new(rate, BudgetWindow::Moving, now)));
            let token = Arc::new(Token::lasting(carrier, token.clone()));
            Ok(Member { token, budget, condition: Mutex::default() })
        };
        let known = cx.connection().shared("", || Ok(Known::default()))?;
        let mut known = known.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rotation)) = known.iter().find(|(auth, _)| Some(auth) == options.auth.as_ref()) {
            return Ok(Some(rotation.clone()));
        }
        let rotation = Arc::new(Self(tokens.iter().map(member).collect::<Result<_>>()?));
        known.extend(options.auth.clone().map(|auth| (auth, rotation.clone())));
        Ok(Some(rotation))
    }

    /// The token that has the most left, when it is ready.
    ///
    /// # Errors
    /// When the server takes none of them; `Cancelled`.
    pub(crate) async fn next(&self, cx: &Context, turn: &mut Turn) -> Result<Arc<Token>> {
        loop {
            let Some((index, rest)) = self.best(cx, turn) else { return Err(none_left()) };
            if !rest.is_zero() {
                cx.wait_for(cx.sleep(rest)).await?;
                continue;
            }
            let member = &self.0[index];
            let ticket = match &member.budget {
                Some(budget) => Some(budget.acquire(cx).await?),
                None => None,
            };
            let mut condition = member.condition();
            if condition.is_aside || condition.rest(cx.clock().monotonic()) > Duration::ZERO {
                // It was while we waited.
                continue;
            }
            condition.requests += 1;
            (turn.current, turn.ticket) = (Some(index), ticket);
            return Ok(member.token.clone());
        }
    }

    /// The best token for a request, and how long it rests.
    fn best(&self, cx: &Context, turn: &Turn) -> Option<(usize, Duration)> {
        let left = self.left(turn).map(|(index, member)| {
            let (rest, load) =
                member.budget.as_ref().map_or((Duration::ZERO, 0.0), |budget| budget.load(cx.clock()));
            let condition = member.condition();
            let rest = rest.max(condition.rest(cx.clock().monotonic()));
            (index, rest, load, condition.requests)
        });
        let best = left.min_by(|one, other| {
            let loads = one.2.total_cmp(&other.2);
            one.1.cmp(&other.1).then(loads).then(one.3.cmp(&other.3))
        });
        best.map(|(index, rest, ..)| (index, rest))
    }

    /// The tokens that a request can still have.
    fn left<'a>(&'a self, turn: &'a Turn) -> impl Iterator<Item = (usize, &'a Member)> {
        self.0
            .iter()
            .enumerate()
            .filter(move |(index, member)| !turn.forbidden.contains(index) && !member.condition().is_aside)
    }

    /// Learns what an answer says about its token. Whether the request is worth another one, which is there.
    pub(crate) fn learn(&self, cx: &Context, turn: &mut Turn, status: StatusCode, limits: Limits) -> bool {
        turn.ticket = None;
        let Some(index) = turn.current.take() else { return false };
        let now = cx.clock().monotonic();
        let spent = match status {
            StatusCode::TOO_MANY_REQUESTS => Some(limits.wait().unwrap_or(SHORT_REST)),
            StatusCode::FORBIDDEN => limits.wait(),
            _ => None,
        };
        if let Some(rest) = spent {
            self.0[index].condition().rest_until(now + rest.min(LONGEST_PAUSE));
            cx.metrics().add_throttled(1);
            return self.best(cx, turn).is_some_and(|(_, rest)| rest.is_zero());
        }
        if status.is_success() {
            if let Some(rest) = limits.exhausted {
                self.0[index].condition().rest_until(now + rest.min(LONGEST_PAUSE));
            }
            // Others are forbidden what this one may do.
            for forbidden in std::mem::take(&mut turn.forbidden) {
                self.put_aside(cx, forbidden, StatusCode::FORBIDDEN);
            }
            return false;
        }
        match status {
            StatusCode::UNAUTHORIZED => self.put_aside(cx, index, status),
            StatusCode::FORBIDDEN => turn.forbidden.push(index),
            _ => return false,
        }
        self.left(turn).next().is_some()
    }

    fn put_aside(&self, cx: &Context, index: usize, status: StatusCode) {
        let was_aside = std::mem::replace(&mut self.0[index].condition().is_aside, true);
        if !was_aside {
            let (number, all, name) = (index + 1, self.0.len(), cx.connection().name());
            cx.metrics().warn(format!(
                "token {number} of {all} of the connection `{name}` is not used any more: the server answered {status}"
            ));
            tracing::warn!(connection = name, number, %status, "a token was refused and is put aside");
        }
    }
}

impl Turn {
    /// Whether the request has a token of a rotation.
    pub(crate) fn is_taken(&self) -> bool {
        self.current.is_some()
    }

    /// The request is sent.
    pub(crate) fn sent(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            ticket.sent();
        }
    }
}

impl Member {
    fn condition(&self) -> MutexGuard<'_, Condition> {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    fn rest(&self, now: Instant) -> Duration {
        self.rests_until.map(|until| until.saturating_duration_since(now)).unwrap_or_default()
    }

    fn rest_until(&mut self, until: Instant) {
        self.rests_until = self.rests_until.max(Some(until));
    }
}

/// What the streams of a connection share.
#[derive(Default)]
struct Known(Mutex<Vec<(Auth, Arc<Rotation>)>>);

/// The tokens of a list, checked against the option for a single one.
fn choice<'a>(
    name: &str,
    single: Option<&Secret>,
    several: &'a [Secret],
    rate: Option<Rate>,
) -> Result<&'a [Secret]> {
    match (single, several) {
        (Some(_), []) if rate.is_some() => {
            Err(Error::config(format!("`auth.rate_limit` is that of `{name}s`"))
                .help("set the `rate_limit` of the connection"))
        }
        (None, []) => Err(Error::config(format!("`auth.{name}` is missing"))
            .help(format!("set `{name}`, or `{name}s` for several in rotation"))),
        (Some(_), [_, ..]) => Err(Error::config(format!("`{name}` and `{name}s` cannot both be set"))),
        _ => Ok(several),
    }
}

fn none_left() -> Error {
    Error::new(ErrorKind::Unauthenticated, "the server has refused each of the tokens")
        .help("check `auth`: the warnings tell which token was refused with what")
}
