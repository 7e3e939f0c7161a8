//! Reading from a bucket. What came of a range is kept when its connection breaks.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::{GetOptions, GetRange};
use towpath_core::{Context, Error, ErrorKind, Result};
use towpath_files::{FileEntry, changed};

use crate::Bucket;
use crate::bucket::entry;
use crate::extras::Operation;
use crate::retry::{ATTEMPTS, wait};

/// How much a try must bring not to count as one in vain. Less would be more requests than bytes are worth.
const WORTHWHILE: usize = 16 << 10;

impl Bucket {
    /// An object as it is now.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn head(&self, key: &str, version: Option<&str>) -> Result<FileEntry> {
        let options = GetOptions { head: true, version: version.map(str::to_owned), ..GetOptions::default() };
        let found = self.store().get_opts(&self.location(key)?, options).await;
        let meta = found.map_err(|error| self.error(error, Operation::Read, key))?.meta;
        Ok(FileEntry { version: version.map(str::to_owned), ..entry(key, &meta) })
    }

    /// Exactly these bytes of an object, which must be what was planned. An answer that breaks off is gone on with behind what
    /// came of it; one of which nothing came is an error at once.
    ///
    /// # Errors
    /// `Conflict` when the object is another one by now. `Unavailable` when several tries in a row bring next to nothing.
    pub async fn range(&self, planned: &FileEntry, range: Range<u64>) -> Result<Bytes> {
        let mut chunks = self.chunks(planned, range, u64::MAX).await?;
        Ok(chunks.pop().unwrap_or_default())
    }

    /// The same, cut where the object has multiples of this many bytes. Memory that is asked for in smaller pieces is given
    /// again and again, where that of whole ranges would go back to the system each time.
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub(crate) async fn chunks(
        &self,
        planned: &FileEntry,
        range: Range<u64>,
        chunk: u64,
    ) -> Result<Vec<Bytes>> {
        let mut chunks = Vec::new();
        let mut keep = |part| {
            chunks.push(part);
            true
        };
        self.hand_on(planned, range, chunk, &mut keep).await?;
        Ok(chunks)
    }

    /// The same, where each chunk is handed on as soon as it is complete. Ends early once `take` refuses one.
    pub(crate) async fn hand_on(
        &self,
        planned: &FileEntry,
        range: Range<u64>,
        chunk: u64,
        take: &mut (impl FnMut(Bytes) -> bool + Send),
    ) -> Result<()> {
        let mut reading = Reading::new(range, chunk);
        reading.is_pinned = planned.version.is_some() || planned.tag.is_some();
        while !reading.is_complete() {
            match self.receive(planned, &mut reading, take).await {
                Ok(()) => {}
                Err(error) if is_other(&error) => {
                    let now = self.head(&planned.path, planned.version.as_deref()).await?;
                    return Err(changed(planned, &now).source(error));
                }
                Err(error) => reading.wait_after(self.cx(), error).await?,
            }
            if reading.is_refused {
                break;
            }
        }
        Ok(())
    }

    /// Receives what is missing, as far as it comes and is taken.
    async fn receive(
        &self,
        planned: &FileEntry,
        reading: &mut Reading,
        take: &mut (impl FnMut(Bytes) -> bool + Send),
    ) -> Result<()> {
        let key = &planned.path;
        let failed = |error| self.error(error, Operation::Read, key);
        let options = GetOptions {
            range: Some(GetRange::Bounded(reading.missing())),
            if_match: planned.tag.clone().or_else(|| reading.condition().cloned()),
            version: planned.version.clone(),
            ..GetOptions::default()
        };
        let found = self.store().get_opts(&self.location(key)?, options).await.map_err(failed)?;
        if found.meta.size != planned.size || !reading.is_of(found.meta.e_tag.as_deref()) {
            return Err(changed(planned, &entry(key, &found.meta)));
        }
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.next().await {
            reading.add(piece.map_err(failed)?, take);
            if reading.is_refused {
                return Ok(());
            }
        }
        if reading.is_complete() {
            return Ok(());
        }
        let early = Error::unavailable("the answer ended before all bytes had come");
        Err(self.explained(early, Operation::Read, key))
    }
}

/// Whether an answer says that the object is another one, or that it has not so many bytes any more.
fn is_other(error: &Error) -> bool {
    error.kind() == ErrorKind::Conflict && error.detail_value("path").is_none()
        || error.kind() == ErrorKind::DataInvalid
}

/// A range on its way.
struct Reading {
    range: Range<u64>,
    /// Where it is cut: at multiples of this.
    chunk: u64,
    /// The chunk that is under way.
    open: BytesMut,
    /// How many bytes there are.
    came: usize,
    /// What the store calls the content that it is of.
    tag: Option<String>,
    /// Whether the plan says which content is wanted.
    is_pinned: bool,
    /// Whether nobody takes more of it.
    is_refused: bool,
    /// How much there was when the try under way began.
    before: usize,
    /// How many tries in a row were in vain.
    in_vain: u32,
}

impl Reading {
    fn new(range: Range<u64>, chunk: u64) -> Self {
        Self {
            range,
            chunk,
            open: BytesMut::new(),
            came: 0,
            tag: None,
            is_pinned: false,
            is_refused: false,
            before: 0,
            in_vain: 0,
        }
    }

    /// Whether an answer is of the same content as those before it. Not every server heeds conditions.
    fn is_of(&mut self, tag: Option<&str>) -> bool {
        if self.came == 0 {
            self.tag = tag.map(str::to_owned);
        }
        self.tag.as_deref() == tag
    }

    /// The `ETag` that more of it is asked for by. A weak one is no name of bytes.
    fn condition(&self) -> Option<&String> {
        self.tag.as_ref().filter(|tag| !tag.starts_with("W/"))
    }

