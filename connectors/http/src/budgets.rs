//! Budgets of parts of an API: so many requests to these URLs in each period, whichever streams send them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::{Either, select};
use tokio::sync::Notify;
use towpath_core::{Clock, Context, Error, Rate, Result};
use url::{Position, Url};

use crate::config::{Budget as Options, BudgetWindow, ConnectionOptions};

/// The budgets of a connection.
#[derive(Default)]
pub(crate) struct Budgets(Vec<(Pattern, Arc<Budget>)>);

/// Those that a request counts against.
pub(crate) struct Matched(Vec<Arc<Budget>>);

/// A number of requests in each period.
pub(crate) struct Budget {
    count: usize,
    period: Duration,
    window: BudgetWindow,
    /// Where the time of moving windows begins.
    began: Instant,
    /// Held by whoever is next, so that requests start in the order in which they came.
    turn: tokio::sync::Mutex<()>,
    spent: Mutex<Spent>,
    changed: Notify,
}

#[derive(Default)]
struct Spent {
    /// Requests that were granted and are not answered. The server counts them now or later.
    under_way: usize,
    /// When the others were answered, as long as they count.
    answered: VecDeque<Duration>,
    /// Nothing is granted before.
    rests_until: Option<Instant>,
}

/// One request of a budget. It counts from its answer: the server has counted it by then at the latest, so that a slow
/// network never puts more into a period of the server than into ours.
pub(crate) struct Ticket {
    budget: Arc<Budget>,
    clock: Arc<dyn Clock>,
    sent: bool,
}

impl Budgets {
    /// The budgets of these options. Streams with the same ones share them.
    ///
    /// # Errors
    /// `Config`.
    pub(crate) fn shared(options: &ConnectionOptions, cx: &Context) -> Result<Arc<Self>> {
        let key = format!("{:?} {:?}", options.budgets, options.base_url);
        cx.connection().shared(&key, || Self::new(&options.budgets, options.base_url.as_deref(), cx))
    }

    fn new(budgets: &[Options], base: Option<&str>, cx: &Context) -> Result<Self> {
        let budget = |options: &Options| -> Result<_> {
            let pattern = Pattern::new(&options.pattern, base)?;
            Ok((pattern, Arc::new(Budget::new(options.rate, options.window, cx.clock().monotonic()))))
        };
        budgets.iter().map(budget).collect::<Result<_>>().map(Self)
    }

    /// Those that a request to this URL counts against.
    pub(crate) fn of(&self, url: &Url) -> Matched {
        let matched = self.0.iter().filter(|(pattern, _)| pattern.matches(url));
        Matched(matched.map(|(_, budget)| budget.clone()).collect())
    }
}

impl Matched {
    /// Waits until all of them have a request left.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(crate) async fn acquire(&self, cx: &Context) -> Result<Vec<Ticket>> {
        let mut tickets = Vec::new();
        // Always in the order of the options, so that no two requests wait for each other.
        for budget in &self.0 {
            tickets.push(budget.acquire(cx).await?);
        }
        Ok(tickets)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets them rest, and says whether there are any.
    pub(crate) fn rest(&self, until: Instant) -> bool {
        self.0.iter().for_each(|budget| budget.rest(until));
        !self.0.is_empty()
    }
}

