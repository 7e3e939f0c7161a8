//! Rows that did not make it: counted, shown in the report, and kept in the dead letter.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arrow::array::{RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use towpath_core::{
    Advance, Begun, CommitToken, Context, DynSink, DynWriter, Error, ErrorKind, Json, LoadSpec, Position,
    Rejected, Result,
};

use crate::{OnError, StreamProgress};

/// How many rejected rows the report shows.
const SHOWN: usize = 20;

/// Takes the rows of a stream that did not make it, by its policy.
pub(crate) struct Rejects {
    policy: OnError,
    progress: Arc<StreamProgress>,
    shown: Mutex<Vec<Rejected>>,
    letter: Option<tokio::sync::Mutex<DeadLetter>>,
}

impl Rejects {
    pub(crate) fn new(policy: OnError, progress: Arc<StreamProgress>, letter: Option<DeadLetter>) -> Self {
        Self { policy, progress, shown: Mutex::default(), letter: letter.map(tokio::sync::Mutex::new) }
    }

    /// Keeps the rows, or fails with the first of them.
    ///
    /// # Errors
    /// `DataInvalid` for the first row, under `on_error: fail` without a dead letter; the dead letter's own.
    pub(crate) async fn take(&self, rejected: Vec<Rejected>) -> Result<()> {
        let Some(first) = rejected.first() else { return Ok(()) };
        self.progress.add_rows_rejected(rejected.len() as u64);
        {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            let room = SHOWN.saturating_sub(shown.len());
            shown.extend(rejected.iter().take(room).cloned());
        }
        match (&self.letter, self.policy) {
            (Some(letter), _) => letter.lock().await.write(&rejected).await,
            (None, OnError::Continue) => Ok(()),
            (None, OnError::Fail) => {
                Err(Error::new(ErrorKind::DataInvalid, format!("a row was rejected: {first}")).help(
                    "mend it, name a `dead_letter` to keep such rows there, or set `on_error: continue`",
                ))
            }
        }
    }

    /// Makes the rows durable. Called before each commit of the data, so that a crash between the two repeats a row in
    /// the dead letter but never loses one.
    ///
    /// # Errors
    /// Of the dead letter's sink.
    pub(crate) async fn commit(&self) -> Result<()> {
        match &self.letter {
            Some(letter) => letter.lock().await.commit().await,
            None => Ok(()),
        }
    }

    /// The rows for the report.
    pub(crate) fn shown(&self) -> Vec<Rejected> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A sink that keeps rejected rows.
pub(crate) struct DeadLetter {
    sink: Arc<dyn DynSink>,
    cx: Context,
    begun: Begun,
    schema: SchemaRef,
    writer: Option<Box<dyn DynWriter>>,
    commits: u32,
}

impl DeadLetter {
    /// Begins to load into the dead letter's sink. `load` is that of the stream itself.
    ///
    /// # Errors
    /// Of the sink.
    pub(crate) async fn begin(sink: Arc<dyn DynSink>, cx: Context, load: &LoadSpec) -> Result<Self> {
        let mut load = load.clone();
        load.disposition = towpath_core::WriteDisposition::Append;
        load.stream = format!("{}.dead_letter", load.stream);
        load.key.clear();
        if !sink.capabilities().dispositions.contains(&load.disposition) {
            return Err(Error::config("the dead letter needs a sink that can append")
                .help("give it a path with a placeholder, such as `dead/{stream}-{run}-{part}.ndjson`"));
        }
        let begun = sink.begin(&cx, &load).await?;
        Ok(Self { sink, cx, begun, schema: schema(), writer: None, commits: 0 })
    }

    async fn write(&mut self, rejected: &[Rejected]) -> Result<()> {
        let rows = self.rows(rejected)?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            closed => {
                if self.commits == 0 {
                    self.begun = self.sink.evolve(&self.cx, &self.begun, &self.schema).await?;
                }
                closed.insert(self.sink.writer(&self.cx, &self.begun, self.commits).await?)
            }
        };
        writer.write(rows).await
    }

    async fn commit(&mut self) -> Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let staged = writer.finish().await?;
        if let Some(refused) = staged.rejected.first() {
            return Err(Error::data(format!("the dead letter refused a row: {refused}")));
        }
        self.commits += 1;
        let planned =
            self.begun.checkpoint.progress.as_ref().map_or(Position::Start, |held| held.planned.clone());
        let mut token = CommitToken::default();
        token.version = 1;
        token.run.clone_from(&self.begun.load.run);
        token.epoch = self.begun.checkpoint.epoch;
        token.sequence = self.begun.checkpoint.sequence + u64::from(self.commits);
        token.planned = Advance { from: planned.clone(), to: planned };
        self.sink.commit(&self.cx, &self.begun, &token, vec![staged]).await?;
        Ok(())
    }

    fn rows(&self, rejected: &[Rejected]) -> Result<RecordBatch> {
        let count = rejected.len();
        let text = |value: &dyn Fn(&Rejected) -> Option<String>| -> Arc<StringArray> {
            Arc::new(rejected.iter().map(value).collect())
        };
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        Ok(RecordBatch::try_new(
            self.schema.clone(),
            vec![
                Arc::new(StringArray::from(vec![self.begun.load.run.as_str(); count])),
                Arc::new(TimestampMicrosecondArray::from(vec![now; count]).with_timezone("UTC")),
                Arc::new(StringArray::from(vec![self.cx.stream(); count])),
                text(&|row| Some(row.place.clone())),
                text(&|row| Some(row.reason.clone())),
                text(&|row| row.column.clone()),
                text(&|row| row.value.clone()),
                text(&|row| {
                    row.row.as_ref().map(|row| match row {
                        Json::String(text) => text.clone(),
                        other => other.to_string(),
                    })
                }),
            ],
        )?)
    }
}

/// The columns of a dead letter.
fn schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        text("run"),
        Field::new("rejected_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        text("stream"),
        text("place"),
        text("reason"),
        text("column"),
        text("value"),
        text("row"),
    ]))
}
