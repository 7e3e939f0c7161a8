//! Bytes of an object, in parts of an upload.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::{PutMode, PutPayload};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use towpath_core::{Context, Error, Result, Retry};
use towpath_formats::Output;

use super::options::UploadSettings;
use super::staging::{HeldObject, ObjectFile, UploadedParts};
use super::stretches::Stretches;
use super::upload::Leftover;
use crate::extras::Upload;
use crate::{Bucket, Opener};

/// What all outputs of a stream share.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) opener: Arc<dyn Opener>,
    pub(super) settings: UploadSettings,
    /// One for each part that is on its way.
    pub(super) permits: Arc<Semaphore>,
}

/// Where the bytes of an object go: they are gathered until they make a part, which is sent while more are gathered.
pub struct ObjectOutput {
    outlet: Arc<Outlet>,
    cx: Context,
    /// The key, or why there can be none.
    key: Result<String>,
    file: ObjectFile,
    mark: String,
    begun: Option<(Bucket, Arc<Leftover>)>,
    gathered: Stretches,
    /// How many parts were sent.
    sent: usize,
    sending: JoinSet<Result<(usize, String)>>,
    parts: BTreeMap<usize, String>,
}

impl fmt::Debug for ObjectOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectOutput").field("key", &self.key).finish_non_exhaustive()
    }
}

impl ObjectOutput {
    pub(super) fn new(outlet: Arc<Outlet>, cx: &Context, key: Result<String>, file: ObjectFile) -> Self {
        Self {
            outlet,
            cx: cx.clone(),
            key,
            file,
            mark: format!("{:016x}", fastrand::u64(..)),
            begun: None,
            gathered: Stretches::default(),
            sent: 0,
            sending: JoinSet::new(),
            parts: BTreeMap::new(),
        }
    }

    fn key(&self) -> Result<String> {
        match &self.key {
            Ok(key) => Ok(key.clone()),
            Err(error) => Err(Error::new(error.kind(), error.to_string())),
        }
    }

    /// The upload, which the first part begins.
    async fn begun(&mut self) -> Result<(Bucket, Arc<Leftover>)> {
        if let Some(begun) = &self.begun {
            return Ok(begun.clone());
        }
        let key = self.key()?;
        let bucket = self.outlet.opener.open(&self.cx).await?;
        let id = bucket.begin_upload(&key, &self.mark, &self.outlet.settings.appearance).await?;
        let leftover = Leftover::upload(self.outlet.opener.clone(), &self.cx, key, id);
        Ok(self.begun.insert((bucket, Arc::new(leftover))).clone())
    }

    fn part_size(&self) -> u64 {
        self.outlet.settings.part_size.bytes()
    }

    /// Sends the next part, when there is room for one more.
    async fn send(&mut self, bytes: Vec<Bytes>) -> Result<()> {
        while let Some(done) = self.sending.try_join_next() {
            self.sent_part(done)?;
        }
        let (bucket, upload) = self.begun().await?;
        let permit = self.cx.wait_for(self.outlet.permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|error| Error::unexpected("uploads were stopped").source(error))?;
        let index = self.sent;
        self.sent += 1;
        self.sending.spawn(async move {
            let bytes = PutPayload::from_iter(bytes);
            let part = bucket.put_part(upload.key(), upload.id(), index, bytes).await;
            drop(permit);
            Ok((index, part?))
        });
        Ok(())
    }

    fn sent_part(&mut self, done: Result<Result<(usize, String)>, tokio::task::JoinError>) -> Result<()> {
        let (index, part) =
            done.map_err(|error| Error::unexpected("an upload ended early").source(error))??;
        self.parts.insert(index, part);
        Ok(())
    }

    /// Sends what is left, and waits for all parts.
    async fn send_rest(&mut self) -> Result<(Bucket, Arc<Leftover>)> {
        if self.gathered.length() > 0 || self.sent == 0 {
            let rest = self.gathered.take(u64::MAX);
            self.send(rest).await?;
        }
        while let Some(done) = self.sending.join_next().await {
            self.sent_part(done)?;
        }
        self.begun().await
    }

    fn parts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.parts).into_values().collect()
    }

    /// Sends what is left. Afterwards everything is uploaded, and visible once the upload is completed; or it is a hidden
    /// object, which can be read.
    pub(super) async fn finish(self) -> Result<HeldObject> {
        if self.file.staged.is_some() { self.stored().await } else { self.uploaded().await }
    }

    pub(super) async fn uploaded(mut self) -> Result<HeldObject> {
        let (_, upload) = self.send_rest().await?;
        let appearance = self.outlet.settings.appearance.clone();
        let parts =
            UploadedParts { id: upload.id().to_owned(), parts: self.parts(), mark: self.mark, appearance };
        Ok(HeldObject { file: ObjectFile { upload: Some(parts), ..self.file }, leftover: upload })
    }

    async fn stored(mut self) -> Result<HeldObject> {
        let key = self.key()?;
        if self.sent == 0 {
            // It is small.
            let bucket = self.outlet.opener.open(&self.cx).await?;
            let all = self.gathered.take(u64::MAX);
            bucket.put(&key, PutPayload::from_iter(all), PutMode::Overwrite).await?;
        } else {
            let (bucket, upload) = self.send_rest().await?;
            let whole = Upload { key: key.clone(), id: upload.id().to_owned() };
            let parts = self.parts();
            bucket.complete(&whole, &parts, &self.mark, &self.outlet.settings.appearance).await?;
            upload.keep();
        }
        let leftover = Arc::new(Leftover::object(self.outlet.opener.clone(), &self.cx, key));
        Ok(HeldObject { file: self.file, leftover })
    }
}

#[async_trait]
impl Output for ObjectOutput {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.file.size += bytes.len() as u64;
        self.gathered.push(bytes);
        while self.gathered.length() >= self.part_size() {
            let part = self.gathered.take(self.part_size());
            // Some of a batch may be sent, so its rows must not be given once more.
            self.send(part).await.map_err(|error| error.retry(Retry::Never))?;
        }
        Ok(())
    }
}
