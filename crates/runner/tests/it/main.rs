//! The built binary, run as people run it.

#[cfg(feature = "demo")]
mod demo;
