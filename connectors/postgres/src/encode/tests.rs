//! What goes over the wire is what the driver's own types read.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Int16Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use tokio_postgres::types::Type;

use super::*;
use crate::config::{Arrays, Numeric};
use crate::decode::{decode, without_header};
use crate::types::{Described, column, wire};
use crate::wire::Frames;

fn batch(array: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("c", array, true)]).unwrap()
}

/// The rows in messages, as who reads them gets them.
fn rows_of(messages: Vec<u8>) -> Vec<Frames> {
    without_header(&Frames::whole(messages.into()).unwrap()).unwrap()
}

/// Encodes a column for a type and reads it back with the decoder of the source.
fn there_and_back(array: &ArrayRef, target: &Type, modifier: i32, dimensions: usize) -> ArrayRef {
    let wire = wire(array.data_type(), target).expect("the type has a binary form");
    let (messages, refused) = encode(&batch(array.clone()), &[wire]).unwrap();
    assert_eq!(refused, []);
    let described = Described {
        name: "c".into(),
        data_type: target.clone(),
        modifier,
        type_name: target.name().to_owned(),
        nullable: true,
        dimensions,
    };
    let columns = [column(&described, Numeric::Exact, Arrays::List)];
    let schema = Arc::new(arrow_schema::Schema::new(vec![columns[0].field.clone()]));
    let decoded = decode(&columns, &schema, &rows_of(messages), "t").unwrap();
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    decoded.rows.column(0).clone()
}

fn refusals(array: ArrayRef, target: &Type) -> Vec<usize> {
    let wire = wire(array.data_type(), target).unwrap();
    let (_, refused) = encode(&batch(array), &[wire]).unwrap();
    refused.into_iter().map(|refused| refused.row).collect()
}

#[test]
fn values_come_back_as_they_went() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(-1), Some(i64::MAX)]));
    assert_eq!(&there_and_back(&numbers, &Type::INT8, -1, 0), &numbers);
    let small: ArrayRef = Arc::new(Int16Array::from(vec![i16::MIN, 0, i16::MAX]));
    assert_eq!(&there_and_back(&small, &Type::INT2, -1, 0), &small);
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]));
    assert_eq!(&there_and_back(&flags, &Type::BOOL, -1, 0), &flags);
    let floats: ArrayRef = Arc::new(Float32Array::from(vec![f32::INFINITY, -0.0, f32::MIN_POSITIVE]));
    assert_eq!(&there_and_back(&floats, &Type::FLOAT4, -1, 0), &floats);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["", "\u{1f980} \\ \t", "null"]));
    assert_eq!(&there_and_back(&texts, &Type::TEXT, -1, 0), &texts);
    assert_eq!(&there_and_back(&texts, &Type::JSONB, -1, 0), &texts);
    let uuids: ArrayRef = Arc::new(StringArray::from(vec!["0190a5c0-0000-7000-8000-00000000000f"]));
    assert_eq!(&there_and_back(&uuids, &Type::UUID, -1, 0), &uuids);
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![i32::MIN, -719_162, 0, 20_000, i32::MAX]));
    assert_eq!(&there_and_back(&dates, &Type::DATE, -1, 0), &dates);
    let moments: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, -1, 0, i64::MAX]));
    assert_eq!(&there_and_back(&moments, &Type::TIMESTAMP, -1, 0), &moments);
}

#[test]
fn decimals_keep_every_digit() {
    let nines = 10_i128.pow(38) - 1;
    for scale in [0_i8, 1, 2, 3, 4, 5, 9] {
        let values = [
            0,
            1,
            -1,
            7,
            10,
            12_345,
            -9_999,
            10_000,
            100_000_000,
            123_456_789_012_345_678_901,
            nines,
            -nines,
        ];
        let array = Decimal128Array::from(values.to_vec()).with_precision_and_scale(38, scale).unwrap();
        let array: ArrayRef = Arc::new(array);
        let modifier = ((38 << 16) | i32::from(scale)) + 4;
        assert_eq!(&there_and_back(&array, &Type::NUMERIC, modifier, 0), &array, "scale {scale}");
    }
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![0, 10_000, u64::MAX]));
    let back = there_and_back(&large, &Type::NUMERIC, (20 << 16) + 4, 0);
    assert_eq!(
        back.as_ref(),
        &Decimal128Array::from(vec![0, 10_000, i128::from(u64::MAX)]).with_precision_and_scale(20, 0).unwrap()
            as &dyn arrow::array::Array
    );
}

