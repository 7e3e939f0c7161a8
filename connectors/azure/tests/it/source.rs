//! Reading blobs, as all stores are read.

towpath_testkit::object_source_promises! { site = crate::support::Prefix }
