//! A server of its own for each test, filled without the connector.

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use towpath_connector_gcs::CONNECTOR;
use towpath_core::{Batch, Context, Error, Json, Planned, Position, Result, ScanRequest, Split};
use towpath_formats::{Encoder, MemoryOutput, WriteOptions};
use towpath_testkit::gcs::{Conduct, GcsServer};
use towpath_testkit::{context, rows};

/// The bucket that everybody may read.
pub(crate) const PUBLIC: &str = "public";

/// The bucket of all other tests.
pub(crate) const BUCKET: &str = "landing";

/// A bucket.
pub(crate) struct Site {
    pub(crate) server: GcsServer,
    pub(crate) bucket: &'static str,
    pub(crate) cx: Context,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::behaving(Conduct::default()).await
    }

    /// On a server that behaves in a certain way.
    pub(crate) async fn behaving(conduct: Conduct) -> Self {
        // Another test's thread may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { server: GcsServer::start_with(conduct).await, bucket: BUCKET, cx: context() }
    }

    /// With these objects.
    pub(crate) async fn with(objects: &[(&str, &str)]) -> Self {
        let site = Self::new().await;
        for (key, text) in objects {
            site.put(key, text.as_bytes().to_vec());
        }
        site
    }

    /// Another bucket of the server.
    pub(crate) fn of(self, bucket: &'static str) -> Self {
        Self { bucket, ..self }
    }

    /// Writes an object; tells its generation.
    pub(crate) fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) -> u64 {
        self.server.put(self.bucket, key, bytes.into())
    }

    /// The `ETag` of an object.
    pub(crate) fn tag(&self, key: &str) -> String {
        self.server.object(self.bucket, key).expect("it is there").etag
    }

    /// Writes rows as a file of a format.
    pub(crate) async fn write(&self, key: &str, options: &Json, batch: RecordBatch) {
        let options: WriteOptions = WriteOptions {
            format: options.get("format").map(|format| serde_json::from_value(format.clone()).unwrap()),
            compression: None,
        };
        let mut encoder =
            Encoder::new(&options, key, &batch.schema(), &self.cx, MemoryOutput::default()).unwrap();
        encoder.write(batch).await.unwrap();
        let (_, output) = encoder.finish().await.unwrap();
        self.put(key, output.into_bytes().to_vec());
    }

    /// The options for a path, with more of them; `null` removes one.
    pub(crate) fn options(&self, path: &str, more: &Json) -> Json {
        let mut options = json!({
            "endpoint": self.server.url(),
            "bucket": self.bucket,
            "path": path,
            "access_token": self.server.owner_token(),
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            if value.is_null() {
                options.as_object_mut().unwrap().remove(name);
            } else {
                options[name] = value.clone();
            }
        }
        options
    }

    /// Plans and reads everything.
    pub(crate) async fn read(&self, path: &str, more: &Json) -> Result<Vec<Json>> {
        Ok(self.scan(path, more, &ScanRequest::default()).await?.rows())
    }

    /// The names of the splits that are planned.
    pub(crate) async fn scan_names(&self, path: &str, more: &Json) -> Vec<String> {
        let source =
            CONNECTOR.source_entry().unwrap().open(self.options(path, more), &self.cx).await.unwrap();
        let plan = source.plan(&self.cx, &ScanRequest::default()).await.unwrap();
        let steps: Vec<Planned> = plan.splits.try_collect().await.unwrap();
        splits(&steps).map(|split| split.id.0.clone()).collect()
    }

    pub(crate) async fn scan(&self, path: &str, more: &Json, request: &ScanRequest) -> Result<Scan> {
        scan(&self.cx, self.options(path, more), request).await
    }
}

/// Plans and reads everything with these options.
pub(crate) async fn scan(cx: &Context, options: Json, request: &ScanRequest) -> Result<Scan> {
    let source = CONNECTOR.source_entry().unwrap().open(options, cx).await?;
    let plan = source.plan(cx, request).await?;
    let steps: Vec<Planned> = plan.splits.try_collect().await?;
    let mut batches = Vec::new();
    for split in splits(&steps) {
        let mut stream = source.read(cx, split, Position::Start)?;
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
    }
    Ok(Scan { steps, batches })
}

/// What was planned and read.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) steps: Vec<Planned>,
    pub(crate) batches: Vec<Batch>,
}

impl Scan {
    pub(crate) fn rows(&self) -> Vec<Json> {
        rows::to_json(self.batches.iter().map(|batch| &batch.rows))
    }

    pub(crate) fn splits(&self) -> Vec<&Split> {
        splits(&self.steps).collect()
    }

    /// What the next run gets.
    pub(crate) fn since(&self) -> Position {
        match self.steps.last() {
            Some(Planned::Complete { since }) => since.clone(),
            _ => panic!("the plan leaves nothing: {:?}", self.steps),
        }
    }
}

fn splits(steps: &[Planned]) -> impl Iterator<Item = &Split> {
    steps.iter().filter_map(|step| match step {
        Planned::Split { split, .. } => Some(split),
        Planned::Complete { .. } => None,
    })
}

/// Lines with a number and seven times that.
pub(crate) fn numbered(count: usize) -> String {
    (0..count).map(|n| format!("{n},{}\n", n * 7)).collect::<Vec<_>>().concat()
}

/// The error of what must fail.
pub(crate) fn error<T: std::fmt::Debug>(result: Result<T>) -> Error {
    result.expect_err("it must fail")
}
