use bson::{Bson, Document, doc, serialize_to_vec};
use serde_json::json;
use towpath_testkit::rows::to_json;

use super::*;

fn form() -> Form {
    Form { depth: 8, whole: false, declared: Arc::default() }
}

fn declaring(columns: &[(&str, &str)]) -> Form {
    let columns = columns.iter().map(|(name, data_type)| ((*name).to_owned(), data_type.parse().unwrap()));
    Form { declared: Arc::new(columns.collect()), ..form() }
}

fn bytes(documents: &[Document]) -> Vec<Vec<u8>> {
    documents.iter().map(|document| serialize_to_vec(document).unwrap()).collect()
}

fn decoded(documents: &[Vec<u8>], form: &Form) -> Decoded {
    let slices: Vec<&[u8]> = documents.iter().map(Vec::as_slice).collect();
    decode(&slices, &form.start(), form, "shop.orders").unwrap()
}

#[test]
fn documents_become_rows_whatever_the_order_and_number_of_their_fields() {
    let documents = bytes(&[
        doc! { "_id": 1, "name": "a", "tags": ["x", "y"], "at": bson::DateTime::from_millis(5) },
        doc! { "name": "b", "_id": 2 },
        doc! { "_id": 3, "address": { "city": "c", "geo": [1.5, 2] }, "tags": Bson::Null },
    ]);
    let decoded = decoded(&documents, &form());
    assert!(decoded.rejected.is_empty());
    let expected = [
        json!({"_id": 1, "name": "a", "tags": ["x", "y"], "at": "1970-01-01T00:00:00.005Z", "address": null}),
        json!({"_id": 2, "name": "b", "tags": null, "at": null, "address": null}),
        json!({"_id": 3, "name": null, "tags": null, "at": null, "address": {"city": "c", "geo": [1.5, 2.0]}}),
    ];
    assert_eq!(to_json([&decoded.rows]), expected);
}

#[test]
fn columns_are_widened_in_the_middle_of_a_batch() {
    let documents =
        bytes(&[doc! { "a": 1 }, doc! { "a": "x", "b": [1] }, doc! { "a": 2.5, "b": [{ "c": 1 }] }]);
    let decoded = decoded(&documents, &form());
    let expected = [
        json!({"a": "1", "b": null}),
        json!({"a": "x", "b": ["1"]}),
        json!({"a": "2.5", "b": ["{\"c\":1}"]}),
    ];
    assert_eq!(to_json([&decoded.rows]), expected);
    let fields = decoded.widened.unwrap();
    let again: Vec<&[u8]> = documents.iter().map(Vec::as_slice).collect();
    assert!(decode(&again, &fields, &form(), "").unwrap().widened.is_none());
}

#[test]
fn an_integer_that_a_double_would_change_makes_the_column_text() {
    let documents = bytes(&[doc! { "a": i64::MAX }, doc! { "a": 0.5 }]);
    assert_eq!(
        to_json([&decoded(&documents, &form()).rows]),
        [json!({"a": i64::MAX.to_string()}), json!({"a": "0.5"})]
    );
}

#[test]
fn a_field_that_comes_twice_is_rejected_with_its_document() {
    let mut twice = serialize_to_vec(&doc! { "_id": 7, "a": 1, "b": 2 }).unwrap();
    let position = twice.iter().rposition(|&byte| byte == b'b').unwrap();
    twice[position] = b'a';
    let decoded = decoded(&[twice, serialize_to_vec(&doc! { "_id": 8, "a": 3 }).unwrap()], &form());
    assert_eq!(to_json([&decoded.rows]), [json!({"_id": 8, "a": 3})]);
    let rejected = &decoded.rejected[0];
    assert_eq!((rejected.place.as_str(), rejected.column.as_deref()), ("shop.orders 7", Some("a")));
    assert!(rejected.reason.contains("twice"), "{}", rejected.reason);
}

