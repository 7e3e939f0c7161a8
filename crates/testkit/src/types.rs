//! A column of each Arrow type, with edge values and nulls.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Date64Array, Decimal32Array,
    Decimal64Array, Decimal128Array, Decimal256Array, DictionaryArray, DurationMicrosecondArray,
    DurationMillisecondArray, DurationNanosecondArray, DurationSecondArray, FixedSizeBinaryArray,
    FixedSizeListArray, Float16Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, IntervalDayTimeArray, IntervalMonthDayNanoArray, IntervalYearMonthArray, LargeBinaryArray,
    LargeListArray, LargeStringArray, ListArray, ListViewArray, MapArray, NullArray, RunArray, StringArray,
    StringViewArray, StructArray, Time32MillisecondArray, Time32SecondArray, Time64MicrosecondArray,
    Time64NanosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array, UnionArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Float16Type, Int32Type, IntervalDayTime, IntervalMonthDayNano, i256};
use arrow_schema::{DataType, Field, Fields, UnionFields};

/// A column of one type.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The type as a name that any system takes: `timestamp_us_utc`.
    pub name: &'static str,
    /// Edge values and nulls.
    pub values: ArrayRef,
    /// Whether a connector may refuse the type even where it holds others of its kind.
    pub rare: bool,
}

/// Columns of all types.
pub fn samples() -> Vec<Sample> {
    let mut samples = numbers();
    samples.extend(texts());
    samples.extend(times());
    samples.extend(nested());
    samples.extend(rare().into_iter().map(|sample| Sample { rare: true, ..sample }));
    samples
}

fn sample(name: &'static str, values: impl Array + 'static) -> Sample {
    Sample { name, values: Arc::new(values), rare: false }
}

/// Wraps plain values and a null at the end.
macro_rules! with_null {
    ($array:ident, $($value:expr),+ $(,)?) => {
        $array::from(vec![$(Some($value)),+, None])
    };
}

fn numbers() -> Vec<Sample> {
    let precise = |text: &str| i256::from_string(text).expect("a literal of this file");
    let decimal = with_null!(Decimal128Array, 0, 1, -1, 12_345, 10_i128.pow(38) - 1, 1 - 10_i128.pow(38));
    let decimal = decimal.with_precision_and_scale(38, 10).expect("within 38 digits");
    let money = with_null!(Decimal128Array, 0, 5, -199, 999_999_999_999).with_precision_and_scale(12, 2);
    let wide = with_null!(
        Decimal256Array,
        i256::ZERO,
        precise(&"9".repeat(76)),
        precise(&format!("-{}", "9".repeat(76)))
    );
    vec![
        sample("null", NullArray::new(2)),
        sample("bool", with_null!(BooleanArray, true, false)),
        sample("int8", with_null!(Int8Array, 0, i8::MIN, i8::MAX)),
        sample("int16", with_null!(Int16Array, 0, i16::MIN, i16::MAX)),
        sample("int32", with_null!(Int32Array, 0, i32::MIN, i32::MAX)),
        sample("int64", with_null!(Int64Array, 0, i64::MIN, i64::MAX)),
        sample("uint8", with_null!(UInt8Array, 0, u8::MAX)),
        sample("uint16", with_null!(UInt16Array, 0, u16::MAX)),
        sample("uint32", with_null!(UInt32Array, 0, u32::MAX)),
        sample("uint64", with_null!(UInt64Array, 0, u64::MAX)),
        sample(
            "float32",
            with_null!(Float32Array, 0.0, 1.5, -2.25, 65_536.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY),
        ),
        sample(
            "float64",
            with_null!(
                Float64Array,
                0.0,
                0.1,
                -1e-300,
                f64::MAX,
                f64::MIN_POSITIVE,
                f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY
            ),
        ),
        sample("decimal", decimal),
        sample("decimal_money", money.expect("within 12 digits")),
        sample("decimal_wide", wide.with_precision_and_scale(76, 20).expect("within 76 digits")),
    ]
}

const TEXTS: [Option<&str>; 8] = [
    Some(""),
    Some("plain"),
    Some("comma, \"quote\", line\nend, tab\t, back\\slash"),
    Some("Grüße, 你好, 🚣"),
    Some("\\N"),
    Some("null"),
    Some("a zero \u{0} within"),
    None,
];

