//! Writing objects.

use serde_json::json;
use towpath_connector_gcs::CONNECTOR;
use towpath_core::{
    Begun, CommitToken, Committed, DynSink, ErrorKind, Json, LoadSpec, Staged, WriteDisposition,
};
use towpath_testkit::gcs::Conduct;
use towpath_testkit::rows;

use crate::support::Site;
use crate::written::last_token;

use WriteDisposition::{Append, Replace};

const TEMPLATE: &str = "out/{part}.ndjson";

fn batch(ids: impl IntoIterator<Item = i64>) -> arrow::array::RecordBatch {
    let rows: Vec<_> = ids.into_iter().map(|id| json!([id])).collect();
    rows::batch("id: int64", &json!(rows))
}

async fn open(site: &Site, path: &str, more: &Json) -> std::sync::Arc<dyn DynSink> {
    CONNECTOR.sink_entry().unwrap().open(site.options(path, more), &site.cx).await.unwrap()
}

/// Begins, and stages one object for each id.
async fn stage(
    site: &Site,
    sink: &dyn DynSink,
    run: &str,
    disposition: WriteDisposition,
    ids: &[i64],
) -> (Begun, CommitToken, Vec<Staged>) {
    let begun = sink.begin(&site.cx, &LoadSpec::new("shop", "orders", run, disposition)).await.unwrap();
    let begun = sink.evolve(&site.cx, &begun, &batch([]).schema()).await.unwrap();
    let mut staged = Vec::new();
    for (part, id) in (0..).zip(ids) {
        let mut writer = sink.writer(&site.cx, &begun, part).await.unwrap();
        writer.write(batch([*id])).await.unwrap();
        staged.push(writer.finish().await.unwrap());
    }
    let token = last_token(&begun);
    (begun, token, staged)
}

#[tokio::test]
async fn append_adds_objects_and_replace_removes_those_of_earlier_runs_and_no_others() {
    let site = Site::new().await;
    for (run, id) in [("r1", 1), ("r2", 2), ("r3", 3)] {
        site.load(TEMPLATE, &json!({}), run, Append, &[batch([id])]).await.unwrap();
    }
    site.put("out/foreign.ndjson", "{\"id\":99}\n");
    assert_eq!(site.ids(), [1, 2, 3, 99]);
    site.load(TEMPLATE, &json!({}), "r4", Replace, &[batch([4]), batch([5])]).await.unwrap();
    assert_eq!(site.ids(), [4, 5, 99]);
    assert_eq!(site.staged(), [""; 0]);
}

#[tokio::test]
async fn a_large_object_goes_out_in_parts_and_comes_back_whole() {
    let site = Site::new().await;
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
        let keys: Vec<_> = site.visible().into_iter().filter(|key| key.starts_with(folder)).collect();
        let mut ids = Vec::new();
        for key in keys {
            let text = String::from_utf8(site.get(&key)).unwrap();
            ids.extend(
                text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()["id"].as_i64().unwrap()),
            );
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..20_000).collect::<Vec<_>>(), "{folder}");
    }
    // Parts make an ETag that tells their number.
    assert!(site.tag("plain/all.ndjson").trim_matches('"').contains('-'));
    assert_eq!(site.staged(), [""; 0]);
}

