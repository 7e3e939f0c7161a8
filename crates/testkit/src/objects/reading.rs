//! Reading objects: options, and what changes under the reader.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use towpath_core::{
    Batch, Connection, Context, DynSource, ErrorKind, Json, Planned, Position, ScanRequest, Split,
};
use towpath_layers::limits::{ConnectionLimiter, LimitSettings, RunLimit};

use super::tools::splits;
use super::{ObjectSite, ObjectSiteTools, error, merged, numbered, through};

/// A path may name the bucket too, the same one for a whole stream.
pub async fn a_path_may_be_a_whole_url<S: ObjectSite>() {
    let site = S::with(&[("a.csv", "n\n1\n")]).await;
    let url = site.url("a.csv");
    let mut options = json!({"path": url, "file_column": "file"});
    options[S::BUCKET] = Value::Null;
    assert_eq!(site.read("", &options).await.unwrap(), [json!({"n": 1, "file": url})]);
    let other = json!({"path": format!("{}://elsewhere/a.csv", S::SCHEME)});
    let refused = error(site.read("", &other).await);
    assert!(refused.to_string().contains(&format!("one {}", S::BUCKET)), "{refused}");
}

/// Splits of an object are disjoint and complete.
pub async fn a_large_object_is_read_in_parts_of_which_none_is_lost<S: ObjectSite>() {
    let site = S::new().await;
    let lines = numbered(300_000);
    site.put("big.csv", format!("n,m\n{lines}")).await;
    let found = site.scan("big.csv", &json!({"split_size": "1MiB"}), &ScanRequest::default()).await.unwrap();
    assert!(found.splits().len() > 2);
    let rows = found.rows();
    assert_eq!(rows.len(), 300_000);
    assert!(rows.iter().enumerate().all(|(n, row)| row["n"] == json!(n) && row["m"] == json!(n * 7)));
}

/// The splits of a path that is read as it is.
async fn splits_of(
    site: &impl ObjectSite,
    cx: &Context,
    path: &str,
    more: &Json,
) -> (Arc<dyn DynSource>, Vec<Split>) {
    let source = site.source(path, &merged(json!({"format": "bytes"}), more)).await;
    let plan = source.plan(cx, &ScanRequest::default()).await.unwrap();
    let steps: Vec<Planned> = plan.splits.try_collect().await.unwrap();
    (source, splits(&steps).cloned().collect())
}

fn bytes_of(batches: &[Batch]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for batch in batches {
        let data = batch.rows.column_by_name("data").unwrap().as_binary::<i32>();
        bytes.extend(data.iter().flatten().flatten());
    }
    bytes
}

/// Bytes that differ from each other wherever they are cut.
fn content(length: u32) -> Vec<u8> {
    (0..length / 4).flat_map(u32::to_le_bytes).collect()
}

/// To a store one long answer is less work than several short ones.
pub async fn what_is_read_to_its_end_is_one_request<S: ObjectSite>() {
    let site = S::new().await;
    // More than ranges have, and less than may wait for a reader that is slow for a moment.
    let content = content(12 << 20);
    site.put("big.bin", content.clone()).await;
    let front = through(&site, |_, answer| answer).await;
    let options = json!({"endpoint": site.endpoint_at(&front.url(""))});
    let (source, splits) = splits_of(&site, site.cx(), "big.bin", &options).await;
    let [split] = &splits[..] else { panic!("one split: {splits:?}") };
    let before = front.requests().len();
    let read: Vec<_> = source.read(site.cx(), split, Position::Start).unwrap().try_collect().await.unwrap();
    assert!(bytes_of(&read) == content, "the bytes differ");
    assert_eq!(front.requests().len() - before, 1, "{:?}", front.targets());
}

/// What a slow reader has not asked for yet is fetched by requests that wait for nobody: others may be sent meanwhile.
pub async fn a_reader_that_pauses_holds_up_no_others<S: ObjectSite>() {
    let site = S::new().await;
    let content = content(48 << 20);
    site.put("big.bin", content.clone()).await;
    site.put("small.bin", "small").await;
    let run = RunLimit::new(NonZeroUsize::MIN, site.cx().clock_arc());
    let limiter = ConnectionLimiter::new(&run, &LimitSettings::default());
    let cx = site.cx().for_connection(Arc::new(Connection::new("lake", Arc::new(limiter))));
    let front = through(&site, |_, answer| answer).await;
    let options = json!({"endpoint": site.endpoint_at(&front.url(""))});
    let (source, splits) = splits_of(&site, &cx, "*.bin", &options).await;
    let [big, small] = &splits[..] else { panic!("two splits: {splits:?}") };
    let mut reading = source.read(&cx, big, Position::Start).unwrap();
    let mut read = vec![reading.next().await.unwrap().unwrap()];
    let other = source.read(&cx, small, Position::Start).unwrap().try_collect::<Vec<_>>();
    let other =
        tokio::time::timeout(Duration::from_mins(1), other).await.expect("a request waits for a reader");
    assert_eq!(bytes_of(&other.unwrap()), b"small");
    read.extend(reading.try_collect::<Vec<_>>().await.unwrap());
    assert!(bytes_of(&read) == content, "the bytes differ");
    // The first was given up in the middle, so others brought the rest.
    let asked = front.targets().iter().filter(|target| target.contains("big")).count();
    assert!(asked > 2, "{:?}", front.targets());
}

