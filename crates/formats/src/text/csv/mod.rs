//! Comma-separated values, and everything else that has rows of delimited cells.

mod decode;
mod dialect;
mod frame;
mod head;
mod records;

#[cfg(test)]
mod tests;

pub(crate) use dialect::{Dialect, Scanner};
pub(crate) use frame::Csv;