#[test]
fn wide_decimals_keep_every_digit() {
    use arrow::array::Decimal256Array;
    use arrow::datatypes::i256;
    let digits = "1234567890123456789012345678901234567890123456789012345678901234567890123456";
    let value = i256::from_string(digits).unwrap();
    for scale in [0_i8, 3, 10, 75] {
        let array = Decimal256Array::from(vec![value, value.wrapping_neg(), i256::ZERO, i256::from_i128(5)]);
        let array: ArrayRef = Arc::new(array.with_precision_and_scale(76, scale).unwrap());
        let modifier = ((76 << 16) | i32::from(scale)) + 4;
        assert_eq!(&there_and_back(&array, &Type::NUMERIC, modifier, 0), &array, "scale {scale}");
    }
}

#[test]
fn lists_keep_their_items_nulls_and_emptiness() {
    let lists = vec![Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(3)])];
    let array: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
    assert_eq!(&there_and_back(&array, &Type::INT4_ARRAY, -1, 1), &array);
    let sliced = array.slice(2, 2);
    assert_eq!(&there_and_back(&sliced, &Type::INT4_ARRAY, -1, 1), &sliced);
}

#[test]
fn what_postgres_cannot_hold_leaves_its_row_out_and_no_other() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b\0", "c"]));
    assert_eq!(refusals(texts, &Type::TEXT), [1]);
    let uuids: ArrayRef = Arc::new(StringArray::from(vec!["no uuid"]));
    assert_eq!(refusals(uuids, &Type::UUID), [0]);
    let moments: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000, 1_001]));
    assert_eq!(refusals(moments, &Type::TIMESTAMP), [1]);
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![i32::MIN + 1, 0]));
    assert_eq!(refusals(dates, &Type::DATE), [0]);
}

#[test]
fn several_columns_make_one_row() {
    let columns = [
        ("a", Arc::new(Int32Array::from(vec![7])) as ArrayRef),
        ("b", Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef),
    ];
    let rows =
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap();
    let (message, _) = encode(&rows, &[Wire::Int4, Wire::Text]).unwrap();
    let row = [&[0, 2][..], &[0, 0, 0, 4, 0, 0, 0, 7], &[0xff; 4]].concat();
    let expected: Bytes = [&[b'd', 0, 0, 0, 39][..], HEADER, &row, TRAILER].concat().into();
    assert_eq!(message, expected);
}

#[test]
fn many_rows_are_several_messages_and_none_is_torn() {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..1000).map(|row| "x".repeat(row))));
    let (messages, _) = encode(&batch(texts.clone()), &[Wire::Text]).unwrap();
    let frames = Frames::whole(messages.into()).unwrap();
    assert!((7..10).contains(&frames.count()), "{}", frames.count());
    assert!(frames.messages().all(|message| message.len() < MESSAGE + 1000 + HEADER.len()));
    assert_eq!(&there_and_back(&texts, &Type::TEXT, -1, 0), &texts);
}

#[test]
fn a_row_that_no_message_can_hold_is_refused_and_the_others_go() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "much too long", "b"]));
    let (messages, refused) = encode_within(&batch(texts), &[Wire::Text], 8).unwrap();
    let refused: Vec<_> = refused.iter().map(|refused| (refused.row, refused.column)).collect();
    assert_eq!(refused, [(1, 0)]);
    let rows: Vec<_> = rows_of(messages)
        .iter()
        .flat_map(|frames| frames.messages().map(<[u8]>::to_vec).collect::<Vec<_>>())
        .collect();
    assert_eq!(rows.concat(), [&[0, 1, 0, 0, 0, 1, b'a', 0, 1, 0, 0, 0, 1, b'b'][..], TRAILER].concat());
}
