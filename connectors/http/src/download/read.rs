//! Reading a part of a file: its chunks, wherever reading begins.

use futures::stream::{self, StreamExt, TryStreamExt};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{Batch, BatchStream, Error, Position, Result};
use towpath_formats::chunks::{Cutter, batch};

use super::probe::{as_it_is, is_same, text, total};
use super::{Download, File, Part, changed, probe};
use crate::CONNECTOR;
use crate::body::Body;
use crate::client::{Answer, Call};
use crate::read::Reading;

/// Where in a file reading stands.
#[derive(Debug, Serialize, Deserialize)]
struct At {
    byte: u64,
}

/// A part under reading.
struct Reader {
    reading: Reading,
    state: State,
}

enum State {
    /// Nothing was asked for. A part that is not known is all of a file that was not found out about.
    Begin {
        part: Option<Part>,
        from: Option<u64>,
    },
    /// Bytes arrive.
    Body(Box<Arriving>),
    Done,
}

/// Bytes that arrive.
struct Arriving {
    file: File,
    body: Body,
    /// How many bytes come before those that are wanted.
    skip: u64,
    cutter: Cutter,
    end: Option<u64>,
}

/// The chunks of a part behind a position.
///
/// # Errors
/// `Unsupported` for a position of another version.
pub(crate) fn batches(reading: Reading, part: Option<Part>, from: Position) -> Result<BatchStream> {
    let from = match from {
        Position::At(at) => {
            let at = At::deserialize(at);
            Some(at.map_err(|error| {
                Error::unsupported("this position was stored by another version")
                    .help("finish the run with that version, or `towpath state reset`")
                    .source(error)
            })?)
        }
        Position::Start | Position::End => None,
    };
    let reader = Reader { reading, state: State::Begin { part, from: from.map(|at| at.byte) } };
    let batches = stream::try_unfold(reader, |mut reader| async move {
        let batch = reader.next().await.map_err(|error| {
            error.connector(CONNECTOR.name()).operation("read").detail("url", reader.reading.show())
        })?;
        Ok(batch.map(|batch| (batch, reader)))
    });
    Ok(batches.into_stream().boxed())
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Batch>> {
        loop {
            match &mut self.state {
                State::Begin { part, from } => {
                    let (part, from) = (part.take(), *from);
                    let part = match part {
                        Some(part) => part,
                        None => whole(probe(&self.reading, self.download()?).await?),
                    };
                    if part.file.size == Some(0) {
                        self.state = State::Done;
                        return chunk(&part.file, 0, bytes::Bytes::new(), Position::End).map(Some);
                    }
                    let from = from.unwrap_or(part.start);
                    self.state = State::Body(Box::new(Arriving::open(&self.reading, part, from).await?));
                }
                State::Body(arriving) => {
                    let (batch, is_last) = arriving.next().await?;
                    if is_last {
                        self.state = State::Done;
                    }
                    return Ok(Some(batch));
                }
                State::Done => return Ok(None),
            }
        }
    }

    fn download(&self) -> Result<&Download> {
        self.reading.shared.download.as_ref().ok_or_else(|| Error::unexpected("there is no download"))
    }
}

/// All of a file.
fn whole(file: File) -> Part {
    Part { start: 0, end: file.size, file }
}

fn chunk(file: &File, offset: u64, data: bytes::Bytes, resume: Position) -> Result<Batch> {
    Ok(Batch::new(batch(&file.described(), offset, data)?, resume))
}

impl Arriving {
    /// Asks for the bytes from here on.
    async fn open(reading: &Reading, part: Part, from: u64) -> Result<Self> {
        let Part { file, end, .. } = part;
        let is_all = from == 0 && end == file.size;
        // The whole is asked for as such: then also servers answer that know no ranges.
        let range = (!is_all).then(|| match end {
            Some(end) if file.ranges => format!("bytes={from}-{}", end - 1),
            _ => format!("bytes={from}-"),
        });
        let range = range.and_then(|range| HeaderValue::from_str(&range).ok());
        let validator = file.validator.as_deref().and_then(|validator| HeaderValue::from_str(validator).ok());
        let prepare = |call: &mut Call| {
            as_it_is(call);
            let Some(range) = range else { return };
            call.headers.insert(RANGE, range);
            call.also = Some(StatusCode::RANGE_NOT_SATISFIABLE);
            if let Some(validator) = validator {
                call.headers.insert(IF_RANGE, validator);
            }
        };
        let Answer { status, headers, body, .. } = reading.get(prepare).await?;
        let skip = skip(status, &headers, from, &file)?;
        Ok(Self { file, body, skip, cutter: Cutter::new(from), end })
    }

