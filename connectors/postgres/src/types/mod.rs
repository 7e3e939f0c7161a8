//! Types: from Postgres to columns.

mod source;

pub(crate) use source::{Column, Decode, Described, TYPE_KEY, column, list_item, struct_fields};
