//! What stands for the scraper in a binary without HTML.

use bytes::Bytes;
use reqwest::header::HeaderMap;
use towpath_core::Result;
use towpath_formats::{ReadFormat, ReadOptions, Reader};
use url::Url;

use crate::config::SourceConfig;

/// There is none.
#[derive(Debug, Clone)]
pub(crate) enum Scraper {}

impl Scraper {
    /// # Errors
    /// `Config` names the feature that this binary lacks.
    pub(crate) fn new(config: &SourceConfig) -> Result<Option<Self>> {
        if matches!(config.format, Some(ReadFormat::Html(_))) {
            let options = ReadOptions { format: config.format.clone(), ..ReadOptions::default() };
            Reader::new(options, "page.html", None, None)?;
        }
        Ok(None)
    }

    /// # Errors
    /// None.
    pub(crate) fn scrape(&self, _: &Bytes, _: &HeaderMap, _: &Url) -> Result<(Bytes, Vec<Url>)> {
        match *self {}
    }
}
