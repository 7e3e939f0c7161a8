//! Reading any input as it is.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{Batch, BatchStream, CHUNK_BYTES, Error, Position, Result};

use super::{Cutter, File, batch, reference};
use crate::{ByteStream, Input, Piece};

/// Where in an input reading stands.
#[derive(Debug, Serialize, Deserialize)]
struct At {
    byte: u64,
}

/// Ranges of about this many bytes; all of an input whose length is not known.
pub(crate) fn pieces(input: &dyn Input, target: u64) -> BoxStream<'static, Result<Piece>> {
    let Some(size) = input.size() else {
        return stream::iter([Ok(Piece { start: 0, end: None, line: 0, bytes: None })]).boxed();
    };
    // Whole chunks, so that no chunk is cut in two.
    let step = target.max(1).div_ceil(CHUNK_BYTES as u64).saturating_mul(CHUNK_BYTES as u64);
    let pieces = (0..size.div_ceil(step).max(1)).map(move |index| {
        let (start, end) = (index * step, size.min((index + 1).saturating_mul(step)));
        Ok(Piece { start, end: Some(end), line: 0, bytes: Some(end - start) })
    });
    stream::iter(pieces).boxed()
}

/// The chunks of a piece.
pub(crate) fn read(input: Arc<dyn Input>, piece: &Piece, from: &Position) -> BatchStream {
    let from = match from {
        Position::At(at) => At::deserialize(at)
            .map(|at| at.byte)
            .map_err(|error| Error::unsupported("this position was stored by another version").source(error)),
        Position::Start | Position::End => Ok(piece.start),
    };
    let end = piece.end;
    let chunks = async move {
        let from = from?;
        if let (Some(source), Some(end)) = (input.reference(), end) {
            let named = reference(&input.file(), from, end.saturating_sub(from), source)?;
            return Ok(stream::iter([Ok(Batch::new(named, Position::End))]).boxed());
        }
        let bytes = input.stream_to(from, end).await?;
        let reading = Reading { file: input.file(), bytes, cutter: Cutter::new(from), end };
        Ok::<BatchStream, Error>(
            stream::try_unfold(Some(reading), |reading| async move {
                let Some(mut reading) = reading else { return Ok(None) };
                let batch = reading.next().await?;
                let is_last = batch.resume == Position::End;
                Ok(Some((batch, (!is_last).then_some(reading))))
            })
            .boxed(),
        )
    };
    stream::once(chunks).try_flatten().boxed()
}

struct Reading {
    file: File,
    bytes: ByteStream,
    cutter: Cutter,
    end: Option<u64>,
}

impl Reading {
    async fn next(&mut self) -> Result<Batch> {
        loop {
            let is_at_end = self.end == Some(self.cutter.end());
            if let Some((offset, data)) = self.cutter.full() {
                let is_last = is_at_end && self.cutter.offset() == self.cutter.end();
                return self.batch(offset, data, is_last);
            }
            if is_at_end {
                let (offset, data) = self.cutter.rest();
                return self.batch(offset, data, true);
            }
            let Some(mut bytes) = self.bytes.try_next().await? else { break };
            if let Some(end) = self.end {
                bytes.truncate(usize::try_from(end - self.cutter.end()).unwrap_or(usize::MAX));
            }
            self.cutter.push(&bytes);
        }
        if let Some(end) = self.end {
            let at = self.cutter.end();
            return Err(
                Error::data(format!("it ends at byte {at}, before {end}")).detail("input", &self.file.name)
            );
        }
        self.file.size = Some(self.cutter.end());
        let (offset, data) = self.cutter.rest();
        self.batch(offset, data, true)
    }

    fn batch(&self, offset: u64, data: Bytes, is_last: bool) -> Result<Batch> {
        let behind = offset + data.len() as u64;
        let resume = if is_last { Position::End } else { Position::At(json!(At { byte: behind })) };
        Ok(Batch::new(batch(&self.file, offset, data)?, resume))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::Chunks;
    use crate::{MemoryInput, ReadFormat, ReadOptions, Reader};

    #[tokio::test]
    async fn any_input_is_cut_into_pieces_and_read_on_from_any_chunk() {
        let content: Vec<u8> =
            (0..3 * CHUNK_BYTES + 9).map(|at| u8::try_from(at / 4099 % 251).unwrap()).collect();
        let input: Arc<dyn Input> = Arc::new(MemoryInput::new("a/b.gz", content.clone()));
        let options = ReadOptions { format: Some(ReadFormat::Bytes), ..ReadOptions::default() };
        let reader = Reader::new(options, "a/b.gz", None, None).unwrap();
        let cx = towpath_testkit::context();
        let pieces: Vec<_> = reader.pieces(&cx, input.clone(), 2 << 20).try_collect().await.unwrap();
        let ends: Vec<_> = pieces.iter().map(|piece| (piece.start, piece.end.unwrap())).collect();
        assert_eq!(ends, [(0, 2 << 20), (2 << 20, content.len() as u64)]);
        let mut found = vec![0; content.len()];
        for piece in &pieces {
            let read = |from| reader.read(&cx, input.clone(), piece, from, None).try_collect::<Vec<_>>();
            let batches = read(Position::Start).await.unwrap();
            let rest = read(batches[0].resume.clone()).await.unwrap();
            assert_eq!(rest.len(), batches.len() - 1);
            assert_eq!(rest[0].rows, batches[1].rows);
            for batch in &batches {
                let chunks = Chunks::of(&batch.rows).unwrap();
                let chunk = chunks.iter().next().unwrap().unwrap();
                assert_eq!((chunk.name, chunk.size), ("b.gz", Some(content.len() as u64)));
                let at = usize::try_from(chunk.offset).unwrap();
                found[at..at + chunk.data.len()].copy_from_slice(&chunk.data);
            }
        }
        assert!(found == content);
    }

    #[tokio::test]
    async fn an_empty_input_is_an_empty_file() {
        let input: Arc<dyn Input> = Arc::new(MemoryInput::new("a", Bytes::new()));
        let pieces: Vec<_> = pieces(&*input, 9).try_collect().await.unwrap();
        let batches: Vec<_> = read(input, &pieces[0], &Position::Start).try_collect().await.unwrap();
        assert_eq!((pieces.len(), batches.len(), batches[0].resume.clone()), (1, 1, Position::End));
    }
}
