//! Tars: walked from header to header. What is between them is not read.

mod header;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use towpath_core::{Context, Error, Result};
use towpath_formats::Input;

use super::name::clean;
use super::{Body, Entries, Entry, Limits, of_entry, too_many};
use header::{BLOCK, Extended, Header, Kind};

/// How much is fetched for the header behind a large entry.
const LOOK: u64 = 4 << 10;

/// How much is fetched where entries are small, so that several headers come at once.
const AHEAD: u64 = 64 << 10;

/// The longest name, or list of properties, in front of an entry.
const LONGEST: u64 = 1 << 20;

/// The files of a tar that are wanted, in order.
pub(super) fn entries(cx: &Context, input: Arc<dyn Input>, limits: Arc<Limits>) -> Entries {
    let walk = Walk {
        cx: cx.clone(),
        // One that is unpacked on the way tells no length, and is only read forward.
        size: input.size().unwrap_or(u64::MAX),
        looks_ahead: input.size().is_some(),
        input,
        limits,
        at: 0,
        window: (0, Bytes::new()),
        count: 0,
        names: HashSet::new(),
        extended: Extended::default(),
    };
    let entries = stream::try_unfold(Some(walk), |walk| async move {
        let Some(mut walk) = walk else { return Ok(None) };
        Ok(walk.next().await?.map(|entry| (entry, Some(walk))))
    });
    entries.boxed()
}

/// A walk through a tar.
struct Walk {
    cx: Context,
    input: Arc<dyn Input>,
    size: u64,
    /// Whether more is fetched than a header.
    looks_ahead: bool,
    limits: Arc<Limits>,
    /// Where the next header is.
    at: u64,
    /// Bytes that were fetched, and where they begin.
    window: (u64, Bytes),
    /// How many entries were met.
    count: u64,
    /// The names that were given out.
    names: HashSet<String>,
    /// What headers in front of the next entry say of it.
    extended: Extended,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            self.cx.cancellation().check()?;
            let at = self.at;
            if at == self.size && at > 0 {
                return Err(
                    Error::data("the tar ends without the mark of its end").help("get the whole file")
                );
            }
            if self.size < BLOCK {
                return Err(header::broken(at));
            }
            let block = self.read(at, BLOCK).await?;
            let Some(header) = Header::read(&block, at)? else { return Ok(None) };
            match header.kind {
                Kind::LongName | Kind::Properties | Kind::OfAll => {
                    let length = header.size;
                    if length > LONGEST {
                        return Err(
                            Error::data(format!("a header of the tar has {length} bytes")).detail("byte", at)
                        );
                    }
                    let body = self.read(at + BLOCK, length).await?;
                    self.extended.add(header.kind, &body).map_err(|error| error.detail("byte", at))?;
                    self.at = behind(at, length)?;
                }
                _ => {
                    let extended = std::mem::take(&mut self.extended);
                    if let Some(entry) = self.entry(header, extended)? {
                        return Ok(Some(entry));
                    }
                }
            }
        }
    }

    /// Goes past an entry, and gives it if it is a file that is wanted.
    fn entry(&mut self, header: Header, extended: Extended) -> Result<Option<Entry>> {
        if self.count == self.limits.max_entries {
            return Err(too_many(self.limits.max_entries));
        }
        let index = self.count;
        self.count += 1;
        let start = self.at + BLOCK;
        let size = if header.kind.has_body() { extended.size.unwrap_or(header.size) } else { 0 };
        self.at = behind(self.at, size)?;
        let raw = extended.name.unwrap_or(header.name);
        let shown = String::from_utf8_lossy(&raw).into_owned();
        if start.checked_add(size).is_none_or(|end| end > self.size) {
            return Err(of_entry(
                Error::data("the tar ends in the middle of an entry").help("get the whole file"),
                &shown,
            ));
        }
        if header.kind == Kind::Volume {
            return Err(of_entry(
                Error::unsupported("the tar is one volume of several").help("write it anew as one"),
                &shown,
            ));
        }
        if !matches!(header.kind, Kind::File | Kind::Sparse) || shown.ends_with('/') {
            return Ok(None);
        }
        let name = clean(&shown).map_err(|why| of_entry(Error::data(why), &shown))?;
        if !self.limits.wanted.has(&name) {
            return Ok(None);
        }
        let refused = |message: &str| Err(of_entry(Error::unsupported(message.to_owned()), &name));
        if std::str::from_utf8(&raw).is_err() {
            return refused("the name of an entry is not UTF-8");
        }
        if header.kind == Kind::Sparse || extended.is_sparse {
            return refused("the entry is a sparse file, of which the tar holds only parts");
        }
        if !self.names.insert(name.clone()) {
            let twice = Error::data("two entries have one name").help("write the archive anew");
            return Err(of_entry(twice, &name));
        }
        Ok(Some(Entry { index, name, size, body: Body::Plain { start } }))
    }

    /// Some bytes, with those behind them where several are likely to be wanted.
    async fn read(&mut self, at: u64, length: u64) -> Result<Bytes> {
        let end = at.checked_add(length).filter(|end| *end <= self.size);
        let Some(end) = end else {
            return Err(Error::data("the tar ends in the middle of a header").help("get the whole file"));
        };
        let (start, bytes) = &self.window;
        let behind = start + bytes.len() as u64;
        if at < *start || end > behind {
            let is_near = at <= behind.saturating_add(AHEAD);
            let wanted = match (self.looks_ahead, is_near) {
                (false, _) => length,
                (true, true) => AHEAD.max(length),
                (true, false) => LOOK.max(length),
            };
            let upto = at.saturating_add(wanted).min(self.size);
            self.window = (at, self.input.range(at..upto).await?);
        }
        let (start, bytes) = &self.window;
        let place = |place: u64| usize::try_from(place - start).unwrap_or(usize::MAX);
        let found = place(at)..place(end);
        if found.end > bytes.len() {
            return Err(Error::unexpected("less of the tar came than was asked for"));
        }
        Ok(bytes.slice(found))
    }
}

/// Where the next header is.
fn behind(header: u64, size: u64) -> Result<u64> {
    let body = size.checked_next_multiple_of(BLOCK);
    body.and_then(|body| header.checked_add(BLOCK)?.checked_add(body))
        .ok_or_else(|| Error::data("an entry of the tar is larger than any file").detail("byte", header))
}
