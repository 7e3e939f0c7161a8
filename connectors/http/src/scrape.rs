//! HTML pages to rows and links, as the options say.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use towpath_core::{Error, Result};
use towpath_formats::html::{Extractor, Links, Scraped};
use towpath_formats::{HtmlRead, ReadFormat};
use url::Url;

use crate::config::SourceConfig;

/// Takes rows and links out of pages.
#[derive(Debug, Clone)]
pub(crate) struct Scraper {
    extractor: Extractor,
    links: Option<Links>,
}

impl Scraper {
    /// The scraper of a source, if it reads HTML.
    ///
    /// # Errors
    /// `Config` for wrong selectors.
    pub(crate) fn new(config: &SourceConfig) -> Result<Option<Self>> {
        let Some(ReadFormat::Html(html)) = &config.format else { return Ok(None) };
        Self::of(html, config).map(Some)
    }

    fn of(html: &HtmlRead, config: &SourceConfig) -> Result<Self> {
        let links = config.follow.as_ref().map(|follow| follow.links.parse::<Links>());
        let links = links.transpose().map_err(|error: Error| error.detail("option", "follow.links"))?;
        Ok(Self { extractor: Extractor::new(html)?, links })
    }

    /// The rows of a page, as a JSON document, and the links on it that are to be followed.
    ///
    /// # Errors
    /// `DataInvalid` for a page that cannot be parsed in reasonable time.
    pub(crate) fn scrape(&self, page: &Bytes, headers: &HeaderMap, url: &Url) -> Result<(Bytes, Vec<Url>)> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let charset = content_type.and_then(|text| text.split(';').skip(1).find_map(charset));
        let Scraped { rows, links } = self.extractor.scrape(page, charset, Some(url), self.links.as_ref())?;
        Ok((rows, links))
    }
}

fn charset(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']))
}
