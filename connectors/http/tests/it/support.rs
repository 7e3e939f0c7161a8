//! What the tests share.

use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::TryStreamExt;
use serde_json::json;
use towpath_connector_http::CONNECTOR;
use towpath_core::{
    Batch, Connection, Context, DynSource, Error, Json, Limiter, Outcome, Permit, Planned, Position, Result,
    ScanRequest, Split,
};
use towpath_testkit::http::{Response, TestServer};
use towpath_testkit::rows;

/// As the runner does before everything else.
pub(crate) fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Another test binary's thread cannot have done it: each is a process of its own.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A context whose limiter keeps a record.
pub(crate) fn context() -> (Context, Arc<Recorder>) {
    install_tls();
    let recorder = Arc::new(Recorder::default());
    let connection = Arc::new(Connection::new("api", recorder.clone()));
    (towpath_testkit::context_with(|builder| builder.stream("items").connection(connection)), recorder)
}

pub(crate) async fn open_with(options: Json, cx: &Context) -> Result<Arc<dyn DynSource>> {
    CONNECTOR.source_entry().expect("there is a source").open(options, cx).await
}

/// A source that was opened with these options.
pub(crate) struct Opened {
    pub(crate) source: Arc<dyn DynSource>,
    pub(crate) cx: Context,
    pub(crate) recorder: Arc<Recorder>,
}

pub(crate) async fn open(options: Json) -> Opened {
    let (cx, recorder) = context();
    let source = open_with(options, &cx).await.unwrap();
    Opened { source, cx, recorder }
}

impl Opened {
    pub(crate) async fn splits(&self, request: &ScanRequest) -> Result<Vec<Split>> {
        let steps: Vec<_> = self.source.plan(&self.cx, request).await?.splits.try_collect().await?;
        let splits = steps.into_iter().filter_map(|step| match step {
            Planned::Split { split, .. } => Some(split),
            Planned::Complete { .. } => None,
        });
        Ok(splits.collect())
    }

    pub(crate) async fn only_split(&self) -> Split {
        let splits = self.splits(&ScanRequest::default()).await.unwrap();
        assert_eq!(splits.len(), 1);
        splits.into_iter().next().unwrap()
    }

    pub(crate) async fn batches(&self, split: &Split, from: Position) -> Result<Vec<Batch>> {
        self.source.read(&self.cx, split, from)?.try_collect().await
    }

    /// All rows of all splits.
    pub(crate) async fn rows(&self) -> Result<Vec<Json>> {
        self.rows_of(&ScanRequest::default()).await
    }

    pub(crate) async fn rows_of(&self, request: &ScanRequest) -> Result<Vec<Json>> {
        let mut found = Vec::new();
        for split in self.splits(request).await? {
            found.extend(to_json(&self.batches(&split, Position::Start).await?));
        }
        Ok(found)
    }

    /// The rows of a split, read on at the last position after each transient error, and how many errors there were.
    pub(crate) async fn rows_with_resumes(&self, split: &Split) -> Result<(Vec<Json>, usize)> {
        let (mut found, mut position, mut errors) = (Vec::new(), Position::Start, 0);
        loop {
            let mut stream = self.source.read(&self.cx, split, position.clone())?;
            loop {
                match stream.try_next().await {
                    Ok(Some(batch)) => {
                        position = batch.resume.clone();
                        found.extend(to_json(&[batch]));
                    }
                    Ok(None) => return Ok((found, errors)),
                    Err(error) if error.is_retryable() && errors < 5 => {
                        errors += 1;
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Reads everything with these options.
pub(crate) async fn read(options: Json) -> Result<Vec<Json>> {
    let (cx, recorder) = context();
    let source = open_with(options, &cx).await?;
    Opened { source, cx, recorder }.rows().await
}

pub(crate) async fn error(options: Json) -> Error {
    read(options).await.expect_err("it must fail")
}

pub(crate) fn to_json(batches: &[Batch]) -> Vec<Json> {
    rows::to_json(batches.iter().map(|batch| &batch.rows))
}

/// Rows `{"id": n}`.
pub(crate) fn ids(range: std::ops::Range<u64>) -> Vec<Json> {
    range.map(|id| json!({ "id": id })).collect()
}

/// Options for a URL, with more of them.
pub(crate) fn with(url: impl Into<String>, more: Json) -> Json {
    let mut options = json!({ "url": url.into() });
    let Json::Object(more) = more else { panic!("options are an object") };
    options.as_object_mut().expect("this is an object").extend(more);
    options
}

/// Waits until something holds, and fails the test when it never does.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

/// A limiter that grants everything and keeps a record.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Record>>);

#[derive(Debug, Default, Clone)]
pub(crate) struct Record {
    pub(crate) origins: Vec<String>,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) pauses: Vec<(String, Duration)>,
    pub(crate) held: usize,
}

impl Recorder {
    pub(crate) fn record(&self) -> Record {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Limiter for Recorder {
    async fn acquire(&self, origin: &str) -> Permit {
        let mut record = self.0.lock().unwrap();
        record.origins.push(origin.to_owned());
        record.held += 1;
        let shared = self.0.clone();
        Permit::new(Instant::now(), move |outcome, _| {
            let mut record = shared.lock().unwrap();
            record.held -= 1;
            record.outcomes.push(outcome);
        })
    }

    fn pause(&self, origin: &str, pause: Duration) {
        self.0.lock().unwrap().pauses.push((origin.to_owned(), pause));
    }
}

/// A server that always gives this.
pub(crate) async fn always(response: Response) -> TestServer {
    TestServer::start(move |_| {
        let response = response.clone();
        async move { response }
    })
    .await
}
