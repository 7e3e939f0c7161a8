//! A column of every Arrow type, with nulls and edge values, for tests of all formats.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::*;
use towpath_core::{Context, Result};
use towpath_testkit::context;

use crate::{Encoded, Encoder, MemoryOutput, WriteOptions};

/// Rows of the columns of this file; the second is null.
const ROWS: usize = 3;

/// Each type by its name.
pub(crate) fn columns() -> Vec<(&'static str, ArrayRef)> {
    let mut columns = scalars();
    columns.extend(dates_and_times());
    columns.extend(texts());
    columns.extend(nested());
    columns.extend(layouts());
    columns.extend(towpath_testkit::types::samples().into_iter().map(|sample| (sample.name, sample.values)));
    columns
}

/// One column in a batch.
pub(crate) fn batch(name: &str, column: &ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([(name, column.clone(), true)]).unwrap()
}

fn array<A: Array + 'static>(array: A) -> ArrayRef {
    Arc::new(array)
}

fn scalars() -> Vec<(&'static str, ArrayRef)> {
    let decimal = |column: ArrayRef, to: DataType| cast(&column, &to).unwrap();
    let digits = array(StringArray::from(vec![Some("-0.05"), None, Some("9999999.99")]));
    vec![
        ("null", array(NullArray::new(ROWS))),
        ("bool", array(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("int8", array(Int8Array::from(vec![Some(i8::MIN), None, Some(i8::MAX)]))),
        ("int16", array(Int16Array::from(vec![Some(i16::MIN), None, Some(i16::MAX)]))),
        ("int32", array(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX)]))),
        ("int64", array(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)]))),
        ("uint8", array(UInt8Array::from(vec![Some(0), None, Some(u8::MAX)]))),
        ("uint16", array(UInt16Array::from(vec![Some(0), None, Some(u16::MAX)]))),
        ("uint32", array(UInt32Array::from(vec![Some(0), None, Some(u32::MAX)]))),
        ("uint64", array(UInt64Array::from(vec![Some(0), None, Some(u64::MAX)]))),
        (
            "float16",
            cast(&Float32Array::from(vec![Some(-1.5), None, Some(0.25)]), &DataType::Float16).unwrap(),
        ),
        ("float32", array(Float32Array::from(vec![Some(f32::MIN_POSITIVE), None, Some(f32::MAX)]))),
        ("float64", array(Float64Array::from(vec![Some(0.1), None, Some(-1e300)]))),
        ("decimal32", decimal(digits.clone(), DataType::Decimal32(9, 2))),
        ("decimal64", decimal(digits.clone(), DataType::Decimal64(18, 3))),
        ("decimal128", decimal(digits.clone(), DataType::Decimal128(38, 10))),
        ("decimal256", decimal(digits, DataType::Decimal256(76, 20))),
    ]
}

