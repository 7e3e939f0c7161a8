//! Reading, writing and removing objects.

use std::io::Read;
use std::ops::Range;

use bytes::Bytes;

use super::bucket::Object;
use super::xml::Refusal;
use super::{Call, Request, Response};

/// What an object may say of itself, beside `x-goog-meta-*`.
const KEPT: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "x-goog-storage-class",
];

impl Object {
    /// The object that a request describes.
    pub(super) fn described(request: &Request, bytes: Bytes) -> Self {
        let is_kept = |name: &str| KEPT.contains(&name) || name.starts_with("x-goog-meta-");
        let headers = request.headers.iter().filter(|(name, _)| is_kept(name)).cloned().collect();
        let header = |name: &str| request.header(name).map(str::to_owned);
        Self {
            headers,
            acl: header("x-goog-acl"),
            kms_key: header("x-goog-encryption-kms-key-name"),
            ..Self::new(bytes)
        }
    }
}

impl Call<'_> {
    /// `GET` and `HEAD`.
    pub(super) fn get(&self) -> Result<Response, Refusal> {
        let generation = self.request.param("generation");
        let found = self.bucket.find(self.key, generation.as_deref());
        let object = found.ok_or_else(|| Refusal::no_such_key(self.key))?;
        if self.request.header("if-match").is_some_and(|tag| tag != object.etag) {
            return Err(Refusal::precondition());
        }
        let is_head = self.request.method == "HEAD";
        let response = described(object);
        if let Some(decoded) = self.transcoded(object)? {
            // Its length is not told, and ranges count for nothing.
            let response = response.header("warning", "214 UploadServer gunzipped");
            return Ok(if is_head { response } else { response.body(decoded) });
        }
        let size = object.bytes.len();
        let response = match object.header("content-encoding") {
            Some(encoding) => response.header("content-encoding", encoding),
            None => response,
        };
        let (response, bytes) = match self.request.header("range") {
            Some(range) if !is_head => {
                let range = within(range, size).ok_or_else(|| {
                    Refusal::new(416, "InvalidRange", "The requested range cannot be satisfied.")
                })?;
                let told = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                (response.with_status(206).header("content-range", told), object.bytes.slice(range))
            }
            _ => (response, object.bytes.clone()),
        };
        let response = response.header("content-length", bytes.len().to_string());
        Ok(if is_head { response } else { response.body(bytes) })
    }

    /// Objects that are compressed with gzip are decompressed for those who do not say that they take it.
    fn transcoded(&self, object: &Object) -> Result<Option<Bytes>, Refusal> {
        let takes_it =
            self.request.header("accept-encoding").is_some_and(|accepted| accepted.contains("gzip"));
        let may_not = object.header("cache-control").is_some_and(|control| control.contains("no-transform"));
        if object.header("content-encoding") != Some("gzip") || takes_it || may_not {
            return Ok(None);
        }
        let mut decoded = Vec::new();
        let read = flate2::read::MultiGzDecoder::new(&*object.bytes).read_to_end(&mut decoded);
        read.map_err(|_| Refusal::new(503, "ServiceUnavailable", "The object cannot be decompressed."))?;
        Ok(Some(decoded.into()))
    }

    pub(super) fn put(&mut self) -> Result<Response, Refusal> {
        self.check_generation()?;
        self.check_pace()?;
        let object = Object::described(self.request, self.request.body.clone());
        let etag = object.etag.clone();
        let generation = self.bucket.put(self.key, object);
        Ok(Response::status(200).header("etag", etag).header("x-goog-generation", generation.to_string()))
    }

    pub(super) fn delete(&mut self) -> Result<Response, Refusal> {
        self.check_generation()?;
        self.bucket.remove(self.key).ok_or_else(|| Refusal::no_such_key(self.key))?;
        Ok(Response::status(204))
    }

    /// `x-goog-if-generation-match`; 0 stands for no object.
    fn check_generation(&self) -> Result<(), Refusal> {
        let Some(wanted) = self.request.header("x-goog-if-generation-match") else { return Ok(()) };
        let now = self.bucket.live(self.key).map_or(0, |object| object.generation);
        if wanted == now.to_string() { Ok(()) } else { Err(Refusal::precondition()) }
    }

    fn check_pace(&self) -> Result<(), Refusal> {
        let is_too_fast = self.is_slow && self.bucket.live(self.key).is_some_and(Object::is_fresh);
        if is_too_fast { Err(Refusal::too_fast(self.key)) } else { Ok(()) }
    }
}

/// All that an object says of itself, but for how it is encoded.
fn described(object: &Object) -> Response {
    let mut response = Response::status(200)
        .header("etag", object.etag.clone())
        .header("last-modified", object.modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
        .header("x-goog-generation", object.generation.to_string())
        .header("x-goog-metageneration", "1")
        .header("x-goog-stored-content-encoding", object.header("content-encoding").unwrap_or("identity"))
        .header("x-goog-stored-content-length", object.bytes.len().to_string());
    for (name, value) in object.headers.iter().filter(|(name, _)| *name != "content-encoding") {
        response = response.header(name, value);
    }
    response
}

/// The range of a header, as far as there are bytes.
fn within(range: &str, size: usize) -> Option<Range<usize>> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let found = match (from.parse::<usize>().ok(), to.parse::<usize>().ok()) {
        (Some(from), to) => from..to.map_or(size, |to| to.saturating_add(1)).min(size),
        (None, Some(last)) => size.saturating_sub(last)..size,
        (None, None) => return None,
    };
    (!found.is_empty()).then_some(found)
}