impl Budget {
    pub(crate) fn new(rate: Rate, window: BudgetWindow, now: Instant) -> Self {
        Self {
            count: usize::try_from(rate.count()).unwrap_or(usize::MAX),
            period: rate.period(),
            window,
            began: now,
            turn: tokio::sync::Mutex::default(),
            spent: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Waits until it has a request left.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(crate) async fn acquire(self: &Arc<Self>, cx: &Context) -> Result<Ticket> {
        let granted = Box::pin(cx.wait_for(self.granted(cx)));
        match select(granted, Box::pin(cx.cancellation().cancelled())).await {
            Either::Left((ticket, _)) => Ok(ticket),
            Either::Right(_) => Err(Error::cancelled()),
        }
    }

    async fn granted(self: &Arc<Self>, cx: &Context) -> Ticket {
        let _turn = self.turn.lock().await;
        loop {
            let changed = Box::pin(self.changed.notified());
            match self.take(cx.clock()) {
                Ok(()) => break,
                Err(Some(wait)) => drop(select(cx.clock().sleep(wait), changed).await),
                Err(None) => changed.await,
            }
        }
        Ticket { budget: self.clone(), clock: cx.clock_arc(), sent: false }
    }

    /// Takes a request, or tells when there might be one: after so long, or when one that is under way has ended.
    fn take(&self, clock: &dyn Clock) -> std::result::Result<(), Option<Duration>> {
        let mut spent = self.spent();
        if let Some(rests) = spent.rests(clock.monotonic()) {
            return Err(Some(rests));
        }
        let now = self.time(clock);
        self.forget_old(&mut spent, now);
        if spent.under_way + spent.answered.len() < self.count {
            spent.under_way += 1;
            return Ok(());
        }
        Err(spent.answered.front().map(|answered| match self.window {
            BudgetWindow::Moving => (*answered + self.period).saturating_sub(now),
            BudgetWindow::Fixed => (self.start(now) + self.period).saturating_sub(now),
        }))
    }

    /// How full it is, and how long it rests.
    pub(crate) fn load(&self, clock: &dyn Clock) -> (Duration, f64) {
        let mut spent = self.spent();
        self.forget_old(&mut spent, self.time(clock));
        let used = spent.under_way + spent.answered.len();
        (spent.rests(clock.monotonic()).unwrap_or_default(), used as f64 / self.count as f64)
    }

    /// Grants nothing until then.
    pub(crate) fn rest(&self, until: Instant) {
        let mut spent = self.spent();
        spent.rests_until = spent.rests_until.max(Some(until));
        self.changed.notify_one();
    }

    /// The time by which its periods go: that of day for fixed ones.
    fn time(&self, clock: &dyn Clock) -> Duration {
        match self.window {
            BudgetWindow::Moving => clock.monotonic().saturating_duration_since(self.began),
            BudgetWindow::Fixed => since_1970(clock.now()),
        }
    }

    /// When the fixed period of a moment began.
    fn start(&self, now: Duration) -> Duration {
        let past = now.as_nanos() % self.period.as_nanos();
        now.saturating_sub(Duration::from_nanos(u64::try_from(past).unwrap_or(u64::MAX)))
    }

    fn forget_old(&self, spent: &mut Spent, now: Duration) {
        let counts = |answered: Duration| match self.window {
            BudgetWindow::Moving => answered + self.period > now,
            BudgetWindow::Fixed => answered >= self.start(now),
        };
        while spent.answered.front().is_some_and(|answered| !counts(*answered)) {
            spent.answered.pop_front();
        }
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spent {
    fn rests(&self, now: Instant) -> Option<Duration> {
        let rests = self.rests_until?.saturating_duration_since(now);
        (!rests.is_zero()).then_some(rests)
    }
}

impl Ticket {
    /// Its request is sent: from now on it counts.
    pub(crate) fn sent(&mut self) {
        self.sent = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut spent = self.budget.spent();
        spent.under_way -= 1;
        if self.sent {
            spent.answered.push_back(self.budget.time(&*self.clock));
        }
        self.budget.changed.notify_one();
    }
}

/// Which URLs a budget is for.
enum Pattern {
    /// Whole URLs but for their query.
    Url(Vec<String>),
    /// Paths of any host.
    Path(Vec<String>),
}

impl Pattern {
    fn new(text: &str, base: Option<&str>) -> Result<Self> {
        let parts = |text: &str| text.split('*').map(str::to_owned).collect();
        match (text.starts_with('/'), base.and_then(|base| Url::parse(base).ok())) {
            (true, Some(base)) => {
                let base = &base[..Position::AfterPath];
                Ok(Self::Url(parts(&format!("{}{text}", base.trim_end_matches('/')))))
            }
            (true, None) => Ok(Self::Path(parts(text))),
            (false, _) if text.starts_with("http://") || text.starts_with("https://") => {
                Ok(Self::Url(parts(text)))
            }
            (false, _) => Err(Error::config(format!("`{text}` in `budgets` is no pattern of a path or URL"))
                .help("write `/search/*`, or `https://host/search/*`")),
        }
    }

    fn matches(&self, url: &Url) -> bool {
        match self {
            Self::Url(parts) => matches(parts, &url[..Position::AfterPath]),
            Self::Path(parts) => matches(parts, url.path()),
        }
    }
}

/// Whether a text has these parts in this order, with anything between them.
fn matches(parts: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = parts else { return parts.concat() == text };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        match rest.split_once(part.as_str()) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

fn since_1970(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, base: Option<&str>, url: &str) -> bool {
        Pattern::new(pattern, base).unwrap().matches(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_pattern_is_a_path_behind_the_base_or_a_url() {
        let base = Some("https://a.example/v2/");
        assert!(matches("/search/*", base, "https://a.example/v2/search/code?q=x"));
        assert!(!matches("/search/*", base, "https://a.example/search/code"));
        assert!(!matches("/search/*", base, "https://b.example/v2/search/code"));
        assert!(!matches("/search/*", base, "https://a.example/v2/search"));
        assert!(matches("/search*", base, "https://a.example/v2/search"));
        assert!(matches("/search", None, "https://b.example/search?q=x"));
        assert!(!matches("/search", None, "https://b.example/search/x"));
        assert!(matches("https://*.example/*/orders", None, "https://b.example/shops/1/orders"));
        assert!(!matches("https://*.example/*/orders", None, "https://b.example/orders"));
        assert!(matches("/*/a/*a", None, "http://x/y/a/a/a"));
        assert!(Pattern::new("search", base).is_err());
    }
}
