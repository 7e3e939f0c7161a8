//! What the connectors of SQL databases share: names and their quoting, the arithmetic of partitions, conditions.
//!
//! It sends nothing and knows no driver.

mod condition;
mod cursor;
mod dialect;
mod names;
mod ranges;
mod table_name;

pub use condition::{ColumnKind, condition};
pub use cursor::{CursorOptions, Lookback, cursor_condition};
pub use dialect::Dialect;
pub use names::{CHECKPOINTS, StagingNames, is_ours};
pub use ranges::{between_integers, between_uuids, blocks, format_uuid, parse_uuid};
pub use table_name::TableName;