fn texts() -> Vec<Sample> {
    let bytes: Vec<Option<&[u8]>> =
        vec![Some(b""), Some(b"abc"), Some(b"\x00\xff\xfe not text"), Some(b"line\nend,\"quote\""), None];
    let fixed: Vec<Option<&[u8]>> = vec![Some(b"\x00\x01\xfe\xff"), Some(b"abcd"), None];
    vec![
        sample("string", StringArray::from(TEXTS.to_vec())),
        sample("large_string", LargeStringArray::from(TEXTS.to_vec())),
        sample("string_view", TEXTS.iter().collect::<StringViewArray>()),
        sample("binary", BinaryArray::from(bytes.clone())),
        sample("large_binary", LargeBinaryArray::from(bytes.clone())),
        sample("binary_view", bytes.iter().collect::<BinaryViewArray>()),
        sample(
            "fixed_size_binary",
            FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed.into_iter(), 4)
                .expect("all have four bytes"),
        ),
        sample("dictionary", TEXTS.iter().copied().collect::<DictionaryArray<Int32Type>>()),
    ]
}

/// Seconds of 0001-01-01, of the last second before 1970, of a day in 2026, and of 9999-12-31 23:59:59.
const SECONDS: [i64; 4] = [-62_135_596_800, -1, 1_767_323_045, 253_402_300_799];

fn seconds(factor: i64, fraction: i64) -> Vec<Option<i64>> {
    let values = SECONDS.iter().map(|second| Some(second * factor + fraction));
    values.chain([Some(0), None]).collect()
}

/// Nanoseconds reach from 1677 to 2262 only.
fn nanoseconds() -> Vec<Option<i64>> {
    vec![
        Some(-9_223_372_036_854_775_000),
        Some(-1),
        Some(0),
        Some(1_767_323_045_123_456_789),
        Some(9_223_372_036_854_775_807),
        None,
    ]
}

fn times() -> Vec<Sample> {
    const DAY: i64 = 86_400;
    let days = with_null!(Date32Array, -719_162, -1, 0, 20_455, 2_932_896);
    let milliseconds: Vec<_> =
        [-719_162, -1, 0, 20_455, 2_932_896].map(|day: i64| Some(day * DAY * 1000)).to_vec();
    let durations = [0, 1, -1, 90_061, -86_400_000];
    let duration = || durations.iter().copied().map(Some).chain([None]);
    vec![
        sample("date32", days),
        sample("date64", Date64Array::from([milliseconds, vec![None]].concat())),
        sample("time32_s", with_null!(Time32SecondArray, 0, 86_399)),
        sample("time32_ms", with_null!(Time32MillisecondArray, 0, 1, 86_399_999)),
        sample("time64_us", with_null!(Time64MicrosecondArray, 0, 1, 86_399_999_999)),
        sample("time64_ns", with_null!(Time64NanosecondArray, 0, 1, 86_399_999_999_999)),
        sample("timestamp_s", TimestampSecondArray::from(seconds(1, 0))),
        sample("timestamp_ms", TimestampMillisecondArray::from(seconds(1_000, 123))),
        sample("timestamp_us", TimestampMicrosecondArray::from(seconds(1_000_000, 123_456))),
        sample("timestamp_ns", TimestampNanosecondArray::from(nanoseconds())),
        sample("timestamp_s_utc", TimestampSecondArray::from(seconds(1, 0)).with_timezone("UTC")),
        sample("timestamp_ms_utc", TimestampMillisecondArray::from(seconds(1_000, 123)).with_timezone("UTC")),
        sample(
            "timestamp_us_utc",
            TimestampMicrosecondArray::from(seconds(1_000_000, 123_456)).with_timezone("UTC"),
        ),
        sample("timestamp_ns_utc", TimestampNanosecondArray::from(nanoseconds()).with_timezone("UTC")),
        sample(
            "timestamp_us_offset",
            TimestampMicrosecondArray::from(vec![Some(0), Some(1_767_323_045_123_456), None])
                .with_timezone("+05:30"),
        ),
        sample("duration_s", duration().collect::<DurationSecondArray>()),
        sample("duration_ms", duration().collect::<DurationMillisecondArray>()),
        sample("duration_us", duration().collect::<DurationMicrosecondArray>()),
        sample("duration_ns", duration().collect::<DurationNanosecondArray>()),
        sample("interval_months", with_null!(IntervalYearMonthArray, 0, 14, -1)),
        sample(
            "interval_days",
            with_null!(IntervalDayTimeArray, IntervalDayTime::ZERO, IntervalDayTime::new(3, -5_000)),
        ),
        sample(
            "interval_mixed",
            with_null!(
                IntervalMonthDayNanoArray,
                IntervalMonthDayNano::ZERO,
                IntervalMonthDayNano::new(14, -3, 5_000_000_000)
            ),
        ),
    ]
}

