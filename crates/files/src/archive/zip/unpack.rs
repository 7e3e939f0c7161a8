//! The bytes of an entry, checked against what the table of the zip claims.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use rawzip::Crc32;
use towpath_core::{Context, Error, Result};
use towpath_formats::{ByteStream, Unpacker};

/// What the table claims of an entry.
#[derive(Debug, Clone, Copy)]
pub(in crate::archive) struct Claim {
    pub(in crate::archive) size: u64,
    pub(in crate::archive) crc: u32,
    /// How many bytes it has in the archive.
    pub(in crate::archive) compressed: u64,
}

/// What has come of an entry.
struct Check {
    claim: Claim,
    size: u64,
    crc: Crc32,
}

impl Check {
    fn new(claim: Claim) -> Self {
        Self { claim, size: 0, crc: Crc32::new() }
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.size += bytes.len() as u64;
        self.crc.update(bytes);
        if self.size <= self.claim.size {
            return Ok(());
        }
        Err(Error::data(format!(
            "the entry becomes more than the {} bytes that the table of the zip tells",
            self.claim.size
        ))
        .help("the archive is broken, or made to do harm; write it anew"))
    }

    fn is_full(&self) -> bool {
        self.size >= self.claim.size
    }

    /// Whether all of it is what it should be.
    fn finish(&self) -> Result<()> {
        let help = "the archive is damaged: get it again";
        let Claim { size, crc, .. } = self.claim;
        if self.size != size {
            let message =
                format!("the entry has {} bytes instead of the {size} that the table tells", self.size);
            return Err(Error::data(message).help(help));
        }
        let found = self.crc.checksum();
        if found != crc {
            let message = format!("the CRC-32 of the entry is {found:08x} instead of {crc:08x}");
            return Err(Error::data(message).help(help));
        }
        Ok(())
    }
}

/// Bytes that are stored as they are. The last ones come only when all are what they should be.
pub(in crate::archive) fn checked(raw: ByteStream, claim: Claim) -> ByteStream {
    let checks =
        stream::try_unfold((raw, Check::new(claim), false), |(mut raw, mut check, over)| async move {
            if over {
                return Ok(None);
            }
            let Some(bytes) = raw.try_next().await? else {
                check.finish()?;
                return Ok(None);
            };
            check.add(&bytes)?;
            let is_last = check.is_full();
            if is_last {
                check.finish()?;
            }
            Ok(Some((bytes, (raw, check, is_last))))
        });
    checks.boxed()
}

/// What becomes of compressed bytes, without the first ones. The last ones come only when all are what they should be.
pub(in crate::archive) fn unpacked(
    cx: &Context,
    raw: ByteStream,
    unpacker: Unpacker,
    claim: Claim,
    skip: u64,
) -> ByteStream {
    let state = Unpacking {
        cx: cx.clone(),
        raw,
        unpacker: Some(unpacker),
        pending: Bytes::new(),
        taken: 0,
        check: Check::new(claim),
        skip,
        raw_is_over: false,
    };
    stream::try_unfold(state, |mut state| async move { Ok(state.next().await?.map(|bytes| (bytes, state))) })
        .boxed()
}

struct Unpacking {
    cx: Context,
    raw: ByteStream,
    /// `None` when everything has come.
    unpacker: Option<Unpacker>,
    pending: Bytes,
    /// How many compressed bytes were taken.
    taken: u64,
    check: Check,
    /// How many bytes are still left out.
    skip: u64,
    raw_is_over: bool,
}

impl Unpacking {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(unpacker) = self.unpacker.take() {
            self.cx.cancellation().check()?;
            if self.pending.is_empty() && !self.raw_is_over {
                match self.raw.try_next().await? {
                    Some(bytes) => self.pending = bytes,
                    None => self.raw_is_over = true,
                }
            }
            let bytes = self.step(unpacker).await?;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Unpacks some of what is pending, off the event loop.
    async fn step(&mut self, mut unpacker: Unpacker) -> Result<Bytes> {
        let pending = std::mem::take(&mut self.pending);
        let job = self.cx.cpu(move || {
            let mut output = Vec::new();
            let taken = unpacker.push(&pending, &mut output)?;
            Ok((unpacker, pending.slice(taken..), taken, output))
        });
        let (unpacker, pending, taken, output) = job.await?;
        let is_stuck = taken == 0 && output.is_empty();
        self.pending = pending;
        self.taken += taken as u64;
        self.check.add(&output)?;
        if unpacker.has_ended() {
            self.finish()?;
        } else if is_stuck && (self.raw_is_over || !self.pending.is_empty()) {
            return Err(Error::data("the entry ends in the middle of its compressed data")
                .help("the archive is damaged: get it again"));
        } else {
            self.unpacker = Some(unpacker);
        }
        let mut bytes = Bytes::from(output);
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= skipped as u64;
        Ok(bytes.split_off(skipped))
    }

    fn finish(&self) -> Result<()> {
        let behind = self.check.claim.compressed.saturating_sub(self.taken);
        if behind > 0 {
            return Err(Error::data(format!("{behind} bytes follow the compressed data of the entry"))
                .help("the archive is damaged: get it again"));
        }
        self.check.finish()
    }
}
