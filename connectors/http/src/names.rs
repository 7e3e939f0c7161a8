//! The names of splits: their URLs, as they may be shown.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use url::Url;

/// Gives each URL a name of its own.
#[derive(Default)]
pub(crate) struct Names {
    seen: HashSet<u64>,
    /// How often a name was given to URLs that differ only in what may not be shown.
    shown: HashMap<String, u64>,
}

impl Names {
    /// The name of a URL; `None` when it has one already, because each is read once.
    pub(crate) fn name(&mut self, url: &Url, shown: &str, with: Option<&str>) -> Option<String> {
        let mut hasher = DefaultHasher::new();
        (url.as_str(), with).hash(&mut hasher);
        if !self.seen.insert(hasher.finish()) {
            return None;
        }
        let name = with.map_or_else(|| shown.to_owned(), |with| format!("{shown} [{with}]"));
        if shown == url.as_str() {
            return Some(name);
        }
        let count = self.shown.entry(name.clone()).or_default();
        *count += 1;
        Some(if *count == 1 { name } else { format!("{name} #{count}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_differ_only_in_secrets_get_names_of_their_own() {
        let mut names = Names::default();
        let mut name = |url: &str| {
            let url = Url::parse(url).unwrap();
            names.name(&url, &crate::redact::Redactor::default().url(&url), None)
        };
        assert_eq!(name("http://a/?token=1").as_deref(), Some("http://a/?token=***"));
        assert_eq!(name("http://a/?token=2").as_deref(), Some("http://a/?token=*** #2"));
        assert_eq!(name("http://a/").as_deref(), Some("http://a/"));
        assert_eq!(name("http://a/"), None);
    }
}
