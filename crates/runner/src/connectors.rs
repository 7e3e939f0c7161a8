//! The one list of connectors. Commands, parser, schema and documentation all read it.

use towpath_core::Connector;

use crate::nearest::nearest;

/// What this binary holds.
pub(crate) const CONNECTORS: &[Connector] = &[
    #[cfg(feature = "file")]
    towpath_connector_file::CONNECTOR,
    #[cfg(feature = "http")]
    towpath_connector_http::CONNECTOR,
    #[cfg(feature = "postgres")]
    towpath_connector_postgres::CONNECTOR,
    #[cfg(feature = "mysql")]
    towpath_connector_mysql::CONNECTOR,
    #[cfg(feature = "mongodb")]
    towpath_connector_mongodb::CONNECTOR,
    #[cfg(feature = "s3")]
    towpath_connector_s3::CONNECTOR,
    #[cfg(feature = "azure")]
    towpath_connector_azure::CONNECTOR,
    #[cfg(feature = "gcs")]
    towpath_connector_gcs::CONNECTOR,
];

/// The manifest names every connector that a binary could be built with.
const MANIFEST: &str = include_str!("../Cargo.toml");

/// The connector of this name.
pub(crate) fn find(name: &str) -> Option<Connector> {
    CONNECTORS.iter().find(|connector| connector.name() == name).copied()
}

/// The connector that reads URIs of this scheme.
pub(crate) fn of_scheme(scheme: &str) -> Option<Connector> {
    let knows =
        |connector: &&Connector| connector.schemes().iter().any(|known| known.eq_ignore_ascii_case(scheme));
    CONNECTORS.iter().find(knows).copied()
}

/// The names of all connectors, also of those that this binary lacks.
pub(crate) fn all_names() -> Vec<&'static str> {
    MANIFEST.lines().filter_map(named_by_feature).collect()
}

/// The feature in a line such as `file = ["dep:towpath-connector-file"]`.
fn named_by_feature(line: &'static str) -> Option<&'static str> {
    let (name, brings) = line.split_once(" = ")?;
    brings.contains(&format!("\"dep:towpath-connector-{name}\"")).then_some(name)
}

/// Why there is no connector of this name, and what to do about it.
pub(crate) struct Unknown {
    /// What is wrong.
    pub(crate) message: String,
    /// The nearest name.
    pub(crate) suggestion: Option<String>,
    /// What to do.
    pub(crate) help: String,
}

/// Explains why [`find`] found nothing.
pub(crate) fn unknown(name: &str) -> Unknown {
    let names = all_names();
    if names.contains(&name) {
        return Unknown {
            message: format!("this binary does not hold the connector `{name}`"),
            suggestion: None,
            help: format!(
                "build one that does: `cargo build -p towpath --features {name}`, or the smallest one for a \
                 pipeline: `cargo xtask slim FILE`"
            ),
        };
    }
    let suggestion = nearest(name, names.iter().copied()).map(str::to_owned);
    let help = format!("there are {}", names.join(", "));
    Unknown { message: format!("there is no connector `{name}`"), suggestion, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connector_of_the_list_has_a_feature_of_its_name() {
        let names = all_names();
        for connector in CONNECTORS {
            assert!(names.contains(&connector.name()), "{}", connector.name());
        }
        assert!(names.contains(&"file") && names.contains(&"http"), "{names:?}");
    }

    #[test]
    fn a_name_with_a_typing_error_gets_the_nearest_one() {
        assert_eq!(unknown("htpp").suggestion.as_deref(), Some("http"));
    }

    #[test]
    fn a_connector_that_was_not_built_in_names_its_feature() {
        let unknown = unknown("file");
        assert_eq!(unknown.message, "this binary does not hold the connector `file`");
        assert!(unknown.help.contains("--features file"), "{}", unknown.help);
    }
}
