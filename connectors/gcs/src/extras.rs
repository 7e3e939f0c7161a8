//! What the library does not do, by the XML API.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE,
    HeaderName,
};
use http::{HeaderValue, Method};
use reqwest::Request;
use towpath_core::{Error, Result};
use towpath_objects::{Appearance, CopySource, Extras, ListRequest, MARK, Operation, Page, Upload, Uploads};
use url::Url;

use crate::sink::Writing;
use crate::wire::{KMS_KEY, Wire, header};
use crate::xml;

const ACL: HeaderName = HeaderName::from_static("x-goog-acl");
const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-goog-storage-class");

/// What the type of objects is that have none.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// A bucket by the XML API.
#[derive(Debug)]
pub(crate) struct GcsExtras {
    wire: Wire,
    bucket: Url,
    writing: Arc<Writing>,
}

impl GcsExtras {
    /// `bucket` is its URL.
    pub(crate) fn new(wire: Wire, bucket: Url, writing: Arc<Writing>) -> Self {
        Self { wire, bucket, writing }
    }

    /// A request for the bucket, with those parameters that are set.
    fn of_bucket(&self, parameters: &[(&str, Option<&str>)]) -> Request {
        let mut url = self.bucket.clone();
        let set = parameters.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        url.query_pairs_mut().extend_pairs(set);
        Request::new(Method::GET, url)
    }
}

#[async_trait]
impl Extras for GcsExtras {
    async fn list(&self, request: &ListRequest) -> Result<Page> {
        let request = self.of_bucket(&[
            ("list-type", Some("2")),
            ("prefix", Some(request.prefix.as_str()).filter(|prefix| !prefix.is_empty())),
            ("delimiter", request.folders.then_some("/")),
            ("start-after", request.after.as_deref()),
            ("continuation-token", request.token.as_deref()),
        ]);
        xml::page(&self.wire.send(request).await?)
    }

    async fn begin_upload(&self, key: &str, mark: &str, appearance: &Appearance) -> Result<String> {
        let mut url = self.bucket.clone();
        url.path_segments_mut().map_err(|()| Error::config("`endpoint` has no path"))?.push(key);
        url.set_query(Some("uploads"));
        let mut request = Request::new(Method::POST, url);
        let headers = request.headers_mut();
        let kind = appearance.content_type.as_deref().unwrap_or(UNKNOWN_TYPE);
        // Google refuses requests that do not say that nothing comes.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        headers.insert(CONTENT_TYPE, header("content_type", kind)?);
        headers.insert(marked(), header("mark", mark)?);
        for (name, option, value) in [
            (CONTENT_ENCODING, "content_encoding", &appearance.content_encoding),
            (CACHE_CONTROL, "cache_control", &appearance.cache_control),
            (STORAGE_CLASS, "storage_class", &appearance.storage_class),
        ] {
            if let Some(value) = value {
                headers.insert(name, header(option, value)?);
            }
        }
        for (name, value) in [
            (CONTENT_DISPOSITION, &appearance.content_disposition),
            (CONTENT_LANGUAGE, &appearance.content_language),
        ] {
            if let Some(value) = value {
                headers.insert(name, header("header", value)?);
            }
        }
        for (name, value) in &appearance.metadata {
            let name = HeaderName::try_from(format!("x-goog-meta-{name}"))
                .map_err(|_| Error::config("this is no name of a note").detail("name", name))?;
            headers.insert(name, header("metadata", value)?);
        }
        let Writing { kms_key, acl } = &*self.writing;
        for (name, value) in [(KMS_KEY, kms_key), (ACL, acl)] {
            headers.extend(value.clone().map(|value| (name, value)));
        }
        xml::upload_id(&self.wire.send(request).await?)
    }

    async fn uploads(&self, prefix: &str, after: Option<&Upload>) -> Result<Uploads> {
        let request = self.of_bucket(&[
            ("uploads", Some("")),
            ("prefix", Some(prefix).filter(|prefix| !prefix.is_empty())),
            ("key-marker", after.map(|after| after.key.as_str())),
            ("upload-id-marker", after.map(|after| after.id.as_str())),
        ]);
        xml::uploads(&self.wire.send(request).await?)
    }

    /// The XML API has no such request.
    async fn copy_part(&self, _: &Upload, _: usize, _: &CopySource) -> Result<Option<String>> {
        Ok(None)
    }

    fn lists_in_order(&self) -> bool {
        true
    }

    fn permission(&self, operation: Operation) -> Option<&'static str> {
        Some(match operation {
            Operation::List => "storage.objects.list",
            Operation::Read => "storage.objects.get",
            Operation::Write => "storage.objects.create",
            Operation::Delete => "storage.objects.delete",
            Operation::ListUploads => "storage.multipartUploads.list",
            Operation::ListParts => "storage.multipartUploads.listParts",
            Operation::AbortUpload => "storage.multipartUploads.abort",
        })
    }

    fn role(&self, operation: Operation) -> Option<&'static str> {
        Some(match operation {
            Operation::List | Operation::Read => "roles/storage.objectViewer",
            _ => "roles/storage.objectUser",
        })
    }
}

/// How an object carries the mark of its upload.
fn marked() -> HeaderName {
    let name = format!("x-goog-meta-{MARK}");
    HeaderName::try_from(name).expect("the mark is of letters alone")
}
