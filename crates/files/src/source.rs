//! Reading files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::{Schema, SchemaRef};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use towpath_core::{
    Batch, BatchStream, Context, Dataset, Error, Position, Pushdown, Result, Resume, ScanPlan, ScanRequest,
    Source, SourceCapabilities, Split,
};
use towpath_formats::{Input, Piece, Reader};

use crate::archive::{self, EntryInput, Item, Kind, Limits, Unpacked};
use crate::names::tidy;
use crate::packed_source::{self, no_entry};
use crate::partitions::{Extension, partitions};
use crate::plan::{self, Planner};
use crate::seen::Seen;
use crate::{FileEntry, HivePartitions, Incremental, Listing, SourceOptions, Store, Walk, discover};

/// Reads the files of a store.
#[derive(Debug, Clone)]
pub struct FileSource<S> {
    store: S,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: SourceOptions,
    /// What is read of archives, where the files are some.
    limits: Option<Arc<Limits>>,
    /// A reader for each kind of name, which remembers the columns of its first file.
    readers: Mutex<HashMap<String, Reader>>,
}

/// What a split holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FilePiece {
    #[serde(flatten)]
    pub(crate) item: Item,
    pub(crate) piece: Piece,
    /// The only columns that are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) columns: Option<Vec<String>>,
}

impl<S: Store> Source for FileSource<S> {
    type Config = S::Config;

    async fn open(config: S::Config, cx: &Context) -> Result<Self> {
        let (store, options) = S::open(config, cx).await.map_err(named::<S>)?;
        options.check().map_err(named::<S>)?;
        let limits = options.archive.as_ref().map(|archive| Limits::new(archive, &options));
        let limits = limits.transpose().map_err(named::<S>)?.map(Arc::new);
        Ok(Self { store, shared: Arc::new(Shared { options, limits, readers: Mutex::default() }) })
    }

    fn capabilities(&self) -> SourceCapabilities {
        SourceCapabilities { resume: Resume::Exact, ordered: false, bounded: true }
    }

    async fn check(&self, cx: &Context) -> Result<()> {
        let listing = self.listing(cx).await?;
        let Some(first) = listing.walk(None).next().await.map_err(named::<S>)? else { return Ok(()) };
        self.store.probe(cx, &first.file).await.map_err(named::<S>)?;
        let path = first.file.path.clone();
        match self.first_of(cx, first.file).await.map_err(named::<S>)? {
            Some(item) => self.reader(&item).map(drop).map_err(named::<S>),
            None if self.options().allow_empty => Ok(()),
            None => Err(named::<S>(no_entry(&path))),
        }
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>> {
        discover::discover(self, cx).await.map_err(named::<S>)
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        let listing = self.listing(cx).await?;
        let by = self.options().incremental;
        let seen = (by != Incremental::Off)
            .then(|| Seen::since(by, &self.options().path.0, S::Listing::order, &request.since))
            .transpose()
            .map_err(named::<S>)?;
        let schema = self.planned_schema(cx, &listing, seen.as_ref(), request).await.map_err(named::<S>)?;
        let planner = Planner::new(self.clone(), cx, &listing, seen, request).await.map_err(named::<S>)?;
        let mut plan = ScanPlan::new(schema, plan::steps(planner));
        plan.columns = Pushdown::Exact;
        Ok(plan)
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        let FilePiece { item, piece, columns } = plan::payload(split).map_err(named::<S>)?;
        if from == Position::End {
            return Ok(stream::empty().boxed());
        }
        let path = item.path().into_owned();
        let batches = if item.is_packed() {
            packed_source::read(self.clone(), cx, item, columns, &from)
        } else {
            let input = self.input(cx, item.clone());
            self.batches(cx, &item, input, &piece, from, columns)
        };
        let named = move |error: Error| error.connector(S::CONNECTOR).operation("read").detail("path", &path);
        Ok(batches.map_err(&named)?.map_err(named).boxed())
    }
}

impl<S: Store> FileSource<S> {
    pub(crate) fn options(&self) -> &SourceOptions {
        &self.shared.options
    }

    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    /// What a person calls a path, who may give it as one of the options.
    pub(crate) fn display(&self, path: &str) -> String {
        self.store.display(path)
    }

