//! Bodies of the kind `multipart/form-data` (RFC 7578).

use bytes::Bytes;
use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256};

/// How much of a digest is enough to stand nowhere else.
const BOUNDARY_BYTES: usize = 16;

/// A field.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) content: String,
    /// What makes a file of it.
    pub(crate) filename: Option<String>,
    pub(crate) content_type: Option<String>,
}

impl Field {
    /// A field that is a text.
    pub(crate) fn text(name: impl Into<String>, content: impl Into<String>) -> Self {
        Self { name: name.into(), content: content.into(), filename: None, content_type: None }
    }

    fn head(&self) -> String {
        let name = quoted(&self.name);
        let filename = self.filename.as_ref().map(|name| format!("; filename=\"{}\"", quoted(name)));
        let content_type = self
            .content_type
            .as_ref()
            .map(|text| format!("\r\nContent-Type: {}", text.replace(['\r', '\n'], " ")));
        let (filename, content_type) = (filename.unwrap_or_default(), content_type.unwrap_or_default());
        format!("Content-Disposition: form-data; name=\"{name}\"{filename}{content_type}")
    }
}

/// What stands between fields. The same fields have the same, so that a request that is sent again is the same.
fn boundary(fields: &[Field]) -> String {
    let mut digest = Context::new(&SHA256);
    for field in fields {
        digest.update(field.head().as_bytes());
        digest.update(field.content.as_bytes());
    }
    format!("towpath-{}", HEXLOWER.encode(&digest.finish().as_ref()[..BOUNDARY_BYTES]))
}

/// The `Content-Type` of a body with these fields.
pub(crate) fn content_type(fields: &[Field]) -> String {
    format!("multipart/form-data; boundary={}", boundary(fields))
}

/// The body.
pub(crate) fn bytes(fields: &[Field]) -> Bytes {
    let boundary = boundary(fields);
    let part = |field: &Field| format!("--{boundary}\r\n{}\r\n\r\n{}\r\n", field.head(), field.content);
    let parts: String = fields.iter().map(part).collect();
    format!("{parts}--{boundary}--\r\n").into()
}

/// A name between quotes, as browsers write it.
fn quoted(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}
