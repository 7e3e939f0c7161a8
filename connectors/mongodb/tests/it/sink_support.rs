//! A load as the engine would run it, step by step.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bson::{Bson, Document};
use serde_json::{Map, json};
use towpath_connector_mongodb::CONNECTOR;
use towpath_core::{
    Advance, Applied, Begun, Checkpoint, CommitToken, Committed, Context, DynSink, Finished, Json, LoadSpec,
    Position, Result, Split, SplitAdvance, Staged, WriteDisposition,
};
use towpath_testkit::context;

use crate::support::Database;

/// The stream of most tests, and its collection.
pub(crate) const STREAM: &str = "orders";

/// A load under way, with the checkpoint that its target must hold.
pub(crate) struct Load {
    pub(crate) cx: Context,
    pub(crate) sink: Arc<dyn DynSink>,
    pub(crate) begun: Begun,
    checkpoint: Checkpoint,
    parts: u32,
}

/// What a run wants: the number of the run, how rows land, and `id` as the key of a `merge`.
pub(crate) fn spec(run: u32, disposition: WriteDisposition) -> LoadSpec {
    let spec = LoadSpec::new("retail", STREAM, format!("run-{run:04}"), disposition);
    if disposition == WriteDisposition::Merge { spec.key(vec!["id".to_owned()]) } else { spec }
}

impl Load {
    /// Begins a run in a database, with these options.
    pub(crate) async fn begin(
        database: &Database,
        options: &Json,
        run: u32,
        disposition: WriteDisposition,
    ) -> Result<Self> {
        Self::begin_with(database.options(options), spec(run, disposition)).await
    }

    pub(crate) async fn begin_with(options: Json, spec: LoadSpec) -> Result<Self> {
        let cx = context();
        let sink = CONNECTOR.sink_entry().unwrap().open(options, &cx).await?;
        let begun = sink.begin(&cx, &spec).await?;
        Ok(Self { checkpoint: begun.checkpoint.clone(), cx, sink, begun, parts: 0 })
    }

    pub(crate) async fn stage(&mut self, batches: &[RecordBatch]) -> Result<Staged> {
        let schema = batches[0].schema();
        self.begun = self.sink.evolve(&self.cx, &self.begun, &schema).await?;
        self.parts += 1;
        let mut writer = self.sink.writer(&self.cx, &self.begun, self.parts - 1).await?;
        for batch in batches {
            writer.write(batch.clone()).await?;
        }
        writer.finish().await
    }

    /// The token that ends the run.
    pub(crate) fn last_token(&self) -> CommitToken {
        let split = Split::new("only", json!({}));
        let mut token = CommitToken::default();
        token.version = 1;
        token.run.clone_from(&self.checkpoint.run);
        token.epoch = self.checkpoint.epoch;
        token.sequence = self.checkpoint.sequence + 1;
        let progress = self.checkpoint.progress.clone().unwrap_or_default();
        let from = progress.position(&split.id).cloned().unwrap_or_default();
        token.planned = Advance { from: progress.planned, to: Position::At(json!(1)) };
        token.splits = vec![SplitAdvance { split, from, to: Position::End }];
        token.finished = Some(Finished::default());
        token
    }

    pub(crate) async fn commit(&mut self, token: &CommitToken, staged: Vec<Staged>) -> Result<Committed> {
        let committed = self.sink.commit(&self.cx, &self.begun, token, staged).await?;
        if !matches!(committed, Committed::Refused(_))
            && let Applied::Now(next) = self.checkpoint.apply(token)?
        {
            self.checkpoint = *next;
        }
        Ok(committed)
    }

    /// Stages batches and ends the run with them.
    pub(crate) async fn finish(&mut self, batches: &[RecordBatch]) -> Result<Committed> {
        let staged = self.stage(batches).await?;
        let token = self.last_token();
        self.commit(&token, vec![staged]).await
    }
}

/// A whole run of one batch.
pub(crate) async fn run(
    database: &Database,
    options: &Json,
    number: u32,
    disposition: WriteDisposition,
    batch: RecordBatch,
) -> Result<Committed> {
    Load::begin(database, options, number, disposition).await?.finish(&[batch]).await
}

/// The documents of a collection as rows, without the ids that were made for them.
pub(crate) async fn rows(database: &Database, collection: &str) -> Vec<Json> {
    let documents = database.documents(collection).await;
    documents
        .into_iter()
        .map(|mut document| {
            if document.get_object_id("_id").is_ok() {
                document.remove("_id");
            }
            object(document)
        })
        .collect()
}

fn object(document: Document) -> Json {
    Json::Object(document.into_iter().map(|(name, value)| (name, json_of(value))).collect::<Map<_, _>>())
}

/// A value in the form in which rows are compared.
fn json_of(value: Bson) -> Json {
    match value {
        Bson::Document(document) => object(document),
        Bson::Array(items) => items.into_iter().map(json_of).collect(),
        Bson::Double(number) if !number.is_finite() => json!(number.to_string()),
        Bson::Int64(number) => json!(number),
        Bson::Binary(binary) => {
            json!(hexadecimal(&binary.bytes))
        }
        Bson::Decimal128(decimal) => json!(decimal.to_string()),
        Bson::DateTime(moment) => json!(moment.timestamp_millis()),
        other => other.into_relaxed_extjson(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// What there is of the sink's own, the checkpoints excepted.
pub(crate) async fn left(database: &Database) -> Vec<String> {
    let names =
        crate::support::client().await.database(&database.name).list_collection_names().await.unwrap();
    names.into_iter().filter(|name| name.starts_with("_towpath_") && name != "_towpath_checkpoints").collect()
}
