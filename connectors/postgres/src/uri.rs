//! URIs of `towpath copy` and `towpath discover`.

use serde_json::json;
use towpath_core::{Json, Result};

use crate::config::{Target, split_target};

/// The options that a URI stands for: `postgres://user:password@host/database?table=schema.name`, or with `query=`.
pub(crate) fn options(uri: &str) -> Result<Json> {
    let (url, Target { table, query }) = split_target(uri)?;
    let mut options = json!({ "url": url });
    for (key, value) in [("table", table), ("query", query)] {
        if let Some(value) = value {
            options[key] = value.into();
        }
    }
    Ok(options)
}
