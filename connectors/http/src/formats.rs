//! What a body is: JSON pages, or something that is streamed; and the readers that remember its columns.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use towpath_core::{Error, Result};
use towpath_formats::json::JsonPath;
use towpath_formats::{Compression, JsonRead, ReadFormat, ReadOptions, Reader, SseRead};
use url::Url;

use crate::config::{Pagination, SourceConfig};
use crate::read::Document;
use crate::scrape::Scraper;

/// Content types that say nothing.
const VAGUE: [&str; 4] =
    ["application/octet-stream", "binary/octet-stream", "text/plain", "application/download"];

/// Extensions of documents that are streamed.
const STREAMED: [&str; 14] =
    ["csv", "tsv", "ndjson", "jsonl", "xml", "rss", "atom", "gz", "zst", "bz2", "xz", "br", "lz4", "zz"];

/// Extensions and content types of documents that are read from any place.
const ANYWHERE: [&str; 11] = [
    "parquet",
    "pq",
    "arrow",
    "arrows",
    "ipc",
    "feather",
    "avro",
    "application/vnd.apache.parquet",
    "application/vnd.apache.arrow.file",
    "application/vnd.apache.arrow.stream",
    "application/avro",
];

/// Tells formats, and keeps one reader for each, so that all bodies of a stream agree on their columns.
pub(crate) struct Formats {
    options: ReadOptions,
    /// `JSONPath` to the records.
    pub(crate) records: Option<JsonPath>,
    /// `JSONPath` to the last of them.
    pub(crate) last_record: JsonPath,
    /// What takes rows out of HTML, if that is what is read.
    pub(crate) scraper: Option<Scraper>,
    /// How event streams are read, if they are.
    pub(crate) events: Option<SseRead>,
    /// Whether only JSON makes sense, whatever a server calls it.
    wants_json: bool,
    readers: Mutex<HashMap<String, Reader>>,
}

impl Formats {
    pub(crate) fn new(config: &SourceConfig) -> Result<Self> {
        let in_format = match &config.format {
            Some(ReadFormat::Json(JsonRead { records: Some(path) })) => Some(path.parse::<JsonPath>()?),
            _ => None,
        };
        let records = match (in_format, &config.records) {
            (Some(_), Some(_)) => {
                return Err(Error::config("`records` is set twice")
                    .help("remove it from `format` or from the source"));
            }
            (Some(path), None) => Some(path),
            (None, path) => path.clone(),
        };
        let needs_json = records.is_some() || config.pagination.needs_json();
        if let (true, Some(format)) =
            (needs_json, config.format.as_ref().filter(|format| !is_json_format(format)))
        {
            return Err(Error::config(format!(
                "`records` and totals, cursors and URLs of `pagination` need JSON bodies, not {format:?}"
            ))
            .help("remove `format`, or set it to json"));
        }
        let events = match &config.format {
            Some(ReadFormat::Sse(events)) => Some(events.clone()),
            _ => None,
        };
        if events.is_some() && config.pagination != Pagination::None {
            return Err(Error::config("an event stream has no `pagination`").help("remove it"));
        }
        let options = ReadOptions {
            format: config.format.clone(),
            compression: config.compression,
            columns: config.columns.clone(),
            sample_rows: config.sample_rows,
            ..ReadOptions::default()
        };
        let all = records.as_ref().map_or_else(|| "$".to_owned(), JsonPath::to_string);
        let last_record = format!("{}[-1]", all.trim_end_matches("[*]")).parse()?;
        let wants_json = needs_json || config.format.as_ref().is_some_and(is_json_format);
        Ok(Self {
            options,
            records,
            last_record,
            scraper: Scraper::new(config)?,
            events,
            wants_json,
            readers: Mutex::default(),
        })
    }

