//! A compressed archive as what it becomes. It is read from its start, and from there only forward.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use towpath_core::{ByteSize, Context, Error, Result};
use towpath_formats::{ByteStream, Compression, Decompressor, Input, chunks};

/// What a reader gets at a time.
const CHUNK: u64 = 512 << 10;

/// The bytes that a file becomes. Who reads on where somebody stopped goes on there; who reads before that begins anew.
#[derive(Clone)]
pub(crate) struct Unpacked {
    file: Arc<dyn Input>,
    codec: Compression,
    limit: Option<ByteSize>,
    cx: Context,
    /// Where somebody stopped.
    stopped: Arc<Mutex<Option<Tape>>>,
}

impl Unpacked {
    pub(crate) fn new(
        cx: &Context,
        file: Arc<dyn Input>,
        codec: Compression,
        limit: Option<ByteSize>,
    ) -> Self {
        Self { file, codec, limit, cx: cx.clone(), stopped: Arc::default() }
    }

    /// Reads what is left, so that the codec can check all of it.
    pub(crate) async fn finish(&self) -> Result<()> {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut tape) = stopped else { return Ok(()) };
        while tape.fill().await? {
            tape.take(u64::MAX);
        }
        Ok(())
    }

    async fn tape_at(&self, at: u64) -> Result<Lent> {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut tape = match stopped.filter(|tape| tape.at <= at) {
            Some(tape) => tape,
            None => Tape {
                cx: self.cx.clone(),
                raw: self.file.stream(0).await?,
                decompressor: Some(Decompressor::new(self.codec, self.limit)?),
                pending: Bytes::new(),
                ready: Bytes::new(),
                at: 0,
                raw_is_over: false,
            },
        };
        while tape.at < at {
            if !tape.fill().await? {
                return Err(self.early(tape.at));
            }
            tape.take(at - tape.at);
        }
        Ok(Lent { tape: Some(tape), stopped: self.stopped.clone() })
    }

    fn early(&self, at: u64) -> Error {
        Error::data(format!("the archive ends at byte {at} of what it becomes, in the middle of an entry"))
            .detail("input", self.file.name())
            .help("get the whole file")
    }
}

/// A place in what a file becomes.
struct Tape {
    cx: Context,
    raw: ByteStream,
    /// `None` behind the end.
    decompressor: Option<Decompressor>,
    pending: Bytes,
    ready: Bytes,
    /// Where what is ready begins.
    at: u64,
    raw_is_over: bool,
}

impl Tape {
    /// Makes some bytes ready; `false` at the end.
    async fn fill(&mut self) -> Result<bool> {
        while self.ready.is_empty() {
            self.cx.cancellation().check()?;
            let Some(mut decompressor) = self.decompressor.take() else { return Ok(false) };
            if self.pending.is_empty() && !self.raw_is_over {
                match self.raw.try_next().await? {
                    Some(bytes) => self.pending = bytes,
                    None => self.raw_is_over = true,
                }
            }
            let pending = std::mem::take(&mut self.pending);
            let is_over = self.raw_is_over && pending.is_empty();
            let job = self.cx.cpu(move || {
                let mut output = Vec::new();
                if !is_over {
                    let taken = decompressor.push(&pending, &mut output)?;
                    return Ok((Some(decompressor), pending.slice(taken..), output));
                }
                if decompressor.finish(&mut output)? {
                    return Ok((None, pending, output));
                }
                let what = decompressor.what();
                Err(Error::data(format!("the archive ends in the middle of {what}"))
                    .help("get the whole file"))
            });
            let (decompressor, pending, output) = job.await?;
            (self.decompressor, self.pending, self.ready) = (decompressor, pending, output.into());
        }
        Ok(true)
    }

    fn take(&mut self, most: u64) -> Bytes {
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.ready.len());
        self.at += length as u64;
        self.ready.split_to(length)
    }
}

