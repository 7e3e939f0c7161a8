//! Packets: frames with a length and a number, which may be compressed on their way.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use towpath_core::Result;

use crate::errors::{lost, malformed};

/// The longest payload of one frame; a longer one goes on in the next frame.
pub(super) const MAX_FRAME: usize = 0xFF_FFFF;
/// Length and number of a frame.
pub(super) const HEADER: usize = 4;
/// Lengths before and behind compression, and a number.
const COMPRESSED_HEADER: usize = 7;
/// Compressing less than this makes it longer.
const WORTH_COMPRESSING: usize = 64;
/// How much room there is for a read.
const READ: usize = 256 << 10;
/// With less room than this, new room is made.
const SMALL: usize = 32 << 10;

/// Something that bytes go through.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for T {}

/// A connection as packets.
pub(super) struct Wire {
    socket: Box<dyn Socket>,
    /// What came and was not taken yet.
    inbox: BytesMut,
    /// The number of the next frame.
    sequence: u8,
    compression: Option<Compression>,
    received: u64,
}

/// The state of a compressed connection.
#[derive(Default)]
struct Compression {
    /// What came and was not decompressed yet.
    inbox: BytesMut,
    sequence: u8,
}

impl Wire {
    pub(super) fn new(socket: Box<dyn Socket>) -> Self {
        Self { socket, inbox: BytesMut::new(), sequence: 0, compression: None, received: 0 }
    }

    /// The socket, to be wrapped into encryption. Nothing may have come that was not taken.
    pub(super) fn into_socket(self) -> Result<Box<dyn Socket>> {
        // What came before the encryption could be anybody's.
        if self.inbox.is_empty() {
            Ok(self.socket)
        } else {
            Err(malformed("data before the encryption began"))
        }
    }

    /// Goes on behind frames that were numbered already.
    pub(super) fn resume_sequence(&mut self, sequence: u8) {
        self.sequence = sequence;
    }

    pub(super) fn sequence(&self) -> u8 {
        self.sequence
    }

    pub(super) fn compress(&mut self) {
        self.compression = Some(Compression::default());
    }

    /// How many bytes came since it was last asked.
    pub(super) fn take_received(&mut self) -> u64 {
        std::mem::take(&mut self.received)
    }

    /// Begins a command: numbers start again.
    pub(super) async fn command(&mut self, payload: &[u8]) -> Result<()> {
        self.sequence = 0;
        if let Some(compression) = &mut self.compression {
            compression.sequence = 0;
        }
        self.write(payload).await
    }

    /// Sends a packet.
    pub(super) async fn write(&mut self, payload: &[u8]) -> Result<()> {
        let mut rest = payload;
        loop {
            let (now, later) = rest.split_at(rest.len().min(MAX_FRAME));
            self.write_frame(now).await?;
            // A frame of the greatest length says that another one follows, be it empty.
            if now.len() < MAX_FRAME {
                return self.socket.flush().await.map_err(lost);
            }
            rest = later;
        }
    }

    async fn write_frame(&mut self, payload: &[u8]) -> Result<()> {
        let mut frame = Vec::with_capacity(HEADER + payload.len());
        put_length(&mut frame, payload.len());
        frame.push(self.sequence);
        self.sequence = self.sequence.wrapping_add(1);
        frame.extend_from_slice(payload);
        let Some(compression) = &mut self.compression else {
            return self.socket.write_all(&frame).await.map_err(lost);
        };
        for piece in frame.chunks(MAX_FRAME) {
            let packed = compression.pack(piece).map_err(lost)?;
            self.socket.write_all(&packed).await.map_err(lost)?;
        }
        Ok(())
    }

    /// Takes the next packet.
    pub(super) async fn read(&mut self) -> Result<Bytes> {
        let mut whole = self.read_frame().await?;
        if whole.len() < MAX_FRAME {
            return Ok(whole.freeze());
        }
        loop {
            let more = self.read_frame().await?;
            whole.extend_from_slice(&more);
            if more.len() < MAX_FRAME {
                return Ok(whole.freeze());
            }
        }
    }

    async fn read_frame(&mut self) -> Result<BytesMut> {
        loop {
            if let Some(length) = frame_length(&self.inbox)
                && self.inbox.len() >= HEADER + length
            {
                self.sequence = self.inbox[3].wrapping_add(1);
                self.inbox.advance(HEADER);
                return Ok(self.inbox.split_to(length));
            }
            self.fill().await?;
        }
    }

