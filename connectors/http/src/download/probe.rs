//! Finding out what is at a URL, before it is downloaded.

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName,
    HeaderValue, LAST_MODIFIED, RANGE,
};
use reqwest::{Method, StatusCode};
use towpath_core::{Error, ErrorKind, Result};
use towpath_formats::chunks::Digest;
use url::Url;

use super::{Download, File, checksum};
use crate::client::{Answer, Call};
use crate::read::Reading;

/// What a server said.
struct Told {
    size: Option<u64>,
    /// Whether it sends ranges, if it says so.
    ranges: Option<bool>,
    headers: HeaderMap,
    digest: Option<Digest>,
}

/// What the file of a split is. Asks by HEAD, and where that tells too little, by a GET of the first byte.
///
/// # Errors
/// What the server answers to both.
pub(crate) async fn probe(reading: &Reading, download: &Download) -> Result<File> {
    let url = &reading.request.url;
    let by_head = match head(reading).await {
        Ok(told) => Some(told),
        Err(error) if is_refused(&error) => None,
        Err(error) => return Err(error),
    };
    // Some answer 0 to HEAD for whatever they would have to make.
    let tells_enough = by_head.as_ref().is_some_and(|told| match (told.size, told.ranges) {
        (None | Some(0), _) => false,
        (Some(_), Some(_)) => true,
        (Some(size), None) => size <= download.part_bytes,
    });
    let told = match by_head {
        Some(told) if tells_enough => told,
        by_head => {
            let told = first_byte(reading).await?;
            match by_head {
                // Its answer is that it has no byte, and says no more of it.
                Some(by_head) if told.size == Some(0) => Told { ranges: told.ranges, ..by_head },
                by_head => Told { digest: told.digest.or(by_head.and_then(|told| told.digest)), ..told },
            }
        }
    };
    let digest = match (&download.digest, &download.checksums) {
        (Some(digest), _) => Some(digest.clone()),
        (None, Some(checksums)) => Some(fetch(reading, checksums.url(url)?).await?),
        (None, None) => told.digest,
    };
    Ok(File {
        name: download.naming.name(url, &told.headers)?,
        size: told.size,
        validator: validator(&told.headers),
        digest: digest.map(|digest| digest.to_string()),
        ranges: told.ranges == Some(true),
    })
}

/// Whether a GET may succeed though HEAD failed: many servers, and URLs that were signed for GET, refuse it.
fn is_refused(error: &Error) -> bool {
    let is_final = !error.is_retryable();
    is_final
        && !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Cancelled | ErrorKind::Unauthenticated)
}

/// Asks for a file as it is.
pub(super) fn as_it_is(call: &mut Call) {
    call.raw = true;
    call.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    call.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

async fn head(reading: &Reading) -> Result<Told> {
    let prepare = |call: &mut Call| {
        as_it_is(call);
        call.method = Method::HEAD;
    };
    let answer = reading.get(prepare).await?;
    let ranges = text(&answer.headers, &ACCEPT_RANGES).map(|unit| unit.eq_ignore_ascii_case("bytes"));
    let size = text(&answer.headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
    Ok(Told { size, ranges, digest: checksum::of_headers(&answer.headers, true), headers: answer.headers })
}

async fn first_byte(reading: &Reading) -> Result<Told> {
    let prepare = |call: &mut Call| {
        as_it_is(call);
        call.headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
        call.also = Some(StatusCode::RANGE_NOT_SATISFIABLE);
    };
    // The body of a server that sends all of it is left where it is.
    let Answer { status, headers, .. } = reading.get(prepare).await?;
    let (size, ranges) = match status {
        StatusCode::PARTIAL_CONTENT => (total(&headers), true),
        // No byte can be had of an empty file.
        StatusCode::RANGE_NOT_SATISFIABLE => (total(&headers).or(Some(0)), true),
        _ => (text(&headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok()), false),
    };
    let digest = checksum::of_headers(&headers, status == StatusCode::OK);
    Ok(Told { size, ranges: Some(ranges), headers, digest })
}

/// The length of the whole in `Content-Range: bytes 0-0/LENGTH`.
pub(super) fn total(headers: &HeaderMap) -> Option<u64> {
    text(headers, &CONTENT_RANGE)?.rsplit_once('/')?.1.trim().parse().ok()
}

/// What tells whether the file is still the same: a strong tag, else its time of modification.
fn validator(headers: &HeaderMap) -> Option<String> {
    let tag = text(headers, &ETAG).filter(|tag| !tag.starts_with("W/"));
    tag.or_else(|| text(headers, &LAST_MODIFIED)).map(str::to_owned)
}

/// Whether an answer is about the file with this validator, as far as both can tell.
pub(super) fn is_same(validator: Option<&str>, headers: &HeaderMap) -> bool {
    let Some(validator) = validator else { return true };
    let now = if validator.starts_with('"') { text(headers, &ETAG) } else { text(headers, &LAST_MODIFIED) };
    now.is_none_or(|now| now == validator)
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The digest that a checksum file tells.
async fn fetch(reading: &Reading, url: Url) -> Result<Digest> {
    let shown = reading.shared.client.show(&url);
    let call = Call::read(Method::GET, url, reading.home.clone());
    let mut answer = reading.shared.client.send(&reading.cx, call).await?;
    let text = answer.body.collect(checksum::LARGEST).await.map_err(|error| error.detail("url", &shown))?;
    checksum::of_text(&String::from_utf8_lossy(&text), &reading.request.url).ok_or_else(|| {
        Error::data("the checksum file holds no digest of the file").detail("url", shown).help(
            "`download.digest_url` must lead to hexadecimal digits, or to lines with digits and the file's name",
        )
    })
}