    pub(crate) async fn listing(&self, cx: &Context) -> Result<S::Listing> {
        let listing = self.store.list(cx, self.options()).await;
        listing.map_err(|error| named::<S>(error).operation("list"))
    }

    /// What is read of a file: the file, or the entries of the archive that it is.
    pub(crate) fn items(&self, cx: &Context, file: FileEntry) -> BoxStream<'static, Result<Item>> {
        let Some(archive) = &self.options().archive else {
            return stream::iter([Ok(Item::file(file))]).boxed();
        };
        match Kind::of(archive.format, &file.path) {
            Err(error) => stream::iter([Err(error)]).boxed(),
            Ok(Kind::Packed(codec)) => {
                stream::iter([Ok(Item { packed: Some(codec), ..Item::file(file) })]).boxed()
            }
            Ok(kind) => self.entries(cx, Item::file(file.clone()), self.file_input(cx, file), kind),
        }
    }

    /// The entries of an archive.
    fn entries(
        &self,
        cx: &Context,
        item: Item,
        input: Arc<dyn Input>,
        kind: Kind,
    ) -> BoxStream<'static, Result<Item>> {
        let Some(limits) = self.shared.limits.clone() else { return stream::empty().boxed() };
        let path = item.file.path.clone();
        archive::entries(cx, input, kind, limits)
            .map_ok(move |entry| Item { entry: Some(entry), ..item.clone() })
            .map_err(move |error| error.operation("read").detail("path", &path))
            .boxed()
    }

    /// What a compressed archive becomes, and its entries.
    pub(crate) fn unpack(
        &self,
        cx: &Context,
        item: Item,
    ) -> Result<(Unpacked, BoxStream<'static, Result<Item>>)> {
        let codec = item.packed.ok_or_else(|| Error::unexpected("the archive is not compressed"))?;
        let file = self.file_input(cx, item.file.clone());
        let archive = Unpacked::new(cx, file, codec, self.options().max_decompressed);
        let items = self.entries(cx, item, Arc::new(archive.clone()), Kind::Packed(codec));
        Ok((archive, items))
    }

    /// What tells the columns of an item: itself, or the first entry of a compressed archive.
    pub(crate) async fn sample(&self, cx: &Context, item: Item) -> Result<Option<Item>> {
        if item.is_packed() { self.unpack(cx, item)?.1.try_next().await } else { Ok(Some(item)) }
    }

    /// A file or an entry as the formats read it.
    pub(crate) fn input(&self, cx: &Context, item: Item) -> Arc<dyn Input> {
        let file = self.file_input(cx, item.file);
        let Some(entry) = item.entry else { return file };
        let archive = match item.packed {
            None => file,
            Some(codec) => Arc::new(Unpacked::new(cx, file, codec, self.options().max_decompressed)),
        };
        Arc::new(EntryInput::new(cx, archive, entry))
    }

    /// The batches of a piece, with the columns of the path.
    pub(crate) fn batches(
        &self,
        cx: &Context,
        item: &Item,
        input: Arc<dyn Input>,
        piece: &Piece,
        from: Position,
        columns: Option<Vec<String>>,
    ) -> Result<BatchStream> {
        let extension = self.extension(item, columns)?;
        let of_file = extension.of_file();
        let path = item.path().into_owned();
        let batches = self.reader(item)?.read(cx, input, piece, from, of_file.as_deref());
        let extended = batches.and_then(move |batch| {
            let extended = extension.extend(batch.rows).map(|rows| Batch { rows, ..batch });
            std::future::ready(extended)
        });
        Ok(extended.map_err(move |error: Error| error.detail("path", &path)).boxed())
    }

    fn file_input(&self, cx: &Context, file: FileEntry) -> Arc<dyn Input> {
        let name = below(&self.options().path.0, &file.path);
        self.store.input(cx, file, name)
    }

    pub(crate) fn partitions(&self, item: &Item) -> Vec<(String, Option<String>)> {
        match self.options().hive_partitions {
            HivePartitions::Off => Vec::new(),
            // They are a part of the file's name.
            _ if self.options().is_bytes() => Vec::new(),
            HivePartitions::Auto | HivePartitions::Required => partitions(&item.folders()),
        }
    }

    fn extension(&self, item: &Item, wanted: Option<Vec<String>>) -> Result<Extension> {
        let display = self.store.display(&item.file.path);
        let display = item.called(&display);
        let file_column = self.options().file_column.as_deref().map(|name| (name, &*display));
        Extension::new(&self.partitions(item), &self.options().columns, file_column, wanted)
            .map_err(|error| error.detail("path", item.path()))
    }

    /// The reader for files like this one.
    pub(crate) fn reader(&self, item: &Item) -> Result<Reader> {
        let (path, partitions) = (&*item.path(), self.partitions(item));
        let keys: Vec<_> = partitions.iter().map(|(key, _)| key.as_str()).collect();
        let kind = format!("{}/{}", extensions(path), keys.join("/"));
        let mut readers = self.shared.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = readers.get(&kind) {
            return Ok(known.clone());
        }
        let reader = Reader::new(self.options().read_options(&keys), path, None, None)
            .map_err(|error| error.detail("path", path))?;
        readers.insert(kind, reader.clone());
        Ok(reader)
    }

    /// All columns of a file, those of its path included.
    pub(crate) async fn schema(
        &self,
        cx: &Context,
        item: Item,
        wanted: Option<Vec<String>>,
    ) -> Result<SchemaRef> {
        let path = item.path().into_owned();
        let named = |error: Error| error.detail("path", &path);
        let extension = self.extension(&item, wanted)?;
        let of_file = self.reader(&item)?.schema(cx, &self.input(cx, item)).await.map_err(named)?;
        extension.schema(&of_file).map_err(named)
    }

    /// The columns as the first file has them: the first new one, if there is any.
    async fn planned_schema(
        &self,
        cx: &Context,
        listing: &S::Listing,
        seen: Option<&Seen>,
        request: &ScanRequest,
    ) -> Result<Option<SchemaRef>> {
        if let Some(first) = self.first(cx, listing, seen).await? {
            return self.schema(cx, first, request.columns.clone()).await.map(Some);
        }
        let declared = &self.options().columns.0;
        let fields: Vec<_> = declared.iter().map(|(name, column_type)| column_type.field(name)).collect();
        Ok((!fields.is_empty()).then(|| Arc::new(Schema::new(fields))))
    }

    /// The first of what is read of a file.
    async fn first_of(&self, cx: &Context, file: FileEntry) -> Result<Option<Item>> {
        match self.items(cx, file).try_next().await? {
            Some(item) => self.sample(cx, item).await,
            None => Ok(None),
        }
    }

    /// What is read of the first new file; of the first of all where none is new.
    async fn first(&self, cx: &Context, listing: &S::Listing, seen: Option<&Seen>) -> Result<Option<Item>> {
        if let Some(seen) = seen {
            let mut walk = listing.walk_behind(None, seen.behind());
            while let Some(found) = walk.next().await? {
                if seen.is_new(&found)
                    && let Some(item) = self.first_of(cx, found.file).await?
                {
                    return Ok(Some(item));
                }
            }
        }
        let mut walk = listing.walk(None);
        while let Some(found) = walk.next().await? {
            if let Some(item) = self.first_of(cx, found.file).await? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }
}

fn named<S: Store>(error: Error) -> Error {
    error.connector(S::CONNECTOR)
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
