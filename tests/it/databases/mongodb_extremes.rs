//! `MongoDB` to Parquet and back, at the edges of what a document may be.

use std::sync::Arc;

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures::TryStreamExt;
use serde_json::Value;
use towpath_tests::{Ended, Project, blocking};

use super::mongodb::Mongodb;

/// How many bytes a document may have.
const MOST: usize = 16 << 20;

async fn raw(mongodb: &Mongodb, collection: &str) -> Vec<RawDocumentBuf> {
    let collection = mongodb.collection(collection).clone_with_type::<RawDocumentBuf>();
    let found = collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
    found.try_collect().await.unwrap()
}

/// Runs two pipelines: from the collection to Parquet, and from there back. The end and the report of the latter.
async fn there_and_back(mongodb: &Mongodb, form: &str, disposition: &str) -> (Ended, Value) {
    let project = Arc::new(Project::new());
    let (ended, report) = there(&project, mongodb, form).await;
    assert_eq!(ended.code, Some(0), "{}\n{report:#}", ended.stderr);
    back(&project, mongodb, disposition).await
}

async fn there(project: &Arc<Project>, mongodb: &Mongodb, form: &str) -> (Ended, Value) {
    let connection = format!("connector: mongodb, url: \"{}\"", mongodb.url());
    let there = format!(
        "name: there\nstreams:\n  documents:\n    \
         source: {{ {connection}, collection: documents, documents: {form} }}\n    \
         sink: {{ connector: file, path: lake/documents.parquet }}\n    write_disposition: replace\n    \
         dead_letter: \"refused/{{stream}}-{{run}}-{{part}}.ndjson\"\n"
    );
    project.write("pipeline.yaml", there);
    let running = project.clone();
    blocking(move || running.run()).await
}

async fn back(project: &Arc<Project>, mongodb: &Mongodb, disposition: &str) -> (Ended, Value) {
    let connection = format!("connector: mongodb, url: \"{}\"", mongodb.url());
    let back = format!(
        "name: back\nstreams:\n  documents:\n    source: {{ connector: file, path: \"lake/*.parquet\" }}\n    \
         sink: {{ {connection}, collection: {disposition} }}\n    write_disposition: {disposition}\n    \
         key: [_id]\n"
    );
    project.write("pipeline.yaml", back);
    let running = project.clone();
    blocking(move || running.run()).await
}

/// The text of everything that went wrong.
fn failures(report: &Value) -> String {
    report["streams"][0].to_string()
}

fn wide() -> Document {
    let mut wide = doc! { "_id": "wide", "a.b": 1, "": 2, "$c": 3, "nested": { "x.y": 1, "": [2], "$z": 3 } };
    wide.extend((0..5_000).map(|n| (format!("field {n}"), Bson::from(n))));
    wide
}

/// A document of so many levels, put together by hand: a whole one takes much of a thread's stack.
fn deep(levels: usize) -> RawDocumentBuf {
    let wrap = |before: &[u8], name: u8, inner: &[u8]| {
        let mut bytes = vec![0; 4];
        bytes.extend(before);
        bytes.extend([3, name, 0]);
        bytes.extend(inner);
        bytes.push(0);
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes
    };
    let leaf = bson::serialize_to_vec(&doc! { "leaf": 1 }).unwrap();
    let inner = (0..levels - 2).fold(leaf, |inner, _| wrap(&[], b'd', &inner));
    RawDocumentBuf::from_bytes(wrap(b"\x02_id\0\x05\0\0\0deep\0", b'd', &inner)).unwrap()
}

async fn insert_raw(mongodb: &Mongodb, document: &RawDocumentBuf) {
    let collection = mongodb.collection("documents").clone_with_type::<RawDocumentBuf>();
    collection.insert_one(document).await.unwrap();
}

/// A document that takes so many bytes.
fn large(id: &str, bytes: usize) -> Document {
    let empty = bson::serialize_to_vec(&doc! { "_id": id, "text": "" }).unwrap().len();
    doc! { "_id": id, "text": "x".repeat(bytes - empty) }
}

