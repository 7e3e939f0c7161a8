//! Writing objects.

use std::ops::Range;

use arrow::array::RecordBatch;
use futures::future::join_all;
use serde_json::json;
use towpath_core::{
    Begun, CommitToken, Committed, DynSink, Error, ErrorKind, Json, LoadSpec, Staged, WriteDisposition,
};

use super::{ObjectSite, ObjectSiteTools, last_token};
use crate::rows;

use WriteDisposition::{Append, Replace};

const TEMPLATE: &str = "out/{part}.ndjson";

fn batch(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let rows: Vec<_> = ids.into_iter().map(|id| json!([id])).collect();
    rows::batch("id: int64", &json!(rows))
}

/// Begins, and stages one object for each id.
async fn stage(
    site: &impl ObjectSite,
    sink: &dyn DynSink,
    run: &str,
    disposition: WriteDisposition,
    ids: &[i64],
) -> (Begun, CommitToken, Vec<Staged>) {
    let begun = sink.begin(site.cx(), &LoadSpec::new("shop", "orders", run, disposition)).await.unwrap();
    let begun = sink.evolve(site.cx(), &begun, &batch([]).schema()).await.unwrap();
    let mut staged = Vec::new();
    for (part, id) in (0..).zip(ids) {
        let mut writer = sink.writer(site.cx(), &begun, part).await.unwrap();
        writer.write(batch([*id])).await.unwrap();
        staged.push(writer.finish().await.unwrap());
    }
    let token = last_token(&begun);
    (begun, token, staged)
}

/// The two dispositions, and the objects of others.
pub async fn append_adds_objects_and_replace_removes_those_of_earlier_runs_and_no_others<S: ObjectSite>() {
    let site = S::new().await;
    for (run, id) in [("r1", 1), ("r2", 2), ("r3", 3)] {
        site.load(TEMPLATE, &json!({}), run, Append, &[batch([id])]).await.unwrap();
    }
    site.put("out/foreign.ndjson", "{\"id\":99}\n").await;
    assert_eq!(site.ids().await, [1, 2, 3, 99]);
    site.load(TEMPLATE, &json!({}), "r4", Replace, &[batch([4]), batch([5])]).await.unwrap();
    assert_eq!(site.ids().await, [4, 5, 99]);
    assert_eq!(site.staged().await, [""; 0]);
}

/// An object is sent in as many parts as it needs.
pub async fn a_large_object_goes_out_in_parts_and_comes_back_whole<S: ObjectSite>() {
    let site = S::new().await;
    let text = "x".repeat(1_000);
    let values: Vec<Json> = (0..20_000).map(|id| json!([id, format!("{id}-{text}")])).collect();
    let rows = rows::batch("id: int64, text: string", &json!(values));
    for path in ["out/{part}.ndjson", "plain/all.ndjson"] {
        let more = json!({"part_size": "5MiB", "parts_in_flight": 2});
        site.load(path, &more, "r1", Replace, &[rows.slice(0, 10_000), rows.slice(10_000, 10_000)])
            .await
            .unwrap();
    }
    for folder in ["out/", "plain/"] {
        let keys: Vec<_> = site.visible().await.into_iter().filter(|key| key.starts_with(folder)).collect();
        let mut ids = Vec::new();
        for key in keys {
            let text = String::from_utf8(site.object_bytes(&key).await).unwrap();
            ids.extend(
                text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()["id"].as_i64().unwrap()),
            );
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..20_000).collect::<Vec<_>>(), "{folder}");
    }
    assert_eq!(site.parts("plain/all.ndjson").await, 4, "20 MB in parts of 5 MiB");
    assert_eq!(site.staged().await, [""; 0]);
}

/// Values of columns, and the number of rows, say which object a row goes to.
pub async fn partitions_and_rotation_make_objects_of_their_own<S: ObjectSite>() {
    let site = S::new().await;
    let rows = rows::batch(
        "id: int64, country: string",
        &json!([[1, "DE"], [2, "FR"], [3, "DE"], [4, null], [5, "DE"]]),
    );
    let more = json!({"partition_by": ["country"], "max_rows_per_file": 2});
    site.load("lake/{run}-{part}.ndjson", &more, "r1", Append, &[rows]).await.unwrap();
    let keys = site.visible().await;
    assert_eq!(
        keys,
        [
            "lake/country=DE/r1-00000-0001.ndjson",
            "lake/country=DE/r1-00000.ndjson",
            "lake/country=FR/r1-00000-0002.ndjson",
            "lake/country=__HIVE_DEFAULT_PARTITION__/r1-00000-0003.ndjson",
        ]
    );
    assert_eq!(site.ids().await, [1, 2, 3, 4, 5]);
}