fn dates_and_times() -> Vec<(&'static str, ArrayRef)> {
    let values = Int64Array::from(vec![Some(-1), None, Some(1_700_000_000)]);
    let of_day = Int64Array::from(vec![Some(0), None, Some(86_399)]);
    let as_type = |values: &dyn Array, to: DataType| cast(values, &to).unwrap();
    let stamp = |unit, zone: Option<&str>| as_type(&values, DataType::Timestamp(unit, zone.map(Into::into)));
    let month_day_nano = IntervalMonthDayNano::new(14, -3, 1_500_000_000);
    vec![
        ("date32", array(Date32Array::from(vec![Some(-719_528), None, Some(19_000)]))),
        ("date64", array(Date64Array::from(vec![Some(-86_400_000), None, Some(86_400_000 * 19_000)]))),
        ("time32s", array(Time32SecondArray::from(vec![Some(0), None, Some(86_399)]))),
        ("time32ms", array(Time32MillisecondArray::from(vec![Some(0), None, Some(86_399_999)]))),
        ("time64us", as_type(&of_day, DataType::Time64(TimeUnit::Microsecond))),
        ("time64ns", as_type(&of_day, DataType::Time64(TimeUnit::Nanosecond))),
        ("timestamp_s", stamp(TimeUnit::Second, None)),
        ("timestamp_ms", stamp(TimeUnit::Millisecond, None)),
        ("timestamp_us", stamp(TimeUnit::Microsecond, None)),
        ("timestamp_ns", stamp(TimeUnit::Nanosecond, None)),
        ("timestamp_s_utc", stamp(TimeUnit::Second, Some("UTC"))),
        ("timestamp_us_utc", stamp(TimeUnit::Microsecond, Some("UTC"))),
        ("timestamp_us_berlin", stamp(TimeUnit::Microsecond, Some("Europe/Berlin"))),
        ("timestamp_ns_offset", stamp(TimeUnit::Nanosecond, Some("-03:30"))),
        ("duration_s", as_type(&values, DataType::Duration(TimeUnit::Second))),
        ("duration_ms", as_type(&values, DataType::Duration(TimeUnit::Millisecond))),
        ("duration_us", as_type(&values, DataType::Duration(TimeUnit::Microsecond))),
        ("duration_ns", as_type(&values, DataType::Duration(TimeUnit::Nanosecond))),
        ("interval_months", array(IntervalYearMonthArray::from(vec![Some(14), None, Some(0)]))),
        (
            "interval_days",
            array(IntervalDayTimeArray::from(vec![
                Some(IntervalDayTime::new(3, 1500)),
                None,
                Some(IntervalDayTime::ZERO),
            ])),
        ),
        (
            "interval_nanos",
            array(IntervalMonthDayNanoArray::from(vec![
                Some(month_day_nano),
                None,
                Some(IntervalMonthDayNano::ZERO),
            ])),
        ),
    ]
}

fn texts() -> Vec<(&'static str, ArrayRef)> {
    let tricky = vec![Some("a,\"b\"\r\n\\\t\u{1}é😀"), None, Some("")];
    let bytes: Vec<Option<&[u8]>> = vec![Some(&[0, 255, 10]), None, Some(&[])];
    let fixed: Vec<Option<&[u8]>> = vec![Some(&[0, 255]), None, Some(&[1, 2])];
    vec![
        ("utf8", array(StringArray::from(tricky.clone()))),
        ("large_utf8", array(LargeStringArray::from(tricky.clone()))),
        ("utf8_view", array(StringViewArray::from(tricky))),
        ("binary", array(BinaryArray::from(bytes.clone()))),
        ("large_binary", array(LargeBinaryArray::from(bytes.clone()))),
        ("binary_view", array(BinaryViewArray::from(bytes))),
        (
            "fixed_binary",
            array(FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed.into_iter(), 2).unwrap()),
        ),
        (
            "fixed_binary_0",
            array(FixedSizeBinaryArray::try_new_with_len(0, Vec::<u8>::new().into(), None, ROWS).unwrap()),
        ),
    ]
}

