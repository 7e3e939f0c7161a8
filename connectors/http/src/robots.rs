//! `robots.txt` as RFC 9309 has it, and `Crawl-delay`: what a site lets us read, and how fast.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use tokio::sync::OnceCell;
use towpath_core::{Context, Error, ErrorKind, Outcome, Permit, Result};
use towpath_formats::ReadFormat;
use url::Url;

use crate::auth::Home;
use crate::client::{Call, Client};
use crate::config::{RobotsPolicy, SourceConfig};
use crate::limits::LONGEST_PAUSE;

/// How much of a file is read, as the standard wants it.
const MOST_BYTES: usize = 500 << 10;

/// What sites allow, asked once for each of them and connection.
pub(crate) struct Robots {
    /// What we are called in these files.
    product: String,
    sites: Arc<Sites>,
}

#[derive(Default)]
struct Sites(Mutex<HashMap<String, Arc<OnceCell<Site>>>>);

/// What a site allows.
struct Site {
    rules: Rules,
    spacing: Option<Arc<Spacing>>,
}

/// The time between two requests to a site.
pub(crate) struct Spacing {
    turn: tokio::sync::Mutex<()>,
    delay: Duration,
}

impl Spacing {
    /// Waits for the right to a request, and holds the next one back.
    pub(crate) async fn permit(&self, cx: &Context, origin: &str) -> Result<Permit> {
        let _turn = cx.wait_for(self.turn.lock()).await;
        let permit = cx.permit(origin).await?;
        cx.connection().limiter().pause(origin, self.delay);
        Ok(permit)
    }
}

impl Robots {
    /// For a source of HTML, unless it is not to ask.
    pub(crate) fn of(config: &SourceConfig, cx: &Context) -> Result<Option<Self>> {
        let reads_html = matches!(config.format, Some(ReadFormat::Html(_)));
        if !reads_html || config.robots == RobotsPolicy::Ignore {
            return Ok(None);
        }
        Self::new(config.user_agent.as_deref(), cx).map(Some)
    }

    /// For requests of this `User-Agent`.
    fn new(user_agent: Option<&str>, cx: &Context) -> Result<Self> {
        let name = user_agent.unwrap_or("towpath");
        let product: String = name.chars().take_while(|character| is_product(*character)).collect();
        let sites = cx.connection().shared(&format!("robots.txt for {product}"), || Ok(Sites::default()))?;
        Ok(Self { product, sites })
    }

    /// Refuses a URL that its site does not allow, and gives the spacing of those that it allows.
    ///
    /// # Errors
    /// `PermissionDenied` with the detail `robots.txt`; `Unavailable` while nobody knows what is allowed.
    pub(crate) async fn admit(
        &self,
        client: &Client,
        cx: &Context,
        home: &Arc<Home>,
        url: &Url,
    ) -> Result<Option<Arc<Spacing>>> {
        let origin = url.origin().ascii_serialization();
        let cell =
            self.sites.0.lock().unwrap_or_else(PoisonError::into_inner).entry(origin).or_default().clone();
        let file =
            url.join("/robots.txt").map_err(|error| Error::config("this URL has no host").source(error))?;
        let site = cell.get_or_try_init(|| self.ask(client, cx, home, &file)).await?;
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        if site.rules.allows(target) {
            return Ok(site.spacing.clone());
        }
        Err(Error::new(ErrorKind::PermissionDenied, "the site does not want this to be read by programs")
            .detail("robots.txt", client.show(&file))
            .detail("url", client.show(url))
            .help("read what it allows, or, if its owner agrees, set `robots: ignore`"))
    }

    async fn ask(&self, client: &Client, cx: &Context, home: &Arc<Home>, file: &Url) -> Result<Site> {
        let rules = match client.send(cx, Call::read(Method::GET, file.clone(), home.clone())).await {
            Ok(mut answer) => {
                let text = answer.body.beginning(MOST_BYTES, Outcome::Success).await;
                Rules::parse(&text, &self.product)
            }
            // A site that cannot tell now has to be asked again.
            Err(error) if error.is_retryable() || !is_refusal(error.kind()) => return Err(error),
            Err(_) => Rules::default(),
        };
        let spacing = rules.delay.filter(|delay| !delay.is_zero()).map(|delay| {
            Arc::new(Spacing { turn: tokio::sync::Mutex::default(), delay: delay.min(LONGEST_PAUSE) })
        });
        Ok(Site { rules, spacing })
    }
}

/// Whether an error means an answer that there is no such file.
fn is_refusal(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::Unauthenticated | ErrorKind::PermissionDenied | ErrorKind::Config
    )
}

fn is_product(character: char) -> bool {
    character.is_ascii_alphabetic() || matches!(character, '-' | '_')
}

/// What a file says about us.
#[derive(Debug, Default, PartialEq)]
struct Rules {
    rules: Vec<(String, bool)>,
    delay: Option<Duration>,
}

/// The group of a file that is being read.
#[derive(Clone, Copy, PartialEq)]
enum Group {
    Ours,
    Everybody,
    Others,
}

