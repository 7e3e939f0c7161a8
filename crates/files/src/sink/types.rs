//! A type of each kind, to find out what a format holds.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit, UnionFields, UnionMode};
use towpath_core::TypeFamily;

/// Types of this kind; a format that holds all of them holds the kind.
pub(crate) fn examples(family: TypeFamily) -> Vec<DataType> {
    let item = |name: &str| Field::new(name, DataType::Int64, true);
    let example = match family {
        TypeFamily::Null => DataType::Null,
        TypeFamily::Bool => DataType::Boolean,
        TypeFamily::Int => DataType::Int64,
        TypeFamily::UInt => DataType::UInt64,
        TypeFamily::Float => DataType::Float64,
        TypeFamily::Decimal => DataType::Decimal128(38, 9),
        TypeFamily::String => DataType::Utf8,
        TypeFamily::Binary => DataType::Binary,
        TypeFamily::Date => DataType::Date32,
        TypeFamily::Time => DataType::Time64(TimeUnit::Microsecond),
        TypeFamily::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        TypeFamily::Duration => DataType::Duration(TimeUnit::Microsecond),
        TypeFamily::Interval => {
            let units = [IntervalUnit::YearMonth, IntervalUnit::DayTime, IntervalUnit::MonthDayNano];
            return units.map(DataType::Interval).to_vec();
        }
        TypeFamily::List => DataType::List(Arc::new(item("item"))),
        TypeFamily::Struct => DataType::Struct(Fields::from(vec![item("field")])),
        TypeFamily::Map => {
            let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), item("value")]);
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
        }
        TypeFamily::Union => {
            let fields: UnionFields = [(0, Arc::new(item("field")))].into_iter().collect();
            DataType::Union(fields, UnionMode::Sparse)
        }
    };
    vec![example]
}