fn nested() -> Vec<(&'static str, ArrayRef)> {
    let lists = vec![Some(vec![Some(1), None, Some(3)]), None, Some(vec![])];
    let fixed = vec![Some(vec![Some(1), None]), None, Some(vec![Some(3), Some(4)])];
    let fields: Fields =
        vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)].into();
    let members: Vec<ArrayRef> = vec![
        array(Int64Array::from(vec![Some(1), None, Some(3)])),
        array(StringArray::from(vec![Some("x"), None, None])),
    ];
    let nulls = NullBuffer::from(vec![true, false, true]);
    let structs = StructArray::new(fields, members, Some(nulls.clone()));
    let items = Arc::new(Field::new("item", structs.data_type().clone(), true));
    let of_structs = ListArray::new(
        items,
        OffsetBuffer::from_lengths([2, 0, 1]),
        array(structs.clone()),
        Some(nulls.clone()),
    );
    let empty = StructArray::try_new_with_length(Fields::empty(), vec![], Some(nulls), ROWS).unwrap();
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    let mut numbers = MapBuilder::new(None, Int64Builder::new(), StringBuilder::new());
    for row in [Some(2), None, Some(0)] {
        for entry in 0..row.unwrap_or(0) {
            map.keys().append_value(format!("k{entry}"));
            map.values().append_option((entry > 0).then_some(entry));
            numbers.keys().append_value(i64::from(entry));
            numbers.values().append_value("v");
        }
        map.append(row.is_some()).unwrap();
        numbers.append(row.is_some()).unwrap();
    }
    vec![
        ("list", array(ListArray::from_iter_primitive::<Int32Type, _, _>(lists.clone()))),
        ("large_list", array(LargeListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
        ("fixed_list", array(FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(fixed, 2))),
        ("struct", array(structs)),
        ("struct_empty", array(empty)),
        ("list_of_structs", array(of_structs)),
        ("map", array(map.finish())),
        ("map_of_numbers", array(numbers.finish())),
        ("union", union()),
    ]
}

fn union() -> ArrayRef {
    let fields = UnionFields::try_new(
        [0, 1],
        [Field::new("n", DataType::Int32, true), Field::new("t", DataType::Utf8, true)],
    );
    let children: Vec<ArrayRef> =
        vec![array(Int32Array::from(vec![1, 2, 3])), array(StringArray::from(vec!["a", "b", "c"]))];
    array(UnionArray::try_new(fields.unwrap(), ScalarBuffer::from(vec![0_i8, 1, 0]), None, children).unwrap())
}

/// The same values in other layouts.
fn layouts() -> Vec<(&'static str, ArrayRef)> {
    let dictionary: DictionaryArray<Int8Type> = [Some("a"), None, Some("b")].into_iter().collect();
    let numbers = DictionaryArray::<Int32Type>::new(
        Int32Array::from(vec![Some(1), None, Some(0)]),
        array(Decimal128Array::from(vec![125, 250]).with_precision_and_scale(10, 2).unwrap()),
    );
    let runs: RunArray<Int32Type> = [Some("x"), None, Some("x")].into_iter().collect();
    let items = Arc::new(Field::new("item", DataType::Int32, true));
    let views = ListViewArray::new(
        items,
        vec![1, 0, 0].into(),
        vec![2, 0, 1].into(),
        array(Int32Array::from(vec![1, 2, 3])),
        Some(NullBuffer::from(vec![true, false, true])),
    );
    vec![
        ("dictionary", array(dictionary)),
        ("dictionary_of_decimals", array(numbers)),
        ("run_end_encoded", array(runs)),
        ("list_view", array(views)),
    ]
}

/// Writes batches to memory.
pub(crate) async fn encode(options: &WriteOptions, name: &str, batches: &[RecordBatch]) -> Result<Vec<u8>> {
    Ok(encode_counted(&context(), options, name, &batches[0].schema(), batches).await?.1)
}

/// As [`encode`], of no batches as well, and with what was counted.
pub(crate) async fn encode_counted(
    cx: &Context,
    options: &WriteOptions,
    name: &str,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<(Encoded, Vec<u8>)> {
    let mut encoder = Encoder::new(options, name, schema, cx, MemoryOutput::default())?;
    for batch in batches {
        encoder.write(batch.clone()).await?;
    }
    let (counted, output) = encoder.finish().await?;
    Ok((counted, output.into_bytes().to_vec()))
}

/// Many rows of ordinary columns.
pub(crate) fn orders(rows: usize) -> RecordBatch {
    let numbers = || 0..i64::try_from(rows).unwrap();
    let columns: [(&str, ArrayRef, bool); 5] = [
        ("id", array(Int64Array::from_iter_values(numbers())), false),
        (
            "price",
            array(numbers().map(|n| (n % 7 != 0).then_some(n as f64 / 4.0)).collect::<Float64Array>()),
            true,
        ),
        (
            "name",
            array(
                numbers()
                    .map(|n| (n % 5 != 0).then(|| format!("item \"{}\", {n}", n % 13)))
                    .collect::<StringArray>(),
            ),
            true,
        ),
        (
            "day",
            array(numbers().map(|n| Some(i32::try_from(n % 20_000).unwrap())).collect::<Date32Array>()),
            true,
        ),
        (
            "at",
            array(
                TimestampMicrosecondArray::from_iter_values(numbers().map(|n| n * 1_234_567))
                    .with_timezone("UTC"),
            ),
            true,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}
