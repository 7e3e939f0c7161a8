//! The stream form: record batches one behind the other, without a table of contents.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::TryStreamExt;
use futures::lock::Mutex;
use towpath_core::{Context, Error, Result};

use super::{projection, slices, undecodable};
use crate::columnar::units::{Unit, Units};
use crate::{ByteStream, Input};

/// A stream whose schema has been read.
pub(super) struct IpcStream {
    cx: Context,
    input: Arc<dyn Input>,
    /// All columns, in the layout of the stream.
    pub(super) schema: SchemaRef,
    wanted: Option<Vec<usize>>,
    decoding: Mutex<Decoding>,
}

/// How far the stream has been decoded. One record batch is known ahead, so that the last is known to be the last.
struct Decoding {
    bytes: ByteStream,
    buffer: Buffer,
    /// Gone after an error.
    decoder: Option<StreamDecoder>,
    /// The next record batch and its number.
    ahead: Option<RecordBatch>,
    index: u64,
}

impl IpcStream {
    pub(super) async fn open(
        cx: &Context,
        input: Arc<dyn Input>,
        columns: Option<&[String]>,
    ) -> Result<Self> {
        let bytes = input.stream(0).await?;
        let decoder = Some(StreamDecoder::new());
        let mut decoding = Decoding { bytes, buffer: Buffer::default(), decoder, ahead: None, index: 0 };
        decoding.ahead = decoding.decode(cx).await?;
        let schema = decoding.decoder.as_ref().and_then(StreamDecoder::schema).ok_or_else(|| {
            Error::data("it is not Arrow: it has no columns").help("is it complete, and is `format` right?")
        })?;
        let wanted = projection(&schema, columns);
        Ok(Self { cx: cx.clone(), input, schema, wanted, decoding: Mutex::new(decoding) })
    }
}

impl Decoding {
    /// The next record batch; `None` at the end.
    async fn decode(&mut self, cx: &Context) -> Result<Option<RecordBatch>> {
        loop {
            if self.buffer.is_empty() {
                match self.bytes.try_next().await? {
                    Some(bytes) => self.buffer = Buffer::from(bytes),
                    None => return self.end(),
                }
            }
            let (mut decoder, mut buffer) =
                (self.decoder.take().ok_or_else(gone)?, std::mem::take(&mut self.buffer));
            let job = cx.cpu(move || {
                let rows = decoder.decode(&mut buffer)?;
                Ok((decoder, buffer, rows))
            });
            let (decoder, buffer, rows) = job.await.map_err(|error| undecodable("the stream", error))?;
            (self.decoder, self.buffer) = (Some(decoder), buffer);
            if rows.is_some() {
                return Ok(rows);
            }
        }
    }

    fn end(&mut self) -> Result<Option<RecordBatch>> {
        let ended = self.decoder.as_mut().ok_or_else(gone)?.finish();
        ended.map_err(|error| Error::data("it ends within a record batch").source(error))?;
        Ok(None)
    }
}

#[async_trait]
impl Units for IpcStream {
    const NAME: &'static str = "record_batch";

    fn input(&self) -> &str {
        self.input.name()
    }

    /// Record batches before this one are decoded and dropped: that is how a stream is read on.
    async fn open(&self, at: u64, skip: u64) -> Result<Option<Unit>> {
        let mut decoding = self.decoding.lock().await;
        loop {
            let Some(rows) = decoding.ahead.take() else { return Ok(None) };
            let index = decoding.index;
            let next =
                decoding.decode(&self.cx).await.map_err(|error| error.detail(Self::NAME, index + 1))?;
            decoding.ahead = next;
            decoding.index += 1;
            if index == at {
                let next = decoding.ahead.as_ref().map(|_| decoding.index);
                let rows = match &self.wanted {
                    Some(wanted) => rows.project(wanted)?,
                    None => rows,
                };
                let batches = slices(rows.clone(), skip);
                return Ok(Some(Unit { rows: rows.num_rows() as u64, next, fetch_ahead: true, batches }));
            }
        }
    }
}

fn gone() -> Error {
    Error::data("the stream was given up after an error")
}
