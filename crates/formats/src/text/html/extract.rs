//! Pages to rows and links.

use std::str::FromStr;

use bytes::Bytes;
use regex::Regex;
use towpath_core::{Error, Result};
use url::Url;

use super::dom::{DOCUMENT, Dom, Id};
use super::encoding;
use super::selector::Selector;
use crate::{Cell, HtmlRead};

/// Takes rows out of pages.
#[derive(Debug, Clone)]
pub struct Extractor {
    rows: Selector,
    columns: Vec<Column>,
}

#[derive(Debug, Clone)]
struct Column {
    /// Its name as JSON.
    name: String,
    select: Option<Selector>,
    attribute: Option<String>,
    absolute: bool,
    regex: Option<Regex>,
    all: bool,
}

/// The links of a page that are to be followed: a CSS selector.
#[derive(Debug, Clone)]
pub struct Links(Selector);

impl FromStr for Links {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(Self)
    }
}

/// What was found on a page.
#[derive(Debug)]
pub struct Scraped {
    /// Its rows, as a JSON array.
    pub rows: Bytes,
    /// The targets of its links, absolute and without fragments, each once and in order.
    pub links: Vec<Url>,
}

impl Extractor {
    /// An extractor with these options.
    ///
    /// # Errors
    /// `Config` for what is no selector or no pattern.
    pub fn new(options: &HtmlRead) -> Result<Self> {
        if options.columns.0.is_empty() {
            return Err(Error::config("`columns` of the HTML format are empty")
                .help("name each column with its selector, such as `columns: { title: \"h2 a\" }`"));
        }
        let columns = options
            .columns
            .0
            .iter()
            .map(|(name, cell)| Column::new(name, cell).map_err(|error| error.detail("column", name)));
        Ok(Self {
            rows: options.rows.parse().map_err(|error: Error| error.detail("option", "rows"))?,
            columns: columns.collect::<Result<_>>()?,
        })
    }

    /// The rows of a page, and of its links those that are to be followed. `charset` is the encoding that the server tells,
    /// `url` where the page is.
    ///
    /// # Errors
    /// `DataInvalid` for elements that are nested too deep.
    pub fn scrape(
        &self,
        page: &[u8],
        charset: Option<&str>,
        url: Option<&Url>,
        links: Option<&Links>,
    ) -> Result<Scraped> {
        let dom = Dom::parse(&encoding::text(page, charset))?;
        let base = base(&dom, url);
        let mut rows = "[".to_owned();
        for row in self.rows.all(&dom, DOCUMENT) {
            self.write_row(&dom, row, base.as_ref(), &mut rows);
        }
        if rows.ends_with(',') {
            rows.pop();
        }
        rows.push(']');
        let links = links.map(|links| links.of(&dom, base.as_ref())).unwrap_or_default();
        Ok(Scraped { rows: rows.into(), links })
    }

    fn write_row(&self, dom: &Dom, row: Id, base: Option<&Url>, rows: &mut String) {
        let start = rows.len();
        rows.push('{');
        let mut finds_some = false;
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                rows.push(',');
            }
            rows.push_str(&column.name);
            rows.push(':');
            let value = column.value(dom, row, base);
            finds_some |= value.is_some();
            rows.push_str(value.as_deref().unwrap_or("null"));
        }
        if finds_some {
            rows.push_str("},");
        } else {
            rows.truncate(start);
        }
    }
}

impl Column {
    fn new(name: &str, cell: &Cell) -> Result<Self> {
        let regex = cell
            .regex
            .as_deref()
            .map(Regex::new)
            .transpose()
            .map_err(|error| Error::config("`regex` is no regular expression").source(error))?;
        Ok(Self {
            name: json_text(name),
            select: cell.select.as_deref().map(str::parse).transpose()?,
            attribute: cell.attribute.as_ref().map(|name| name.to_ascii_lowercase()),
            absolute: cell.absolute,
            regex,
            all: cell.all,
        })
    }

    /// The value as JSON; `None` when nothing is found.
    fn value(&self, dom: &Dom, row: Id, base: Option<&Url>) -> Option<String> {
        let Some(select) = &self.select else {
            let value = self.of(dom, row, base).map(|text| json_text(&text))?;
            return Some(if self.all { format!("[{value}]") } else { value });
        };
        let mut matches = select.all(dom, row);
        if !self.all {
            return self.of(dom, matches.next()?, base).map(|text| json_text(&text));
        }
        let all: Vec<_> =
            matches.filter_map(|id| self.of(dom, id, base)).map(|text| json_text(&text)).collect();
        (!all.is_empty()).then(|| format!("[{}]", all.join(",")))
    }

    /// The value that an element gives.
    fn of(&self, dom: &Dom, id: Id, base: Option<&Url>) -> Option<String> {
        let text = match &self.attribute {
            Some(name) => dom.attribute(id, name)?.trim().to_owned(),
            None => dom.text(id),
        };
        let text = match &self.regex {
            None => text,
            Some(regex) => {
                let found = regex.captures(&text)?;
                found.get(1).or_else(|| found.get(0))?.as_str().to_owned()
            }
        };
        if self.absolute {
            let joined = base.and_then(|base| base.join(&text).ok());
            return Some(joined.map_or(text, Url::into));
        }
        // An attribute may be empty on purpose; a text that is says nothing.
        (self.attribute.is_some() || !text.is_empty()).then_some(text)
    }
}

impl Links {
    fn of(&self, dom: &Dom, base: Option<&Url>) -> Vec<Url> {
        let mut links = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for id in self.0.all(dom, DOCUMENT) {
            let Some(target) = dom.attribute(id, "href") else { continue };
            let target = target.trim();
            let url = match base {
                Some(base) => base.join(target),
                None => Url::parse(target),
            };
            let Ok(mut url) = url else { continue };
            url.set_fragment(None);
            if matches!(url.scheme(), "http" | "https") && seen.insert(url.clone()) {
                links.push(url);
            }
        }
        links
    }
}

/// What relative URLs of a page are relative to.
fn base(dom: &Dom, url: Option<&Url>) -> Option<Url> {
    let told = dom
        .descendants(DOCUMENT)
        .filter(|id| dom.name(*id) == "base")
        .find_map(|id| dom.attribute(id, "href"));
    match (told, url) {
        (Some(told), Some(url)) => Some(url.join(told.trim()).unwrap_or_else(|_| url.clone())),
        (Some(told), None) => Url::parse(told.trim()).ok(),
        (None, url) => url.cloned(),
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
