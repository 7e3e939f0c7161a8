//! Uploads in parts.

use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use md5::{Digest, Md5};

use super::bucket::{Object, Part};
use super::xml::{Refusal, document, escaped};
use super::{Call, Response};

/// The least that a part has, but for the last one.
const LEAST: usize = 5 << 20;

/// The most parts of an upload.
const MOST: u32 = 10_000;

impl Call<'_> {
    pub(super) fn begin(&mut self) -> Response {
        let id = self.bucket.begin(self.key, Object::described(self.request, Bytes::new()));
        document(&format!(
            "<InitiateMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><UploadId>{id}</UploadId>\
             </InitiateMultipartUploadResult>",
            self.bucket.name,
            escaped(self.key)
        ))
    }

    pub(super) fn put_part(&mut self, id: &str) -> Result<Response, Refusal> {
        let number = self.request.number("partNumber").and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (1..=MOST).contains(number)).ok_or_else(|| {
            Refusal::new(400, "InvalidArgument", "Part number must be an integer between 1 and 10000.")
        })?;
        let key = (self.key.to_owned(), id.to_owned());
        let upload = self.bucket.uploads.get_mut(&key).ok_or_else(Refusal::no_such_upload)?;
        let bytes = self.request.body.clone();
        let etag = format!("\"{}\"", HEXLOWER.encode(&Md5::digest(&bytes)));
        upload.parts.insert(number, Part { bytes, etag: etag.clone() });
        Ok(Response::status(200).header("etag", etag))
    }

    pub(super) fn abort(&mut self) -> Result<Response, Refusal> {
        let id = self.request.param("uploadId").unwrap_or_default();
        let gone = self.bucket.uploads.remove(&(self.key.to_owned(), id));
        gone.map(|_| Response::status(204)).ok_or_else(Refusal::no_such_upload)
    }

    pub(super) fn complete(&mut self, id: &str) -> Result<Response, Refusal> {
        let key = (self.key.to_owned(), id.to_owned());
        let upload = self.bucket.uploads.get(&key).ok_or_else(Refusal::no_such_upload)?;
        let wanted = named_parts(&String::from_utf8_lossy(&self.request.body)).ok_or_else(|| {
            Refusal::new(400, "MalformedCompleteMultipartUploadRequest", "The XML is malformed.")
        })?;
        if !wanted.is_sorted_by_key(|(number, _)| *number) {
            return Err(Refusal::new(
                400,
                "InvalidPartOrder",
                "The list of parts was not in ascending order.",
            ));
        }
        let (mut bytes, mut digests) = (BytesMut::new(), Vec::new());
        for (at, (number, etag)) in wanted.iter().enumerate() {
            let part = upload.parts.get(number).filter(|part| part.etag == *etag);
            let part = part.ok_or_else(|| {
                Refusal::new(400, "InvalidPart", "One or more of the specified parts could not be found.")
            })?;
            if at + 1 < wanted.len() && part.bytes.len() < LEAST {
                let message = "Your proposed upload is smaller than the minimum object size specified.";
                return Err(Refusal::new(400, "EntityTooSmall", message));
            }
            bytes.extend_from_slice(&part.bytes);
            digests.extend_from_slice(&Md5::digest(&part.bytes));
        }
        let etag = format!("\"{}-{}\"", HEXLOWER.encode(&Md5::digest(&digests)), wanted.len());
        let object = Object { bytes: bytes.freeze(), etag: etag.clone(), ..upload.object.clone() };
        self.bucket.uploads.remove(&key);
        let generation = self.bucket.put(self.key, object);
        let body = format!(
            "<CompleteMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag>\
             </CompleteMultipartUploadResult>",
            self.bucket.name,
            escaped(self.key),
            escaped(&etag)
        );
        Ok(document(&body).header("x-goog-generation", generation.to_string()))
    }
}

/// Numbers and tags of the parts that a request names; `None` when it names none.
fn named_parts(xml: &str) -> Option<Vec<(u32, String)>> {
    let element = |text: &str, name: &str| {
        let rest = text.split_once(&format!("<{name}>"))?.1;
        Some(rest.split_once(&format!("</{name}>"))?.0.replace("&quot;", "\""))
    };
    let parts: Option<Vec<_>> = xml
        .split("<Part>")
        .skip(1)
        .map(|part| Some((element(part, "PartNumber")?.parse().ok()?, element(part, "ETag")?)))
        .collect();
    parts.filter(|parts| !parts.is_empty())
}