/// A place that is given back, so that the next one may go on there.
struct Lent {
    /// `None` when it failed.
    tape: Option<Tape>,
    stopped: Arc<Mutex<Option<Tape>>>,
}

impl Lent {
    /// The next bytes, none beyond `end` together with some before it.
    async fn next(&mut self, end: u64) -> Result<Option<Bytes>> {
        // Whatever fails is not gone on with.
        let Some(mut tape) = self.tape.take() else { return Ok(None) };
        if !tape.fill().await? {
            return Ok(None);
        }
        let before = end.saturating_sub(tape.at);
        let bytes = tape.take(if before == 0 { CHUNK } else { before.min(CHUNK) });
        self.tape = Some(tape);
        Ok(Some(bytes))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(tape) = self.tape.take() {
            *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(tape);
        }
    }
}

impl fmt::Debug for Unpacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacked")
            .field("file", &self.file)
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Input for Unpacked {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn file(&self) -> chunks::File {
        self.file.file()
    }

    async fn stream(&self, from: u64) -> Result<ByteStream> {
        self.stream_to(from, None).await
    }

    async fn stream_to(&self, from: u64, end: Option<u64>) -> Result<ByteStream> {
        let (lent, end) = (self.tape_at(from).await?, end.unwrap_or(0));
        let bytes = stream::try_unfold(lent, move |mut lent| async move {
            Ok(lent.next(end).await?.map(|bytes| (bytes, lent)))
        });
        Ok(bytes.boxed())
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let mut lent = self.tape_at(range.start).await?;
        let mut bytes = BytesMut::new();
        while (bytes.len() as u64) < range.end - range.start {
            let Some(more) = lent.next(range.end).await? else {
                return Err(self.early(range.start + bytes.len() as u64));
            };
            bytes.extend_from_slice(&more);
        }
        Ok(bytes.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::{Counted, limits};
    use crate::archive::{EntryInput, Kind, entries};
    use towpath_formats::MemoryInput;
    use towpath_testkit::{archives, context};

    #[tokio::test]
    async fn all_entries_are_read_in_one_go_and_who_goes_back_begins_anew() {
        let contents: Vec<Vec<u8>> = (0..50_u8).map(|n| vec![n; 40_000 + usize::from(n)]).collect();
        let names: Vec<String> = (0..50).map(|n| format!("{n}.csv")).collect();
        let files: Vec<_> =
            names.iter().map(String::as_str).zip(contents.iter().map(Vec::as_slice)).collect();
        let file = Counted::new(MemoryInput::new("a.tar.gz", archives::tar_gz(&files)));
        let cx = context();
        let archive = Unpacked::new(&cx, file.clone(), Compression::Gzip, None);
        let (kind, shared) = (Kind::Packed(Compression::Gzip), Arc::new(archive.clone()));
        let mut found = entries(&cx, shared.clone(), kind, Arc::new(limits("**/*")));
        let mut inputs = Vec::new();
        while let Some(entry) = found.try_next().await.unwrap() {
            let index = inputs.len();
            let input = EntryInput::new(&cx, shared.clone(), entry);
            assert_eq!(input.size(), None);
            // Of every second one only the beginning is read.
            let mut stream = input.stream(0).await.unwrap();
            let mut bytes = stream.try_next().await.unwrap().unwrap().to_vec();
            if index % 2 == 0 {
                bytes.extend(stream.try_collect::<Vec<_>>().await.unwrap().concat());
                assert!(bytes == contents[index]);
            }
            inputs.push(input);
        }
        archive.finish().await.unwrap();
        // What is compressed has no ranges.
        assert_eq!((inputs.len(), file.counts()), (50, [1, 0, 0]));
        assert_eq!(inputs[49].range(7..9).await.unwrap(), [49; 2][..]);
        let all = inputs[3].stream(5).await.unwrap().try_collect::<Vec<_>>().await.unwrap().concat();
        assert!(all == contents[3][5..]);
        assert_eq!(file.counts(), [3, 0, 0]);
    }
}
