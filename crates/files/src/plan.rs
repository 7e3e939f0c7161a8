//! Planning: files are listed, and large ones cut, as splits are asked for.

use std::cmp::Ordering;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use towpath_core::{
    CHUNK_BYTES, Context, Error, Estimate, PlanStream, Planned, Position, Result, ScanRequest, Split,
};
use towpath_formats::Piece;

use crate::archive::Item;
use crate::packed_source::no_entry;
use crate::partitions::Keys;
use crate::seen::{Seen, Tally};
use crate::source::{FilePiece, FileSource};
use crate::store::check_unchanged;
use crate::{FileEntry, Found, HivePartitions, Listing, Place, Store, Walk};

/// How far planning got: behind a piece of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Behind {
    #[serde(flatten)]
    place: Place,
    size: u64,
    modified: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    /// Which entry of an archive the last planned piece is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entry: Option<u64>,
    /// Where the last planned piece starts.
    start: u64,
    /// For incremental streams: what was planned so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tally: Option<Tally>,
}

/// What is planned next.
pub(crate) struct Planner<S: Store> {
    source: FileSource<S>,
    cx: Context,
    walk: <S::Listing as Listing>::Walk,
    seen: Option<Seen>,
    columns: Option<Vec<String>>,
    /// Where an interrupted planning goes on; `None` once it is behind that.
    behind: Option<Behind>,
    /// The keys of the folders of the first file.
    keys: Keys,
    /// The file under way.
    opened: Option<Opened>,
    /// What of it is being cut.
    under_way: Option<Cutting>,
    complete: bool,
}

/// A file of which everything is read that is wanted: the file, or the entries of an archive.
struct Opened {
    found: Found,
    items: BoxStream<'static, Result<Item>>,
    /// Whether there was anything.
    has_any: bool,
}

/// A file, or an entry, that is being cut.
struct Cutting {
    place: Place,
    item: Item,
    pieces: BoxStream<'static, Result<Piece>>,
}

/// The steps of a planner.
pub(crate) fn steps<S: Store>(planner: Planner<S>) -> PlanStream {
    let steps = stream::try_unfold(planner, |mut planner| async move {
        Ok(planner.next().await?.map(|step| (step, planner)))
    });
    steps.map_err(|error: Error| error.connector(S::CONNECTOR).operation("plan")).boxed()
}

impl<S: Store> Planner<S> {
    pub(crate) async fn new(
        source: FileSource<S>,
        cx: &Context,
        listing: &S::Listing,
        mut seen: Option<Seen>,
        request: &ScanRequest,
    ) -> Result<Self> {
        let behind = behind(&request.planned)?;
        if let (Some(seen), Some(behind)) = (&mut seen, &behind) {
            recount(seen, listing, behind).await?;
        }
        let from = behind.as_ref().map(|behind| behind.place.clone());
        let names = seen.as_ref().map(Seen::behind).unwrap_or_default();
        Ok(Self {
            source,
            cx: cx.clone(),
            walk: listing.walk_behind(from, names),
            seen,
            columns: request.columns.clone(),
            behind,
            keys: Keys::default(),
            opened: None,
            under_way: None,
            complete: request.planned == Position::End,
        })
    }

    async fn next(&mut self) -> Result<Option<Planned>> {
        if self.complete {
            return Ok(None);
        }
        loop {
            self.cx.cancellation().check()?;
            if let Some(mut cutting) = self.under_way.take() {
                let path = cutting.item.path().into_owned();
                let piece = cutting.pieces.try_next().await.map_err(|error| error.detail("path", path))?;
                if let Some(piece) = piece {
                    let step = self.step(&cutting, piece)?;
                    self.under_way = Some(cutting);
                    match step {
                        Some(step) => return Ok(Some(step)),
                        None => continue,
                    }
                }
                self.behind = None;
            }
            if let Some(mut opened) = self.opened.take() {
                let Some(item) = opened.items.try_next().await? else {
                    self.check_any(&opened)?;
                    continue;
                };
                opened.has_any = true;
                self.cut(opened.found.place(), item)?;
                self.opened = Some(opened);
                continue;
            }
            let Some(found) = self.walk.next().await? else {
                self.complete = true;
                return Ok(self.seen.take().map(|seen| Planned::Complete { since: seen.complete() }));
            };
            self.open(found)?;
        }
    }

