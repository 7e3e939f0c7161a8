//! Looking at what was written, and the shortest way to write.

use arrow::array::RecordBatch;
use serde_json::json;
use towpath_connector_s3::CONNECTOR;
use towpath_core::{
    Advance, Begun, CommitToken, Committed, Finished, Json, LoadSpec, Position, Result, Staged,
    WriteDisposition,
};

use crate::support::Prefix;

impl Prefix {
    /// All keys below the prefix.
    pub(crate) async fn all_keys(&self) -> Vec<String> {
        let pages = self.client().list_objects_v2().bucket(self.bucket).prefix(self.key(""));
        let mut pages = pages.into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let found = page.unwrap().contents.unwrap_or_default();
            keys.extend(found.into_iter().map(|object| object.key.unwrap()));
        }
        let below = keys.iter().map(|key| key.strip_prefix(&self.key("")).unwrap().to_owned());
        below.collect()
    }

    /// The keys that a person would see.
    pub(crate) async fn visible(&self) -> Vec<String> {
        let mut keys = self.all_keys().await;
        keys.retain(|key| !key.split('/').any(|part| part.starts_with('.')));
        keys
    }

    /// Uploads that were not completed, and objects that are staged.
    pub(crate) async fn staged(&self) -> Vec<String> {
        let uploads = self.client().list_multipart_uploads().bucket(self.bucket).prefix(self.key(""));
        let uploads = uploads.send().await.unwrap().uploads.unwrap_or_default();
        let mut found: Vec<_> =
            uploads.into_iter().map(|upload| format!("upload {}", upload.key.unwrap())).collect();
        found.extend(
            self.all_keys()
                .await
                .into_iter()
                .filter(|key| key.contains("/staged/") || key.contains("/.check-")),
        );
        found
    }

    /// The bytes of an object.
    pub(crate) async fn get(&self, key: &str) -> Vec<u8> {
        let object = self.client().get_object().bucket(self.bucket).key(self.key(key)).send().await.unwrap();
        object.body.collect().await.unwrap().to_vec()
    }

    /// The rows of all visible NDJSON objects.
    pub(crate) async fn ids(&self) -> Vec<i64> {
        let mut ids = Vec::new();
        for key in self.visible().await {
            let text = String::from_utf8(self.get(&key).await).unwrap();
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