    /// What came so far; whole frames and a part of one more.
    pub(super) fn inbox(&self) -> &[u8] {
        &self.inbox
    }

    /// Takes so many bytes of whole frames, headers included.
    pub(super) fn take(&mut self, length: usize) -> Bytes {
        self.inbox.split_to(length).freeze()
    }

    /// Waits for more to come.
    pub(super) async fn fill(&mut self) -> Result<()> {
        let Self { socket, inbox, compression, received, .. } = self;
        let Some(compression) = compression else {
            *received += receive(socket, inbox).await?;
            return Ok(());
        };
        loop {
            if compression.unpack(inbox)? {
                return Ok(());
            }
            *received += receive(socket, &mut compression.inbox).await?;
        }
    }
}

async fn receive(socket: &mut Box<dyn Socket>, inbox: &mut BytesMut) -> Result<u64> {
    if inbox.capacity() - inbox.len() < SMALL {
        inbox.reserve(READ);
    }
    match socket.read_buf(inbox).await.map_err(lost)? {
        0 => Err(lost(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed it"))),
        count => Ok(count as u64),
    }
}

impl Compression {
    fn pack(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        let mut packed = vec![0; COMPRESSED_HEADER];
        let is_worth_it = piece.len() >= WORTH_COMPRESSING;
        if is_worth_it {
            let mut encoder = ZlibEncoder::new(&mut packed, flate2::Compression::fast());
            encoder.write_all(piece)?;
            encoder.finish()?;
        } else {
            packed.extend_from_slice(piece);
        }
        let mut header = Vec::with_capacity(COMPRESSED_HEADER);
        put_length(&mut header, packed.len() - COMPRESSED_HEADER);
        header.push(self.sequence);
        self.sequence = self.sequence.wrapping_add(1);
        // A length of zero says that it is not compressed.
        put_length(&mut header, if is_worth_it { piece.len() } else { 0 });
        packed[..COMPRESSED_HEADER].copy_from_slice(&header);
        Ok(packed)
    }

    /// Decompresses one piece, if it came whole.
    fn unpack(&mut self, inbox: &mut BytesMut) -> Result<bool> {
        let Some(length) = frame_length(&self.inbox) else { return Ok(false) };
        if self.inbox.len() < COMPRESSED_HEADER + length {
            return Ok(false);
        }
        self.sequence = self.inbox[3].wrapping_add(1);
        let plain = u64::from_le_bytes([self.inbox[4], self.inbox[5], self.inbox[6], 0, 0, 0, 0, 0]);
        self.inbox.advance(COMPRESSED_HEADER);
        let piece = self.inbox.split_to(length);
        if plain == 0 {
            inbox.extend_from_slice(&piece);
            return Ok(true);
        }
        let mut decompressed = Vec::new();
        ZlibDecoder::new(&piece[..])
            .take(plain)
            .read_to_end(&mut decompressed)
            .map_err(|error| malformed("a compressed packet").source(error))?;
        inbox.extend_from_slice(&decompressed);
        Ok(true)
    }
}

fn put_length(target: &mut Vec<u8>, length: usize) {
    let bytes = u32::try_from(length).expect("a frame is shorter than 16 MiB").to_le_bytes();
    target.extend_from_slice(&bytes[..3]);
}

/// The length in the header of a frame, if the header came whole.
pub(super) fn frame_length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..HEADER)?;
    Some(usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn through(compressed: bool, payloads: &[Vec<u8>]) {
        let (left, right) = tokio::io::duplex(64 << 10);
        let (mut sender, mut receiver) = (Wire::new(Box::new(left)), Wire::new(Box::new(right)));
        if compressed {
            sender.compress();
            receiver.compress();
        }
        let writing = async {
            for payload in payloads {
                sender.command(payload).await.unwrap();
            }
        };
        let reading = async {
            for payload in payloads {
                assert!(receiver.read().await.unwrap() == payload[..], "{} bytes changed", payload.len());
            }
        };
        tokio::join!(writing, reading);
        drop(sender);
        assert!(receiver.read().await.unwrap_err().is_retryable());
    }

    #[tokio::test]
    async fn packets_of_every_length_arrive_as_they_were_sent() {
        let payload = |length: usize| (0..=250).cycle().take(length).collect::<Vec<u8>>();
        through(false, &[0, 1, 63, 64, 70_000, MAX_FRAME, MAX_FRAME + 1].map(payload)).await;
        through(true, &[0, 1, 63, 64, 70_000].map(payload)).await;
    }
}