    /// What we would like to get.
    pub(crate) fn accept(&self, headers: &mut HeaderMap) {
        let accept = match &self.options.format {
            _ if self.wants_json => "application/json, */*;q=0.5",
            Some(ReadFormat::Csv(_)) => "text/csv, */*;q=0.5",
            Some(ReadFormat::Tsv(_)) => "text/tab-separated-values, */*;q=0.5",
            Some(ReadFormat::Ndjson) => "application/x-ndjson, */*;q=0.5",
            Some(ReadFormat::Sse(_)) => "text/event-stream",
            Some(ReadFormat::Html(_)) => "text/html, application/xhtml+xml, */*;q=0.5",
            Some(ReadFormat::Xml(_)) => "application/xml, text/xml, */*;q=0.5",
            Some(ReadFormat::Parquet) => "application/vnd.apache.parquet, */*;q=0.5",
            Some(ReadFormat::Arrow) => {
                "application/vnd.apache.arrow.file, application/vnd.apache.arrow.stream, */*;q=0.5"
            }
            Some(ReadFormat::Avro) => "application/avro, */*;q=0.5",
            _ => "application/json, */*;q=0.9",
        };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
    }

    /// Whether a body is JSON, which is read as a page.
    ///
    /// # Errors
    /// `DataInvalid` for HTML where nobody asked for it.
    pub(crate) fn is_json(&self, headers: &HeaderMap, url: &Url) -> Result<bool> {
        if self.wants_json {
            return Ok(true);
        }
        if self.options.format.is_some() {
            return Ok(false);
        }
        match content_type(headers) {
            Some(_) if Self::is_html(headers) => Err(html()),
            Some(found) => {
                Ok(found == "application/json" || found == "text/json" || found.ends_with("+json"))
            }
            None => Ok(extension(url) == Some("json")),
        }
    }

    /// Whether formats are told by the answers.
    pub(crate) fn is_told(&self) -> bool {
        self.options.format.is_none() && !self.wants_json
    }

    /// Whether a server calls a body an event stream.
    pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
        content_type(headers).is_some_and(|told| told.eq_ignore_ascii_case("text/event-stream"))
    }

    /// The reader of events, which are lines of JSON.
    pub(crate) fn events_reader(&self) -> Result<Reader> {
        self.shared("events", || {
            let options = ReadOptions {
                format: Some(ReadFormat::Ndjson),
                compression: Some(Compression::None),
                ..self.options.clone()
            };
            Reader::new(options, "events.ndjson", None, None)
        })
    }

    /// Whether a server calls a body HTML.
    pub(crate) fn is_html(headers: &HeaderMap) -> bool {
        matches!(content_type(headers), Some("text/html" | "application/xhtml+xml"))
    }

    /// Whether the body at this URL will be streamed, as far as it can be told without asking.
    pub(crate) fn is_streamed(&self, url: &Url) -> bool {
        let by_name = || extension(url).is_some_and(|extension| STREAMED.contains(&extension));
        !self.wants_json && self.scraper.is_none() && (self.options.format.is_some() || by_name())
    }

    /// Whether the body at this URL is read from any place, and not from its beginning to its end, as far as it can be told
    /// by these headers of an answer, or without asking.
    pub(crate) fn reads_anywhere(&self, headers: Option<&HeaderMap>, url: &Url) -> bool {
        match &self.options.format {
            _ if self.wants_json => false,
            Some(format) => matches!(format, ReadFormat::Parquet | ReadFormat::Arrow | ReadFormat::Avro),
            None => headers
                .and_then(content_type)
                .or_else(|| extension(url))
                .is_some_and(|told| ANYWHERE.iter().any(|known| told.eq_ignore_ascii_case(known))),
        }
    }

    /// The reader of JSON pages.
    pub(crate) fn page_reader(&self) -> Result<Reader> {
        self.shared("json", || {
            let records = self.records.as_ref().map(JsonPath::to_string);
            let format = Some(ReadFormat::Json(JsonRead { records }));
            let options = ReadOptions { format, ..self.options.clone() };
            Reader::new(options, "page.json", None, None)
        })
    }

    /// The reader of all other bodies like this one.
    pub(crate) fn body_reader(&self, document: &Document, url: &Url) -> Result<Reader> {
        let content_type = document.content_type.as_deref().and_then(told);
        let extension =
            url.path().rsplit('/').next().and_then(|name| name.split_once('.')).map(|(_, ends)| ends);
        let key = format!("{content_type:?} {extension:?} {}", document.decoded);
        self.shared(&key, || {
            let codec = match content_type {
                // Servers that call `x.csv.gz` encoded mean that it is a CSV.
                _ if document.decoded => Some(Compression::None),
                Some("application/gzip" | "application/x-gzip") => Some(Compression::Gzip),
                Some("application/zstd") => Some(Compression::Zstd),
                _ => None,
            };
            let compression = self.options.compression.or(codec);
            let options = ReadOptions { compression, ..self.options.clone() };
            Reader::new(options, url.path(), content_type, None)
        })
    }

    fn shared(&self, key: &str, make: impl FnOnce() -> Result<Reader>) -> Result<Reader> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = readers.get(key) {
            return Ok(reader.clone());
        }
        let reader = make()?;
        readers.insert(key.to_owned(), reader.clone());
        Ok(reader)
    }
}

