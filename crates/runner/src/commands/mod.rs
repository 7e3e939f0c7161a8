//! The commands, a file each.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod connectors;
pub(crate) mod copy;
#[cfg(feature = "demo")]
pub(crate) mod demo;
pub(crate) mod discover;
pub(crate) mod init;
pub(crate) mod plan;
pub(crate) mod preview;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod select;
pub(crate) mod state;
mod uri;
