//! Types: from Postgres to columns.

mod source;
mod target;

pub(crate) use source::{Column, Decode, Described, TYPE_KEY, column, list_item, struct_fields};
pub(crate) use target::{TypeName, Wire, cast_name, ddl_type, encoded_type, is_literal, wire};