    /// Begins to read a file, unless it has been read by an earlier run.
    fn open(&mut self, found: Found) -> Result<()> {
        self.behind = self.behind.take().filter(|behind| found.place() == behind.place);
        if let Some(behind) = &self.behind {
            let planned = FileEntry {
                path: found.file.path.clone(),
                size: behind.size,
                modified: behind.modified,
                tag: behind.tag.clone(),
                ..FileEntry::default()
            };
            check_unchanged(&planned, &found.file)?;
        }
        if let Some(seen) = self.seen.as_mut().filter(|_| self.behind.is_none()) {
            if !seen.is_new(&found) {
                return Ok(());
            }
            seen.plan(&found);
        }
        let items = self.source.items(&self.cx, found.file.clone());
        self.opened = Some(Opened { found, items, has_any: false });
        Ok(())
    }

    /// Begins to cut a file or an entry, unless it had been planned before.
    fn cut(&mut self, place: Place, item: Item) -> Result<()> {
        let index = item.entry.as_ref().map(|entry| entry.index);
        match self.behind.as_ref().map(|behind| behind.entry) {
            Some(behind) if index < behind => return Ok(()),
            Some(behind) if index > behind => self.behind = None,
            _ => {}
        }
        let pieces = if item.is_packed() {
            let whole = Piece { start: 0, end: None, line: 0, bytes: Some(item.file.size) };
            stream::iter([Ok(whole)]).boxed()
        } else {
            if self.source.options().hive_partitions == HivePartitions::Required {
                self.keys.check(&self.source.partitions(&item), &item.path())?;
            }
            let reader = self.source.reader(&item)?;
            let input = self.source.input(&self.cx, item.clone());
            reader.pieces(&self.cx, input, self.source.options().split_size.bytes())
        };
        self.under_way = Some(Cutting { place, item, pieces });
        Ok(())
    }

    /// Whether there was anything, where there must be.
    fn check_any(&self, opened: &Opened) -> Result<()> {
        if opened.has_any || self.source.options().allow_empty {
            return Ok(());
        }
        Err(no_entry(&opened.found.file.path))
    }

    /// The step for a piece; `None` for one that had been planned.
    fn step(&self, cutting: &Cutting, piece: Piece) -> Result<Option<Planned>> {
        if self.behind.as_ref().is_some_and(|behind| piece.start <= behind.start) {
            return Ok(None);
        }
        let item = &cutting.item;
        let resume = Behind {
            place: cutting.place.clone(),
            size: item.file.size,
            modified: item.file.modified,
            tag: item.file.tag.clone(),
            entry: item.entry.as_ref().map(|entry| entry.index),
            start: piece.start,
            tally: self.seen.as_ref().map(Seen::tally),
        };
        let id = format!("{}#{}", item.path(), piece.start);
        let bytes = piece.bytes.or(Some(item.size()));
        let payload = FilePiece { item: item.clone(), piece, columns: self.columns.clone() };
        let payload = serde_json::to_value(payload).map_err(unexpected)?;
        let resume = Position::At(serde_json::to_value(resume).map_err(unexpected)?);
        let mut split = Split::new(id, payload).estimate(Estimate { rows: None, bytes });
        if self.source.options().is_bytes() {
            split = split.memory(2 * CHUNK_BYTES as u64);
        }
        Ok(Some(Planned::Split { split, resume }))
    }
}

/// What a split holds.
pub(crate) fn payload(split: &Split) -> Result<FilePiece> {
    if split.version != 1 {
        return Err(Error::unsupported(format!(
            "split {} has version {}, this build reads 1",
            split.id, split.version
        ))
        .help("use the newer towpath that planned it, or `towpath state reset`"));
    }
    serde_json::from_value(split.payload.clone()).map_err(|error| {
        Error::unexpected(format!("the payload of split {} cannot be read", split.id)).source(error)
    })
}

fn behind(planned: &Position) -> Result<Option<Behind>> {
    match planned {
        Position::Start | Position::End => Ok(None),
        Position::At(json) => serde_json::from_value(json.clone()).map(Some).map_err(|error| {
            Error::unsupported("the position of the planning cannot be read")
                .source(error)
                .help("`towpath state reset` makes the next run begin anew")
        }),
    }
}

/// Finds the files again that an interrupted run had planned.
async fn recount<L: Listing>(seen: &mut Seen, listing: &L, behind: &Behind) -> Result<()> {
    let tally = behind.tally.as_ref().ok_or_else(|| {
        Error::config("a run that was interrupted goes on, and `incremental` was not set when it began")
            .help("finish that run without `incremental`, or `towpath state reset`")
    })?;
    if seen.resume_by_name(tally) {
        return Ok(());
    }
    let mut walk = listing.walk(None);
    let mut before = Vec::new();
    while let Some(found) = walk.next().await? {
        if L::compare(&found.place(), &behind.place) == Ordering::Greater {
            break;
        }
        if seen.is_new(&found) {
            before.push(found.file);
        }
    }
    seen.resume(before, tally)
}

fn unexpected(error: serde_json::Error) -> Error {
    Error::unexpected("a plan cannot be stored").source(error)
}
