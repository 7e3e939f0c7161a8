//! The columns of a table that is there, as fields of what is to be written into it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};

use super::target::TargetType;
use super::{EXTENSION_KEY, JSON_EXTENSION, TYPE_KEY};

/// The field of a column, as the source of this connector would give it.
pub(crate) fn field(name: &str, declared: &str) -> Field {
    let target = TargetType::from_catalog(declared);
    let mut metadata = HashMap::from([(TYPE_KEY.to_owned(), declared.to_owned())]);
    if target == TargetType::Json {
        metadata.insert(EXTENSION_KEY.to_owned(), JSON_EXTENSION.to_owned());
    }
    Field::new(name, data_type(&target), true).with_metadata(metadata)
}

fn data_type(target: &TargetType) -> DataType {
    use TargetType as T;
    match *target {
        T::Boolean => DataType::Boolean,
        T::Integer { bits: 8, unsigned: false } => DataType::Int8,
        T::Integer { bits: 8, unsigned: true } => DataType::UInt8,
        T::Integer { bits: 16, unsigned: false } | T::Year => DataType::Int16,
        T::Integer { bits: 16, unsigned: true } => DataType::UInt16,
        T::Integer { bits: 24 | 32, unsigned: false } => DataType::Int32,
        T::Integer { bits: 24 | 32, unsigned: true } => DataType::UInt32,
        T::Integer { unsigned: false, .. } => DataType::Int64,
        T::Integer { unsigned: true, .. } | T::Bit(_) => DataType::UInt64,
        T::Decimal { precision, scale, .. } if precision <= 38 => {
            DataType::Decimal128(precision, scale.try_into().unwrap_or(0))
        }
        T::Decimal { precision, scale, .. } => DataType::Decimal256(precision, scale.try_into().unwrap_or(0)),
        T::Float => DataType::Float32,
        T::Double => DataType::Float64,
        T::Date => DataType::Date32,
        T::Datetime(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
        T::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
        T::Time(_) => DataType::Duration(TimeUnit::Microsecond),
        T::Bytes(_) | T::Geometry(_) => DataType::Binary,
        T::Text(_) | T::Json | T::Enum(_) | T::Set(_) | T::Named(_) | T::Other => DataType::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Server;

    #[test]
    fn a_field_of_a_column_gets_that_column() {
        let server = Server { is_mariadb: true, version: (10, 11, 0) };
        for declared in [
            "tinyint(1)",
            "smallint unsigned",
            "mediumint",
            "bigint",
            "decimal(40,3)",
            "bit(7)",
            "year",
            "datetime(2)",
            "timestamp(0)",
            "time(6)",
            "varchar(30)",
            "json",
            "set('a','b')",
            "point",
            "mediumblob",
            "inet6",
        ] {
            let target = TargetType::for_field(&field("x", declared), server, None);
            assert_eq!(target.to_string(), declared);
        }
    }
}