/// What parts gather in memory is limited.
pub async fn of_objects_with_large_parts_a_writer_keeps_few_open<S: ObjectSite>() {
    let country = |id: i64| json!([id, format!("c{}", id % 6)]);
    let rows = |ids: Range<i64>| {
        rows::batch("id: int64, country: string", &json!(ids.map(country).collect::<Vec<_>>()))
    };
    for (part_size, objects) in [("8MiB", 6), ("64MiB", 12)] {
        let site = S::new().await;
        let more = json!({"partition_by": ["country"], "part_size": part_size});
        let sink = site.sink(TEMPLATE, &more).await;
        let begun = sink.begin(site.cx(), &LoadSpec::new("shop", "orders", "r1", Append)).await.unwrap();
        let begun = sink.evolve(site.cx(), &begun, &rows(0..0).schema()).await.unwrap();
        let mut writer = sink.writer(site.cx(), &begun, 0).await.unwrap();
        for start in [0, 6] {
            writer.write(rows(start..start + 6)).await.unwrap();
        }
        let staged = writer.finish().await.unwrap();
        sink.commit(site.cx(), &begun, &last_token(&begun), vec![staged]).await.unwrap();
        assert_eq!(site.visible().await.len(), objects, "{part_size}");
        assert_eq!(site.ids().await, (0..12).collect::<Vec<_>>());
    }
}

/// A run that began later fences the one before it.
pub async fn of_two_runs_the_later_one_wins_and_the_other_gets_a_conflict<S: ObjectSite>() {
    let site = S::new().await;
    let sink = site.sink(TEMPLATE, &json!({})).await;
    let (first, first_token, first_staged) = stage(&site, &*sink, "r1", Append, &[1, 2]).await;
    let (second, second_token, second_staged) = stage(&site, &*sink, "r2", Append, &[3]).await;
    let committed = sink.commit(site.cx(), &second, &second_token, second_staged).await.unwrap();
    assert_eq!(committed, Committed::Applied);
    let error = sink.commit(site.cx(), &first, &first_token, first_staged).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("run r1 was fenced by run r2"), "{error}");
    assert_eq!(site.ids().await, [3]);
    assert_eq!(site.staged().await, [""; 0], "the first one's uploads were given up when the second began");
}

/// The same token at once, and from several sides, is one commit.
pub async fn a_commit_that_is_made_from_several_sides_at_once_lands_once<S: ObjectSite>() {
    let site = S::new().await;
    let sink = site.sink(TEMPLATE, &json!({})).await;
    let (begun, token, staged) = stage(&site, &*sink, "r1", Append, &[1, 2, 3]).await;
    let commits = (0..4).map(|_| sink.commit(site.cx(), &begun, &token, staged.clone()));
    let outcomes = join_all(commits).await;
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Ok(Committed::Applied))), "{outcomes:?}");
    let others = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(others.map(Error::kind).all(|kind| kind == ErrorKind::Conflict), "{outcomes:?}");
    assert_eq!(site.ids().await, [1, 2, 3]);
    let lists = site.all_keys().await.into_iter().filter(|key| key.contains("/commits/")).count();
    assert_eq!(lists, 1);
}

/// Beginning is atomic too.
pub async fn of_many_runs_that_begin_at_once_one_can_commit<S: ObjectSite>() {
    let site = S::new().await;
    let sink = site.sink(TEMPLATE, &json!({})).await;
    let names: Vec<_> = (1..=5).map(|number| format!("r{number}")).collect();
    let load = async |run: &str| {
        let begun = sink.begin(site.cx(), &LoadSpec::new("shop", "orders", run, Append)).await?;
        sink.commit(site.cx(), &begun, &last_token(&begun), Vec::new()).await
    };
    let loads = names.iter().map(|run| load(run));
    let outcomes = join_all(loads).await;
    let held =
        sink.checkpoint(site.cx(), &LoadSpec::new("shop", "orders", "r", Append)).await.unwrap().unwrap();
    assert_eq!(held.epoch, 5, "each began: {outcomes:?}");
    // Whoever began last has committed; others may have before that, or were fenced.
    assert_eq!(held.sequence, 1, "{outcomes:?}");
    let others = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(others.map(Error::kind).all(|kind| kind == ErrorKind::Conflict), "{outcomes:?}");
}

/// A path is that of one stream.
pub async fn two_streams_do_not_overwrite_each_other<S: ObjectSite>() {
    let site = S::new().await;
    let sink = site.sink(TEMPLATE, &json!({})).await;
    sink.begin(site.cx(), &LoadSpec::new("shop", "orders", "r1", Append)).await.unwrap();
    let error = sink.begin(site.cx(), &LoadSpec::new("shop", "items", "r1", Append)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("{stream}"), "{error}");
}

