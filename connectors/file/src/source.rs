//! Reading files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::{Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use towpath_core::{
    Batch, BatchStream, Context, Dataset, Error, Position, Pushdown, Result, Resume, ScanPlan, ScanRequest,
    Source, SourceCapabilities, Split,
};
use towpath_formats::{Input, Piece, Reader};

use crate::config::{HivePartitions, SourceConfig};
use crate::errors::CONNECTOR;
use crate::input::FileInput;
use crate::list::{FileEntry, Listing, Walk, tidy};
use crate::partitions::{Extension, partitions};
use crate::plan::{self, Planner};
use crate::seen::Seen;
use crate::{blocking, discover};

/// Reads files.
#[derive(Debug, Clone)]
pub struct FileSource {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: SourceConfig,
    /// A reader for each kind of name, which remembers the columns of its first file.
    readers: Mutex<HashMap<String, Reader>>,
}

/// What a split holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FilePiece {
    #[serde(flatten)]
    pub(crate) file: FileEntry,
    pub(crate) piece: Piece,
    /// The only columns that are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) columns: Option<Vec<String>>,
}

impl Source for FileSource {
    type Config = SourceConfig;

    async fn open(config: SourceConfig, _: &Context) -> Result<Self> {
        let wrong = |message: &str| Err(Error::config(message).connector(CONNECTOR));
        if config.split_size.bytes() == 0 {
            return wrong("`split_size` must be above zero");
        }
        if config.sample_rows == Some(0) {
            return wrong("`sample_rows` must be above zero");
        }
        if config.file_column.as_deref() == Some("") {
            return wrong("`file_column` needs a name");
        }
        if config.file_column.is_some() && config.is_bytes() {
            return wrong(
                "`file_column` does not go with `format: bytes`, which tells the names of files anyway",
            );
        }
        Ok(Self { shared: Arc::new(Shared { config, readers: Mutex::default() }) })
    }

    fn capabilities(&self) -> SourceCapabilities {
        SourceCapabilities { resume: Resume::Exact, ordered: false, bounded: true }
    }

    async fn check(&self, _: &Context) -> Result<()> {
        let listing = self.listing().await?;
        let Some(first) = Walk::new(listing, None).next().await? else { return Ok(()) };
        self.reader(&first.file.path)?;
        let path = first.file.path;
        blocking::blocking(move || {
            std::fs::File::open(&path)
                .map(drop)
                .map_err(|error| crate::errors::io_error(error, "read", &path))
        })
        .await
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>> {
        discover::discover(self, cx).await
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        let listing = self.listing().await?;
        let seen = if self.config().incremental { Some(Seen::since(&request.since)?) } else { None };
        let schema = self.planned_schema(cx, &listing, seen.as_ref(), request).await?;
        let planner = Planner::new(self.clone(), cx, listing, seen, request).await?;
        let mut plan = ScanPlan::new(schema, plan::steps(planner));
        plan.columns = Pushdown::Exact;
        Ok(plan)
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        let FilePiece { file, piece, columns } = plan::payload(split)?;
        if from == Position::End {
            return Ok(stream::empty().boxed());
        }
        let path = file.path.clone();
        let extension = self.extension(&path, columns)?;
        let of_file = extension.of_file();
        let reader = self.reader(&path)?;
        let input = FileInput::new(file, cx).below(below(&self.config().path.0, &path));
        let batches = reader.read(cx, Arc::new(input), &piece, from, of_file.as_deref());
        let extended = batches.and_then(move |batch| {
            let extended = extension.extend(batch.rows).map(|rows| Batch { rows, ..batch });
            std::future::ready(extended)
        });
        Ok(extended
            .map_err(move |error| error.connector(CONNECTOR).operation("read").detail("path", &path))
            .boxed())
    }
}

impl FileSource {
    pub(crate) fn config(&self) -> &SourceConfig {
        &self.shared.config
    }

    pub(crate) async fn listing(&self) -> Result<Arc<Listing>> {
        Listing::resolve(&self.config().path.0, self.config().allow_empty).await
    }

    pub(crate) fn partitions(&self, path: &str) -> Vec<(String, Option<String>)> {
        match self.config().hive_partitions {
            HivePartitions::Off => Vec::new(),
            // They are a part of the file's name.
            _ if self.config().is_bytes() => Vec::new(),
            HivePartitions::Auto | HivePartitions::Required => partitions(path),
        }
    }

    fn extension(&self, path: &str, wanted: Option<Vec<String>>) -> Result<Extension> {
        let file_column = self.config().file_column.as_deref().map(|name| (name, path));
        Extension::new(&self.partitions(path), &self.config().columns, file_column, wanted)
            .map_err(|error| error.detail("path", path))
    }

