//! Documents of every type and size, from the server.

use bson::{Bson, Document, doc};
use serde_json::json;
use towpath_core::Json;

use crate::support::{Database, batches, read_all, request};

/// A document with each type that a server stores.
pub(crate) fn every_type() -> Document {
    doc! {
        "_id": bson::oid::ObjectId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        "double": 1.5, "string": "é\u{0}x", "document": { "a": 1 }, "array": [1, Bson::Null],
        "binary": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![0, 255] },
        "user": bson::Binary { subtype: bson::spec::BinarySubtype::UserDefined(0x80), bytes: vec![1] },
        "uuid": bson::Uuid::from_bytes([17; 16]), "bool": true, "date": bson::DateTime::from_millis(-1),
        "null": Bson::Null, "regex": bson::Regex { pattern: "a/b".try_into().unwrap(), options: "i".try_into().unwrap() },
        "code": Bson::JavaScriptCode("f()".into()),
        "scoped": bson::JavaScriptCodeWithScope { code: "f".into(), scope: doc! { "x": 1 } },
        "symbol": Bson::Symbol("s".into()), "int": 1, "timestamp": bson::Timestamp { time: 1, increment: 2 },
        "long": 1_i64, "decimal": "1.50".parse::<bson::Decimal128>().unwrap(),
        "min": Bson::MinKey, "max": Bson::MaxKey, "undefined": Bson::Undefined,
        "reference": { "$ref": "c", "$id": 1 },
    }
}

#[tokio::test]
async fn every_type_has_a_column() {
    let database = Database::with("c", [every_type()]).await;
    let row = read_all(&database, &json!({ "collection": "c" })).await.unwrap().pop().unwrap();
    let expected = json!({
        "_id": "0102030405060708090a0b0c", "double": 1.5, "string": "é\u{0}x", "document": { "a": 1 }, "array": [1, null],
        "binary": "00ff", "user": "01", "uuid": "11111111-1111-1111-1111-111111111111", "bool": true,
        "date": "1969-12-31T23:59:59.999Z", "null": null, "regex": "/a/b/i", "code": "f()",
        "scoped": "{\"$code\":\"f\",\"$scope\":{\"x\":1}}", "symbol": "s", "int": 1, "timestamp": 4_294_967_298_u64,
        "long": 1, "decimal": "1.50", "min": "{\"$minKey\":1}", "max": "{\"$maxKey\":1}",
        "undefined": "{\"$undefined\":true}", "reference": { "$ref": "c", "$id": 1 },
    });
    assert_eq!(row, expected);
}

#[tokio::test]
async fn the_type_in_mongodb_stands_in_the_metadata() {
    let database = Database::with("c", [every_type()]).await;
    let cx = towpath_testkit::context();
    let source = database.source(&cx, &json!({ "collection": "c" })).await.unwrap();
    let batch = batches(&*source, &cx, &request()).await.unwrap().remove(0);
    let schema = batch.rows.schema();
    let named: Vec<(&str, &str)> = schema
        .fields()
        .iter()
        .filter_map(|field| Some((field.name().as_str(), field.metadata().get("mongodb.type")?.as_str())))
        .collect();
    let expected = [
        ("_id", "objectId"),
        ("binary", "binData"),
        ("user", "binData:128"),
        ("uuid", "uuid"),
        ("date", "date"),
        ("regex", "regex"),
        ("code", "javascript"),
        ("scoped", "json"),
        ("symbol", "symbol"),
        ("timestamp", "timestamp"),
        ("decimal", "decimal"),
        ("min", "json"),
        ("max", "json"),
        ("undefined", "json"),
    ];
    assert_eq!(named, expected);
}

#[tokio::test]
async fn the_largest_the_deepest_and_the_widest_documents_are_read() {
    let large = doc! { "_id": "large", "text": "x".repeat((16 << 20) - 64) };
    let deep = (0..100).fold(doc! { "leaf": 1 }, |inner, _| doc! { "d": inner });
    let mut wide = doc! { "_id": "wide", "a.b": 1, "": 2, "$c": 3 };
    wide.extend((0..5_000).map(|n| (format!("field {n}"), Bson::from(n))));
    let database = Database::with("c", [large, doc! { "_id": "deep", "d": deep }, wide]).await;
    let rows = read_all(&database, &json!({ "collection": "c" })).await.unwrap();
    let row = |id: &str| rows.iter().find(|row| row["_id"] == id).unwrap();
    assert_eq!(row("large")["text"].as_str().unwrap().len(), (16 << 20) - 64);
    assert!(row("deep").to_string().contains("leaf"));
    assert_eq!(
        (&row("wide")["a.b"], &row("wide")[""], &row("wide")["$c"]),
        (&json!(1), &json!(2), &json!(3))
    );
    assert_eq!(row("wide")["field 4999"], json!(4999));
}

#[tokio::test]
async fn a_document_that_does_not_fit_a_declared_column_is_rejected_with_its_id() {
    let database = Database::with("c", [doc! { "_id": 1, "n": 1 }, doc! { "_id": 2, "n": "two" }]).await;
    let cx = towpath_testkit::context();
    let source =
        database.source(&cx, &json!({ "collection": "c", "columns": { "n": "int64" } })).await.unwrap();
    let batch = batches(&*source, &cx, &request()).await.unwrap().remove(0);
    assert_eq!(batch.rows.num_rows(), 1);
    let rejected = &batch.rejected[0];
    assert_eq!(rejected.place, format!("{}.c 2", database.name));
    assert_eq!((rejected.column.as_deref(), rejected.value.as_deref()), (Some("n"), Some("two")));
    assert_eq!(rejected.row, Some(json!({ "_id": 2, "n": "two" })));
}

#[tokio::test]
async fn an_empty_collection_gives_no_rows() {
    let database = Database::new().await;
    database.run(doc! { "create": "c" }).await;
    let rows: Vec<Json> = read_all(&database, &json!({ "collection": "c" })).await.unwrap();
    assert!(rows.is_empty());
}
