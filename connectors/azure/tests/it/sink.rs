//! Writing objects.

use data_encoding::BASE64;
use reqwest::Method;
use serde_json::json;
use towpath_connector_azure::CONNECTOR;
use towpath_core::{
    Begun, CommitToken, Committed, DynSink, ErrorKind, Json, LoadSpec, Staged, WriteDisposition,
};
use towpath_testkit::rows;

use crate::account::done;
use crate::support::Prefix;
use crate::written::last_token;

use WriteDisposition::{Append, Replace};

const TEMPLATE: &str = "out/{part}.ndjson";

fn batch(ids: impl IntoIterator<Item = i64>) -> arrow::array::RecordBatch {
    let rows: Vec<_> = ids.into_iter().map(|id| json!([id])).collect();
    rows::batch("id: int64", &json!(rows))
}

/// Stages a block of a blob.
async fn stage_block(prefix: &Prefix, key: &str, name: &str) {
    let name = BASE64.encode(name.as_bytes());
    let query = [("comp", "block"), ("blockid", name.as_str())];
    done(prefix.ask(Method::PUT, key, &query, &[], b"{}".to_vec()).await).await;
}

async fn open(prefix: &Prefix, path: &str, more: &Json) -> std::sync::Arc<dyn DynSink> {
    CONNECTOR.sink_entry().unwrap().open(prefix.options(path, more), &prefix.cx).await.unwrap()
}

/// Begins, and stages one object for each id.
async fn stage(
    prefix: &Prefix,
    sink: &dyn DynSink,
    run: &str,
    disposition: WriteDisposition,
    ids: &[i64],
) -> (Begun, CommitToken, Vec<Staged>) {
    let begun = sink.begin(&prefix.cx, &LoadSpec::new("shop", "orders", run, disposition)).await.unwrap();
    let begun = sink.evolve(&prefix.cx, &begun, &batch([]).schema()).await.unwrap();
    let mut staged = Vec::new();
    for (part, id) in (0..).zip(ids) {
        let mut writer = sink.writer(&prefix.cx, &begun, part).await.unwrap();
        writer.write(batch([*id])).await.unwrap();
        staged.push(writer.finish().await.unwrap());
    }
    let token = last_token(&begun);
    (begun, token, staged)
}

#[tokio::test]
async fn append_adds_objects_and_replace_removes_those_of_earlier_runs_and_no_others() {
    let prefix = Prefix::new();
    for (run, id) in [("r1", 1), ("r2", 2), ("r3", 3)] {
        prefix.load(TEMPLATE, &json!({}), run, Append, &[batch([id])]).await.unwrap();
    }
    prefix.put("out/foreign.ndjson", "{\"id\":99}\n").await;
    assert_eq!(prefix.ids().await, [1, 2, 3, 99]);
    prefix.load(TEMPLATE, &json!({}), "r4", Replace, &[batch([4]), batch([5])]).await.unwrap();
    assert_eq!(prefix.ids().await, [4, 5, 99]);
    assert_eq!(prefix.staged().await, [""; 0]);
}

#[tokio::test]
async fn a_large_object_goes_out_in_parts_and_comes_back_whole() {
    let prefix = Prefix::new();
    let text = "x".repeat(1_000);
    let values: Vec<Json> = (0..20_000).map(|id| json!([id, format!("{id}-{text}")])).collect();
    let rows = rows::batch("id: int64, text: string", &json!(values));
    for path in ["out/{part}.ndjson", "plain/all.ndjson"] {
        let more = json!({"part_size": "5MiB", "parts_in_flight": 2});
        prefix
            .load(path, &more, "r1", Replace, &[rows.slice(0, 10_000), rows.slice(10_000, 10_000)])
            .await
            .unwrap();
    }
    for folder in ["out/", "plain/"] {
        let keys: Vec<_> = prefix.visible().await.into_iter().filter(|key| key.starts_with(folder)).collect();
        let mut ids = Vec::new();
        for key in keys {
            let text = String::from_utf8(prefix.get(&key).await).unwrap();
            ids.extend(
                text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()["id"].as_i64().unwrap()),
            );
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..20_000).collect::<Vec<_>>(), "{folder}");
    }
    // 20 MB in blocks of 5 MiB.
    let blocks = prefix.ask(Method::GET, "plain/all.ndjson", &[("comp", "blocklist")], &[], Vec::new()).await;
    let blocks = done(blocks).await.text().await.unwrap();
    assert_eq!(blocks.matches("<Block>").count(), 4, "{blocks}");
    assert_eq!(prefix.staged().await, [""; 0]);
}

