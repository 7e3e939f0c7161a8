//! Where bytes go.

use async_trait::async_trait;
use bytes::Bytes;
use towpath_core::Result;

/// A file, an upload or a body that is being written, from its first byte to its last.
#[async_trait]
pub trait Output: Send + 'static {
    /// Appends bytes.
    ///
    /// # Errors
    /// As the connector classifies them.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;
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