impl Rules {
    /// The rules for this product: those of all groups that name it, else those for everybody.
    fn parse(text: &str, product: &str) -> Self {
        let (mut ours, mut everybody) = (None::<Self>, Self::default());
        let (mut groups, mut in_agents) = (vec![], false);
        for line in text.trim_start_matches('\u{feff}').split(['\n', '\r']) {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "user-agent" => {
                    if !in_agents {
                        groups.clear();
                    }
                    in_agents = true;
                    groups.push(group_of(value, product));
                    if groups.last() == Some(&Group::Ours) {
                        ours.get_or_insert_default();
                    }
                }
                key @ ("allow" | "disallow" | "crawl-delay") => {
                    in_agents = false;
                    if groups.contains(&Group::Ours) {
                        ours.get_or_insert_default().take(key, value);
                    }
                    if groups.contains(&Group::Everybody) {
                        everybody.take(key, value);
                    }
                }
                // Others, such as `Sitemap`, belong to no group.
                _ => {}
            }
        }
        ours.unwrap_or(everybody)
    }

    fn take(&mut self, key: &str, value: &str) {
        match key {
            "crawl-delay" => {
                let seconds =
                    value.parse::<f64>().ok().and_then(|delay| Duration::try_from_secs_f64(delay).ok());
                self.delay = self.delay.max(seconds);
            }
            // An empty rule says nothing.
            _ if value.is_empty() => {}
            key => self.rules.push((normal(value), key == "allow")),
        }
    }

    /// Whether a path with its query may be read: the longest rule decides, and of two as long the one that allows.
    fn allows(&self, target: &str) -> bool {
        let target = normal(target);
        if target == "/robots.txt" {
            return true;
        }
        let fitting = self.rules.iter().filter(|(pattern, _)| fits(pattern, &target));
        fitting.map(|(pattern, allows)| (pattern.len(), *allows)).max().is_none_or(|(_, allows)| allows)
    }
}

fn group_of(value: &str, product: &str) -> Group {
    if value.starts_with('*') {
        return Group::Everybody;
    }
    let name: String = value.chars().take_while(|character| is_product(*character)).collect();
    if !name.is_empty() && name.eq_ignore_ascii_case(product) { Group::Ours } else { Group::Others }
}

/// A path in which each character is written in one way only: what needs no `%` has none, and all else has it in capitals.
fn normal(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let bytes = path.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = hex.filter(|_| bytes[at] == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let (byte, was_escaped) = escaped.map_or((bytes[at], false), |byte| (byte, true));
        at += if was_escaped { 3 } else { 1 };
        let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if unreserved || (!was_escaped && byte.is_ascii_graphic()) {
            normal.push(char::from(byte));
        } else {
            let escaped = format!("%{byte:02X}");
            normal.push_str(&escaped);
        }
    }
    normal
}

/// Whether a pattern with `*` and `$` fits the beginning of a path.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, to_the_end) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| path.strip_prefix(first)) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return !to_the_end || rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if to_the_end && pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(text: &str, target: &str) -> bool {
        Rules::parse(text, "towpath").allows(target)
    }

    #[test]
    fn the_group_that_names_us_counts_and_else_that_of_everybody() {
        let text = "User-agent: other\nDisallow: /\n\nuser-agent: *\nDisallow: /all # not us\n\n\
                    User-Agent: more\nUSER-AGENT: Towpath/2.0\nDisallow: /ours\n\nUser-agent: towpath\nDisallow: /too\n";
        assert!(allows(text, "/all") && allows(text, "/"));
        assert!(!allows(text, "/ours/x") && !allows(text, "/too"));
        let foreign = Rules::parse(text, "somebody");
        assert!(!foreign.allows("/all") && foreign.allows("/ours"));
        assert!(allows("", "/x") && allows("<html>not found</html>", "/x"));
        // A group without rules allows everything.
        assert!(allows("user-agent: *\ndisallow: /\nuser-agent: towpath\ndisallow:\n", "/x"));
        // What stands before all groups is nobody's.
        assert!(allows("disallow: /\nuser-agent: *\nallow: /a", "/b"));
    }

    #[test]
    fn the_longest_rule_decides_and_of_two_the_one_that_allows() {
        let text =
            "user-agent: *\nallow: /p/open\ndisallow: /p\nallow: /same\ndisallow: /same\ndisallow: /q*.html";
        for (target, expected) in [
            ("/p", false),
            ("/p/x", false),
            ("/p/open/x", true),
            ("/same", true),
            ("/q/a.html", false),
            ("/q/a", true),
        ] {
            assert_eq!(allows(text, target), expected, "{target}");
        }
        assert!(allows("user-agent: *\ndisallow: /", "/robots.txt"));
        assert!(!allows("user-agent: *\ndisallow: /", "/robots.txt?x"));
    }

    #[test]
    fn stars_stand_for_anything_and_dollars_for_the_end() {
        for (pattern, path, expected) in [
            ("/fish", "/fish.html", true),
            ("/fish", "/Fish", false),
            ("/fish/", "/fish", false),
            ("/*.php", "/a/b.php?x=1", true),
            ("/*.php$", "/a/b.php?x=1", false),
            ("/*.php$", "/a.php/b.php", true),
            ("/a*b*c", "/a/c/b/c", true),
            ("/a*b*c", "/a/c/b", false),
            ("/a$", "/a", true),
            ("/a$", "/ab", false),
            ("*", "/x", true),
            ("/*?", "/x?y", true),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_character_is_the_same_however_it_is_written() {
        let text = "user-agent: *\ndisallow: /caf\u{e9}\ndisallow: /%7ejoe\ndisallow: /a%3cd";
        assert!(!allows(text, "/caf%c3%a9"));
        assert!(!allows(text, "/~joe/x"));
        assert!(!allows(text, "/a%3Cd"));
        // A slash that is part of a name is no slash.
        assert!(allows("user-agent: *\ndisallow: /a/b", "/a%2Fb"));
    }

    #[test]
    fn the_longest_delay_counts() {
        let delay = |text: &str| Rules::parse(text, "towpath").delay;
        assert_eq!(
            delay("user-agent: *\ncrawl-delay: 1.5\nuser-agent: x\ncrawl-delay: 9"),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(delay("user-agent: *\ncrawl-delay: soon"), None);
        assert_eq!(delay("user-agent: *\ncrawl-delay: -1"), None);
    }
}
