//! flatten and explode.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, LargeListArray, NullArray, RecordBatch};
use arrow::datatypes::Int64Type;
use serde_json::json;

use crate::{apply, batch, error_of, one_column, rows_of};

fn nested() -> RecordBatch {
    batch(
        "id: int64, address: struct<city: string, geo: struct<lat: float64>>, other: struct<x: int64>",
        json!([
            {"id": 1, "address": {"city": "Ulm", "geo": {"lat": 48.4}}, "other": {"x": 1}},
            {"id": 2, "address": {"city": null, "geo": null}, "other": null},
            {"id": 3, "address": null, "other": {"x": null}}
        ]),
    )
}

#[test]
fn fields_of_a_struct_become_columns_to_the_bottom() {
    assert_eq!(
        rows_of(json!([{"flatten": ["address"]}]), nested()),
        json!([
            {"id": 1, "address_city": "Ulm", "address_geo_lat": 48.4, "other": {"x": 1}},
            {"id": 2, "address_city": null, "address_geo_lat": null, "other": null},
            {"id": 3, "address_city": null, "address_geo_lat": null, "other": {"x": null}}
        ])
    );
}

#[test]
fn columns_separator_and_depth_of_flatten_are_obeyed() {
    let names = |options| {
        let rows = apply(json!([{"flatten": options}]), nested()).rows;
        rows.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(json!({})), ["id", "address_city", "address_geo_lat", "other_x"]);
    assert_eq!(names(json!({"columns": "other"})), ["id", "address", "other_x"]);
    assert_eq!(names(json!({"separator": "."})), ["id", "address.city", "address.geo.lat", "other.x"]);
    assert_eq!(names(json!({"depth": 1})), ["id", "address_city", "address_geo", "other_x"]);
}

#[test]
fn a_null_struct_hides_what_its_fields_still_hold() {
    use arrow::array::{Int64Array, StructArray};
    use arrow::buffer::NullBuffer;
    use arrow_schema::{DataType, Field};
    let fields = vec![Field::new("x", DataType::Int64, false), Field::new("n", DataType::Null, true)].into();
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(NullArray::new(2))];
    let structs = StructArray::new(fields, columns, Some(NullBuffer::from(vec![true, false])));
    let rows = one_column("a", Arc::new(structs));
    assert_eq!(
        rows_of(json!([{"flatten": "a"}]), rows.clone()),
        json!([{"a_x": 1, "a_n": null}, {"a_x": null, "a_n": null}])
    );
    assert_eq!(apply(json!([{"filter": "a.x = 2"}]), rows).rows.num_rows(), 0);
}

#[test]
fn flatten_refuses_what_is_no_struct_and_names_that_clash() {
    let error = error_of(json!([{"flatten": "id"}]), nested()).to_string();
    assert_eq!(error, "transform step 1 (flatten): `id` is int64 and not a struct");
    let of = json!([{"rename": {"id": "other_x"}}, {"flatten": "other"}]);
    let error = error_of(of, nested()).to_string();
    assert!(
        error.contains("two columns called `other_x`") && error.contains("another `separator`"),
        "{error}"
    );
}

#[test]
fn a_column_of_nulls_only_disappears_when_it_is_flattened() {
    let rows = one_column("address", Arc::new(NullArray::new(2)));
    let after = apply(json!([{"flatten": "address"}]), rows).rows;
    assert_eq!((after.num_columns(), after.num_rows()), (0, 2));
}

fn lists() -> RecordBatch {
    batch(
        "id: int64, items: list<struct<sku: string>>",
        json!([
            {"id": 1, "items": [{"sku": "a"}, {"sku": "b"}]},
            {"id": 2, "items": []},
            {"id": 3, "items": null},
            {"id": 4, "items": [null, {"sku": "c"}]}
        ]),
    )
}

#[test]
fn each_item_of_a_list_becomes_a_row() {
    assert_eq!(
        rows_of(json!([{"explode": "items"}]), lists()),
        json!([
            {"id": 1, "items": {"sku": "a"}}, {"id": 1, "items": {"sku": "b"}},
            {"id": 4, "items": null}, {"id": 4, "items": {"sku": "c"}}
        ])
    );
}

#[test]
fn rows_without_items_stay_when_told_to() {
    let ids = |keep_empty: bool| {
        let of = json!([{"explode": {"column": "items", "keep_empty": keep_empty}}, {"select": "id"}]);
        rows_of(of, lists())
    };
    assert_eq!(ids(false), json!([{"id": 1}, {"id": 1}, {"id": 4}, {"id": 4}]));
    assert_eq!(ids(true), json!([{"id": 1}, {"id": 1}, {"id": 2}, {"id": 3}, {"id": 4}, {"id": 4}]));
}

#[test]
fn every_kind_of_list_can_be_exploded() {
    let large = LargeListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None])]);
    let fixed = FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None])], 2);
    for list in [Arc::new(large) as ArrayRef, Arc::new(fixed)] {
        let after = rows_of(json!([{"explode": "a"}]), one_column("a", list.slice(0, 1)));
        assert_eq!(after, json!([{"a": 1}, {"a": null}]));
    }
    let nothing = one_column("a", Arc::new(NullArray::new(2)));
    assert_eq!(rows_of(json!([{"explode": "a"}]), nothing.clone()), json!([]));
    let kept = rows_of(json!([{"explode": {"column": "a", "keep_empty": true}}]), nothing);
    assert_eq!(kept, json!([{"a": null}, {"a": null}]));
}

#[test]
fn a_slice_of_a_batch_explodes_like_the_whole() {
    assert_eq!(
        rows_of(json!([{"explode": "items"}, {"flatten": {}}]), lists().slice(3, 1)),
        json!([{"id": 4, "items_sku": null}, {"id": 4, "items_sku": "c"}])
    );
}

#[test]
fn what_is_no_list_cannot_be_exploded() {
    let error = error_of(json!([{"explode": "id"}]), lists()).to_string();
    assert_eq!(error, "transform step 1 (explode): `id` is int64 and not a list");
}

#[test]
fn missing_columns_are_left_alone() {
    assert_eq!(apply(json!([{"flatten": "nope"}, {"explode": "nope"}]), lists()).rows, lists());
}