/// What is remembered of commits is put together now and then.
pub async fn many_commits_become_few_lists_and_a_replace_still_finds_every_object<S: ObjectSite>() {
    let site = S::new().await;
    for number in 0..70_i64 {
        site.load(TEMPLATE, &json!({}), &format!("r{number:03}"), Append, &[batch([number])]).await.unwrap();
    }
    let lists = site.all_keys().await.into_iter().filter(|key| key.contains("/commits/")).count();
    assert!(lists < 20, "{lists}");
    assert_eq!(site.ids().await, (0..70).collect::<Vec<_>>());
    site.load(TEMPLATE, &json!({}), "r999", Replace, &[batch([7])]).await.unwrap();
    assert_eq!(site.ids().await, [7]);
}

/// A manifest that cannot be read is an error that says which, and no empty one.
pub async fn a_damaged_manifest_names_itself_and_can_be_reset<S: ObjectSite>() {
    let site = S::new().await;
    site.load(TEMPLATE, &json!({}), "r1", Append, &[batch([1])]).await.unwrap();
    let manifest = "out/.towpath/shop/orders/manifest.json";
    site.put(manifest, "{\"version\":1,\"check").await;
    let sink = site.sink(TEMPLATE, &json!({})).await;
    let load = LoadSpec::new("shop", "orders", "r2", Replace);
    let error = sink.begin(site.cx(), &load).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataInvalid);
    assert!(error.to_string().contains("manifest.json"), "{error}");
    sink.forget(site.cx(), &load).await.unwrap();
    assert_eq!(sink.checkpoint(site.cx(), &load).await.unwrap(), None);
    site.load(TEMPLATE, &json!({}), "r3", Replace, &[batch([2])]).await.unwrap();
    assert_eq!(site.ids().await, [2], "`replace` still knows the objects of before the reset");
    site.put(manifest, "{\"version\":9}").await;
    let error = sink.begin(site.cx(), &load).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// Receipts outlive a process and may be of anybody.
pub async fn a_receipt_never_leads_out_of_the_folder<S: ObjectSite>() {
    let site = S::new().await;
    let sink = site.sink(TEMPLATE, &json!({})).await;
    let (begun, token, staged) = stage(&site, &*sink, "r1", Append, &[1]).await;
    for path in ["../evil.ndjson", "/evil.ndjson", "a/../../evil.ndjson", ""] {
        let mut payload = staged[0].payload.clone();
        payload["files"][0]["path"] = json!(path);
        let staged = Staged::new(0, 1, 1, payload);
        let error = sink.commit(site.cx(), &begun, &token, vec![staged]).await.unwrap_err();
        assert!(error.to_string().contains("leads out of the target's folder"), "{error}");
    }
    assert_eq!(site.visible().await, [""; 0]);
}

/// `layout: plain` writes objects and remembers nothing.
pub async fn without_a_manifest_there_is_nothing_but_the_objects<S: ObjectSite>() {
    let site = S::new().await;
    let more = json!({"layout": "plain"});
    site.load(TEMPLATE, &more, "r1", Append, &[batch([1]), batch([2])]).await.unwrap();
    site.load("one.ndjson", &more, "r1", Replace, &[batch([3])]).await.unwrap();
    site.load("one.ndjson", &more, "r2", Replace, &[batch([4])]).await.unwrap();
    assert_eq!(site.ids().await, [1, 2, 4]);
    assert_eq!(site.all_keys().await, site.visible().await);
    let sink = site.sink(TEMPLATE, &more).await;
    let load = LoadSpec::new("shop", "orders", "r3", Replace);
    let error = sink.begin(site.cx(), &load).await.unwrap_err();
    assert!(error.to_string().contains("layout: plain"), "{error}");
}

/// Uploads of dead runs are given up, by the next run or by a sweep; those of others stay.
pub async fn what_runs_that_were_killed_have_left_is_thrown_away_and_nothing_else<S: ObjectSite>() {
    let site = S::new().await;
    site.load(TEMPLATE, &json!({}), "r1", Append, &[batch([1])]).await.unwrap();
    // Of the run before the next one, of one long ago, and of somebody else.
    for key in ["out/r1-00007.ndjson", "out/r0-00000.ndjson", "out/report.ndjson"] {
        site.begin_upload(key).await;
    }
    site.put("out/.towpath/shop/orders/staged/r1/7.ndjson", "{}").await;
    site.load(TEMPLATE, &json!({}), "r2", Append, &[batch([2])]).await.unwrap();
    let mut staged = site.staged().await;
    staged.sort();
    assert_eq!(
        staged,
        ["upload out/r0-00000.ndjson", "upload out/report.ndjson"],
        "`begin` knows the runs before it"
    );

    let sink = site.sink(TEMPLATE, &json!({})).await;
    let removed = sink.sweep(site.cx(), &LoadSpec::new("shop", "orders", "r3", Append)).await.unwrap();
    assert_eq!(removed.len(), 1, "{removed:?}");
    assert!(removed[0].contains("out/r0-00000.ndjson"), "{removed:?}");
    assert_eq!(site.staged().await, ["upload out/report.ndjson"]);
    assert_eq!(site.ids().await, [1, 2]);
}
