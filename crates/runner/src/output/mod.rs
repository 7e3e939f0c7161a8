//! What people and machines get to see.

pub(crate) mod options;
pub(crate) mod paint;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod screen;
pub(crate) mod table;
pub(crate) mod units;