    /// The next chunk, and whether it is the last one.
    async fn next(&mut self) -> Result<(Batch, bool)> {
        loop {
            let is_at_end = self.end == Some(self.cutter.end());
            if let Some((offset, data)) = self.cutter.full() {
                let is_last = is_at_end && self.cutter.offset() == self.cutter.end();
                if is_last {
                    self.finish().await?;
                }
                return self.batch(offset, data, is_last);
            }
            if is_at_end {
                self.finish().await?;
                let (offset, data) = self.cutter.rest();
                return self.batch(offset, data, true);
            }
            let Some(mut bytes) = self.body.chunk().await? else { break };
            let left_out = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            self.skip -= left_out as u64;
            let mut bytes = bytes.split_off(left_out);
            if let Some(end) = self.end {
                let wanted = usize::try_from(end - self.cutter.end()).unwrap_or(usize::MAX);
                if bytes.len() > wanted && self.file.size == Some(end) {
                    return Err(changed());
                }
                // A server that does not know the end of a range sends on.
                bytes.truncate(wanted);
            }
            self.cutter.push(&bytes);
        }
        if let Some(end) = self.end {
            let at = self.cutter.end();
            return Err(Error::unavailable(format!("the body ended at byte {at} of the file, before {end}")));
        }
        if self.skip > 0 {
            return Err(changed());
        }
        // Only now the file's length is known.
        self.file.size = Some(self.cutter.end());
        let (offset, data) = self.cutter.rest();
        self.batch(offset, data, true)
    }

    fn batch(&self, offset: u64, data: bytes::Bytes, is_last: bool) -> Result<(Batch, bool)> {
        let behind = offset + data.len() as u64;
        let resume = if is_last { Position::End } else { Position::At(json!(At { byte: behind })) };
        Ok((chunk(&self.file, offset, data, resume)?, is_last))
    }

    /// Reads the end of the body, so that its connection can be used again. More bytes than the file has are those of
    /// another one.
    async fn finish(&mut self) -> Result<()> {
        match self.body.chunk().await {
            Ok(Some(_)) if self.file.size == self.end => Err(changed()),
            // All that was wanted has come.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// How many bytes of an answer come before those that were asked for.
fn skip(status: StatusCode, headers: &HeaderMap, from: u64, file: &File) -> Result<u64> {
    let same = is_same(file.validator.as_deref(), headers);
    let size = match status {
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => total(headers),
        _ => text(headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok()),
    };
    let other_size = size.zip(file.size).is_some_and(|(now, then)| now != then);
    if !same || other_size || status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(changed());
    }
    if status != StatusCode::PARTIAL_CONTENT {
        return Ok(from);
    }
    let range = text(headers, &CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes "));
    let begin =
        range.and_then(|range| range.split_once('-')).and_then(|(begin, _)| begin.parse::<u64>().ok());
    if begin == Some(from) {
        return Ok(0);
    }
    Err(Error::data(format!(
        "the server was asked for the bytes from {from} on and sent {}",
        range.unwrap_or("others")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{ETAG, HeaderName, LAST_MODIFIED};

    fn skip_of(status: u16, headers: &[(HeaderName, &str)], validator: Option<&str>) -> Result<u64> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let file = File { size: Some(200), validator: validator.map(str::to_owned), ..File::default() };
        skip(StatusCode::from_u16(status).unwrap(), &headers, 100, &file)
    }

    #[test]
    fn a_range_begins_where_it_was_asked_for_and_a_whole_file_at_its_first_byte() {
        let tag = Some("\"a\"");
        assert_eq!(skip_of(206, &[(CONTENT_RANGE, "bytes 100-199/200"), (ETAG, "\"a\"")], tag).unwrap(), 0);
        assert_eq!(skip_of(200, &[(CONTENT_LENGTH, "200"), (ETAG, "\"a\"")], tag).unwrap(), 100);
        assert_eq!(skip_of(200, &[], tag).unwrap(), 100);
        let error = skip_of(206, &[(CONTENT_RANGE, "bytes 0-199/200")], None).unwrap_err();
        assert_eq!(error.message(), "the server was asked for the bytes from 100 on and sent 0-199/200");
    }

    #[test]
    fn an_answer_about_another_file_is_an_error() {
        let date = "Fri, 27 Nov 2026 08:00:00 GMT";
        for (status, headers, validator) in [
            (200, vec![(ETAG, "\"b\"")], Some("\"a\"")),
            (206, vec![(CONTENT_RANGE, "bytes 100-199/200"), (ETAG, "\"b\"")], Some("\"a\"")),
            (206, vec![(CONTENT_RANGE, "bytes 100-199/201")], None),
            (200, vec![(CONTENT_LENGTH, "7")], None),
            (200, vec![(LAST_MODIFIED, "Fri, 27 Nov 2026 09:00:00 GMT")], Some(date)),
            (416, vec![(CONTENT_RANGE, "bytes */70")], None),
        ] {
            let error = skip_of(status, &headers, validator).unwrap_err();
            assert_eq!(error.message(), "the file has changed since its download began");
        }
    }
}
