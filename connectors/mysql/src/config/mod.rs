//! The options, as pipeline files write them.

#[macro_use]
mod connection;

pub(crate) use connection::{ConnectionOptions, Host, Raw};
pub use connection::{Tls, TlsMode};