#[tokio::test]
async fn partitions_and_rotation_make_objects_of_their_own() {
    let site = Site::new().await;
    let rows = rows::batch(
        "id: int64, country: string",
        &json!([[1, "DE"], [2, "FR"], [3, "DE"], [4, null], [5, "DE"]]),
    );
    let more = json!({"partition_by": ["country"], "max_rows_per_file": 2});
    site.load("lake/{run}-{part}.ndjson", &more, "r1", Append, &[rows]).await.unwrap();
    let keys = site.visible();
    assert_eq!(
        keys,
        [
            "lake/country=DE/r1-00000-0001.ndjson",
            "lake/country=DE/r1-00000.ndjson",
            "lake/country=FR/r1-00000-0002.ndjson",
            "lake/country=__HIVE_DEFAULT_PARTITION__/r1-00000-0003.ndjson",
        ]
    );
    assert_eq!(site.ids(), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn of_objects_with_large_parts_a_writer_keeps_few_open() {
    let country = |id: i64| json!([id, format!("c{}", id % 6)]);
    let rows = |ids: std::ops::Range<i64>| {
        rows::batch("id: int64, country: string", &json!(ids.map(country).collect::<Vec<_>>()))
    };
    for (part_size, objects) in [("8MiB", 6), ("64MiB", 12)] {
        let site = Site::new().await;
        let more = json!({"partition_by": ["country"], "part_size": part_size});
        let sink = open(&site, TEMPLATE, &more).await;
        let begun = sink.begin(&site.cx, &LoadSpec::new("shop", "orders", "r1", Append)).await.unwrap();
        let begun = sink.evolve(&site.cx, &begun, &rows(0..0).schema()).await.unwrap();
        let mut writer = sink.writer(&site.cx, &begun, 0).await.unwrap();
        for start in [0, 6] {
            writer.write(rows(start..start + 6)).await.unwrap();
        }
        let staged = writer.finish().await.unwrap();
        sink.commit(&site.cx, &begun, &last_token(&begun), vec![staged]).await.unwrap();
        assert_eq!(site.visible().len(), objects, "{part_size}");
        assert_eq!(site.ids(), (0..12).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn of_two_runs_the_later_one_wins_and_the_other_gets_a_conflict() {
    let site = Site::new().await;
    let sink = open(&site, TEMPLATE, &json!({})).await;
    let (first, first_token, first_staged) = stage(&site, &*sink, "r1", Append, &[1, 2]).await;
    let (second, second_token, second_staged) = stage(&site, &*sink, "r2", Append, &[3]).await;
    let committed = sink.commit(&site.cx, &second, &second_token, second_staged).await.unwrap();
    assert_eq!(committed, Committed::Applied);
    let error = sink.commit(&site.cx, &first, &first_token, first_staged).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("run r1 was fenced by run r2"), "{error}");
    assert_eq!(site.ids(), [3]);
    assert_eq!(site.staged(), [""; 0], "the first one's uploads were given up when the second began");
}

#[tokio::test]
async fn a_commit_that_is_made_from_several_sides_at_once_lands_once() {
    let site = Site::new().await;
    let sink = open(&site, TEMPLATE, &json!({})).await;
    let (begun, token, staged) = stage(&site, &*sink, "r1", Append, &[1, 2, 3]).await;
    let commits = (0..4).map(|_| sink.commit(&site.cx, &begun, &token, staged.clone()));
    let outcomes = futures::future::join_all(commits).await;
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Ok(Committed::Applied))), "{outcomes:?}");
    let others = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(others.map(towpath_core::Error::kind).all(|kind| kind == ErrorKind::Conflict), "{outcomes:?}");
    assert_eq!(site.ids(), [1, 2, 3]);
    let lists = site.all_keys().into_iter().filter(|key| key.contains("/commits/")).count();
    assert_eq!(lists, 1);
}

#[tokio::test]
async fn of_many_runs_that_begin_at_once_one_can_commit() {
    let site = Site::new().await;
    let sink = open(&site, TEMPLATE, &json!({})).await;
    let names: Vec<_> = (1..=5).map(|number| format!("r{number}")).collect();
    let load = async |run: &str| {
        let begun = sink.begin(&site.cx, &LoadSpec::new("shop", "orders", run, Append)).await?;
        sink.commit(&site.cx, &begun, &last_token(&begun), Vec::new()).await
    };
    let loads = names.iter().map(|run| load(run));
    let outcomes = futures::future::join_all(loads).await;
    let held =
        sink.checkpoint(&site.cx, &LoadSpec::new("shop", "orders", "r", Append)).await.unwrap().unwrap();
    assert_eq!(held.epoch, 5, "each began: {outcomes:?}");
    // Whoever began last has committed; others may have before that, or were fenced.
    assert_eq!(held.sequence, 1, "{outcomes:?}");
    let others = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(others.map(towpath_core::Error::kind).all(|kind| kind == ErrorKind::Conflict), "{outcomes:?}");
}

#[tokio::test]
async fn two_streams_do_not_overwrite_each_other() {
    let site = Site::new().await;
    let sink = open(&site, TEMPLATE, &json!({})).await;
    sink.begin(&site.cx, &LoadSpec::new("shop", "orders", "r1", Append)).await.unwrap();
    let error = sink.begin(&site.cx, &LoadSpec::new("shop", "items", "r1", Append)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("{stream}"), "{error}");
}

#[tokio::test]
async fn many_commits_become_few_lists_and_a_replace_still_finds_every_object() {
    let site = Site::new().await;
    for number in 0..70_i64 {
        site.load(TEMPLATE, &json!({}), &format!("r{number:03}"), Append, &[batch([number])]).await.unwrap();
    }
    let lists = site.all_keys().into_iter().filter(|key| key.contains("/commits/")).count();
    assert!(lists < 20, "{lists}");
    assert_eq!(site.ids(), (0..70).collect::<Vec<_>>());
    site.load(TEMPLATE, &json!({}), "r999", Replace, &[batch([7])]).await.unwrap();
    assert_eq!(site.ids(), [7]);
}

#[tokio::test]
async fn a_damaged_manifest_names_itself_and_can_be_reset() {
    let site = Site::new().await;
    site.load(TEMPLATE, &json!({}), "r1", Append, &[batch([1])]).await.unwrap();
    let manifest = "out/.towpath/shop/orders/manifest.json";
    site.put(manifest, "{\"version\":1,\"check");
    let sink = open(&site, TEMPLATE, &json!({})).await;
    let load = LoadSpec::new("shop", "orders", "r2", Replace);
    let error = sink.begin(&site.cx, &load).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataInvalid);
    assert!(error.to_string().contains("manifest.json"), "{error}");
    sink.forget(&site.cx, &load).await.unwrap();
    assert_eq!(sink.checkpoint(&site.cx, &load).await.unwrap(), None);
    site.load(TEMPLATE, &json!({}), "r3", Replace, &[batch([2])]).await.unwrap();
    assert_eq!(site.ids(), [2], "`replace` still knows the objects of before the reset");
    site.put(manifest, "{\"version\":9}");
    let error = sink.begin(&site.cx, &load).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_receipt_never_leads_out_of_the_folder() {
    let site = Site::new().await;
    let sink = open(&site, TEMPLATE, &json!({})).await;
    let (begun, token, staged) = stage(&site, &*sink, "r1", Append, &[1]).await;
    for path in ["../evil.ndjson", "/evil.ndjson", "a/../../evil.ndjson", ""] {
        let mut payload = staged[0].payload.clone();
        payload["files"][0]["path"] = json!(path);
        let staged = Staged::new(0, 1, 1, payload);
        let error = sink.commit(&site.cx, &begun, &token, vec![staged]).await.unwrap_err();
        assert!(error.to_string().contains("leads out of the target's folder"), "{error}");
    }
    assert_eq!(site.visible(), [""; 0]);
}

#[tokio::test]
async fn objects_say_of_themselves_what_the_options_say() {
    let site = Site::new().await;
    let more = json!({
        "content_type": "application/x-ndjson", "content_encoding": "identity", "cache_control": "max-age=60",
        "storage_class": "NEARLINE",
    });
    for (path, key) in [("out/{run}-{part}.ndjson", "out/r1-00000.ndjson"), ("plain.ndjson", "plain.ndjson")]
    {
        site.load(path, &more, "r1", Replace, &[batch([1])]).await.unwrap();
        let object = site.object(key);
        for (name, expected) in [
            ("content-type", "application/x-ndjson"),
            ("content-encoding", "identity"),
            ("cache-control", "max-age=60"),
            ("x-goog-storage-class", "NEARLINE"),
        ] {
            assert_eq!(object.header(name), Some(expected), "{key}");
        }
    }
    site.load("other/{run}-{part}.ndjson", &json!({}), "r1", Replace, &[batch([1])]).await.unwrap();
    let object = site.object("other/r1-00000.ndjson");
    assert_eq!(object.header("content-type"), Some("application/octet-stream"));
    assert_eq!(object.header("x-goog-storage-class"), None);
}

#[tokio::test]
async fn without_a_manifest_there_is_nothing_but_the_objects() {
    let site = Site::new().await;
    let more = json!({"layout": "plain"});
    site.load(TEMPLATE, &more, "r1", Append, &[batch([1]), batch([2])]).await.unwrap();
    site.load("one.ndjson", &more, "r1", Replace, &[batch([3])]).await.unwrap();
    site.load("one.ndjson", &more, "r2", Replace, &[batch([4])]).await.unwrap();
    assert_eq!(site.ids(), [1, 2, 4]);
    assert_eq!(site.all_keys(), site.visible());
    let sink = open(&site, TEMPLATE, &more).await;
    let load = LoadSpec::new("shop", "orders", "r3", Replace);
    let error = sink.begin(&site.cx, &load).await.unwrap_err();
    assert!(error.to_string().contains("layout: plain"), "{error}");
}

#[tokio::test]
async fn what_runs_that_were_killed_have_left_is_thrown_away_and_nothing_else() {
    let site = Site::new().await;
    site.load(TEMPLATE, &json!({}), "r1", Append, &[batch([1])]).await.unwrap();
    // Of the run before the next one, of one long ago, and of somebody else.
    for key in ["out/r1-00007.ndjson", "out/r0-00000.ndjson", "out/report.ndjson"] {
        site.server.begin_upload(site.bucket, key);
    }
    site.put("out/.towpath/shop/orders/staged/r1/7.ndjson", "{}");
    site.load(TEMPLATE, &json!({}), "r2", Append, &[batch([2])]).await.unwrap();
    let left = ["upload out/r0-00000.ndjson", "upload out/report.ndjson"];
    assert_eq!(site.staged(), left, "`begin` knows the runs before it");

    let sink = open(&site, TEMPLATE, &json!({})).await;
    let removed = sink.sweep(&site.cx, &LoadSpec::new("shop", "orders", "r3", Append)).await.unwrap();
    assert_eq!(removed.len(), 1, "{removed:?}");
    assert!(removed[0].contains("out/r0-00000.ndjson"), "{removed:?}");
    assert_eq!(site.staged(), ["upload out/report.ndjson"]);
    assert_eq!(site.ids(), [1, 2]);
}

#[tokio::test]
async fn thousands_of_uploads_are_swept_page_by_page() {
    let site = Site::new().await;
    for number in 0..2_500 {
        site.server.begin_upload(site.bucket, &format!("out/r0-{number:05}.ndjson"));
    }
    let sink = open(&site, TEMPLATE, &json!({})).await;
    let removed = sink.sweep(&site.cx, &LoadSpec::new("shop", "orders", "r1", Append)).await.unwrap();
    assert_eq!(removed.len(), 2_500);
    assert_eq!(site.staged(), [""; 0]);
}

#[tokio::test]
async fn objects_and_the_manifest_are_encrypted_with_the_key_of_the_options() {
    let site = Site::new().await;
    let key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k";
    for (folder, more, expected) in
        [("none", json!({}), None), ("kms", json!({"kms_key": key, "part_size": "5MiB"}), Some(key))]
    {
        let path = format!("{folder}/{{run}}-{{part}}.ndjson");
        site.load(&path, &more, "r1", Append, &[batch([1])]).await.unwrap();
        for key in ["r1-00000.ndjson", ".towpath/shop/orders/manifest.json"] {
            let object = site.object(&format!("{folder}/{key}"));
            assert_eq!(object.kms_key.as_deref(), expected, "{folder}/{key}");
        }
    }
}

#[tokio::test]
async fn who_may_read_is_said_of_the_objects_and_not_of_the_manifest() {
    let site = Site::new().await;
    let path = "out/{run}-{part}.ndjson";
    site.load(path, &json!({"acl": "public-read"}), "r1", Append, &[batch([1])]).await.unwrap();
    assert_eq!(site.object("out/r1-00000.ndjson").acl.as_deref(), Some("public-read"));
    assert_eq!(site.object("out/.towpath/shop/orders/manifest.json").acl, None);
}

#[tokio::test]
async fn a_manifest_may_change_once_in_a_second() {
    let site = Site::behaving(Conduct::slow()).await;
    site.load(TEMPLATE, &json!({}), "r1", Append, &[batch([1])]).await.unwrap();
    assert_eq!(site.ids(), [1]);
    assert!(site.cx.metrics().snapshot().throttled > 0, "the server was asked too often");
}

#[tokio::test]
async fn a_commit_is_bound_to_the_generation_that_was_read() {
    let site = Site::new().await;
    site.load(TEMPLATE, &json!({}), "r1", Append, &[batch([1])]).await.unwrap();
    let requests = site.server.requests();
    let conditions: Vec<_> = requests
        .iter()
        .filter(|asked| {
            asked.request.method == "PUT" && asked.request.decoded_path().ends_with("manifest.json")
        })
        .map(|asked| {
            asked.request.header("x-goog-if-generation-match").expect("there is a condition").to_owned()
        })
        .collect();
    assert_eq!(conditions[0], "0");
    // The second of the two that ask for none is the test whether the server heeds it.
    assert!(
        conditions[2..].iter().all(|generation| generation.parse::<u64>().unwrap() > 0),
        "{conditions:?}"
    );
}
