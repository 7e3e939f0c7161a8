//! Bringing the two sides of a comparison to one type.

use arrow::array::{ArrayRef, Float64Array, Scalar};
use arrow::compute::cast;
use arrow::compute::kernels::numeric::add_wrapping;
use arrow_schema::{DataType, TimeUnit};
use towpath_core::{Result, conform_array, widen};

/// The type in which values of both types can be compared, if there is one. Text is compared with text only: whoever
/// wants to compare it with numbers has to say by a cast how it is to be read.
pub(crate) fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{Binary, Date32, LargeBinary, Null, Time32, Time64, Timestamp};
    let (left, right) = (plain(left), plain(right));
    match (&left, &right) {
        _ if left.is_nested() || right.is_nested() => None,
        _ if left == right => Some(left),
        (Null, other) | (other, Null) => Some(other.clone()),
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) => Some(Time64(TimeUnit::Nanosecond)),
        // Without a zone, a time is taken to be in UTC.
        (Timestamp(one, zone), Timestamp(other, other_zone)) if zone.is_some() != other_zone.is_some() => {
            Some(Timestamp(*one.max(other), Some("UTC".into())))
        }
        (Timestamp(unit, Some(_)), Date32) | (Date32, Timestamp(unit, Some(_))) => {
            Some(Timestamp(*unit, Some("UTC".into())))
        }
        (Timestamp(..) | Date32, Timestamp(..) | Date32) | (Binary | LargeBinary, Binary | LargeBinary) => {
            Some(widen(&left, &right))
        }
        _ if is_text(&left) && is_text(&right) => Some(widen(&left, &right)),
        _ if left.is_numeric() && right.is_numeric() => {
            Some(widen(&left, &right)).filter(DataType::is_numeric)
        }
        _ => None,
    }
}

pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// The type of the values of a dictionary, and one kind of date.
pub(crate) fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
        other => other.clone(),
    }
}

/// The array in the common type, ready for the kernels, which look into dictionaries by themselves.
pub(crate) fn comparable(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if let DataType::Dictionary(_, values) = array.data_type()
        && values.as_ref() == to
        && !to.is_floating()
    {
        return Ok(array.clone());
    }
    let array = match (array.data_type(), to) {
        // Dates become timestamps in UTC by way of those without a zone.
        (DataType::Date32 | DataType::Date64, DataType::Timestamp(unit, Some(_))) => {
            conform_array(array, &DataType::Timestamp(*unit, None))?
        }
        _ => array.clone(),
    };
    positive_zeros(conform_array(&array, to)?)
}

/// Makes each -0.0 a 0.0, which the kernels would tell apart.
pub(crate) fn positive_zeros(array: ArrayRef) -> Result<ArrayRef> {
    if !array.data_type().is_floating() {
        return Ok(array);
    }
    let zero = cast(&Float64Array::from(vec![0.0]), array.data_type())?;
    Ok(add_wrapping(&array, &Scalar::new(zero))?)
}
