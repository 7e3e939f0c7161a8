use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int64Array, ListArray, StringArray, UInt64Array};
use arrow::datatypes::Int32Type;
use serde_json::json;

use super::*;

fn column(name: &str, target: &str) -> EncodedColumn {
    EncodedColumn {
        name: name.to_owned(),
        target: TargetType::from_catalog(target),
        required: false,
        is_key: false,
    }
}

fn rows() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
        ("name", Arc::new(StringArray::from(vec![Some("a\tb"), Some("it's"), None]))),
        ("share", Arc::new(Float64Array::from(vec![0.5, f64::NAN, 1e300]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn encoder(mark: Mark) -> Encoder {
    let columns = [column("id", "bigint"), column("name", "longtext"), column("share", "double")];
    Encoder::new(rows(), &columns, mark, None).unwrap()
}

#[test]
fn rows_become_lines() {
    let encoded = encoder(Mark::Ordinal(10)).load(0..3);
    assert_eq!(String::from_utf8(encoded.text).unwrap(), "10\t1\ta\\tb\t0.5\n12\t3\t\\N\t1e300\n");
    assert_eq!(encoded.lines, [0, 2]);
}

#[test]
fn rows_become_the_values_of_an_insert() {
    let encoded = encoder(Mark::Part(7)).insert([2, 0]);
    assert_eq!(String::from_utf8(encoded.text).unwrap(), "(7,'3',NULL,'1e300'),(7,'1','a\tb','0.5')");
}

#[test]
fn a_value_that_the_column_cannot_hold_rejects_its_row_and_is_named() {
    let encoder = encoder(Mark::Part(7));
    let fault = encoder.load(0..3).faults.remove(0);
    let rejected = encoder.rejected(&fault, "there".to_owned());
    assert_eq!(rejected.to_string(), "there: MySQL has neither NaN nor infinity (column: share, value: NaN)");
    assert_eq!(rejected.row.unwrap()["name"], json!("it's"));
}

#[test]
fn a_null_where_none_may_be_rejects_its_row() {
    let mut columns = [column("id", "bigint")];
    columns[0].required = true;
    let encoded = Encoder::new(rows(), &columns, Mark::Part(0), None).unwrap().load(0..3);
    assert_eq!(encoded.faults.len(), 1);
    assert_eq!((encoded.faults[0].row, encoded.faults[0].column.as_deref()), (1, Some("id")));
}

#[test]
fn a_deletion_needs_nothing_but_its_key() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("share", Arc::new(Float64Array::from(vec![f64::NAN, 1.0]))),
        ("op", Arc::new(StringArray::from(vec!["d", "u"]))),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut columns = [column("id", "bigint"), column("share", "double")];
    columns[0].is_key = true;
    columns[1].required = true;
    let encoded = Encoder::new(rows, &columns, Mark::Ordinal(0), Some("op")).unwrap().load(0..2);
    assert_eq!(String::from_utf8(encoded.text).unwrap(), "0\t1\t1\t\\N\n1\t0\t2\t1.0\n");
}

#[test]
fn bits_bytes_and_nested_values_have_forms_of_their_own() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("bits", Arc::new(UInt64Array::from(vec![5]))),
        ("bytes", Arc::new(BinaryArray::from(vec![&b"\x00\xFF"[..]]))),
        ("list", Arc::new(list)),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let columns = [column("bits", "bit(8)"), column("bytes", "longblob"), column("list", "json")];
    let encoder = Encoder::new(rows, &columns, Mark::Part(1), None).unwrap();
    assert_eq!(encoder.insert([0]).text, b"(1,5,x'00ff','[1,null]')");
    assert_eq!(encoder.load([0]).text, b"1\t5\t\\0\xFF\t[1,null]\n");
}
