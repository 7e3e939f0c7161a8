//! Azure as a store of files.

use std::sync::Arc;

use serde_json::json;
use towpath_core::{Context, Dataset, Realm, Result};
use towpath_files::{FileEntry, SourceOptions, Store};
use towpath_formats::Input;
use towpath_objects::{Listing, ObjectInput, Opener};

use crate::config::SourceConfig;
use crate::session::{Session, StreamContainer};

pub(crate) const CONNECTOR: &str = "azure";

/// The blobs of a container.
#[derive(Debug, Clone)]
pub struct AzureBlobs {
    container: StreamContainer,
    realm: Realm,
}

impl Store for AzureBlobs {
    const CONNECTOR: &'static str = CONNECTOR;

    type Config = SourceConfig;
    type Listing = Listing;

    async fn open(config: SourceConfig, cx: &Context) -> Result<(Self, SourceOptions)> {
        let (mut files, mut connection) = (config.files(), config.connection());
        for path in &mut files.path.0 {
            *path = connection.take_key(path)?;
        }
        let realm = connection.realm();
        let session = Session::shared(&connection, cx).await?;
        let name = connection.container.as_deref().map(Arc::from);
        Ok((Self { container: StreamContainer { session, name }, realm }, files))
    }

    async fn list(&self, cx: &Context, options: &SourceOptions) -> Result<Listing> {
        let bucket = self.container.open(cx).await?;
        Listing::resolve(bucket, &options.path.0, None, options.allow_empty).await
    }

    fn input(&self, cx: &Context, file: FileEntry, name: String) -> Arc<dyn Input> {
        let opener = Arc::new(self.container.clone());
        let container = self.container.name.as_deref().unwrap_or_default();
        Arc::new(ObjectInput::in_realm(opener, cx, file, name, &self.realm, container))
    }

    async fn probe(&self, cx: &Context, file: &FileEntry) -> Result<()> {
        let bucket = self.container.open(cx).await?;
        bucket.range(file, 0..file.size.min(1)).await.map(drop)
    }

    async fn places(&self, cx: &Context) -> Result<Option<Vec<Dataset>>> {
        if self.container.name.is_some() {
            return Ok(None);
        }
        let names = self.container.session.containers(cx).await?.into_iter();
        let dataset = |name: String| Dataset::new(&name, json!({ "path": format!("az://{name}/") }));
        Ok(Some(names.map(dataset).collect()))
    }

    fn display(&self, path: &str) -> String {
        self.container.display(path)
    }
}
