//! Which columns documents have: what is seen in them, widened until it holds all of them.

mod fields;
mod kind;

pub(crate) use fields::Fields;
pub(crate) use kind::{Kind, TYPE_KEY, declared, is_json, names};
