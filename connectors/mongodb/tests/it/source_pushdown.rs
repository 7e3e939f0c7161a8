//! What the server leaves out: nothing that the engine would keep.

use bson::{Bson, doc};
use serde_json::json;
use towpath_core::{Comparison, CursorRange, ErrorKind, Json, Predicate, Pushdown};

use crate::support::{Database, batches, json_rows, plan, request};

/// The ids of the documents that come.
async fn ids(
    database: &Database,
    options: &Json,
    filter: Option<Predicate>,
    cursor: Option<CursorRange>,
) -> Vec<i64> {
    let cx = towpath_testkit::context();
    let source = database.source(&cx, options).await.unwrap();
    let mut request = request();
    (request.filter, request.cursor) = (filter, cursor);
    let rows = json_rows(&batches(&*source, &cx, &request).await.unwrap());
    let mut ids: Vec<_> = rows.iter().map(|row| row["_id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

fn compare(column: &str, comparison: Comparison, value: Json) -> Predicate {
    Predicate::Compare { column: column.to_owned(), comparison, value }
}

#[tokio::test]
async fn a_filter_of_the_pipeline_is_told_to_the_server() {
    let at = |minute: i64| bson::DateTime::from_millis(1_767_225_600_000 + 60_000 * minute);
    let documents = (0..20).map(|n| {
        doc! { "_id": n, "n": n, "half": f64::from(n) / 2.0, "text": format!("t{}", n % 4), "even": n % 2 == 0, "at": at(n.into()) }
    });
    let database = Database::with("c", documents).await;
    let cases = [
        (compare("n", Comparison::GreaterOrEqual, json!(17)), vec![17, 18, 19]),
        (compare("half", Comparison::LessOrEqual, json!(0.5)), vec![0, 1]),
        (compare("text", Comparison::Equal, json!("t3")), vec![3, 7, 11, 15, 19]),
        (compare("at", Comparison::LessOrEqual, json!({ "timestamp": "2026-01-01T00:01:00Z" })), vec![0, 1]),
        (Predicate::In { column: "n".into(), values: vec![json!(3), json!(99)] }, vec![3]),
        (Predicate::IsNull("n".into()), vec![]),
        (
            Predicate::And(vec![
                compare("even", Comparison::Equal, json!(true)),
                compare("n", Comparison::LessOrEqual, json!(4)),
            ]),
            vec![0, 2, 4],
        ),
        (
            Predicate::Or(vec![
                compare("n", Comparison::Equal, json!(5)),
                compare("n", Comparison::Equal, json!(7)),
            ]),
            vec![5, 7],
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(
            ids(&database, &json!({ "collection": "c" }), Some(filter.clone()), None).await,
            expected,
            "{filter:?}"
        );
    }
    // Behind these, a column may be something else than the field of its name.
    let one = compare("n", Comparison::Equal, json!(1));
    for options in
        [json!({ "pipeline": [{ "$match": {} }] }), json!({ "projection": { "n": { "$add": ["$n", 1] } } })]
    {
        let mut all = options;
        all["collection"] = "c".into();
        assert_eq!(ids(&database, &all, Some(one.clone()), None).await.len(), 20, "{all}");
    }
}

#[tokio::test]
async fn the_server_leaves_out_nothing_that_it_compares_in_another_way() {
    // The first ones are what the columns are made of.
    let strange: Vec<Bson> = vec![
        1.into(),
        f64::NAN.into(),
        "text".into(),
        Bson::Array(vec![1.into(), 2.into()]),
        (-0.0).into(),
        "7".parse::<bson::Decimal128>().unwrap().into(),
        Bson::Null,
    ];
    let documents = strange.into_iter().zip(0_i64..).map(|(value, id)| doc! { "_id": id, "n": value });
    let database = Database::with("c", documents.chain([doc! { "_id": 7_i64 }])).await;
    let options = json!({ "collection": "c", "sample_size": 1 });
    let greater = compare("n", Comparison::Greater, json!(5));
    assert_eq!(ids(&database, &options, Some(greater), None).await, [1, 2, 3, 5]);
    let positive = compare("n", Comparison::Less, json!(0));
    assert_eq!(ids(&database, &options, Some(positive), None).await, [1, 2, 3, 4, 5]);
    assert_eq!(ids(&database, &options, Some(Predicate::IsNull("n".into())), None).await, [6, 7]);
    let present = ids(&database, &options, Some(Predicate::IsNotNull("n".into())), None).await;
    assert_eq!(present, [0, 1, 2, 3, 4, 5]);
    // What is not equal in one way or another cannot be told.
    let unequal = compare("n", Comparison::NotEqual, json!(0));
    assert_eq!(ids(&database, &options, Some(unequal), None).await.len(), 8);
}

#[tokio::test]
async fn cursors_reach_back_as_the_options_say() {
    let at = |minute: i64| bson::DateTime::from_millis(1_767_225_600_000 + 60_000 * minute);
    let documents = (0_i64..60).map(|n| doc! { "_id": n, "n": n, "at": at(n) });
    let database = Database::with("c", documents.chain([doc! { "_id": 60_i64 }])).await;
    let range = |field: &str, after: Json| Some(CursorRange::new(field, Some(after), None));
    let (number, moment) = (json!(49), json!("2026-01-01T00:49:00Z"));
    let cases = [
        (json!({}), range("n", number.clone()), 10),
        (json!({ "cursor_inclusive": true }), range("n", number.clone()), 11),
        (json!({ "lookback": 5 }), range("n", number.clone()), 16),
        (json!({ "lookback": "10m" }), range("at", moment.clone()), 21),
        (json!({ "cursor_inclusive": true }), range("at", moment), 11),
        (json!({ "lookback": 5 }), range("_id", number), 17),
        (json!({ "lookback": 5 }), Some(CursorRange::new("n", None, None)), 61),
    ];
    for (mut options, cursor, expected) in cases {
        options["collection"] = "c".into();
        assert_eq!(ids(&database, &options, None, cursor).await.len(), expected, "{options}");
    }
    // The engine must not leave out again what was read on purpose.
    let cx = towpath_testkit::context();
    let mut request = request();
    request.cursor = range("n", json!(49));
    for (options, expected) in [
        (json!({ "collection": "c" }), Pushdown::Inexact),
        (json!({ "collection": "c", "lookback": 5 }), Pushdown::Exact),
    ] {
        let source = database.source(&cx, &options).await.unwrap();
        assert_eq!(plan(&*source, &cx, &request).await.unwrap().0.cursor, expected, "{options}");
    }
}

#[tokio::test]
async fn a_lookback_that_could_not_be_kept_is_refused() {
    let database = Database::with("c", [doc! { "_id": 1, "n": 5, "text": "a", "list": [1] }]).await;
    let cx = towpath_testkit::context();
    for (options, field, after) in [
        (json!({ "lookback": "5m" }), "n", Some(json!(1))),
        (json!({ "lookback": 5 }), "text", Some(json!("a"))),
        (json!({ "lookback": 5 }), "list", None),
        (json!({ "cursor_inclusive": true, "pipeline": [{ "$match": {} }] }), "n", None),
    ] {
        let mut all = options;
        all["collection"] = "c".into();
        let source = database.source(&cx, &all).await.unwrap();
        let mut request = request();
        request.cursor = Some(CursorRange::new(field, after, None));
        let error = plan(&*source, &cx, &request).await.expect_err("it cannot be kept");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("lookback"), "{error}");
    }
}
