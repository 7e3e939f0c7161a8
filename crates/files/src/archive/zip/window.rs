//! The bytes of an archive that were fetched so far, for a parser that cannot wait.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use rawzip::ReaderAt;
use towpath_core::Result;
use towpath_formats::Input;

/// What was fetched. What a parser looks for beside it is noted, so that it can be fetched and the parser begin anew.
pub(super) struct Window {
    size: u64,
    parts: Vec<(u64, Bytes)>,
    missing: Mutex<Option<u64>>,
}

impl Window {
    pub(super) fn new(size: u64) -> Self {
        Self { size, parts: Vec::new(), missing: Mutex::new(None) }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Fetches a stretch, as far as the archive goes, at most so much at a time.
    pub(super) async fn fetch(&mut self, input: &dyn Input, from: u64, to: u64, step: u64) -> Result<()> {
        let to = to.min(self.size);
        let mut at = from;
        while at < to {
            let end = at.saturating_add(step).min(to);
            self.parts.push((at, input.range(at..end).await?));
            at = end;
        }
        Ok(())
    }

    /// Takes the place that a parser has looked for in vain.
    pub(super) fn take_missing(&self) -> Option<u64> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Bytes that were fetched, all in one go.
    pub(super) fn get(&self, from: u64, length: usize) -> Option<Bytes> {
        self.parts.iter().find_map(|(start, bytes)| {
            let begin = usize::try_from(from.checked_sub(*start)?).ok()?;
            let end = begin.checked_add(length)?;
            (end <= bytes.len()).then(|| bytes.slice(begin..end))
        })
    }
}

impl ReaderAt for Window {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        for (start, bytes) in &self.parts {
            let Some(begin) = offset.checked_sub(*start).and_then(|begin| usize::try_from(begin).ok()) else {
                continue;
            };
            if let Some(bytes) = bytes.get(begin..).filter(|rest| !rest.is_empty()) {
                let length = bytes.len().min(buffer.len());
                buffer[..length].copy_from_slice(&bytes[..length]);
                return Ok(length);
            }
        }
        *self.missing.lock().unwrap_or_else(PoisonError::into_inner) = Some(offset);
        Err(io::ErrorKind::WouldBlock.into())
    }
}