/// What is read is what was planned.
pub async fn an_object_that_changed_since_it_was_planned_is_an_error<S: ObjectSite>() {
    let site = S::with(&[("a.csv", "n\n1\n")]).await;
    let source = site.source("a.csv", &json!({})).await;
    let plan = source.plan(site.cx(), &ScanRequest::default()).await.unwrap();
    let steps: Vec<_> = plan.splits.try_collect().await.unwrap();
    let Some(Planned::Split { split, .. }) = steps.first() else { panic!("no split") };
    // As long as before, and perhaps within the same second.
    site.put("a.csv", "n\n2\n").await;
    let read = source.read(site.cx(), split, Position::Start).unwrap();
    let changed = error(read.try_collect::<Vec<_>>().await);
    assert_eq!(changed.kind(), ErrorKind::Conflict);
    assert!(changed.to_string().contains("the file changed after it was planned"), "{changed}");
}

/// A run reads what the one before it did not know.
pub async fn only_new_objects_are_read_when_asked_for<S: ObjectSite>() {
    let site = S::with(&[("a.csv", "n\n1\n"), ("b.csv", "n\n2\n")]).await;
    let incremental = json!({"incremental": true});
    let first = site.scan("*.csv", &incremental, &ScanRequest::default()).await.unwrap();
    assert_eq!(first.rows(), [json!({"n": 1}), json!({"n": 2})]);
    site.put("aa.csv", "n\n3\n").await;
    site.put("b.csv", "n\n4\n").await;
    let mut request = ScanRequest::default();
    request.since = first.since();
    let second = site.scan("*.csv", &incremental, &request).await.unwrap();
    assert_eq!(second.rows(), [json!({"n": 3}), json!({"n": 4})]);
}

/// Parts of a key such as `day=1` are columns.
pub async fn folders_become_columns_and_only_wanted_columns_are_read<S: ObjectSite>() {
    let site = S::with(&[("day=1/a.csv", "n,m\n1,2\n"), ("day=2/a.csv", "n,m\n3,4\n")]).await;
    let mut request = ScanRequest::default();
    request.columns = Some(vec!["m".into(), "day".into()]);
    let rows = site.scan("**/*.csv", &json!({}), &request).await.unwrap().rows();
    assert_eq!(rows, [json!({"m": 2, "day": 1}), json!({"m": 4, "day": 2})]);
}

/// What is new can be told in two further ways.
pub async fn what_is_new_is_told_by_names_or_times<S: ObjectSite>() {
    for incremental in [json!("name"), json!("modified")] {
        let site = S::with(&[("1.csv", "n\n1\n"), ("2.csv", "n\n2\n")]).await;
        let options = json!({"incremental": incremental});
        let first = site.scan("*.csv", &options, &ScanRequest::default()).await.unwrap();
        assert_eq!(first.rows().len(), 2, "{incremental}");
        site.put("3.csv", "n\n3\n").await;
        let mut request = ScanRequest::default();
        request.since = first.since();
        let second = site.scan("*.csv", &options, &request).await.unwrap();
        assert_eq!(second.rows(), [json!({"n": 3})], "{incremental}");
        request.since = second.since();
        let third = site.scan("*.csv", &options, &request).await.unwrap();
        assert!(third.rows().is_empty(), "{incremental}");
    }
}

/// What could be streams is found, with its columns.
pub async fn objects_that_differ_in_digits_are_one_data_set_with_its_columns<S: ObjectSite>() {
    let site = S::with(&[
        ("sales/2026-01.csv", "id,day\n1,2026-01-01\n"),
        ("sales/2026-02.csv", "id,day\n2,2026-02-01\n"),
        ("orders.ndjson", "{\"n\":1}\n"),
    ])
    .await;
    let found = site.source("", &json!({})).await.discover(site.cx()).await.unwrap();
    let paths: Vec<&Value> = found.iter().map(|dataset| &dataset.source["path"]).collect();
    let whole = |path: &str| json!(site.url(path));
    assert_eq!(paths, [&whole("orders.ndjson"), &whole("sales/*-*.csv")]);
    let columns = found[1].schema.as_ref().unwrap();
    assert_eq!(columns.fields().iter().map(|field| field.name()).collect::<Vec<_>>(), ["id", "day"]);
}
