//! The file system as a store of files.

use std::sync::Arc;

use towpath_core::{Context, Result};
use towpath_files::{FileEntry, SourceOptions, Store};
use towpath_formats::Input;

use crate::blocking::blocking;
use crate::config::SourceConfig;
use crate::errors::io_error;
use crate::input::FileInput;
use crate::list::Listing;

/// The files of this machine.
#[derive(Debug, Clone)]
pub struct LocalFiles;

impl Store for LocalFiles {
    const CONNECTOR: &'static str = crate::errors::CONNECTOR;

    type Config = SourceConfig;
    type Listing = Listing;

    async fn open(config: SourceConfig, _: &Context) -> Result<(Self, SourceOptions)> {
        Ok((Self, config.files()))
    }

    async fn list(&self, _: &Context, options: &SourceOptions) -> Result<Listing> {
        Listing::resolve(&options.path.0, options.allow_empty).await
    }

    fn input(&self, cx: &Context, file: FileEntry, name: String) -> Arc<dyn Input> {
        Arc::new(FileInput::new(file, cx).below(name))
    }

    async fn probe(&self, _: &Context, file: &FileEntry) -> Result<()> {
        let path = file.path.clone();
        blocking(move || std::fs::File::open(&path).map(drop).map_err(|error| io_error(error, "read", &path)))
            .await
    }
}
