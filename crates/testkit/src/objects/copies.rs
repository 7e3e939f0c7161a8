//! Objects whose bytes the service copies: they are named, and never come by.

use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::json;
use towpath_core::{
    Begun, Committed, Context, DynSink, DynSource, ErrorKind, Json, LoadSpec, Planned, Position, Realm,
    Result, ScanRequest, Split, Staged, WriteDisposition, chunk_schema, reference_schema,
};

use super::{ObjectSite, ObjectSiteTools, last_token};
use crate::http::{Response, TestServer};

const MIB: usize = 1 << 20;

/// A large object and a small one, which differ wherever one looks, and an empty one.
fn contents() -> [(&'static str, Bytes); 3] {
    let bytes = |length: usize, salt: usize| {
        let bytes = (0..length).map(|at| u8::try_from((at / 7 + at % 251 + salt) % 256).unwrap());
        Bytes::from(bytes.collect::<Vec<u8>>())
    };
    [("large", bytes(12 * MIB + 7, 0)), ("deep/small", bytes(1000, 5)), ("empty", Bytes::new())]
}

/// From `in/` to `out/`, through a server that copies.
struct Copying {
    source: std::sync::Arc<dyn DynSource>,
    sink: std::sync::Arc<dyn DynSink>,
    cx: Context,
    realm: Option<Realm>,
}

impl Copying {
    async fn new(site: &impl ObjectSite, server: &TestServer) -> Self {
        let at = |more: Json| super::merged(json!({"endpoint": site.endpoint_at(&origin(server))}), &more);
        let source = site.source("in/", &at(json!({"format": "bytes", "split_size": "5MiB"}))).await;
        let sink = site.sink("out/", &at(json!({"format": "bytes", "part_size": "5MiB"}))).await;
        let realm = sink.capabilities().copies_from;
        assert!(realm.is_some(), "the sink lets the service copy");
        Self { source, sink, cx: site.cx().with_copier(realm.clone()), realm }
    }

    /// The source's surroundings for a stream whose bytes somebody wants to see.
    fn looking(&self) -> Context {
        self.cx.with_copier(None)
    }

    async fn plan(&self, cx: &Context) -> Vec<Split> {
        let plan = self.source.plan(cx, &ScanRequest::default()).await.unwrap();
        let expected = if cx.copier().is_some() { reference_schema() } else { chunk_schema() };
        assert_eq!(plan.schema, Some(expected));
        let steps: Vec<Planned> = plan.splits.try_collect().await.unwrap();
        let splits = steps.into_iter().filter_map(|step| match step {
            Planned::Split { split, .. } => Some(split),
            Planned::Complete { .. } => None,
        });
        splits.collect()
    }

    async fn begin(&self, cx: &Context, run: &str) -> Begun {
        let load = LoadSpec::new("p", "s", run, WriteDisposition::Append);
        let begun = self.sink.begin(cx, &load).await.unwrap();
        self.sink.evolve(cx, &begun, &reference_schema()).await.unwrap()
    }

    /// Reads splits into a writer of their own.
    async fn stage(&self, cx: &Context, begun: &Begun, part: u32, splits: &[Split]) -> Result<Staged> {
        let mut writer = self.sink.writer(&self.cx, begun, part).await?;
        for split in splits {
            let mut batches = self.source.read(cx, split, Position::Start)?;
            while let Some(batch) = batches.try_next().await? {
                writer.write(batch.rows).await?;
            }
        }
        writer.finish().await
    }

    async fn commit(&self, begun: &Begun, staged: Vec<Staged>) {
        let committed = self.sink.commit(&self.cx, begun, &last_token(begun), staged).await.unwrap();
        assert_eq!(committed, Committed::Applied);
    }
}

fn origin(server: &TestServer) -> String {
    server.url("").trim_end_matches('/').to_owned()
}

async fn seeded<S: ObjectSite>() -> S {
    let site = S::new().await;
    for (key, bytes) in contents() {
        site.put(&format!("in/{key}"), bytes).await;
    }
    site
}

async fn assert_copied(site: &impl ObjectSite) {
    assert_eq!(site.visible().await.iter().filter(|key| key.starts_with("out/")).count(), 3);
    for (key, bytes) in contents() {
        assert!(site.object_bytes(&format!("out/{key}")).await == bytes, "{key} differs");
    }
}

/// What two streams of one realm move is moved by the service.
pub async fn bytes_that_the_service_copies_never_come_by<S: ObjectSite>() {
    let site = seeded::<S>().await;
    let server = site.copying().await;
    let copying = Copying::new(&site, &server).await;
    let begun = copying.begin(&copying.cx, "1").await;
    let splits = copying.plan(&copying.cx).await;
    assert_eq!(splits.len(), 5, "three for the large one");
    let staged = vec![
        copying.stage(&copying.cx, &begun, 1, &splits[..2]).await.unwrap(),
        copying.stage(&copying.cx, &begun, 2, &splits[2..]).await.unwrap(),
    ];
    let total: usize = contents().iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(staged.iter().map(|staged| staged.bytes).sum::<u64>(), total as u64);
    copying.commit(&begun, staged).await;
    assert_copied(&site).await;
    let counted = site.cx().metrics().snapshot();
    assert_eq!((counted.bytes_read, counted.bytes_copied), (0, total as u64));
    let requests = server.requests();
    let below = |folder: &str| format!("{}/", site.key(folder));
    let read = requests
        .iter()
        .filter(|asked| asked.request.method == "GET" && asked.request.decoded_path().contains(&below("in")));
    assert_eq!(read.count(), 0, "nothing was read");
    let hidden = below("out/.towpath");
    let sent = requests.iter().filter(|asked| {
        let path = asked.request.decoded_path();
        asked.request.method == "PUT" && path.contains(&below("out")) && !path.contains(&hidden)
    });
    let is_list = |query: &str| query.contains("comp=blocklist");
    let sent = sent.filter(|asked| !is_list(&asked.request.query));
    assert_eq!(sent.map(|asked| asked.request.body.len()).sum::<usize>(), 0, "nothing was sent");
}

/// The content of an object that was planned, or an error.
pub async fn an_object_that_changes_before_it_is_copied_is_an_error_and_never_a_mixture<S: ObjectSite>() {
    let site = seeded::<S>().await;
    let server = site.copying().await;
    let copying = Copying::new(&site, &server).await;
    let begun = copying.begin(&copying.cx, "1").await;
    let splits = copying.plan(&copying.cx).await;
    let large: Vec<Split> = splits.into_iter().filter(|split| split.id.0.contains("/in/large")).collect();
    let first = copying.stage(&copying.cx, &begun, 1, &large[..1]).await.unwrap();
    let [(_, before), ..] = contents();
    site.put("in/large", before.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>()).await;
    let error = copying.stage(&copying.cx, &begun, 2, &large[1..]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("changed after it was planned"), "{error}");
    copying.sink.abort(&copying.cx, &begun, vec![first]).await.unwrap();
    assert!(!site.visible().await.iter().any(|key| key.starts_with("out/")));
}

/// A service that may not read the source is no reason to fail: we may.
pub async fn what_the_service_does_not_copy_is_read_and_the_report_says_so<S: ObjectSite>() {
    let site = seeded::<S>().await;
    let server = super::behind(&site, |request| {
        let is_copy = request.headers.iter().any(|(name, _)| name.ends_with("-copy-source"));
        let body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
        is_copy.then(|| Response::status(403).body(body))
    })
    .await;
    let copying = Copying::new(&site, &server).await;
    let begun = copying.begin(&copying.cx, "1").await;
    let splits = copying.plan(&copying.cx).await;
    let staged = copying.stage(&copying.cx, &begun, 1, &splits).await.unwrap();
    copying.commit(&begun, vec![staged]).await;
    assert_copied(&site).await;
    let counted = site.cx().metrics().snapshot();
    assert_eq!((counted.bytes_read, counted.bytes_copied), (12 * MIB as u64 + 1007, 0));
    let warnings = site.cx().metrics().warnings();
    assert!(warnings.iter().any(|warning| warning.contains("did not copy from")), "{warnings:?}");
}

/// A name lives as long as a run; the next one reads what is left, or has it copied.
pub async fn a_run_goes_on_with_bytes_where_one_before_had_them_copied<S: ObjectSite>() {
    let site = seeded::<S>().await;
    let server = site.copying().await;
    let copying = Copying::new(&site, &server).await;
    let begun = copying.begin(&copying.cx, "1").await;
    let splits = copying.plan(&copying.cx).await;
    let (named, held) = splits.split_at(3);
    let staged = copying.stage(&copying.cx, &begun, 1, named).await.unwrap();
    let mut token = last_token(&begun);
    (token.finished, token.planned.to) = (None, Position::Start);
    copying.sink.commit(&copying.cx, &begun, &token, vec![staged]).await.unwrap();
    // Another process, whose stream wants to see its bytes.
    let next = Copying::new(&site, &server).await;
    let begun = next.begin(&next.cx, "2").await;
    assert_eq!(next.plan(&next.looking()).await, splits, "the same splits, whoever reads them");
    let staged = next.stage(&next.looking(), &begun, 1, held).await.unwrap();
    next.commit(&begun, vec![staged]).await;
    assert_copied(&site).await;
    let counted = site.cx().metrics().snapshot();
    assert!(counted.bytes_read > 0 && counted.bytes_copied > 0, "{counted:?}");
}

/// Only who may read the source lets the service read it.
pub async fn other_credentials_are_another_realm<S: ObjectSite>() {
    let site = seeded::<S>().await;
    let server = site.copying().await;
    let copying = Copying::new(&site, &server).await;
    // The same server, by another name.
    let elsewhere = Copying { source: site.source("in/", &json!({"format": "bytes"})).await, ..copying };
    assert_eq!(elsewhere.realm, elsewhere.cx.copier().cloned());
    let plan = elsewhere.source.plan(&elsewhere.cx, &ScanRequest::default()).await.unwrap();
    assert_eq!(plan.schema, Some(chunk_schema()));
}
