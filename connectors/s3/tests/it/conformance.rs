//! The promises of the contract, for the formats and layouts that differ most.

towpath_testkit::object_conformance! { site = crate::support::Prefix }
