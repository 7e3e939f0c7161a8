//! Recordings of what a run hears from servers: kept as they come, and given back without a network.
//!
//! A recording is NDJSON: a line that says what it is, and then a line for each exchange, as it comes.
//!
//! ```text
//! {"towpath_recording":1,"began":"2026-03-01T12:00:00.000Z"}
//! {"n":1,"at":"2026-03-01T12:00:00.213Z","asked":"GET https://api.example/items?page=1","request":{...},
//!  "answer":{"status":200,"headers":[["content-type","application/json"]]},"body":"{\"items\":[]}"}
//! ```
//!
//! A body that is no text stands as `{"base64": "..."}`. A long one goes on in further lines with the number of its
//! exchange: `more` says that another follows, `cut` that and why the body ended early. So neither recording nor
//! replaying holds a body in memory, and what a run that was killed has written can be read. A name that ends in `.gz` is
//! compressed.

mod record;
mod replay;

use chrono::{DateTime, SecondsFormat, Utc};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::SystemTime;
use towpath_core::{Error, Json};

pub use record::FileRecorder;
pub use replay::FileRecording;

/// The version of the form.
const VERSION: u32 = 1;

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    towpath_recording: u32,
    began: DateTime<Utc>,
}

/// Every other line.
#[derive(Serialize, Deserialize)]
struct Line {
    n: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<Json>,
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    body: Text,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<String>,
}

/// Bytes, as text where they are.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Encoded { base64: String },
}

impl Default for Text {
    fn default() -> Self {
        Self::Plain(String::new())
    }
}

impl Text {
    fn new(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes)
            .map_or_else(|error| Self::Encoded { base64: BASE64.encode(error.as_bytes()) }, Self::Plain)
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Plain(text) if text.is_empty())
    }

    /// The bytes; `None` where they are not what they say.
    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Plain(text) => Some(text.into_bytes()),
            Self::Encoded { base64 } => BASE64.decode(base64.as_bytes()).ok(),
        }
    }
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn failed(what: &str, path: &Path, error: std::io::Error) -> Error {
    let error = match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::config(format!("the recording cannot be {what}: no such file or folder"))
        }
        _ => Error::unexpected(format!("the recording cannot be {what}")).source(error),
    };
    error.detail("file", path.display())
}

#[cfg(test)]
mod tests;
