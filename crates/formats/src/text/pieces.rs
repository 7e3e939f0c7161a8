//! Cutting an input into pieces that can be read at once.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use towpath_core::{Context, Error, Result};

#[cfg(feature = "csv")]
use super::csv::{Dialect, Scanner};
use super::source::told_by_mark;
use super::{Kind, Reader};
use crate::{ByteStream, Compression, Encoding, Input, Piece};

/// How records can be told from within an input.
enum Cut {
    /// Not at all.
    Whole,
    /// Each newline ends a record.
    Newlines,
    /// A newline may stand within quotes: all text before must be seen.
    #[cfg(feature = "csv")]
    Quotes(Dialect),
}

pub(super) fn pieces(
    reader: Reader,
    cx: &Context,
    input: Arc<dyn Input>,
    target: u64,
) -> BoxStream<'static, Result<Piece>> {
    let name = input.name().to_owned();
    let target = target.max(1);
    let cx = cx.clone();
    let pieces = async move {
        let whole = Piece { start: 0, end: None, line: 1, bytes: input.size() };
        let Some(size) = input.size().filter(|size| *size >= target + target / 2) else {
            return Ok::<_, Error>(stream::iter([Ok(whole)]).boxed());
        };
        Ok(match reader.cut(&input).await? {
            Cut::Whole => stream::iter([Ok(whole)]).boxed(),
            Cut::Newlines => at_newlines(input, size, target),
            #[cfg(feature = "csv")]
            Cut::Quotes(dialect) => {
                let mut head = reader.blocks(&cx, &input, 0, None, None).await?;
                while head.rows_start().is_none() && !head.is_done() {
                    head.advance().await?;
                }
                let rows = head.rows_start().ok_or_else(|| Error::data("it has no rows"))?;
                let raw = input.stream(rows.offset).await?;
                let scan = Scan {
                    scanner: Scanner::new(dialect),
                    raw,
                    offset: rows.offset,
                    line: rows.line,
                    piece: Piece { end: None, ..whole },
                    size,
                    target,
                    done: false,
                };
                scan.pieces(cx)
            }
        })
    };
    stream::once(pieces).try_flatten().map_err(move |error: Error| error.detail("input", &name)).boxed()
}

impl Reader {
    async fn cut(&self, input: &Arc<dyn Input>) -> Result<Cut> {
        if self.compression != Compression::None || self.encoding() != Encoding::Utf8 {
            return Ok(Cut::Whole);
        }
        if told_by_mark(&input.range(0..3).await?).is_some() {
            return Ok(Cut::Whole);
        }
        Ok(match &self.kind {
            #[cfg(feature = "csv")]
            Kind::Csv(_, dialect) if dialect.quote.is_some() => Cut::Quotes(*dialect),
            #[cfg(feature = "csv")]
            Kind::Csv(..) => Cut::Newlines,
            #[cfg(feature = "json")]
            Kind::Ndjson => Cut::Newlines,
            #[cfg(feature = "json")]
            Kind::Json(_) => Cut::Whole,
            #[cfg(feature = "xml")]
            Kind::Xml(_) => Cut::Whole,
            #[cfg(feature = "html")]
            Kind::Html(_) => Cut::Whole,
        })
    }
}

/// How much is read at once to find a newline.
const LOOK: u64 = 64 << 10;

/// Pieces that begin behind the first newline of where they should, without reading what is between.
fn at_newlines(input: Arc<dyn Input>, size: u64, target: u64) -> BoxStream<'static, Result<Piece>> {
    stream::try_unfold(Some(0), move |start| {
        let input = input.clone();
        async move {
            let Some(start) = start else { return Ok(None) };
            let line = u64::from(start == 0);
            let cut = start + target;
            let end =
                if cut + target / 2 < size { behind_newline(&*input, cut - 1, size).await? } else { size };
            if end >= size {
                let last = Piece { start, end: None, line, bytes: Some(size - start) };
                return Ok(Some((last, None)));
            }
            let piece = Piece { start, end: Some(end), line, bytes: Some(end - start) };
            Ok(Some((piece, Some(end))))
        }
    })
    .boxed()
}

async fn behind_newline(input: &dyn Input, mut at: u64, size: u64) -> Result<u64> {
    while at < size {
        let end = (at + LOOK).min(size);
        let bytes = input.range(at..end).await?;
        if let Some(newline) = memchr::memchr(b'\n', &bytes) {
            return Ok(at + newline as u64 + 1);
        }
        at = end;
    }
    Ok(size)
}

/// A pass over a whole input that remembers where records end.
#[cfg(feature = "csv")]
struct Scan {
    scanner: Scanner,
    raw: ByteStream,
    offset: u64,
    line: u64,
    /// The piece that has begun.
    piece: Piece,
    size: u64,
    target: u64,
    done: bool,
}

#[cfg(feature = "csv")]
impl Scan {
    fn pieces(self, cx: Context) -> BoxStream<'static, Result<Piece>> {
        stream::try_unfold((self, cx), |(mut scan, cx)| async move {
            Ok(scan.next(&cx).await?.map(|piece| (piece, (scan, cx))))
        })
        .boxed()
    }

    async fn next(&mut self, cx: &Context) -> Result<Option<Piece>> {
        if self.done {
            return Ok(None);
        }
        while let Some(bytes) = self.raw.try_next().await? {
            cx.cancellation().check()?;
            let scanner = self.scanner.clone();
            let (scanner, bytes, end) = cx
                .cpu(move || {
                    let mut scanner = scanner;
                    let end = scanner.last_end(&bytes);
                    Ok((scanner, bytes, end))
                })
                .await?;
            self.scanner = scanner;
            if let Some(piece) = self.behind(&bytes, end) {
                return Ok(Some(piece));
            }
        }
        self.done = true;
        let bytes = Some(self.size.saturating_sub(self.piece.start));
        Ok(Some(Piece { end: None, bytes, ..self.piece.clone() }))
    }

    /// Ends the piece at the last record of these bytes, if it is long enough and enough is left.
    fn behind(&mut self, bytes: &Bytes, end: Option<usize>) -> Option<Piece> {
        let lines = |bytes: &[u8]| memchr::memchr_iter(b'\n', bytes).count() as u64;
        let (begin, line) = (self.offset, self.line);
        self.offset += bytes.len() as u64;
        self.line += lines(bytes);
        let cut = end?;
        let end = begin + cut as u64;
        if end - self.piece.start < self.target || end + self.target / 2 >= self.size {
            return None;
        }
        let next = Piece { start: end, end: None, line: line + lines(&bytes[..cut]), bytes: None };
        let piece = std::mem::replace(&mut self.piece, next);
        Some(Piece { end: Some(end), bytes: Some(end - piece.start), ..piece })
    }
}
