//! The frames of blocks: how many rows, how many bytes, the bytes, and the marker of the file.

use bytes::Bytes;
use towpath_core::{Error, Result};

use crate::Input;

/// The longest number of a frame.
const NUMBER_BYTES: usize = 10;

const MARKER_BYTES: u64 = 16;

/// The most rows of a block. Only rows without any bytes could be more.
const BLOCK_ROWS: u64 = 1 << 28;

/// Whole blocks, one behind the other.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) blocks: Vec<Block>,
    /// The bytes of all of them.
    pub(super) length: u64,
}

/// A block with its frame.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) rows: usize,
    pub(super) bytes: Bytes,
}

impl Run {
    pub(super) fn rows(&self) -> u64 {
        self.blocks.iter().map(|block| block.rows as u64).sum()
    }
}

/// Fetches blocks from an offset on: as many as fit into some bytes, at least one.
///
/// # Errors
/// `DataInvalid` when there is no whole block.
pub(super) async fn fetch(
    input: &dyn Input,
    size: u64,
    at: u64,
    marker: [u8; 16],
    bytes: u64,
) -> Result<Run> {
    let fetched = input.range(at..size.min(at.saturating_add(bytes))).await?;
    let end = at + fetched.len() as u64;
    if let Some(run) = whole_blocks(&fetched, marker)? {
        return Ok(run);
    }
    // The first block is longer.
    let length = first_block(&fetched)?.map(|frame| frame.length);
    let block_end = length.and_then(|length| at.checked_add(length)).filter(|end| *end <= size);
    let block_end =
        block_end.ok_or_else(|| Error::data("the file ends within a block").help("is it complete?"))?;
    let mut block = bytes::BytesMut::from(fetched);
    block.extend_from_slice(&input.range(end..block_end).await?);
    whole_blocks(&block.freeze(), marker)?.ok_or_else(|| Error::data("the block is cut off"))
}

struct Frame {
    rows: usize,
    /// The bytes of the block, with its frame.
    length: u64,
}

fn whole_blocks(bytes: &Bytes, marker: [u8; 16]) -> Result<Option<Run>> {
    let (mut blocks, mut end) = (Vec::new(), 0);
    while let Some(frame) = first_block(&bytes[end..])? {
        let next = usize::try_from(frame.length).ok().and_then(|length| end.checked_add(length));
        let Some(next) = next.filter(|next| *next <= bytes.len()) else { break };
        if bytes[..next].last_chunk() != Some(&marker) {
            return Err(Error::data("the block does not end with the marker of its file"));
        }
        blocks.push(Block { rows: frame.rows, bytes: bytes.slice(end..next) });
        end = next;
    }
    Ok((end > 0).then_some(Run { blocks, length: end as u64 }))
}

/// The frame that bytes begin with, if they hold all of its numbers.
fn first_block(bytes: &[u8]) -> Result<Option<Frame>> {
    let Some((rows, first)) = number(bytes)? else { return Ok(None) };
    let Some((length, second)) = number(&bytes[first..])? else { return Ok(None) };
    let rows = usize::try_from(rows).ok().filter(|_| rows <= BLOCK_ROWS);
    let rows = rows.ok_or_else(|| Error::data("the block would have more rows than any file"))?;
    let too_long = || Error::data("the block would be larger than any file");
    let length = length.checked_add((first + second) as u64 + MARKER_BYTES).ok_or_else(too_long)?;
    Ok(Some(Frame { rows, length }))
}

/// A zigzag number of seven bits a byte, and how many bytes it takes.
fn number(bytes: &[u8]) -> Result<Option<(u64, usize)>> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(NUMBER_BYTES).enumerate() {
        value |=
            u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).unwrap_or(u32::MAX)).unwrap_or(0);
        if byte & 0x80 == 0 {
            if value & 1 == 1 {
                return Err(Error::data("a block has a negative size"));
            }
            return Ok(Some((value >> 1, index + 1)));
        }
    }
    if bytes.len() >= NUMBER_BYTES {
        return Err(Error::data("a block has no readable size"));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryInput;

    const MARKER: [u8; 16] = *b"0123456789abcdef";

    fn block(rows: u8, data: &[u8]) -> Vec<u8> {
        let length = data.len() * 2;
        let length = [u8::try_from(length & 0x7f).unwrap() | 0x80, u8::try_from(length >> 7).unwrap()];
        [&[rows * 2][..], &length, data, &MARKER].concat()
    }

    #[tokio::test]
    async fn as_many_whole_blocks_as_fit_are_a_run() {
        let file = [block(3, &[1; 100]), block(4, &[2; 200]), block(5, &[3; 50])].concat();
        let input = MemoryInput::new("x", file.clone());
        let size = file.len() as u64;
        let run = fetch(&input, size, 0, MARKER, 400).await.unwrap();
        assert_eq!((run.rows(), run.length), (7, 338));
        let run = fetch(&input, size, 338, MARKER, 400).await.unwrap();
        assert_eq!((run.rows(), run.length), (5, 69));
        // A block that is longer than what was asked for comes whole.
        let run = fetch(&input, size, 119, MARKER, 20).await.unwrap();
        assert_eq!((run.rows(), run.length), (4, 219));
    }

    #[tokio::test]
    async fn broken_frames_say_what_is_wrong() {
        let whole = block(3, &[1; 100]);
        let error = async |bytes: &[u8], marker| {
            let input = MemoryInput::new("x", bytes.to_vec());
            fetch(&input, bytes.len() as u64, 0, marker, 400).await.unwrap_err().to_string()
        };
        assert_eq!(error(&whole[..80], MARKER).await, "the file ends within a block; is it complete?");
        assert_eq!(error(&whole[..1], MARKER).await, "the file ends within a block; is it complete?");
        assert_eq!(error(&whole, [0; 16]).await, "the block does not end with the marker of its file");
        assert_eq!(error(&[1, 2, 3], MARKER).await, "a block has a negative size");
        assert_eq!(error(&[0xff; 20], MARKER).await, "a block has no readable size");
    }
}
