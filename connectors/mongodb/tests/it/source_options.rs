//! Each option changes what is read, or how.

use bson::{Document, doc};
use serde_json::json;
use towpath_core::{ErrorKind, Json, Position};
use towpath_testkit::rows::assert_same;

use crate::support::{Database, batches, failure, json_rows, plan, read, read_all, request};

async fn numbers(count: i32) -> Database {
    Database::with("c", (0..count).map(|n| doc! { "_id": n, "n": n % 10, "name": format!("Name {n}") })).await
}

/// The commands that the server noted for a collection.
async fn noted(database: &Database, name: &str) -> Vec<Document> {
    let noted = database.documents("system.profile").await;
    noted
        .into_iter()
        .filter_map(|entry| entry.get_document("command").ok().cloned())
        .filter(|command| command.contains_key(name))
        .collect()
}

#[tokio::test]
async fn filter_projection_and_sort_are_those_of_the_server() {
    let database = numbers(30).await;
    let rows = read_all(
        &database,
        &json!({
            "collection": "c", "filter": { "n": { "$gte": 8 }, "_id": { "$lt": { "$numberLong": "20" } } },
            "projection": { "name": 1 }, "sort": { "_id": -1 },
        }),
    )
    .await
    .unwrap();
    let expected: Vec<Json> =
        [19, 18, 9, 8].iter().map(|n| json!({ "_id": n, "name": format!("Name {n}") })).collect();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn an_id_that_nobody_wants_is_read_for_the_position_and_left_out() {
    let database = numbers(30).await;
    let options = json!({ "collection": "c", "projection": { "_id": 0, "n": 1 }, "split_size": 10 });
    let rows = read_all(&database, &options).await.unwrap();
    assert_eq!(rows.len(), 30);
    assert!(rows.iter().all(|row| row.as_object().unwrap().keys().eq(["n"])), "{rows:?}");
}

#[tokio::test]
async fn only_the_columns_that_are_wanted_are_sent() {
    let database = numbers(5).await;
    database.run(doc! { "profile": 2 }).await;
    let cx = towpath_testkit::context();
    let source = database.source(&cx, &json!({ "collection": "c" })).await.unwrap();
    let mut request = request();
    request.columns = Some(vec!["n".to_owned()]);
    let rows = json_rows(&batches(&*source, &cx, &request).await.unwrap());
    assert!(rows.iter().all(|row| row.as_object().unwrap().keys().eq(["n"])), "{rows:?}");
    let finds = noted(&database, "find").await;
    assert!(
        finds
            .iter()
            .any(|find| find.get_document("projection").is_ok_and(|fields| *fields == doc! { "n": 1 })),
        "{finds:?}"
    );
}

#[tokio::test]
async fn pipelines_are_read_and_refuse_the_options_of_find() {
    let database = numbers(30).await;
    let pipeline = json!([{ "$group": { "_id": "$n", "count": { "$sum": 1 } } }, { "$sort": { "_id": 1 } }, { "$limit": 2 }]);
    let rows = read_all(&database, &json!({ "collection": "c", "pipeline": pipeline })).await.unwrap();
    assert_eq!(rows, [json!({ "_id": 0, "count": 3 }), json!({ "_id": 1, "count": 3 })]);
    let error =
        failure(database.options(&json!({ "collection": "c", "pipeline": [], "sort": { "a": 1 } }))).await;
    assert!(error.to_string().contains("`sort` and `pipeline`"), "{error}");
}

#[tokio::test]
async fn a_hint_names_the_index_and_one_that_is_not_there_is_an_error() {
    let database = numbers(10).await;
    database.run(doc! { "createIndexes": "c", "indexes": [{ "key": { "n": 1 }, "name": "by_n" }] }).await;
    for hint in [json!("by_n"), json!({ "n": 1 })] {
        let rows = read_all(&database, &json!({ "collection": "c", "hint": hint, "filter": { "n": 3 } }))
            .await
            .unwrap();
        assert_eq!(rows.len(), 1);
    }
    let error = failure(database.options(&json!({ "collection": "c", "hint": "by_m" }))).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn a_collation_compares_texts() {
    let database = numbers(10).await;
    let filter = json!({ "name": "name 3" });
    let plain = read_all(&database, &json!({ "collection": "c", "filter": filter })).await.unwrap();
    assert_eq!(plain.len(), 0);
    let options =
        json!({ "collection": "c", "filter": filter, "collation": { "locale": "en", "strength": 2 } });
    assert_eq!(read_all(&database, &options).await.unwrap().len(), 1);
}

#[tokio::test]
async fn batch_size_split_size_and_split_by_cut() {
    let database = numbers(60).await;
    let cx = towpath_testkit::context();
    for (options, pieces, most) in [
        (json!({ "split_size": 20, "batch_size": 7 }), 3, 7),
        (json!({ "split_size": 30 }), 2, 60),
        (json!({ "split_by": "none", "batch_size": 50 }), 1, 50),
        (json!({ "split_by": "n", "split_size": 20 }), 3, 60),
        (json!({}), 1, 60),
    ] {
        let mut all = json!({ "collection": "c" });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let source = database.source(&cx, &all).await.unwrap();
        let (_, splits) = plan(&*source, &cx, &request()).await.unwrap();
        assert_eq!(splits.len(), pieces, "{options}");
        let mut count = 0;
        for split in &splits {
            for batch in read(&*source, &cx, split, Position::Start).await.unwrap() {
                assert!(batch.rows.num_rows() <= most, "{options}");
                count += batch.rows.num_rows();
            }
        }
        assert_eq!(count, 60, "{options}");
    }
}

#[tokio::test]
async fn large_collections_are_cut_by_a_sample_and_planning_goes_on_with_it() {
    let database = Database::new().await;
    let documents = |from: i32| (from..from + 20_000).map(|n| doc! { "_id": n });
    for part in 0..6 {
        database.collection("c").insert_many(documents(part * 20_000)).await.unwrap();
    }
    let cx = towpath_testkit::context();
    let source = database.source(&cx, &json!({ "collection": "c", "split_size": 10_000 })).await.unwrap();
    let plan = source.plan(&cx, &request()).await.unwrap();
    let steps: Vec<_> = futures::TryStreamExt::try_collect(plan.splits).await.unwrap();
    assert!(steps.len() > 8, "{}", steps.len());
    let towpath_core::Planned::Split { resume, .. } = &steps[3] else { panic!("{steps:?}") };
    let mut again = request();
    again.planned = resume.clone();
    let rest = database.source(&cx, &json!({ "collection": "c", "split_size": 10_000 })).await.unwrap();
    let rest: Vec<_> =
        futures::TryStreamExt::try_collect(rest.plan(&cx, &again).await.unwrap().splits).await.unwrap();
    assert_eq!(rest, steps[4..]);
    let mut count = 0;
    for step in &steps {
        let towpath_core::Planned::Split { split, .. } = step else { panic!("{step:?}") };
        let batches = read(&*source, &cx, split, Position::Start).await.unwrap();
        count += batches.iter().map(|batch| batch.rows.num_rows()).sum::<usize>();
    }
    assert_eq!(count, 120_000);
}

#[tokio::test]
async fn a_snapshot_shows_one_moment_and_off_shows_each_piece_as_it_is() {
    for (snapshot, expected) in [("auto", 60), ("required", 60), ("off", 61)] {
        let database = numbers(60).await;
        let cx = towpath_testkit::context();
        let options = json!({ "collection": "c", "snapshot": snapshot, "split_size": 20 });
        let source = database.source(&cx, &options).await.unwrap();
        let (_, splits) = plan(&*source, &cx, &request()).await.unwrap();
        database.collection("c").insert_one(doc! { "_id": 100 }).await.unwrap();
        let mut count = 0;
        for split in &splits {
            let batches = read(&*source, &cx, split, Position::Start).await.unwrap();
            count += batches.iter().map(|batch| batch.rows.num_rows()).sum::<usize>();
        }
        assert_eq!(count, expected, "{snapshot}");
        assert!(cx.metrics().warnings().is_empty(), "{:?}", cx.metrics().warnings());
    }
}

#[tokio::test]
async fn read_concern_and_read_preference_are_told_to_the_server() {
    let database = numbers(5).await;
    database.run(doc! { "profile": 2 }).await;
    read_all(&database, &json!({ "collection": "c", "read_concern": "majority" })).await.unwrap();
    let finds = noted(&database, "find").await;
    let levels: Vec<_> = finds
        .iter()
        .filter_map(|find| find.get_document("readConcern").ok()?.get_str("level").ok())
        .collect();
    assert!(levels.contains(&"majority") && !levels.contains(&"snapshot"), "{levels:?}");
    let both = json!({ "collection": "c", "read_concern": "local", "snapshot": "required" });
    assert!(failure(database.options(&both)).await.to_string().contains("read_concern"));

    // The set has no secondary.
    let options = json!({ "collection": "c", "read_preference": "secondary", "server_timeout": "300ms" });
    let error = failure(database.options(&options)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    for preference in ["primary", "primary_preferred", "secondary_preferred", "nearest"] {
        let options = json!({ "collection": "c", "read_preference": preference });
        assert_eq!(read_all(&database, &options).await.unwrap().len(), 5, "{preference}");
    }
}

#[tokio::test]
async fn the_sample_tells_the_first_columns_and_later_documents_widen_them() {
    let mut documents: Vec<Document> = (0..50).map(|n| doc! { "_id": n, "v": n }).collect();
    documents.push(doc! { "_id": 50, "v": "text", "new": true });
    let database = Database::with("c", documents).await;
    let cx = towpath_testkit::context();
    for (size, known) in [(10, "Int32"), (1_000, "Utf8")] {
        let options = json!({ "collection": "c", "sample_size": size, "batch_size": 25 });
        let source = database.source(&cx, &options).await.unwrap();
        let (told, splits) = plan(&*source, &cx, &request()).await.unwrap();
        assert_eq!(told.schema.unwrap().field_with_name("v").unwrap().data_type().to_string(), known);
        let batches = read(&*source, &cx, &splits[0], Position::Start).await.unwrap();
        let last = json_rows(&batches[batches.len() - 1..]).pop().unwrap();
        assert_eq!(last, json!({ "_id": 50, "v": "text", "new": true }));
    }
}

#[tokio::test]
async fn the_sample_of_a_large_collection_comes_from_places_all_over_it() {
    let late = |n| {
        if n < 2_000 {
            doc! { "_id": n }
        } else {
            doc! { "_id": n, "late": n }
        }
    };
    let database = Database::with("c", (0..12_000).map(late)).await;
    database.run(doc! { "profile": 2 }).await;
    let cx = towpath_testkit::context();
    let options = json!({ "collection": "c", "sample_size": 150 });
    for many_are_gone in [false, true] {
        if many_are_gone {
            let gone = doc! { "_id": { "$mod": [4, 1] } };
            database.run(doc! { "delete": "c", "deletes": [{ "q": { "$nor": [gone] }, "limit": 0 }] }).await;
        }
        let source = database.source(&cx, &options).await.unwrap();
        let (told, _) = plan(&*source, &cx, &request()).await.unwrap();
        assert!(told.schema.unwrap().field_with_name("late").is_ok(), "{many_are_gone}");
        // Where numbers lead nowhere, the server has to look for documents itself.
        let random = |command: &Document| command.get_array("pipeline").is_ok_and(|steps| steps.len() == 1);
        let asked = noted(&database, "aggregate").await.iter().any(random);
        assert_eq!(asked, many_are_gone);
    }
}

#[tokio::test]
async fn depth_declared_columns_and_whole_documents_change_the_columns() {
    let document =
        doc! { "_id": 1, "a": { "b": { "c": 1 } }, "price": "1.5".parse::<bson::Decimal128>().unwrap() };
    let database = Database::with("c", [document]).await;
    let rows = read_all(&database, &json!({ "collection": "c", "max_depth": 1 })).await.unwrap();
    assert_eq!(rows, [json!({ "_id": 1, "a": { "b": "{\"c\":1}" }, "price": "1.5" })]);
    let declared = json!({ "collection": "c", "columns": { "price": "decimal(10,3)", "_id": "string" } });
    let rows = read_all(&database, &declared).await.unwrap();
    assert_eq!(rows, [json!({ "price": "1.500", "_id": "1", "a": { "b": { "c": 1 } } })]);
    let rows = read_all(&database, &json!({ "collection": "c", "documents": "whole" })).await.unwrap();
    assert!(rows[0].as_object().unwrap().keys().eq(["_id", "document"]), "{rows:?}");
}

#[tokio::test]
async fn views_and_time_series_are_read_in_one_piece_or_by_a_field() {
    let database = numbers(30).await;
    database
        .run(doc! { "create": "v", "viewOn": "c", "pipeline": [{ "$match": { "n": { "$lt": 5 } } }] })
        .await;
    database.run(doc! { "create": "t", "timeseries": { "timeField": "at" } }).await;
    let points = (0..20)
        .map(|n| doc! { "at": bson::DateTime::from_millis(1_700_000_000_000 + 1_000_000 * n), "v": n });
    database.collection("t").insert_many(points).await.unwrap();
    for (name, field, count) in [("v", "n", 15), ("t", "at", 20)] {
        let error = failure(database.options(&json!({ "collection": name }))).await;
        assert!(error.to_string().contains("split_by: none"), "{error}");
        for split_by in ["none", field] {
            let rows =
                read_all(&database, &json!({ "collection": name, "split_by": split_by })).await.unwrap();
            assert_eq!(rows.len(), count, "{name} by {split_by}");
        }
    }
}

#[tokio::test]
async fn capped_collections_are_read_and_the_report_says_if_there_is_no_snapshot() {
    let database = Database::new().await;
    database.run(doc! { "create": "c", "capped": true, "size": 100_000 }).await;
    database.collection("c").insert_many((0..40).map(|n| doc! { "_id": n })).await.unwrap();
    let cx = towpath_testkit::context();
    let source = database.source(&cx, &json!({ "collection": "c", "split_size": 10 })).await.unwrap();
    let rows = json_rows(&batches(&*source, &cx, &request()).await.unwrap());
    assert_same(&(0..40).map(|n| json!({ "_id": n })).collect::<Vec<_>>(), &rows);
    for warning in cx.metrics().warnings() {
        assert!(warning.contains("without a snapshot"), "{warning}");
    }
}

#[tokio::test]
async fn the_first_run_takes_documents_without_the_cursor_and_later_ones_do_not() {
    let database = Database::with(
        "c",
        (0..20).map(|n| {
            if n < 10 {
                doc! { "_id": n, "at": n }
            } else {
                doc! { "_id": n }
            }
        }),
    )
    .await;
    let cx = towpath_testkit::context();
    let source = database.source(&cx, &json!({ "collection": "c" })).await.unwrap();
    let mut request = request();
    request.cursor = Some(towpath_core::CursorRange::new("at", None, None));
    let (first, _) = plan(&*source, &cx, &request).await.unwrap();
    assert_eq!(first.until, Some(json!(9)));
    assert_eq!(
        batches(&*source, &cx, &request)
            .await
            .unwrap()
            .iter()
            .map(|batch| batch.rows.num_rows())
            .sum::<usize>(),
        20
    );
    request.cursor = Some(towpath_core::CursorRange::new("at", Some(json!(5)), None));
    let rows = json_rows(&batches(&*source, &cx, &request).await.unwrap());
    let expected: Vec<Json> = (6..10).map(|n| json!({ "_id": n, "at": n })).collect();
    assert_same(&expected, &rows);
}
