//! Column types of MySQL and MariaDB, and what they are in Arrow.

pub(crate) mod declaration;
pub(crate) mod fit;
pub(crate) mod known;
pub(crate) mod source;
pub(crate) mod target;

/// The key in a field's metadata that holds the type as the server writes it: `int unsigned`, `enum('a','b')`.
pub(crate) const TYPE_KEY: &str = "mysql.type";
/// The key by which Arrow names an extension type.
pub(crate) const EXTENSION_KEY: &str = "ARROW:extension:name";
/// The extension type of JSON documents.
pub(crate) const JSON_EXTENSION: &str = "arrow.json";
