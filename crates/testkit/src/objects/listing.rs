//! Which objects are found, and with how many requests.

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use towpath_core::ScanRequest;

use super::{ObjectSite, ObjectSiteTools};
use crate::http::TestServer;

/// The objects that a path matches, by the numbers in them, in their order.
async fn found(site: &impl ObjectSite, path: Value) -> Vec<i64> {
    let path = match path {
        Value::String(path) => json!(site.key(&path)),
        paths => paths.as_array().unwrap().iter().map(|path| site.key(path.as_str().unwrap())).collect(),
    };
    let options =
        json!({"path": path, "columns": {"n": "int64"}, "hive_partitions": false, "allow_empty": true});
    let rows = site.read("", &options).await.unwrap();
    rows.iter().map(|row| row["n"].as_i64().unwrap()).collect()
}

async fn seeded<S: ObjectSite>() -> S {
    let objects: Vec<(String, String)> = [
        "a.csv",
        "b/c.csv",
        "b/d/e.csv",
        "b-/f.csv",
        "b.csv",
        "year=1/month=1/g.csv",
        "year=1/month=2/h.csv",
        "year=2/month=1/i.csv",
        ".hidden/j.csv",
        "b/.k.csv",
        "b/c.txt",
    ]
    .iter()
    .enumerate()
    .map(|(number, key)| ((*key).to_owned(), format!("n\n{number}\n")))
    .collect();
    let objects: Vec<(&str, &str)> =
        objects.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
    S::with(&objects).await
}

/// A glob means the same as in a folder.
pub async fn globs_match_as_they_do_in_folders<S: ObjectSite>() {
    let site = seeded::<S>().await;
    for (path, expected) in [
        ("a.csv", vec![0]),
        ("*.csv", vec![0, 4]),
        ("b/*.csv", vec![1]),
        ("b/**/*.csv", vec![1, 2]),
        ("**/c.csv", vec![1]),
        ("year=*/month=1/*.csv", vec![5, 7]),
        ("year=1/", vec![5, 6]),
        ("year=1", vec![5, 6]),
        ("{a,b}.csv", vec![0, 4]),
        ("b/.k.cs[v]", vec![9]),
        ("*/nothing.csv", vec![]),
    ] {
        assert_eq!(found(&site, json!(path)).await, expected, "{path}");
    }
}

/// Objects are planned in the order of the bytes of their keys.
pub async fn objects_come_in_the_order_of_their_keys<S: ObjectSite>() {
    let site = seeded::<S>().await;
    // A hyphen and a dot come before a slash.
    assert_eq!(found(&site, json!("{b,b-}*/*.csv")).await, [3, 1]);
    assert_eq!(found(&site, json!("**/*.csv")).await, [0, 3, 4, 1, 2, 5, 6, 7]);
}

/// Of several paths that match an object, one counts.
pub async fn an_object_that_several_paths_match_is_read_once<S: ObjectSite>() {
    let site = seeded::<S>().await;
    assert_eq!(found(&site, json!(["b/c.csv", "b/**/*.csv", "b/d/*"])).await, [1, 2]);
}

/// A listing costs as many requests as the glob needs, and no more.
pub async fn only_the_prefixes_that_a_glob_needs_are_listed<S: ObjectSite>() {
    let site = S::new().await;
    for (year, month) in [(1, 1), (1, 2), (2, 1), (3, 1)] {
        site.put(&format!("year={year}/month={month}/a.csv"), "n\n1\n").await;
    }
    let before = site.cx().metrics().snapshot().requests;
    let options = json!({"allow_empty": true, "columns": {"n": "int64"}});
    site.scan("year=[12]/month=1/*.none", &options, &ScanRequest::default()).await.unwrap();
    // The years, two months of them, and their objects; for the columns, and for the splits.
    assert_eq!(site.cx().metrics().snapshot().requests - before, 2 * 5);
}

/// Tools mark folders by empty objects, which hold no rows.
pub async fn objects_that_mark_folders_are_no_files<S: ObjectSite>() {
    let site = S::with(&[("in/a.csv", "n\n1\n")]).await;
    site.put("in/b/", "").await;
    assert_eq!(found(&site, json!("in/**/*")).await, [1]);
}

/// A listing has more than a page.
pub async fn thousands_of_objects_are_listed_page_by_page<S: ObjectSite>() {
    const COUNT: usize = 2_500;
    let site = S::new().await;
    let puts = (0..COUNT).map(|n| {
        let site = &site;
        async move { site.put(&format!("day={}/{n:05}.csv", n % 7), format!("n\n{n}\n")).await }
    });
    stream::iter(puts).buffer_unordered(64).collect::<Vec<_>>().await;
    let columns = json!({"columns": {"n": "int64"}});
    for path in ["*/*.csv", "**/*.csv"] {
        let scan = site.scan_names(path, &columns).await;
        assert_eq!(scan.len(), COUNT, "{path}");
        assert!(scan.is_sorted(), "{path}");
    }
}

/// How much memory this process holds, in KiB, as far as the system tells.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// A listing is a stream: what it costs of memory does not grow with it.
pub async fn a_hundred_thousand_objects_are_planned_while_they_are_listed_and_never_held<S: ObjectSite>() {
    const PAGE: usize = 1_000;
    let server = TestServer::start(|request| async move {
        let number = S::asked_page(&request);
        S::page(number * PAGE..(number + 1) * PAGE, Some(number + 1).filter(|next| *next < 100))
    })
    .await;
    let site = S::new().await;
    let endpoint = site.endpoint_at(&server.url(""));
    let source = site.source("", &json!({"endpoint": endpoint, "path": "in/*", "format": "bytes"})).await;
    let mut steps = source.plan(site.cx(), &ScanRequest::default()).await.unwrap().splits;
    steps.try_next().await.unwrap().unwrap();
    assert!(server.requests().len() <= 3, "{:?}", server.targets());
    let (mut count, mut early) = (1, 0);
    while steps.try_next().await.unwrap().is_some() {
        count += 1;
        if count == 20_000 {
            early = resident();
        }
    }
    assert_eq!(count, 100_000);
    let grown = resident().saturating_sub(early);
    assert!(grown < 16 << 10, "it grew by {grown} KiB");
}
