//! Rows on the wire, byte by byte.

use std::sync::Arc;

use arrow_schema::Schema;
use serde_json::json;
use tokio_postgres::types::Type;
use towpath_testkit::rows;

use super::*;
use crate::config::{Arrays, Numeric};
use crate::types::{Described, column};

fn columns(types: &[(Type, usize)]) -> (Vec<Column>, SchemaRef) {
    let columns: Vec<_> = types
        .iter()
        .enumerate()
        .map(|(index, (data_type, dimensions))| {
            let described = Described {
                name: format!("c{index}"),
                data_type: data_type.clone(),
                modifier: -1,
                type_name: data_type.name().to_owned(),
                nullable: true,
                dimensions: *dimensions,
            };
            column(&described, Numeric::Exact, Arrays::List)
        })
        .collect();
    let schema = Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>());
    (columns, Arc::new(schema))
}

fn row(fields: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = i16::try_from(fields.len()).unwrap().to_be_bytes().to_vec();
    for field in fields {
        bytes.extend(value(*field));
    }
    bytes
}

/// Decodes messages.
fn decoded(columns: &[Column], schema: &SchemaRef, messages: &[Vec<u8>], place: &str) -> Result<Decoded> {
    let frames: Vec<_> = messages.iter().map(|message| Frames::from(&**message)).collect();
    decode(columns, schema, &frames, place)
}

fn value(field: Option<&[u8]>) -> Vec<u8> {
    match field {
        None => (-1_i32).to_be_bytes().to_vec(),
        Some(field) => [&i32::try_from(field.len()).unwrap().to_be_bytes(), field].concat(),
    }
}

fn array(dimensions: &[(i32, i32)], items: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [i32::try_from(dimensions.len()).unwrap(), 0, 23] {
        bytes.extend(number.to_be_bytes());
    }
    for (length, first) in dimensions {
        bytes.extend(length.to_be_bytes());
        bytes.extend(first.to_be_bytes());
    }
    for item in items {
        bytes.extend(value(*item));
    }
    bytes
}

#[test]
fn several_rows_and_the_trailer_may_come_in_one_message() {
    let (columns, schema) = columns(&[(Type::INT4, 0), (Type::TEXT, 0)]);
    let two = [row(&[Some(&7_i32.to_be_bytes()), None]), row(&[None, Some(b"x")])].concat();
    let messages = [two, vec![0xff, 0xff]];
    let decoded = decoded(&columns, &schema, &messages, "t").unwrap();
    assert_eq!(
        rows::to_json([&decoded.rows]),
        [json!({"c0": 7, "c1": null}), json!({"c0": null, "c1": "x"})]
    );
    assert_eq!(decoded.count, 2);
}

#[test]
fn the_header_is_taken_off_and_must_be_there() {
    let header = [SIGNATURE, &[0; 8], b"rest"].concat();
    let begun = without_header(&Frames::from(&*header)).unwrap();
    assert_eq!(begun.iter().flat_map(Frames::messages).collect::<Vec<_>>(), [b"rest"]);
    assert!(without_header(&Frames::from(&b"rest"[..])).is_err());
    assert!(without_header(&Frames::from(&header[..15])).is_err());
}

#[test]
fn a_row_that_is_cut_off_is_an_error_and_not_a_shorter_one() {
    let (columns, schema) = columns(&[(Type::INT4, 0)]);
    let whole = row(&[Some(&7_i32.to_be_bytes())]);
    for end in 1..whole.len() {
        assert!(decoded(&columns, &schema, &[whole[..end].to_vec()], "t").is_err(), "{end}");
    }
    assert!(decoded(&columns, &schema, &[row(&[None, None])], "t").is_err());
}

#[test]
fn lists_of_every_depth_keep_their_items() {
    let (columns, schema) = columns(&[(Type::INT4_ARRAY, 2)]);
    let number = |n: i32| n.to_be_bytes();
    let (a, b, c) = (number(1), number(2), number(3));
    let two_by_two = array(&[(2, 1), (2, 1)], &[Some(&a), Some(&b), None, Some(&c)]);
    let messages =
        [row(&[Some(&two_by_two)]), row(&[None]), row(&[Some(&array(&[], &[]))]), row(&[Some(&two_by_two)])];
    let decoded = decoded(&columns, &schema, &messages, "t").unwrap();
    let nested = json!({"c0": [[1, 2], [null, 3]]});
    let expected = [nested.clone(), json!({"c0": null}), json!({"c0": []}), nested];
    assert_eq!(rows::to_json([&decoded.rows]), expected);
}

#[test]
fn what_has_no_place_in_its_column_rejects_its_row_and_no_other() {
    let (columns, schema) = columns(&[(Type::INT4_ARRAY, 1), (Type::TEXT, 0)]);
    let seven = 7_i32.to_be_bytes();
    let good = array(&[(1, 1)], &[Some(&seven)]);
    let shifted = array(&[(1, 0)], &[Some(&seven)]);
    let deeper = array(&[(1, 1), (1, 1)], &[Some(&seven)]);
    let broken_item = array(&[(2, 1)], &[Some(&seven), Some(b"x")]);
    let messages: Vec<_> = [&good, &shifted, &deeper, &broken_item, &good]
        .iter()
        .zip(["a", "b", "c", "d", "e"])
        .map(|(list, name)| row(&[Some(list), Some(name.as_bytes())]))
        .collect();
    let decoded = decoded(&columns, &schema, &messages, "public.t").unwrap();
    let row = |name| json!({"c0": [7], "c1": name});
    assert_eq!(rows::to_json([&decoded.rows]), [row("a"), row("e")]);
    let texts: Vec<_> = decoded.rejected.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[0].contains("public.t") && texts[0].contains("first index is 0"), "{}", texts[0]);
    assert!(texts[1].contains("2 dimensions"), "{}", texts[1]);
    assert_eq!(decoded.rejected[0].row.as_ref().unwrap()["c1"], "b");
    assert_eq!(decoded.count, 5);
}

#[test]
fn text_that_is_no_utf8_is_rejected() {
    let (columns, schema) = columns(&[(Type::TEXT, 0)]);
    let decoded = decoded(&columns, &schema, &[row(&[Some(&[0xff])]), row(&[Some(b"ok")])], "t").unwrap();
    assert_eq!((decoded.rows.num_rows(), decoded.rejected.len()), (1, 1));
}
