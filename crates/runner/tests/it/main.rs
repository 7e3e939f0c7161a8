//! The built binary, run as people run it.

#[cfg(all(feature = "file", feature = "csv", feature = "json"))]
mod bad_input;
#[cfg(all(feature = "file", feature = "csv", feature = "json"))]
mod commands;
#[cfg(feature = "demo")]
mod demo;
#[cfg(all(feature = "file", feature = "csv", feature = "json"))]
mod place;
#[cfg(all(unix, feature = "http", feature = "json", feature = "file"))]
mod signals;