    fn size(&self) -> usize {
        usize::try_from(self.range.end.saturating_sub(self.range.start)).unwrap_or(usize::MAX)
    }

    fn missing(&self) -> Range<u64> {
        self.range.start + self.came as u64..self.range.end
    }

    fn is_complete(&self) -> bool {
        self.came >= self.size()
    }

    /// How many bytes the chunk under way lacks.
    fn room(&self) -> usize {
        let at = self.missing().start;
        let end = (at / self.chunk + 1).saturating_mul(self.chunk).min(self.range.end);
        usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX)
    }

    /// Cuts off what is complete with these bytes, and hands it on.
    fn add(&mut self, mut piece: Bytes, take: &mut impl FnMut(Bytes) -> bool) {
        // A server that sends more than it was asked for.
        piece.truncate(self.size() - self.came);
        while !piece.is_empty() && !self.is_refused {
            let room = self.room();
            let part = piece.split_to(room.min(piece.len()));
            self.came += part.len();
            if self.open.is_empty() && part.len() == room {
                self.is_refused = !take(part);
                continue;
            }
            if self.open.is_empty() {
                self.open.reserve(room);
            }
            self.open.extend_from_slice(&part);
            if part.len() == room {
                self.is_refused = !take(self.open.split().freeze());
            }
        }
    }

    /// Waits until the next try, unless there is nothing to keep, or nothing to hope for.
    async fn wait_after(&mut self, cx: &Context, error: Error) -> Result<()> {
        let came = self.came - self.before;
        self.before = self.came;
        self.in_vain = if came >= WORTHWHILE { 0 } else { self.in_vain + 1 };
        let can_go_on = self.is_pinned || self.condition().is_some();
        if self.came == 0 || !can_go_on || !error.is_retryable() {
            return Err(error);
        }
        let told = format!("{} of the {} bytes of {:?}", self.came, self.size(), self.range);
        if self.in_vain == ATTEMPTS {
            let error = error.detail("received", told);
            return Err(if error.help_text().is_some() {
                error
            } else {
                error.help(
                    "check the network, and what stands between here and the store and cuts its answers",
                )
            });
        }
        tracing::debug!(stream = cx.stream(), received = told, %error, "going on with a range");
        cx.metrics().add_retries(1);
        if self.in_vain > 0 {
            cx.sleep(wait(&error, self.in_vain)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_testkit::paused_context;

    async fn after(reading: &mut Reading, came: usize) -> Result<()> {
        reading.add(vec![0; came].into(), &mut |_| true);
        reading.wait_after(&paused_context(), Error::unavailable("cut")).await
    }

    #[test]
    fn what_came_is_not_asked_for_again() {
        let mut reading = Reading::new(10..15, u64::MAX);
        let mut chunks = Vec::new();
        let mut keep = |chunk| {
            chunks.push(chunk);
            true
        };
        reading.add(Bytes::from_static(b"ab"), &mut keep);
        assert_eq!((reading.missing(), reading.is_complete()), (12..15, false));
        reading.add(Bytes::from_static(b"cde and more"), &mut keep);
        assert!(reading.is_complete());
        assert_eq!(chunks, ["abcde"]);
        assert!(Reading::new(7..7, u64::MAX).is_complete());
    }

    #[test]
    fn chunks_end_at_multiples_however_the_bytes_come() {
        let content = Bytes::from_static(b"cdefghijklm");
        for step in 1..=content.len() {
            let (mut reading, mut chunks) = (Reading::new(2..13, 4), Vec::new());
            for start in (0..content.len()).step_by(step) {
                let piece = content.slice(start..content.len().min(start + step));
                reading.add(piece, &mut |chunk| {
                    chunks.push(chunk);
                    true
                });
            }
            assert!(reading.is_complete());
            assert_eq!(chunks, ["cd", "efgh", "ijkl", "m"], "{step}");
        }
    }

    #[test]
    fn nothing_is_handed_on_behind_what_was_refused() {
        let (mut reading, mut chunks) = (Reading::new(0..12, 4), Vec::new());
        let mut one = |chunk: Bytes| {
            chunks.push(chunk);
            chunks.len() < 2
        };
        reading.add(Bytes::from_static(b"abcdefghijkl"), &mut one);
        assert!(reading.is_refused && !reading.is_complete());
        assert_eq!(chunks, ["abcd", "efgh"]);
    }

    fn pinned(range: Range<u64>) -> Reading {
        let mut reading = Reading::new(range, u64::MAX);
        assert!(reading.is_of(Some("\"x\"")));
        reading
    }

    #[tokio::test(start_paused = true)]
    async fn a_range_goes_on_as_long_as_tries_are_worth_it() {
        let mut reading = pinned(0..1 << 30);
        for _ in 0..100 {
            after(&mut reading, WORTHWHILE).await.unwrap();
        }
        for _ in 1..ATTEMPTS {
            after(&mut reading, 1).await.unwrap();
        }
        let error = after(&mut reading, 1).await.unwrap_err();
        assert!(error.detail_value("received").is_some() && error.help_text().is_some(), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asked_hears_at_once_of_a_range_of_which_nothing_came() {
        let mut reading = pinned(0..10);
        assert!(after(&mut reading, 0).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn contents_are_not_mixed() {
        let mut reading = pinned(0..1 << 30);
        after(&mut reading, 1 << 20).await.unwrap();
        assert!(reading.is_of(Some("\"x\"")) && !reading.is_of(Some("\"y\"")));
        for tag in [None, Some("W/\"x\"")] {
            let mut reading = Reading::new(0..1 << 30, u64::MAX);
            assert!(reading.is_of(tag));
            assert!(after(&mut reading, 1 << 20).await.is_err(), "it cannot be asked for by a name: {tag:?}");
        }
    }
}
