//! The options of scraping: which links are followed, and whether sites are asked.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{Error, Result};
use towpath_formats::ReadFormat;

use super::{Pagination, ReadMethod, SourceConfig};

/// The most pages of a crawl: what is known of them stands in each position.
const MOST_PAGES: u32 = 10_000;

/// Which links of HTML pages are followed.
///
/// Each page is read once, in the order in which the links to it were found. Pages that are gone (404, 410), that are no
/// HTML, or that `robots.txt` does not allow are left out.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Follow {
    /// The CSS selector of the links, such as `a.next`.
    pub links: String,
    /// How many links a page may be away from the first; by default any number.
    #[serde(default)]
    pub depth: Option<u32>,
    /// Whether links to other hosts are left out; they are by default.
    #[serde(default = "yes")]
    pub same_host: bool,
    /// The most pages of one URL; 100 by default, 10,000 at most.
    #[serde(default = "hundred_pages")]
    pub max_pages: NonZeroU32,
}

/// Whether sites are asked by their `robots.txt`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RobotsPolicy {
    /// What a site does not allow is not read, and its `Crawl-delay` is kept.
    #[default]
    Obey,
    /// They are not asked.
    Ignore,
}

impl Follow {
    /// Holds it against the other options.
    pub(crate) fn validate(config: &SourceConfig) -> Result<()> {
        let Some(follow) = &config.follow else { return Ok(()) };
        if !matches!(config.format, Some(ReadFormat::Html(_))) {
            return Err(Error::config("`follow` is for HTML").help("set `format: { type: html, ... }`"));
        }
        if config.pagination != Pagination::None {
            return Err(Error::config("`follow` and `pagination` are two ways to the next page")
                .help("remove one of them"));
        }
        if config.job.is_some() {
            return Err(Error::config("`follow` and `job` do not go together").help("remove one of them"));
        }
        if config.body.is_some() || !matches!(config.method, None | Some(ReadMethod::Get)) {
            return Err(Error::config("`follow` follows links, which are read by GET")
                .help("remove `method` and `body`"));
        }
        if follow.max_pages.get() > MOST_PAGES {
            return Err(Error::config(format!("`follow.max_pages` is above {MOST_PAGES}"))
                .help("begin at several `urls`, each of which has pages of its own"));
        }
        Ok(())
    }
}

fn yes() -> bool {
    true
}

fn hundred_pages() -> NonZeroU32 {
    const HUNDRED: NonZeroU32 = NonZeroU32::new(100).expect("a hundred is not zero");
    HUNDRED
}