#[test]
fn a_text_that_is_no_utf8_is_rejected_with_its_document_and_no_other() {
    let broken = |document: &Document| {
        let mut bytes = serialize_to_vec(document).unwrap();
        let text = bytes.windows(4).position(|window| window == b"text").unwrap();
        bytes[text] = 0xff;
        bytes
    };
    let items = |second: &str| doc! { "a": [{ "b": "x" }, { "b": second }], "c": "\u{fc}ber" };
    let sound = serialize_to_vec(&items("y")).unwrap();
    let decoded = decoded(&[sound, broken(&items("text")), broken(&doc! { "c": "text" })], &form());
    assert_eq!(to_json([&decoded.rows]), [json!({"a": [{"b": "x"}, {"b": "y"}], "c": "\u{fc}ber"})]);
    let mut columns: Vec<_> =
        decoded.rejected.iter().map(|row| (row.column.as_deref(), row.value.as_deref())).collect();
    columns.sort_unstable();
    assert_eq!(columns, [(Some("a.b"), Some("\u{fffd}ext")), (Some("c"), Some("\u{fffd}ext"))]);
    assert!(decoded.rejected[0].reason.contains("no UTF-8"), "{:?}", decoded.rejected);
}

#[test]
fn a_document_that_is_cut_off_is_rejected_and_no_other() {
    let mut broken = serialize_to_vec(&doc! { "a": { "b": "text" } }).unwrap();
    broken[0] -= 1;
    let decoded = decoded(&[broken, serialize_to_vec(&doc! { "a": { "b": "x" } }).unwrap()], &form());
    assert_eq!(to_json([&decoded.rows]), [json!({"a": {"b": "x"}})]);
    assert!(decoded.rejected[0].reason.contains("its length is wrong"), "{:?}", decoded.rejected);
}

#[test]
fn declared_columns_override_what_is_seen_and_refuse_what_does_not_fit() {
    let form = declaring(&[
        ("price", "decimal(10,2)"),
        ("day", "date"),
        ("n", "int64"),
        ("text", "string"),
        ("points", "list<struct<x: int64>>"),
    ]);
    let documents = bytes(&[
        doc! { "price": "1.5".parse::<bson::Decimal128>().unwrap(), "day": "2024-02-29", "n": 1, "text": 5,
        "points": [{ "x": 1, "y": 2 }] },
        doc! { "n": "one" },
        doc! { "price": "cheap" },
        doc! { "points": [{ "x": "?" }] },
        doc! { "other": true, "text": { "a": 1 } },
    ]);
    let decoded = decoded(&documents, &form);
    let expected = [
        json!({"price": "1.50", "day": "2024-02-29", "n": 1, "text": "5", "points": [{"x": 1}], "other": null}),
        json!({"price": null, "day": null, "n": null, "text": "{\"a\":1}", "points": null, "other": true}),
    ];
    assert_eq!(to_json([&decoded.rows]), expected);
    let columns: Vec<_> =
        decoded.rejected.iter().map(|row| (row.column.as_deref(), row.value.as_deref())).collect();
    assert_eq!(
        columns,
        [(Some("n"), Some("one")), (Some("points.x"), Some("?")), (Some("price"), Some("cheap"))]
    );
}

#[test]
fn whole_documents_are_carried_as_they_came() {
    let form = Form { whole: true, ..form() };
    let documents = bytes(&[doc! { "b": 1, "_id": "x" }, doc! { "_id": 5 }, doc! {}]);
    let decoded = decoded(&documents, &form);
    assert_eq!(decoded.rows.schema().field(1).metadata()[TYPE_KEY], names::DOCUMENT);
    let ids: Vec<_> = to_json([&decoded.rows]).into_iter().map(|row| row["_id"].clone()).collect();
    assert_eq!(ids, [json!("x"), json!("5"), json!(null)]);
    let column = arrow::array::AsArray::as_binary::<i32>(decoded.rows.column(1));
    assert_eq!(column.value(0), documents[0]);
}

#[test]
fn names_may_be_empty_or_dotted_and_many() {
    let mut document = doc! { "": 1, "a.b": 2, "$c": 3 };
    for number in 0..5_000 {
        document.insert(format!("field {number}"), number);
    }
    let decoded = decoded(&bytes(&[document]), &form());
    assert_eq!(decoded.rows.num_columns(), 5_003);
    let row = &to_json([&decoded.rows])[0];
    assert_eq!(
        (&row[""], &row["a.b"], &row["$c"], &row["field 4999"]),
        (&json!(1), &json!(2), &json!(3), &json!(4999))
    );
}

#[test]
fn deep_documents_end_in_json() {
    let deep = (0..100).fold(doc! { "leaf": 1 }, |inner, _| doc! { "d": inner });
    let decoded = decoded(&bytes(&[deep]), &form());
    let row = to_json([&decoded.rows])[0].to_string();
    assert_eq!(row.matches("{\"d\":").count(), 9, "{row}");
    assert_eq!(row.matches("{\\\"d\\\":").count(), 91, "{row}");
}