#[tokio::test]
async fn partitions_and_rotation_make_objects_of_their_own() {
    let prefix = Prefix::new();
    let rows = rows::batch(
        "id: int64, country: string",
        &json!([[1, "DE"], [2, "FR"], [3, "DE"], [4, null], [5, "DE"]]),
    );
    let more = json!({"partition_by": ["country"], "max_rows_per_file": 2});
    prefix.load("lake/{run}-{part}.ndjson", &more, "r1", Append, &[rows]).await.unwrap();
    let keys = prefix.visible().await;
    assert_eq!(
        keys,
        [
            "lake/country=DE/r1-00000-0001.ndjson",
            "lake/country=DE/r1-00000.ndjson",
            "lake/country=FR/r1-00000-0002.ndjson",
            "lake/country=__HIVE_DEFAULT_PARTITION__/r1-00000-0003.ndjson",
        ]
    );
    assert_eq!(prefix.ids().await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn of_objects_with_large_parts_a_writer_keeps_few_open() {
    let country = |id: i64| json!([id, format!("c{}", id % 6)]);
    let rows = |ids: std::ops::Range<i64>| {
        rows::batch("id: int64, country: string", &json!(ids.map(country).collect::<Vec<_>>()))
    };
    for (part_size, objects) in [("8MiB", 6), ("64MiB", 12)] {
        let prefix = Prefix::new();
        let more = json!({"partition_by": ["country"], "part_size": part_size});
        let sink = open(&prefix, TEMPLATE, &more).await;
        let begun = sink.begin(&prefix.cx, &LoadSpec::new("shop", "orders", "r1", Append)).await.unwrap();
        let begun = sink.evolve(&prefix.cx, &begun, &rows(0..0).schema()).await.unwrap();
        let mut writer = sink.writer(&prefix.cx, &begun, 0).await.unwrap();
        for start in [0, 6] {
            writer.write(rows(start..start + 6)).await.unwrap();
        }
        let staged = writer.finish().await.unwrap();
        sink.commit(&prefix.cx, &begun, &last_token(&begun), vec![staged]).await.unwrap();
        assert_eq!(prefix.visible().await.len(), objects, "{part_size}");
        assert_eq!(prefix.ids().await, (0..12).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn of_two_runs_the_later_one_wins_and_the_other_gets_a_conflict() {
    let prefix = Prefix::new();
    let sink = open(&prefix, TEMPLATE, &json!({})).await;
    let (first, first_token, first_staged) = stage(&prefix, &*sink, "r1", Append, &[1, 2]).await;
    let (second, second_token, second_staged) = stage(&prefix, &*sink, "r2", Append, &[3]).await;
    let committed = sink.commit(&prefix.cx, &second, &second_token, second_staged).await.unwrap();
    assert_eq!(committed, Committed::Applied);
    let error = sink.commit(&prefix.cx, &first, &first_token, first_staged).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("run r1 was fenced by run r2"), "{error}");
    assert_eq!(prefix.ids().await, [3]);
    assert_eq!(prefix.staged().await, [""; 0], "the first one's uploads were given up when the second began");
}

#[tokio::test]
async fn a_commit_that_is_made_from_several_sides_at_once_lands_once() {
    let prefix = Prefix::new();
    let sink = open(&prefix, TEMPLATE, &json!({})).await;
    let (begun, token, staged) = stage(&prefix, &*sink, "r1", Append, &[1, 2, 3]).await;
    let commits = (0..4).map(|_| sink.commit(&prefix.cx, &begun, &token, staged.clone()));
    let outcomes = futures::future::join_all(commits).await;
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Ok(Committed::Applied))), "{outcomes:?}");
    let others = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(others.map(towpath_core::Error::kind).all(|kind| kind == ErrorKind::Conflict), "{outcomes:?}");
    assert_eq!(prefix.ids().await, [1, 2, 3]);
    let lists = prefix.all_keys().await.into_iter().filter(|key| key.contains("/commits/")).count();
    assert_eq!(lists, 1);
}

#[tokio::test]
async fn of_many_runs_that_begin_at_once_one_can_commit() {
    let prefix = Prefix::new();
    let sink = open(&prefix, TEMPLATE, &json!({})).await;
    let names: Vec<_> = (1..=5).map(|number| format!("r{number}")).collect();
    let load = async |run: &str| {
        let begun = sink.begin(&prefix.cx, &LoadSpec::new("shop", "orders", run, Append)).await?;
        sink.commit(&prefix.cx, &begun, &last_token(&begun), Vec::new()).await
    };
    let loads = names.iter().map(|run| load(run));
    let outcomes = futures::future::join_all(loads).await;
    let held =
        sink.checkpoint(&prefix.cx, &LoadSpec::new("shop", "orders", "r", Append)).await.unwrap().unwrap();
    assert_eq!(held.epoch, 5, "each began: {outcomes:?}");
    // Whoever began last has committed; others may have before that, or were fenced.
    assert_eq!(held.sequence, 1, "{outcomes:?}");
    let others = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(others.map(towpath_core::Error::kind).all(|kind| kind == ErrorKind::Conflict), "{outcomes:?}");
}

#[tokio::test]
async fn two_streams_do_not_overwrite_each_other() {
    let prefix = Prefix::new();
    let sink = open(&prefix, TEMPLATE, &json!({})).await;
    sink.begin(&prefix.cx, &LoadSpec::new("shop", "orders", "r1", Append)).await.unwrap();
    let error = sink.begin(&prefix.cx, &LoadSpec::new("shop", "items", "r1", Append)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("{stream}"), "{error}");
}

#[tokio::test]
async fn many_commits_become_few_lists_and_a_replace_still_finds_every_object() {
    let prefix = Prefix::new();
    for number in 0..70_i64 {
        prefix
            .load(TEMPLATE, &json!({}), &format!("r{number:03}"), Append, &[batch([number])])
            .await
            .unwrap();
    }
    let lists = prefix.all_keys().await.into_iter().filter(|key| key.contains("/commits/")).count();
    assert!(lists < 20, "{lists}");
    assert_eq!(prefix.ids().await, (0..70).collect::<Vec<_>>());
    prefix.load(TEMPLATE, &json!({}), "r999", Replace, &[batch([7])]).await.unwrap();
    assert_eq!(prefix.ids().await, [7]);
}

#[tokio::test]
async fn a_damaged_manifest_names_itself_and_can_be_reset() {
    let prefix = Prefix::new();
    prefix.load(TEMPLATE, &json!({}), "r1", Append, &[batch([1])]).await.unwrap();
    let manifest = "out/.towpath/shop/orders/manifest.json";
    prefix.put(manifest, "{\"version\":1,\"check").await;
    let sink = open(&prefix, TEMPLATE, &json!({})).await;
    let load = LoadSpec::new("shop", "orders", "r2", Replace);
    let error = sink.begin(&prefix.cx, &load).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataInvalid);
    assert!(error.to_string().contains("manifest.json"), "{error}");
    sink.forget(&prefix.cx, &load).await.unwrap();
    assert_eq!(sink.checkpoint(&prefix.cx, &load).await.unwrap(), None);
    prefix.load(TEMPLATE, &json!({}), "r3", Replace, &[batch([2])]).await.unwrap();
    assert_eq!(prefix.ids().await, [2], "`replace` still knows the objects of before the reset");
    prefix.put(manifest, "{\"version\":9}").await;
    let error = sink.begin(&prefix.cx, &load).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_receipt_never_leads_out_of_the_folder() {
    let prefix = Prefix::new();
    let sink = open(&prefix, TEMPLATE, &json!({})).await;
    let (begun, token, staged) = stage(&prefix, &*sink, "r1", Append, &[1]).await;
    for path in ["../evil.ndjson", "/evil.ndjson", "a/../../evil.ndjson", ""] {
        let mut payload = staged[0].payload.clone();
        payload["files"][0]["path"] = json!(path);
        let staged = Staged::new(0, 1, 1, payload);
        let error = sink.commit(&prefix.cx, &begun, &token, vec![staged]).await.unwrap_err();
        assert!(error.to_string().contains("leads out of the target's folder"), "{error}");
    }
    assert_eq!(prefix.visible().await, [""; 0]);
}

#[tokio::test]
async fn blobs_say_of_themselves_what_the_options_say() {
    let prefix = Prefix::new();
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
async fn without_a_manifest_there_is_nothing_but_the_objects() {
    let prefix = Prefix::new();
    let more = json!({"layout": "plain"});
    prefix.load(TEMPLATE, &more, "r1", Append, &[batch([1]), batch([2])]).await.unwrap();
    prefix.load("one.ndjson", &more, "r1", Replace, &[batch([3])]).await.unwrap();
    prefix.load("one.ndjson", &more, "r2", Replace, &[batch([4])]).await.unwrap();
    assert_eq!(prefix.ids().await, [1, 2, 4]);
    assert_eq!(prefix.all_keys().await, prefix.visible().await);
    let sink = open(&prefix, TEMPLATE, &more).await;
    let load = LoadSpec::new("shop", "orders", "r3", Replace);
    let error = sink.begin(&prefix.cx, &load).await.unwrap_err();
    assert!(error.to_string().contains("layout: plain"), "{error}");
}

#[tokio::test]
async fn what_runs_that_were_killed_have_left_is_thrown_away_and_nothing_else() {
    let prefix = Prefix::new();
    let upload = async |key: &str| {
        stage_block(&prefix, key, "0123456789abcdef-0000000").await;
    };
    prefix.load(TEMPLATE, &json!({}), "r1", Append, &[batch([1])]).await.unwrap();
    // Of the run before the next one, of one long ago, and of somebody else.
    for key in ["out/r1-00007.ndjson", "out/r0-00000.ndjson", "out/report.ndjson"] {
        upload(key).await;
    }
    prefix.put("out/.towpath/shop/orders/staged/r1/7.ndjson", "{}").await;
    prefix.load(TEMPLATE, &json!({}), "r2", Append, &[batch([2])]).await.unwrap();
    let left = |key: &str| format!("upload {}", prefix.key(key));
    let mut staged = prefix.staged().await;
    staged.sort();
    assert_eq!(
        staged,
        [left("out/r0-00000.ndjson"), left("out/report.ndjson")],
        "`begin` knows the runs before it"
    );

    let sink = open(&prefix, TEMPLATE, &json!({})).await;
    let removed = sink.sweep(&prefix.cx, &LoadSpec::new("shop", "orders", "r3", Append)).await.unwrap();
    assert_eq!(removed.len(), 1, "{removed:?}");
    assert!(removed[0].contains("out/r0-00000.ndjson"), "{removed:?}");
    assert_eq!(prefix.staged().await, [left("out/report.ndjson")]);
    assert_eq!(prefix.ids().await, [1, 2]);
}

#[tokio::test]
async fn blocks_are_discarded_only_where_nothing_else_is_lost() {
    let prefix = Prefix::new();
    let ours = "0123456789abcdef-0000000";
    // A blob that has content, and one that another program is about to write: it has blocks that are not ours.
    prefix.put("out/r7-00000.ndjson", "{\"id\":7}\n").await;
    stage_block(&prefix, "out/r7-00000.ndjson", ours).await;
    stage_block(&prefix, "out/r8-00000.ndjson", ours).await;
    stage_block(&prefix, "out/r8-00000.ndjson", "somebody-else's-block-00").await;
    stage_block(&prefix, "out/r9-00000.ndjson", ours).await;
    let tag = prefix.tag("out/r7-00000.ndjson").await;
    let sink = open(&prefix, TEMPLATE, &json!({})).await;
    let removed = sink.sweep(&prefix.cx, &LoadSpec::new("shop", "orders", "r1", Append)).await.unwrap();
    assert_eq!(removed.len(), 2, "{removed:?}");
    assert_eq!(prefix.tag("out/r7-00000.ndjson").await, tag);
    assert_eq!(prefix.staged().await, [format!("upload {}", prefix.key("out/r8-00000.ndjson"))]);
    assert_eq!(prefix.visible().await, ["out/r7-00000.ndjson"]);
}

#[tokio::test]
async fn a_blob_that_was_made_to_discard_blocks_is_removed_by_whoever_comes_next() {
    let prefix = Prefix::new();
    let headers = [("x-ms-blob-type", "BlockBlob"), ("x-ms-meta-towpathupload", "discarded")];
    done(prefix.ask(Method::PUT, "out/r1-00000.ndjson", &[], &headers, Vec::new()).await).await;
    prefix.put("out/r1-00001.ndjson", "").await;
    let sink = open(&prefix, TEMPLATE, &json!({})).await;
    let removed = sink.sweep(&prefix.cx, &LoadSpec::new("shop", "orders", "r2", Append)).await.unwrap();
    assert_eq!(removed.len(), 1, "{removed:?}");
    assert_eq!(prefix.all_keys().await, ["out/r1-00001.ndjson"]);
}

#[tokio::test]
async fn an_empty_blob_takes_the_place_of_the_one_that_was_there() {
    let prefix = Prefix::new();
    prefix.load("all.ndjson", &json!({}), "r1", Replace, &[batch([1])]).await.unwrap();
    prefix.load("all.ndjson", &json!({}), "r2", Replace, &[batch([])]).await.unwrap();
    assert_eq!(prefix.get("all.ndjson").await, b"");
}

#[tokio::test]
async fn an_empty_blob_takes_the_place_of_no_other_than_the_one_that_it_was_meant_for() {
    let prefix = Prefix::new();
    let sink = open(&prefix, TEMPLATE, &json!({})).await;
    let (begun, token, staged) = stage(&prefix, &*sink, "r1", Append, &[1]).await;
    let mut payload = staged[0].payload.clone();
    // There was no blob when this one began; by now there is.
    payload["files"][0]["upload"]["parts"] = json!(["empty:"]);
    let key = format!("out/{}", payload["files"][0]["path"].as_str().unwrap());
    prefix.put(&key, "of somebody else").await;
    let staged = Staged::new(0, 1, 1, payload);
    let error = sink.commit(&prefix.cx, &begun, &token, vec![staged]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(prefix.get(&key).await, b"of somebody else");
}

#[tokio::test]
async fn a_path_that_another_program_began_to_write_says_so() {
    let prefix = Prefix::new();
    stage_block(&prefix, "out/r1-00000.ndjson", "short").await;
    let more = json!({"layout": "plain"});
    let error = prefix.load("out/{run}-{part}.ndjson", &more, "r1", Append, &[batch([1])]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("within a week"), "{error}");
}
