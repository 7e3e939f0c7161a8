//! Inputs of unknown length, such as the bodies of HTTP, which have no end to begin with.

use std::sync::Arc;

use futures::TryStreamExt;
use towpath_core::{ByteSize, Error, Result};

use crate::{Input, MemoryInput};

/// What is read into memory at most.
const LIMIT: ByteSize = ByteSize::mib(1 << 10);

/// An input with a length: this one, or what it holds in memory.
///
/// # Errors
/// `Unsupported` when it is too large to be held in memory.
pub(super) async fn sized(input: Arc<dyn Input>) -> Result<(Arc<dyn Input>, u64)> {
    if let Some(size) = input.size() {
        return Ok((input, size));
    }
    let bytes = collect(&*input, LIMIT).await?;
    let size = bytes.len() as u64;
    Ok((Arc::new(MemoryInput::new(input.name(), bytes)), size))
}

async fn collect(input: &dyn Input, limit: ByteSize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut stream = input.stream(0).await?;
    while let Some(chunk) = stream.try_next().await? {
        if (bytes.len() + chunk.len()) as u64 > limit.bytes() {
            return Err(Error::unsupported(format!(
                "it has no known length and more than {limit}, too much to be held in memory"
            ))
            .detail("input", input.name())
            .help("download it to a file first"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_large_for_memory_says_so() {
        let input = MemoryInput::new("http://x/big.parquet", vec![0; 3 << 20]);
        assert_eq!(collect(&input, ByteSize::mib(3)).await.unwrap().len(), 3 << 20);
        let error = collect(&input, ByteSize::mib(2)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "it has no known length and more than 2MiB, too much to be held in memory (input: \
             http://x/big.parquet); download it to a file first"
        );
    }
}
