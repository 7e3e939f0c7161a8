//! Where bytes go.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use towpath_core::Result;

use crate::Input;

/// A file, an upload or a body that is being written, from its first byte to its last.
#[async_trait]
pub trait Output: Send + 'static {
    /// Appends bytes.
    ///
    /// # Errors
    /// As the connector classifies them.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Whether [`copy`](Self::copy) takes bytes of this input without reading them into memory.
    fn copies(&self, _input: &dyn Input) -> bool {
        false
    }

    /// Appends these bytes of an input. By default they are read and written.
    ///
    /// # Errors
    /// Of the input; as the connector classifies them.
    async fn copy(&mut self, input: &dyn Input, range: Range<u64>) -> Result<()> {
        self.write(input.range(range).await?).await
    }
}

/// Bytes in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryOutput {
    bytes: Vec<u8>,
}

impl MemoryOutput {
    /// What was written.
    pub fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }
}

#[async_trait]
impl Output for MemoryOutput {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }
}
