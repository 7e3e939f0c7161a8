//! Where a service can copy by itself.

use std::fmt;
use std::sync::Arc;

/// A server, and who asks it. Whatever two streams of one realm may read and write, the server can copy between them: a sink
/// that lets it says so in [`SinkCapabilities::copies_from`](crate::SinkCapabilities::copies_from), the engine hands that to
/// the source as [`Context::copier`](crate::Context::copier), and a source of the same realm may name bytes
/// ([`reference_schema`](crate::reference_schema)) instead of reading them.
///
/// It lives as long as a run, and is stored nowhere: the next run may have another sink.
#[derive(Clone, PartialEq, Eq)]
pub struct Realm(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    connector: &'static str,
    key: String,
}

impl Realm {
    /// The realm of a connector. The key holds what tells its servers and its credentials apart; it is compared and never
    /// shown.
    pub fn new(connector: &'static str, key: &str) -> Self {
        Self(Arc::new(Inner { connector, key: key.to_owned() }))
    }
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Realm").field("connector", &self.0.connector).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_are_told_apart_and_show_no_secret() {
        let realm = Realm::new("s3", "hush");
        assert_eq!(realm, Realm::new("s3", "hush"));
        assert!(realm != Realm::new("s3", "other") && realm != Realm::new("azure", "hush"));
        assert!(!format!("{realm:?}").contains("hush"));
    }
}
