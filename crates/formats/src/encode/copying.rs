//! An output for tests that takes bytes of inputs without being given them.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use towpath_core::Result;

use crate::{Input, MemoryOutput, Output};

/// Has bytes of an input copied, as far as it is told, and keeps where they lay.
#[derive(Default)]
pub(super) struct Copying {
    pub(super) output: MemoryOutput,
    pub(super) copied: Arc<Mutex<Vec<Range<u64>>>>,
}

#[async_trait]
impl Output for Copying {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.output.write(bytes).await
    }

    fn copies(&self, _: &dyn Input) -> bool {
        true
    }

    async fn copy(&mut self, input: &dyn Input, range: Range<u64>) -> Result<()> {
        self.copied.lock().unwrap().push(range.clone());
        self.write(input.range(range).await?).await
    }
}
