//! Where the bytes of a row group lie in a file, while they go out by themselves.
//!
//! The library writes a file into a [`Frame`] and keeps the books of its offsets. Pages need not be copied for that: what
//! was encoded here comes out of [`Pages`] as it is, and what lies in another file is copied from there.

use std::io::{self, Repeat, Write};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// What the library itself writes: the beginning of a file and its footer.
#[derive(Debug, Default)]
pub(super) struct Frame {
    bytes: Vec<u8>,
    elsewhere: bool,
}

impl Frame {
    /// What was written so far. It has to be flushed before.
    pub(super) fn take(&mut self) -> Bytes {
        mem::take(&mut self.bytes).into()
    }

    /// Whether what is written now goes out by itself, and only counts.
    pub(super) fn set_elsewhere(&mut self, elsewhere: bool) {
        self.elsewhere = elsewhere;
    }
}

impl Write for Frame {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.elsewhere {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Encoded pages. The library takes them back in the order of the file; so they are to go out.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages(Arc<Mutex<Vec<Bytes>>>);

impl Pages {
    /// Those that the library has taken back.
    pub(super) fn take(&self) -> Vec<Bytes> {
        mem::take(&mut self.ordered())
    }

    fn ordered(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PageStoreFactory for Pages {
    fn create(&self, _: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>> {
        Ok(Box::new(ColumnPages { waiting: Vec::new(), taken: self.clone() }))
    }
}

/// The pages of a column until its row group ends.
struct ColumnPages {
    waiting: Vec<Bytes>,
    taken: Pages,
}

impl PageStore for ColumnPages {
    fn put(&mut self, page: Bytes) -> Result<PageKey> {
        self.waiting.push(page);
        Ok(PageKey::new(self.waiting.len() as u64 - 1))
    }

    fn take(&mut self, key: PageKey) -> Result<Bytes> {
        let index = usize::try_from(key.get()).unwrap_or(usize::MAX);
        let page = self.waiting.get_mut(index).map(mem::take);
        let page = page.ok_or_else(|| ParquetError::General(format!("there is no page {index}")))?;
        self.taken.ordered().push(page.clone());
        Ok(page)
    }

    fn memory_size(&self) -> usize {
        self.waiting.iter().map(Bytes::len).sum()
    }
}

/// Columns that lie elsewhere, for a library that wants to read them. What it gets only has their length.
pub(super) struct Elsewhere {
    pub(super) size: u64,
}

impl Length for Elsewhere {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Elsewhere {
    type T = Repeat;

    fn get_read(&self, _: u64) -> Result<Repeat> {
        Ok(io::repeat(0))
    }

    fn get_bytes(&self, _: u64, _: usize) -> Result<Bytes> {
        Err(ParquetError::General("the columns are not here".to_owned()))
    }
}
