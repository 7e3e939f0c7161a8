//! Writing blobs: what only Azure has.

use reqwest::Method;
use serde_json::json;
use towpath_core::WriteDisposition::{Append, Replace};
use towpath_core::{ErrorKind, LoadSpec, Staged};
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, last_token};
use towpath_testkit::rows;

use crate::account::done;
use crate::support::{OUR_BLOCK, Prefix};

towpath_testkit::object_sink_promises! { site = Prefix }

const TEMPLATE: &str = "out/{part}.ndjson";

fn batch(ids: impl IntoIterator<Item = i64>) -> arrow::array::RecordBatch {
    let rows: Vec<_> = ids.into_iter().map(|id| json!([id])).collect();
    rows::batch("id: int64", &json!(rows))
}

#[tokio::test]
async fn blobs_say_of_themselves_what_the_options_say() {
    let prefix = Prefix::new().await;
    let more = json!({
        "content_type": "application/x-ndjson", "content_encoding": "identity", "cache_control": "max-age=60",
        "access_tier": "Cool", "tags": {"team": "sales + more", "cost": "7"},
    });
    for (path, key) in [("out/{run}-{part}.ndjson", "out/r1-00000.ndjson"), ("plain.ndjson", "plain.ndjson")]
    {
        prefix.load(path, &more, "r1", Replace, &[batch([1])]).await.unwrap();
        for (name, value) in [
            ("content-type", "application/x-ndjson"),
            ("content-encoding", "identity"),
            ("cache-control", "max-age=60"),
            ("x-ms-access-tier", "Cool"),
        ] {
            assert_eq!(prefix.header(key, name).await.as_deref(), Some(value), "{key}");
        }
        let tags = done(prefix.ask(Method::GET, key, &[("comp", "tags")], &[], Vec::new()).await).await;
        let tags = tags.text().await.unwrap();
        for (name, value) in [("team", "sales + more"), ("cost", "7")] {
            assert!(tags.contains(&format!("<Key>{name}</Key><Value>{value}</Value>")), "{tags}");
        }
    }
}

#[tokio::test]
async fn blocks_are_discarded_only_where_nothing_else_is_lost() {
    let prefix = Prefix::new().await;
    // A blob that has content, and one that another program is about to write: it has blocks that are not ours.
    prefix.put("out/r7-00000.ndjson", "{\"id\":7}\n").await;
    prefix.stage_block("out/r7-00000.ndjson", OUR_BLOCK).await;
    prefix.stage_block("out/r8-00000.ndjson", OUR_BLOCK).await;
    prefix.stage_block("out/r8-00000.ndjson", "somebody-else's-block-00").await;
    prefix.stage_block("out/r9-00000.ndjson", OUR_BLOCK).await;
    let tag = prefix.object_tag("out/r7-00000.ndjson").await;
    let sink = prefix.sink(TEMPLATE, &json!({})).await;
    let removed = sink.sweep(&prefix.cx, &LoadSpec::new("shop", "orders", "r1", Append)).await.unwrap();
    assert_eq!(removed.len(), 2, "{removed:?}");
    assert_eq!(prefix.object_tag("out/r7-00000.ndjson").await, tag);
    assert_eq!(prefix.staged().await, ["upload out/r8-00000.ndjson"]);
    assert_eq!(prefix.visible().await, ["out/r7-00000.ndjson"]);
}

#[tokio::test]
async fn a_blob_that_was_made_to_discard_blocks_is_removed_by_whoever_comes_next() {
    let prefix = Prefix::new().await;
    let headers = [("x-ms-blob-type", "BlockBlob"), ("x-ms-meta-towpathupload", "discarded")];
    done(prefix.ask(Method::PUT, "out/r1-00000.ndjson", &[], &headers, Vec::new()).await).await;
    prefix.put("out/r1-00001.ndjson", "").await;
    let sink = prefix.sink(TEMPLATE, &json!({})).await;
    let removed = sink.sweep(&prefix.cx, &LoadSpec::new("shop", "orders", "r2", Append)).await.unwrap();
    assert_eq!(removed.len(), 1, "{removed:?}");
    assert_eq!(prefix.all_keys().await, ["out/r1-00001.ndjson"]);
}

#[tokio::test]
async fn an_empty_blob_takes_the_place_of_the_one_that_was_there() {
    let prefix = Prefix::new().await;
    prefix.load("all.ndjson", &json!({}), "r1", Replace, &[batch([1])]).await.unwrap();
    prefix.load("all.ndjson", &json!({}), "r2", Replace, &[batch([])]).await.unwrap();
    assert_eq!(prefix.object_bytes("all.ndjson").await, b"");
}

#[tokio::test]
async fn an_empty_blob_takes_the_place_of_no_other_than_the_one_that_it_was_meant_for() {
    let prefix = Prefix::new().await;
    let sink = prefix.sink(TEMPLATE, &json!({})).await;
    let begun = sink.begin(&prefix.cx, &LoadSpec::new("shop", "orders", "r1", Append)).await.unwrap();
    let begun = sink.evolve(&prefix.cx, &begun, &batch([]).schema()).await.unwrap();
    let mut writer = sink.writer(&prefix.cx, &begun, 0).await.unwrap();
    writer.write(batch([1])).await.unwrap();
    let staged = writer.finish().await.unwrap();
    let mut payload = staged.payload.clone();
    // There was no blob when this one began; by now there is.
    payload["files"][0]["upload"]["parts"] = json!(["empty:"]);
    let key = format!("out/{}", payload["files"][0]["path"].as_str().unwrap());
    prefix.put(&key, "of somebody else").await;
    let staged = Staged::new(0, 1, 1, payload);
    let error = sink.commit(&prefix.cx, &begun, &last_token(&begun), vec![staged]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(prefix.object_bytes(&key).await, b"of somebody else");
}

#[tokio::test]
async fn a_path_that_another_program_began_to_write_says_so() {
    let prefix = Prefix::new().await;
    prefix.stage_block("out/r1-00000.ndjson", "short").await;
    let more = json!({"layout": "plain"});
    let error = prefix.load("out/{run}-{part}.ndjson", &more, "r1", Append, &[batch([1])]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("within a week"), "{error}");
}