#[tokio::test(flavor = "multi_thread")]
async fn wide_deep_and_oddly_named_documents_come_back_as_they_were() {
    let mongodb = Mongodb::with("documents", &[wide()]).await;
    insert_raw(&mongodb, &deep(100)).await;
    for (form, disposition) in
        [("whole", "append"), ("whole", "merge"), ("whole", "replace"), ("columns", "replace")]
    {
        let (ended, report) = there_and_back(&mongodb, form, disposition).await;
        assert_eq!(ended.code, Some(0), "{form} {disposition}: {}\n{report:#}", ended.stderr);
        assert!(raw(&mongodb, disposition).await == raw(&mongodb, "documents").await, "{form} {disposition}");
        mongodb.collection(disposition).drop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_comes_twice_is_carried_whole_and_named_where_columns_cannot_hold_it() {
    let twice = {
        let mut bytes = bson::serialize_to_vec(&doc! { "_id": "twice", "a": 1, "b": 2 }).unwrap();
        let name = bytes.iter().rposition(|byte| *byte == b'b').unwrap();
        bytes[name] = b'a';
        RawDocumentBuf::from_bytes(bytes).unwrap()
    };
    let mongodb = Mongodb::with("documents", &[doc! { "_id": "once", "a": 1 }]).await;
    insert_raw(&mongodb, &twice).await;
    let (ended, report) = there_and_back(&mongodb, "whole", "append").await;
    assert_eq!(ended.code, Some(0), "{}\n{report:#}", ended.stderr);
    assert!(raw(&mongodb, "append").await == raw(&mongodb, "documents").await);
    let project = Arc::new(Project::new());
    let (ended, report) = there(&project, &mongodb, "columns").await;
    assert_eq!((ended.code, &report["status"]), (Some(1), &Value::from("incomplete")), "{report:#}");
    assert!(failures(&report).contains("`documents: whole` carries such documents"), "{report:#}");
    back(&project, &mongodb, "replace").await;
    assert_eq!(mongodb.documents("replace").await, [doc! { "_id": "once", "a": 1 }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_16_mib_come_back_and_one_that_leaves_no_room_to_be_staged_is_told() {
    let mongodb = Mongodb::with(
        "documents",
        &[large("most", MOST), large("nearly", MOST - 100), doc! { "_id": "small" }],
    )
    .await;
    let (ended, report) = there_and_back(&mongodb, "whole", "replace").await;
    assert_eq!(ended.code, Some(0), "{}\n{report:#}", ended.stderr);
    assert!(raw(&mongodb, "replace").await == raw(&mongodb, "documents").await);
    let (ended, report) = there_and_back(&mongodb, "whole", "append").await;
    assert_eq!(ended.code, Some(1), "{report:#}");
    assert!(failures(&report).contains("leaves no room in 16 MiB"), "{report:#}");
    assert!(mongodb.documents("append").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_told_by_its_document_and_leaves_nothing_behind() {
    let null = RawDocumentBuf::try_from(&doc! { "_id": Bson::Null, "a": 1 }).unwrap();
    // Deeper than 180 levels the server takes none, and what is staged lies one level deeper.
    for (document, reason) in [(deep(180), "180 levels of nesting"), (null, "`_id` is null")] {
        let mongodb = Mongodb::with("documents", &[doc! { "_id": 0 }]).await;
        mongodb.collection("documents").delete_many(doc! {}).await.unwrap();
        insert_raw(&mongodb, &document).await;
        let (ended, report) = there_and_back(&mongodb, "whole", "append").await;
        assert_eq!(ended.code, Some(1), "{report:#}");
        assert!(failures(&report).contains(reason), "{reason}: {report:#}");
        assert!(raw(&mongodb, "append").await.is_empty());
        // Where documents are not moved, they are taken as the server takes them.
        let (ended, report) = there_and_back(&mongodb, "whole", "replace").await;
        assert_eq!(ended.code, Some(0), "{}\n{report:#}", ended.stderr);
        assert!(raw(&mongodb, "replace").await == raw(&mongodb, "documents").await);
    }
}
