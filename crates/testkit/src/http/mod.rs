//! HTTP servers in the process of a test.
//!
//! ```
//! use serde_json::json;
//! use towpath_testkit::http::{Response, TestServer};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let server = TestServer::start(|request| async move {
//!     match (request.path.as_str(), request.attempt) {
//!         ("/users", 1) => Response::status(503).header("retry-after", "1"),
//!         ("/users", _) => Response::json(&json!([{"id": 1}])),
//!         _ => Response::status(404),
//!     }
//! })
//! .await;
//! assert!(server.url("/users").starts_with("http://127.0.0.1:"));
//! assert!(server.requests().is_empty());
//! # });
//! ```

mod body;
mod raw;
mod response;
mod server;

pub use raw::{RawReply, RawServer};
pub use response::Response;
pub use server::{Recorded, Request, TestServer};
