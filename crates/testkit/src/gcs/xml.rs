//! Answers in XML: refusals and listings.

use std::fmt::Write;

use super::auth::Right;
use super::{Call, Response};

/// How many items a page has.
const PAGE: usize = 1000;

/// A refusal, as the XML API gives it.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
    details: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: &str) -> Self {
        Self { status, code, message: message.to_owned(), details: None }
    }

    fn details(self, details: impl Into<String>) -> Self {
        Self { details: Some(details.into()), ..self }
    }

    pub(super) fn no_such_bucket(name: &str) -> Self {
        Self::new(404, "NoSuchBucket", "The specified bucket does not exist.").details(name)
    }

    pub(super) fn no_such_key(key: &str) -> Self {
        Self::new(404, "NoSuchKey", "The specified key does not exist.")
            .details(format!("No such object: {key}"))
    }

    pub(super) fn no_such_upload() -> Self {
        Self::new(404, "NoSuchUpload", "The requested upload was not found.")
    }

    pub(super) fn no_length() -> Self {
        Self::new(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    }

    pub(super) fn precondition() -> Self {
        Self::new(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
    }

    pub(super) fn unauthenticated() -> Self {
        Self::new(401, "AuthenticationRequired", "Authentication required.")
    }

    pub(super) fn denied(who: &str, right: Right) -> Self {
        let details = format!(
            "{who} does not have {} access to the Google Cloud Storage object. Permission denied on resource (or it \
             may not exist).",
            right.permission()
        );
        Self::new(403, "AccessDenied", "Access denied.").details(details)
    }

    pub(super) fn user_project_missing() -> Self {
        Self::new(
            400,
            "UserProjectMissing",
            "Bucket is a requester pays bucket but no user project provided.",
        )
    }

    pub(super) fn too_fast(key: &str) -> Self {
        let message = format!(
            "The object {key} exceeded the rate limit for object mutation operations (create, update, and delete). \
             Please reduce your request rate."
        );
        Self::new(429, "SlowDown", &message)
    }

    pub(super) fn not_implemented() -> Self {
        Self::new(
            501,
            "NotImplemented",
            "A header or query you provided requested a function that is not implemented.",
        )
    }

    pub(super) fn response(self) -> Response {
        let Self { status, code, message, details } = self;
        let details =
            details.map_or_else(String::new, |details| format!("<Details>{}</Details>", escaped(&details)));
        let message = escaped(&message);
        document(&format!("<Error><Code>{code}</Code><Message>{message}</Message>{details}</Error>"))
            .with_status(status)
    }
}

/// An answer in XML.
pub(super) fn document(body: &str) -> Response {
    let text = format!("<?xml version='1.0' encoding='UTF-8'?>{body}");
    Response::bytes("application/xml; charset=UTF-8", text)
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// An object of a listing, or what several keys have in common.
enum Item<'a> {
    Key(&'a str),
    Prefix(&'a str),
}

impl Call<'_> {
    /// `list-type=2`.
    pub(super) fn list(&self) -> Response {
        let parameter = |name: &str| self.request.param(name).filter(|value| !value.is_empty());
        let prefix = parameter("prefix").unwrap_or_default();
        let delimiter = parameter("delimiter");
        let most =
            self.request.number("max-keys").and_then(|most| usize::try_from(most).ok()).unwrap_or(PAGE);
        let (token, after) = (parameter("continuation-token"), parameter("start-after"));
        let is_wanted = |key: &&str| {
            let is_behind_token = token.as_ref().is_none_or(|token| {
                let is_prefix =
                    delimiter.as_ref().is_some_and(|delimiter| token.ends_with(delimiter.as_str()));
                *key > token.as_str() && !(is_prefix && key.starts_with(token.as_str()))
            });
            key.starts_with(&prefix) && is_behind_token && after.as_deref().is_none_or(|after| *key > after)
        };
        let mut items: Vec<Item<'_>> = Vec::new();
        let mut next = None;
        for key in self.bucket.keys().filter(is_wanted) {
            let common = delimiter.as_ref().and_then(|delimiter| {
                let at = key[prefix.len()..].find(delimiter.as_str())?;
                Some(&key[..prefix.len() + at + delimiter.len()])
            });
            if matches!((items.last(), common), (Some(Item::Prefix(last)), Some(common)) if *last == common) {
                continue;
            }
            if items.len() == most.min(PAGE) {
                next = items.last().map(|(Item::Key(last) | Item::Prefix(last))| (*last).to_owned());
                break;
            }
            items.push(common.map_or(Item::Key(key), Item::Prefix));
        }
        let mut body = String::from("<ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>");
        let _ = write!(body, "<Name>{}</Name><Prefix>{}</Prefix>", self.bucket.name, escaped(&prefix));
        let _ =
            write!(body, "<IsTruncated>{}</IsTruncated><KeyCount>{}</KeyCount>", next.is_some(), items.len());
        if let Some(next) = next {
            let _ = write!(body, "<NextContinuationToken>{}</NextContinuationToken>", escaped(&next));
        }
        // Keys come first, then what they have in common.
        let (keys, prefixes): (Vec<_>, Vec<_>) = items.iter().partition(|item| matches!(item, Item::Key(_)));
        for item in keys.into_iter().chain(prefixes) {
            self.write_item(&mut body, item);
        }
        document(&(body + "</ListBucketResult>"))
    }

    fn write_item(&self, body: &mut String, item: &Item<'_>) {
        match item {
            Item::Prefix(prefix) => {
                let _ = write!(body, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escaped(prefix));
            }
            Item::Key(key) => {
                let Some(object) = self.bucket.live(key) else { return };
                let _ = write!(
                    body,
                    "<Contents><Key>{}</Key><Generation>{}</Generation><MetaGeneration>1</MetaGeneration>\
                     <LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                    escaped(key),
                    object.generation,
                    object.modified.format("%Y-%m-%dT%H:%M:%S%.3fZ"),
                    escaped(&object.etag),
                    object.bytes.len()
                );
            }
        }
    }

    /// `uploads`.
    pub(super) fn list_uploads(&self) -> Response {
        let parameter = |name: &str| self.request.param(name).unwrap_or_default();
        let (prefix, after_key, after_id) =
            (parameter("prefix"), parameter("key-marker"), parameter("upload-id-marker"));
        let most =
            self.request.number("max-uploads").and_then(|most| usize::try_from(most).ok()).unwrap_or(PAGE);
        let marker = (after_key.as_str(), after_id.as_str());
        let is_behind = |key: &str, id: &str| match marker {
            ("", _) => true,
            (after, "") => key > after,
            _ => (key, id) > marker,
        };
        let wanted = self.bucket.uploads.iter();
        let mut wanted =
            wanted.filter(|((key, id), _)| key.starts_with(&prefix) && is_behind(key, id)).peekable();
        let mut found = String::new();
        let mut last = None;
        for ((key, id), upload) in wanted.by_ref().take(most.min(PAGE)) {
            let _ = write!(
                found,
                "<Upload><Key>{}</Key><UploadId>{id}</UploadId><StorageClass>{}</StorageClass>\
                 <Initiated>{}</Initiated></Upload>",
                escaped(key),
                upload.object.header("x-goog-storage-class").unwrap_or("STANDARD"),
                upload.begun.format("%Y-%m-%dT%H:%M:%S%.3fZ"),
            );
            last = Some((key, id));
        }
        let is_more = wanted.peek().is_some();
        let mut body = format!(
            "<ListMultipartUploadsResult><Bucket>{}</Bucket><Prefix>{}</Prefix><IsTruncated>{is_more}</IsTruncated>",
            self.bucket.name,
            escaped(&prefix)
        );
        if let Some((key, id)) = last.filter(|_| is_more) {
            let _ = write!(
                body,
                "<NextKeyMarker>{}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>",
                escaped(key)
            );
        }
        document(&(body + &found + "</ListMultipartUploadsResult>"))
    }
}
