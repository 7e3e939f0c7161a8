//! Steps from batch to batch, without an SQL engine: select, drop, rename, cast, filter, add, flatten, explode, hash
//! and mask.
//!
//! ```
//! use std::time::SystemTime;
//!
//! use arrow::array::record_batch;
//! use towpath_transform::{Step, Transform, TransformContext};
//!
//! let steps: Vec<Step> = serde_json::from_value(serde_json::json!([
//!     {"rename": {"cust": "customer_id"}},
//!     {"cast": {"amount": "decimal(12,2)"}},
//!     {"filter": "amount > 0 and customer_id is not null"},
//! ]))
//! .unwrap();
//! let context = TransformContext { run: "1".into(), source: "sales".into(), load_time: SystemTime::now() };
//! let transform = Transform::new(&steps, &context).unwrap();
//!
//! let rows = record_batch!(("cust", Int64, [7, 8, 9]), ("amount", Utf8, ["1.50", "-2", "oops"])).unwrap();
//! let transformed = transform.apply(rows, "sales.csv").unwrap();
//! assert_eq!(transformed.rows.num_rows(), 1);
//! assert_eq!(
//!     transformed.rejected[0].to_string(),
//!     "sales.csv#3: the value does not fit decimal(12,2) (column: amount, value: oops)"
//! );
//! ```
//!
//! # Columns that a batch does not have
//!
//! Sources of sparse records, JSON above all, bring batches without some of the columns. Hence a column that a step
//! names and a batch lacks is all null to `filter`, and the other steps leave it alone in that batch. `select` is the
//! exception: it fails, unless it says `missing: skip`; `hash` and `mask` can be as strict with `missing: error`.
//! A name that *no* batch had is most likely a typing error: [`Transform::unused_columns`] lists these at the end, with
//! the nearest name that there was.
//!
//! # What a filter means
//!
//! - A row stays when the expression is true; false and unknown (null) go, as in SQL.
//! - Numbers compare by value, whatever their types. NaN equals itself and is above every other number.
//! - Text compares with text. A value in single quotes beside another type is read as that type (`day > '2024-01-31'`);
//!   a text *column* beside a number is an error, because only a `cast` can say how it is to be read.
//! - A date is midnight, and a time without a zone is in UTC, where they meet a timestamp with a zone.
//! - In `like`, `%` is any text, `_` any character, and a backslash makes them plain.
//!
//! # Nested fields
//!
//! `filter` looks into structs: `address.city = 'Ulm'`. Every other step works on top-level columns; `flatten` brings
//! nested fields there.

mod add;
mod cast;
mod cast_format;
mod columns;
mod explode;
mod expression;
mod filter;
mod flatten;
mod protect;
mod short;
mod step;
mod text;
mod transform;
mod work;

pub use step::{
    AddColumn, CastTo, Columns, Explode, Flatten, Hash, HashAlgorithm, Mask, Missing, Select, Step,
};
pub use transform::{Transform, TransformContext, Transformed};
pub use work::UnusedColumn;