/// Lists as every list type begins: one, an empty one, a null, one that holds a null.
const LISTS: [Option<[Option<i32>; 2]>; 3] = [Some([Some(1), Some(-2)]), None, Some([None, Some(i32::MAX)])];

fn nested() -> Vec<Sample> {
    let mut lists: Vec<Option<Vec<Option<i32>>>> =
        LISTS.iter().map(|list| list.map(|items| items.to_vec())).collect();
    lists.push(Some(Vec::new()));
    vec![
        sample("list", ListArray::from_iter_primitive::<Int32Type, _, _>(lists.clone())),
        sample("large_list", LargeListArray::from_iter_primitive::<Int32Type, _, _>(lists)),
        sample("fixed_size_list", FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(LISTS, 2)),
        sample("struct", structure()),
        sample("list_of_struct", list_of(Arc::new(structure()))),
        sample("map", map()),
    ]
}

fn structure() -> StructArray {
    let columns: [(&str, ArrayRef); 3] = [
        ("number", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
        ("text", Arc::new(StringArray::from(vec![Some("one"), Some(""), Some("a \"quote\", a comma")]))),
        ("flags", Arc::new(list_of(Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))))),
    ];
    let fields: Fields =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let valid = NullBuffer::from(vec![true, true, false]);
    StructArray::new(fields, columns.into_iter().map(|(_, column)| column).collect(), Some(valid))
}

/// Three lists over three items: two of them, one, none.
fn list_of(items: ArrayRef) -> ListArray {
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    ListArray::new(field, OffsetBuffer::from_lengths([2, 1, 0]), items, None)
}

fn map() -> MapArray {
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let fields = Fields::from(vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", DataType::Int64, true),
    ]);
    let entries = StructArray::new(fields, vec![keys, values], None);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let valid = NullBuffer::from(vec![true, true, false, true]);
    MapArray::new(field, OffsetBuffer::from_lengths([2, 1, 0, 0]), entries, Some(valid), false)
}

fn rare() -> Vec<Sample> {
    let halves = [Some(0.0), Some(1.5), Some(-65_504.0), None].map(|value: Option<f32>| {
        value.map(<Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native::from_f32)
    });
    let small = with_null!(Decimal32Array, 0, -12_345, 999_999_999).with_precision_and_scale(9, 2);
    let middle =
        with_null!(Decimal64Array, 0, -12_345, 999_999_999_999_999_999).with_precision_and_scale(18, 2);
    let runs =
        RunArray::try_new(&Int32Array::from(vec![2, 3]), &StringArray::from(vec![Some("twice"), None]));
    vec![
        sample("float16", Float16Array::from(halves.to_vec())),
        sample("decimal32", small.expect("within 9 digits")),
        sample("decimal64", middle.expect("within 18 digits")),
        sample("list_view", list_view()),
        sample("run_end_encoded", runs.expect("as many runs as values")),
        sample("union", union()),
    ]
}

fn list_view() -> ListViewArray {
    let items: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None]));
    let field = Arc::new(Field::new("item", DataType::Int32, true));
    let (offsets, sizes) = (ScalarBuffer::from(vec![1, 0]), ScalarBuffer::from(vec![2, 1]));
    ListViewArray::new(field, offsets, sizes, items, None)
}

fn union() -> UnionArray {
    let fields: UnionFields = [
        (0_i8, Arc::new(Field::new("number", DataType::Int32, true))),
        (1, Arc::new(Field::new("text", DataType::Utf8, true))),
    ]
    .into_iter()
    .collect();
    let children: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(1), None])),
        Arc::new(StringArray::from(vec![None, Some("two")])),
    ];
    UnionArray::try_new(fields, ScalarBuffer::from(vec![0_i8, 1]), None, children)
        .expect("children are as long as ids")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use towpath_core::{TypeFamily, json_value};

    #[test]
    fn every_kind_of_type_has_a_column_with_values_that_can_be_read() {
        let samples = samples();
        let families: HashSet<_> =
            samples.iter().flat_map(|sample| TypeFamily::all_of(sample.values.data_type())).collect();
        assert_eq!(families.len(), TypeFamily::ALL.len(), "{families:?}");
        let names: HashSet<_> = samples.iter().map(|sample| sample.name).collect();
        assert_eq!(names.len(), samples.len());
        for sample in samples {
            assert!(sample.values.len() > 1, "{}", sample.name);
            for row in 0..sample.values.len() {
                json_value(&sample.values, row)
                    .unwrap_or_else(|error| panic!("{} row {row}: {error}", sample.name));
            }
        }
    }
}
