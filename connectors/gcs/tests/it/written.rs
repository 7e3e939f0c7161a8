//! Looking at what was written, and the shortest way to write.

use arrow::array::RecordBatch;
use serde_json::json;
use towpath_connector_gcs::CONNECTOR;
use towpath_core::{
    Advance, Begun, CommitToken, Committed, Finished, Json, LoadSpec, Position, Result, Staged,
    WriteDisposition,
};
use towpath_testkit::gcs::Object;

use crate::support::Site;

impl Site {
    /// The keys that a person would see.
    pub(crate) fn visible(&self) -> Vec<String> {
        let mut keys = self.all_keys();
        keys.retain(|key| !key.split('/').any(|part| part.starts_with('.')));
        keys
    }

    /// All keys of the bucket.
    pub(crate) fn all_keys(&self) -> Vec<String> {
        self.server.keys(self.bucket)
    }

    /// Uploads that were not completed, and objects that are staged.
    pub(crate) fn staged(&self) -> Vec<String> {
        let uploads = self.server.uploads(self.bucket).into_iter().map(|key| format!("upload {key}"));
        let keys = self.all_keys().into_iter();
        uploads.chain(keys.filter(|key| key.contains("/staged/") || key.contains("/.check-"))).collect()
    }

    /// An object.
    pub(crate) fn object(&self, key: &str) -> Object {
        self.server
            .object(self.bucket, key)
            .unwrap_or_else(|| panic!("{key} is not there: {:?}", self.all_keys()))
    }

    /// The bytes of an object.
    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        self.object(key).bytes.to_vec()
    }

    /// The rows of all visible NDJSON objects.
    pub(crate) fn ids(&self) -> Vec<i64> {
        let mut ids = Vec::new();
        for key in self.visible() {
            let text = String::from_utf8(self.get(&key)).unwrap();
            ids.extend(
                text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()["id"].as_i64().unwrap()),
            );
        }
        ids.sort_unstable();
        ids
    }

    /// A whole run: begins, writes each batch with a writer of its own, commits.
    pub(crate) async fn load(
        &self,
        path: &str,
        more: &Json,
        run: &str,
        disposition: WriteDisposition,
        batches: &[RecordBatch],
    ) -> Result<Vec<Staged>> {
        let sink = CONNECTOR.sink_entry().unwrap().open(self.options(path, more), &self.cx).await?;
        let mut begun = sink.begin(&self.cx, &LoadSpec::new("shop", "orders", run, disposition)).await?;
        let mut staged = Vec::new();
        for (part, batch) in (0..).zip(batches) {
            if begun.schema.as_ref() != Some(&batch.schema()) {
                begun = sink.evolve(&self.cx, &begun, &batch.schema()).await?;
            }
            let mut writer = sink.writer(&self.cx, &begun, part).await?;
            writer.write(batch.clone()).await?;
            staged.push(writer.finish().await?);
        }
        let committed = sink.commit(&self.cx, &begun, &last_token(&begun), staged.clone()).await?;
        assert_eq!(committed, Committed::Applied);
        Ok(staged)
    }
}

/// The token of a run that commits once.
pub(crate) fn last_token(begun: &Begun) -> CommitToken {
    let mut token = CommitToken::default();
    token.version = 1;
    token.run.clone_from(&begun.checkpoint.run);
    token.epoch = begun.checkpoint.epoch;
    token.sequence = begun.checkpoint.sequence + 1;
    token.planned = Advance { from: Position::Start, to: Position::End };
    token.finished = Some(Finished { since: Position::Start, cursor: Some(json!(begun.load.run)) });
    token
}