    /// The reader for files like this one.
    pub(crate) fn reader(&self, path: &str) -> Result<Reader> {
        let partitions = self.partitions(path);
        let keys: Vec<_> = partitions.iter().map(|(key, _)| key.as_str()).collect();
        let kind = format!("{}/{}", extensions(path), keys.join("/"));
        let mut readers = self.shared.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = readers.get(&kind) {
            return Ok(known.clone());
        }
        let reader = Reader::new(self.config().read_options(&keys), path, None, None)
            .map_err(|error| error.connector(CONNECTOR).detail("path", path))?;
        readers.insert(kind, reader.clone());
        Ok(reader)
    }

    /// All columns of a file, those of its path included.
    pub(crate) async fn schema(
        &self,
        cx: &Context,
        file: FileEntry,
        wanted: Option<Vec<String>>,
    ) -> Result<SchemaRef> {
        let path = file.path.clone();
        let named = |error: Error| error.connector(CONNECTOR).detail("path", &path);
        let extension = self.extension(&path, wanted)?;
        let of_file = self.reader(&path)?.schema(cx, &input(file, cx)).await.map_err(named)?;
        extension.schema(&of_file).map_err(named)
    }

    /// The columns as the first file has them: the first new one, if there is any.
    async fn planned_schema(
        &self,
        cx: &Context,
        listing: &Arc<Listing>,
        seen: Option<&Seen>,
        request: &ScanRequest,
    ) -> Result<Option<SchemaRef>> {
        let mut walk = Walk::new(listing.clone(), None);
        let mut first = None;
        while let Some(found) = walk.next().await? {
            if seen.is_none_or(|seen| seen.is_new(&found.file)) {
                first = Some(found.file);
                break;
            }
            first.get_or_insert(found.file);
        }
        if let Some(first) = first {
            return self.schema(cx, first, request.columns.clone()).await.map(Some);
        }
        let declared = &self.config().columns.0;
        let fields: Vec<_> = declared.iter().map(|(name, column_type)| column_type.field(name)).collect();
        Ok((!fields.is_empty()).then(|| Arc::new(Schema::new(fields))))
    }
}

/// What a file is called below the folder that is read: that of the path, or before the first wildcard. Several paths are
/// read as if from the folder that all of them lie in, so that no two files have one name.
fn below(paths: &[String], path: &str) -> String {
    let parent = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
    let folder = |wanted: &String| {
        let wanted = tidy(wanted);
        let is_folder = paths.len() == 1 && path.starts_with(&format!("{wanted}/"));
        match wanted.find(['*', '?', '[', '{']) {
            _ if is_folder => wanted,
            Some(wildcard) if wanted != path => parent(&wanted[..wildcard]),
            _ => parent(&wanted),
        }
    };
    let mut common: Option<Vec<String>> = None;
    for folder in paths.iter().map(folder) {
        let parts: Vec<String> = folder.split('/').map(str::to_owned).collect();
        common = Some(match common {
            None => parts,
            Some(before) => {
                before.into_iter().zip(parts).take_while(|(a, b)| a == b).map(|(part, _)| part).collect()
            }
        });
    }
    let common = common.unwrap_or_default().join("/");
    let below = path.strip_prefix(&common).unwrap_or(path);
    below.trim_start_matches('/').to_owned()
}

/// A file as the formats read it.
pub(crate) fn input(file: FileEntry, cx: &Context) -> Arc<dyn Input> {
    Arc::new(FileInput::new(file, cx))
}

/// The part of a name that tells format and codec: up to two extensions that begin with a letter.
fn extensions(path: &str) -> String {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let mut parts: Vec<&str> = name.split('.').skip(1).collect();
    parts = parts.split_off(parts.len().saturating_sub(2));
    parts.retain(|part| part.starts_with(|first: char| first.is_ascii_alphabetic()));
    parts.join(".").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_as_below_the_folder_that_is_read() {
        let name = |paths: &[&str], path: &str| {
            below(&paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>(), path)
        };
        assert_eq!(name(&["/data/big.iso"], "/data/big.iso"), "big.iso");
        assert_eq!(name(&["./in/"], "in/a/b.iso"), "a/b.iso");
        assert_eq!(name(&["in/**/*.iso"], "in/a/b.iso"), "a/b.iso");
        assert_eq!(name(&["in/x*/b.iso"], "in/x1/b.iso"), "x1/b.iso");
        assert_eq!(name(&["in/a.iso", "in/deep/*.iso"], "in/deep/b.iso"), "deep/b.iso");
        assert_eq!(name(&["in/a.iso", "out/b.iso"], "out/b.iso"), "out/b.iso");
        assert_eq!(name(&["/x/a.iso", "/y/b.iso"], "/y/b.iso"), "y/b.iso");
        assert_eq!(name(&["*.iso"], "b.iso"), "b.iso");
    }

    #[test]
    fn extensions_tell_format_and_codec() {
        for (path, expected) in [
            ("a/b.csv", "csv"),
            ("a.b/c", ""),
            ("x.2026.csv", "csv"),
            ("x.2026.CSV.gz", "csv.gz"),
            ("x.csv.bz2", "csv.bz2"),
        ] {
            assert_eq!(extensions(path), expected, "{path}");
        }
    }
}
