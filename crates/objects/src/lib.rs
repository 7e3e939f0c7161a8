//! What the stores of objects share: S3, Azure Blob Storage, Google Cloud Storage.
//!
//! [`Service`] sends every request, whichever library makes it: one HTTP client, one TLS stack, and the limits of the
//! connection. A [`Bucket`] is the seam: what `object_store` can do for all of them, and [`Extras`] for what it lacks.

mod bucket;
mod extras;
mod http;
mod input;
mod list;
mod network;
mod read;
mod reference;
mod refusal;
mod retry;
pub mod sink;
mod transport;
mod write;

pub use bucket::{Bucket, Stores, classified};
pub use extras::{Appearance, CopySource, Extras, ListRequest, Operation, Page, Upload, Uploads};
pub use http::{Answer, Body, Service};
pub use input::{ObjectInput, Opener};
pub use list::{Listing, Walk};
pub use network::{Client, NetworkOptions, Timeouts};
pub use refusal::{Refusal, told};
pub use retry::retry;
pub use write::MARK;
