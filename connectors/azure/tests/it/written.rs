//! Looking at what was written, and the shortest way to write.

use arrow::array::RecordBatch;
use reqwest::Method;
use serde_json::json;
use towpath_connector_azure::CONNECTOR;
use towpath_core::{
    Advance, Begun, CommitToken, Committed, Finished, Json, LoadSpec, Position, Result, Staged,
    WriteDisposition,
};

use crate::account::done;
use crate::support::Prefix;

impl Prefix {
    /// The names of all blobs below the prefix, without it, that this says yes to.
    async fn names(&self, include: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let prefix = self.key("");
        let query = [("restype", "container"), ("comp", "list"), ("prefix", &prefix), ("include", include)];
        let listing = self.ask_container(&query).await;
        assert!(
            listing.contains("<NextMarker/>") || listing.contains("<NextMarker></NextMarker>"),
            "more than a page"
        );
        let blobs = listing.split("<Blob>").skip(1).filter(|blob| is_wanted(blob));
        let name = |blob: &str| {
            let name = blob.split_once("<Name>").and_then(|(_, rest)| rest.split_once("</Name>")).unwrap().0;
            name.strip_prefix(&prefix).unwrap().to_owned()
        };
        blobs.map(name).collect()
    }

    /// All keys below the prefix.
    pub(crate) async fn all_keys(&self) -> Vec<String> {
        self.names("metadata", |_| true).await
    }

    /// The keys that a person would see.
    pub(crate) async fn visible(&self) -> Vec<String> {
        let mut keys = self.all_keys().await;
        keys.retain(|key| !key.split('/').any(|part| part.starts_with('.')));
        keys
    }

    /// Blobs of which nothing was committed, those that were made to discard blocks, and blobs that are staged.
    pub(crate) async fn staged(&self) -> Vec<String> {
        let committed = self.all_keys().await;
        let all = self.names("uncommittedblobs", |_| true).await;
        let mut found: Vec<_> = all.into_iter().filter(|key| !committed.contains(key)).collect();
        let discarded = self.names("metadata", |blob| blob.contains("<towpathupload>discarded<")).await;
        found.extend(discarded.iter().map(|key| format!("discarded {key}")));
        found = found.into_iter().map(|key| format!("upload {}", self.key(&key))).collect();
        found
            .extend(committed.into_iter().filter(|key| key.contains("/staged/") || key.contains("/.check-")));
        found
    }

    /// The bytes of a blob.
    pub(crate) async fn get(&self, key: &str) -> Vec<u8> {
        done(self.ask(Method::GET, key, &[], &[], Vec::new()).await).await.bytes().await.unwrap().to_vec()
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
