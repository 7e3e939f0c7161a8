//! Bytes to blocks: one after the other, off the event loop, and never more at once than one job takes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::join;
use towpath_core::{Context, Error, Result};

use super::block::{Block, Point};
use super::frame::{Assembler, Decode};
use super::source::{Source, Text};
use crate::ByteStream;

/// What comes out of an input.
pub(crate) enum Event {
    Block(Block, Arc<dyn Decode>),
    /// There should have been more. This broke off.
    Truncated(String),
}

/// Text of at most this length is taken where it is: a thread would cost more than the work.
pub(crate) const SMALL: usize = 64 << 10;

/// The blocks of an input.
pub(crate) struct Blocks {
    cx: Context,
    raw: ByteStream,
    /// The next bytes, read while others are worked on.
    next: Next,
    /// How many bytes of the input belong to the piece.
    remaining: Option<u64>,
    work: Option<Work>,
    /// What decodes the blocks, where the head was read before.
    decoder: Option<Arc<dyn Decode>>,
    ready: VecDeque<Event>,
    done: bool,
}

/// Bytes that may have been read ahead.
#[derive(Default)]
enum Next {
    #[default]
    Unread,
    /// `None` at the end.
    Read(Option<Result<Bytes>>),
}

/// What a job takes along.
struct Work {
    source: Source,
    assembler: Assembler,
    has_more: bool,
    /// Whether the rows before a break are wanted.
    keep_truncated: bool,
}

impl Blocks {
    pub(crate) fn new(
        cx: &Context,
        raw: ByteStream,
        remaining: Option<u64>,
        source: Source,
        assembler: Assembler,
        keep_truncated: bool,
    ) -> Self {
        let work = Work { source, assembler, has_more: false, keep_truncated };
        Self {
            cx: cx.clone(),
            raw,
            next: Next::Unread,
            remaining,
            work: Some(work),
            decoder: None,
            ready: VecDeque::new(),
            done: false,
        }
    }

    /// Starts behind the head, which was read before.
    pub(crate) fn with_decoder(mut self, decoder: Option<Arc<dyn Decode>>) -> Self {
        self.decoder = decoder;
        self
    }

    /// What decodes the blocks; only when the head is known.
    pub(crate) fn decoder(&self) -> Option<Arc<dyn Decode>> {
        self.decoder.clone().or_else(|| self.work.as_ref()?.assembler.decoder())
    }

    /// Where the rows begin; only when the head is known.
    pub(crate) fn rows_start(&self) -> Option<Point> {
        self.work.as_ref()?.assembler.rows_start()
    }

    /// Whether the text is over.
    pub(crate) fn is_done(&self) -> bool {
        self.done && self.ready.is_empty()
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.done {
                return Ok(None);
            }
            self.advance().await?;
        }
    }

    /// Takes some more bytes.
    pub(crate) async fn advance(&mut self) -> Result<()> {
        self.cx.cancellation().check()?;
        let mut work = self.work.take().ok_or_else(|| Error::unexpected("the input failed before"))?;
        if !work.has_more {
            let Some(bytes) = self.fetch().await? else {
                self.done = true;
                return self.finish(work).await;
            };
            let small = work.source.is_plain() && bytes.len() <= SMALL;
            work.source.give(bytes);
            if small {
                let (work, blocks) = work.run()?;
                return self.keep(work, blocks);
            }
        }
        let job = self.cx.cpu(move || work.run());
        let outcome = if matches!(self.next, Next::Unread) && self.remaining != Some(0) {
            let (outcome, next) = join(job, self.raw.next()).await;
            self.next = Next::Read(next);
            outcome
        } else {
            job.await
        };
        let (work, blocks) = outcome?;
        self.keep(work, blocks)
    }

    fn keep(&mut self, work: Work, blocks: Vec<Block>) -> Result<()> {
        self.work = Some(work);
        if !blocks.is_empty() {
            let decoder = self.decoder().ok_or_else(|| Error::unexpected("a block before its head"))?;
            self.ready.extend(blocks.into_iter().map(|block| Event::Block(block, decoder.clone())));
        }
        Ok(())
    }

    async fn fetch(&mut self) -> Result<Option<Bytes>> {
        if self.remaining == Some(0) {
            return Ok(None);
        }
        let next = match std::mem::take(&mut self.next) {
            Next::Read(next) => next,
            Next::Unread => self.raw.next().await,
        };
        let Some(mut bytes) = next.transpose()? else { return Ok(None) };
        if let Some(remaining) = &mut self.remaining {
            bytes.truncate(usize::try_from(*remaining).unwrap_or(usize::MAX));
            *remaining -= bytes.len() as u64;
        }
        Ok(Some(bytes))
    }

    async fn finish(&mut self, mut work: Work) -> Result<()> {
        let (work, blocks, truncated) = self
            .cx
            .cpu(move || {
                let (blocks, truncated) = work.finish()?;
                Ok((work, blocks, truncated))
            })
            .await?;
        self.keep(work, blocks)?;
        self.ready.extend(truncated.map(Event::Truncated));
        Ok(())
    }
}

impl Work {
    /// Goes on until there is a block, or no more text.
    fn run(mut self) -> Result<(Self, Vec<Block>)> {
        loop {
            let (text, more) = match self.source.text()? {
                Text::More(text) => (text, true),
                Text::All(text) => (text, false),
            };
            self.has_more = more;
            if !self.source.is_plain() {
                self.assembler.by_reading();
            }
            let blocks = self.assembler.push(&text)?;
            if !blocks.is_empty() || !more {
                return Ok((self, blocks));
            }
        }
    }

    fn finish(&mut self) -> Result<(Vec<Block>, Option<String>)> {
        let (text, mut truncated) = self.source.finish()?;
        if !self.source.is_plain() {
            self.assembler.by_reading();
        }
        let mut blocks = self.assembler.push(&text)?;
        if truncated.is_some() && !self.keep_truncated {
            return Ok((blocks, truncated));
        }
        let (rest, unfinished) = self.assembler.finish(truncated.is_some())?;
        truncated = truncated.or(unfinished.map(str::to_owned));
        if truncated.is_none() || self.keep_truncated {
            blocks.extend(rest);
        }
        Ok((blocks, truncated.filter(|_| !self.keep_truncated)))
    }
}
