//! Reading a compressed tar: one split, entry after entry, from its start.

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use towpath_core::{Batch, BatchStream, Context, Error, ErrorKind, Json, Position, Result};
use towpath_formats::{Input, Piece};

use crate::archive::{EntryInput, Item, Unpacked};
use crate::partitions::Keys;
use crate::source::FileSource;
use crate::{HivePartitions, Store};

/// Where in a compressed tar reading stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct At {
    entry: u64,
    /// Where in the entry; at its beginning without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Json>,
}

/// A compressed tar that is read.
struct Reading<S: Store> {
    source: FileSource<S>,
    cx: Context,
    columns: Option<Vec<String>>,
    archive: Unpacked,
    path: String,
    items: BoxStream<'static, Result<Item>>,
    from: Option<At>,
    /// The entry under way.
    under_way: Option<(u64, BatchStream)>,
    has_any: bool,
    keys: Keys,
}

/// The batches of all entries from a position on.
pub(crate) fn read<S: Store>(
    source: FileSource<S>,
    cx: &Context,
    item: Item,
    columns: Option<Vec<String>>,
    from: &Position,
) -> Result<BatchStream> {
    let from = match from {
        Position::At(json) => Some(At::deserialize(json).map_err(|error| {
            Error::unsupported("this position was stored by another version").source(error)
        })?),
        Position::Start | Position::End => None,
    };
    let path = item.file.path.clone();
    let (archive, items) = source.unpack(cx, item)?;
    let has_any = from.is_some();
    let cx = cx.clone();
    let keys = Keys::default();
    let reading = Reading { source, cx, columns, archive, path, items, from, under_way: None, has_any, keys };
    let batches = stream::try_unfold(reading, |mut reading| async move {
        Ok(reading.next().await?.map(|batch| (batch, reading)))
    });
    Ok(batches.boxed())
}

impl<S: Store> Reading<S> {
    async fn next(&mut self) -> Result<Option<Batch>> {
        loop {
            if let Some((index, mut batches)) = self.under_way.take() {
                if let Some(mut batch) = batches.try_next().await? {
                    batch.resume = behind(index, batch.resume)?;
                    self.under_way = Some((index, batches));
                    return Ok(Some(batch));
                }
                // What it was read from is given back before anything else is read.
                drop(batches);
            }
            let Some(item) = self.items.try_next().await? else { return self.finish().await };
            self.begin(&item)?;
        }
    }

    /// Begins to read an entry, unless it was read before.
    fn begin(&mut self, item: &Item) -> Result<()> {
        self.has_any = true;
        let index = item.entry.as_ref().map_or(0, |entry| entry.index);
        if self.source.options().hive_partitions == HivePartitions::Required {
            self.keys.check(&self.source.partitions(item), &item.path())?;
        }
        let from = self.from.take_if(|from| from.entry <= index);
        let position = match from {
            // Behind it, or within it.
            Some(At { entry, at: Some(at) }) if entry == index => Position::At(at),
            None if self.from.is_some() => return Ok(()),
            Some(_) | None => Position::Start,
        };
        let whole = Piece { start: 0, end: None, line: 1, bytes: None };
        let input = self.input(item)?;
        let batches = self.source.batches(&self.cx, item, input, &whole, position, self.columns.clone())?;
        self.under_way = Some((index, batches));
        Ok(())
    }

    fn input(&self, item: &Item) -> Result<Arc<dyn Input>> {
        let entry = item.entry.clone().ok_or_else(|| Error::unexpected("an entry without a name"))?;
        Ok(Arc::new(EntryInput::new(&self.cx, Arc::new(self.archive.clone()), entry)))
    }

    async fn finish(&mut self) -> Result<Option<Batch>> {
        self.archive.finish().await?;
        if self.has_any || self.source.options().allow_empty {
            return Ok(None);
        }
        Err(no_entry(&self.path))
    }
}

/// The position behind a batch of an entry.
fn behind(entry: u64, resume: Position) -> Result<Position> {
    let at = match resume {
        Position::At(at) => At { entry, at: Some(at) },
        Position::Start => At { entry, at: None },
        Position::End => At { entry: entry + 1, at: None },
    };
    let json = serde_json::to_value(at);
    json.map(Position::At).map_err(|error| Error::unexpected("a position cannot be stored").source(error))
}

/// An archive without an entry that is wanted is one too many, or too few are wanted.
pub(crate) fn no_entry(path: &str) -> Error {
    Error::new(ErrorKind::NotFound, "no entry of the archive matches `archive.entries`")
        .detail("path", path)
        .help("check `archive.entries`, or set `allow_empty: true` if that is fine")
}