/// The error for a web page where data was expected.
pub(crate) fn html() -> Error {
    Error::data("the server answered with HTML, not data")
        .help("check the URL, and whether the server asks for a login; if it is data, set `format`")
}

fn is_json_format(format: &ReadFormat) -> bool {
    matches!(format, ReadFormat::Json(_))
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    told(headers.get(CONTENT_TYPE)?.to_str().ok()?)
}

/// A content type without its parameters, unless it says nothing.
fn told(content_type: &str) -> Option<&str> {
    let essence = content_type.split(';').next()?.trim();
    (!essence.is_empty() && !VAGUE.iter().any(|vague| essence.eq_ignore_ascii_case(vague))).then_some(essence)
}

fn extension(url: &Url) -> Option<&str> {
    url.path().rsplit('/').next()?.rsplit_once('.').map(|(_, extension)| extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source_config;
    use serde_json::{Value, json};

    fn is_json(options: &Value, content_type: &str, url: &str) -> Result<bool> {
        let mut all = json!({"url": url});
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let formats = Formats::new(&source_config(all)).unwrap();
        let headers = [(CONTENT_TYPE, content_type.parse().unwrap())].into_iter().collect();
        formats.is_json(&headers, &Url::parse(url).unwrap())
    }

    #[test]
    fn json_is_told_by_option_type_or_name() {
        for (options, content_type, url, expected) in [
            (json!({}), "application/json; charset=utf-8", "http://a/x", true),
            (json!({}), "application/vnd.api+json", "http://a/x", true),
            (json!({}), "text/plain", "http://a/x.json?y", true),
            (json!({}), "text/csv", "http://a/x.json", false),
            (json!({}), "application/x-ndjson", "http://a/x", false),
            (json!({"format": "csv"}), "application/json", "http://a/x", false),
            (json!({"format": "json"}), "text/html", "http://a/x", true),
            (json!({"records": "$.data"}), "text/plain", "http://a/x", true),
        ] {
            assert_eq!(is_json(&options, content_type, url).unwrap(), expected, "{content_type} {url}");
        }
    }

    #[test]
    fn html_that_nobody_asked_for_is_an_error() {
        let error = is_json(&json!({}), "text/html; charset=utf-8", "http://a/x").unwrap_err();
        assert_eq!(error.message(), "the server answered with HTML, not data");
    }

    #[test]
    fn options_that_need_json_refuse_another_format() {
        let config = source_config(json!({"url": "http://a/", "records": "$.data", "format": "csv"}));
        assert!(Formats::new(&config).is_err());
    }
}
