//! The rows of `COPY`, which come and go below the driver.
//!
//! The driver makes a message of each row that comes, which costs more than to decode it. So what comes from the server is
//! looked through here: rows are put aside by many at once, and everything else goes on to the driver. Rows for the server
//! would be copied into the driver's own buffer. They are messages already, and go past it.
//! The form of messages: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};
use tokio_util::io::poll_read_buf;

/// How much is read at once, and how many bytes of rows are put aside together.
const PIECE: usize = 128 << 10;
/// Nothing more is read while so many bytes of rows wait for their reader.
const WAITING: usize = 4 * PIECE;
/// What a message begins with that holds rows.
const COPY_DATA: u8 = b'd';
/// What stands in front of each message: its kind, and its length without the kind.
const HEAD: usize = 5;

/// Rows that came: whole messages, one behind the other, each with its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frames {
    bytes: Bytes,
    count: usize,
}

impl Frames {
    /// How many messages.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// How many bytes the messages hold.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - HEAD * self.count
    }

    /// What the messages hold.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.bytes;
        std::iter::from_fn(move || {
            let (message, behind) = rest.split_at_checked(message_length(rest)?)?;
            rest = behind;
            Some(&message[HEAD..])
        })
    }

    /// Messages with rows, one behind the other. `None` when they are not whole, or others.
    #[cfg(test)]
    pub(crate) fn whole(bytes: Bytes) -> Option<Self> {
        let (mut rest, mut count) = (&*bytes, 0);
        while !rest.is_empty() {
            (_, rest) = rest.split_at_checked(message_length(rest).filter(|_| rest[0] == COPY_DATA)?)?;
            count += 1;
        }
        Some(Self { bytes, count })
    }

    /// The first message, and those behind it.
    pub(crate) fn split_first(mut self) -> Option<(Bytes, Self)> {
        let length = message_length(&self.bytes)?;
        let first = self.bytes.split_to(length).slice(HEAD..);
        Some((first, Self { bytes: self.bytes, count: self.count - 1 }))
    }

    /// Splits off the messages behind the first ones: so many that hold `bytes`, or `count` of them.
    pub(crate) fn split_behind(&mut self, bytes: usize, count: usize) -> Option<Self> {
        if self.len() <= bytes && self.count <= count {
            return None;
        }
        let (mut end, mut taken) = (0, 0);
        while taken < count.max(1) && end < bytes + HEAD * taken || taken == 0 {
            let Some(length) = message_length(&self.bytes[end..]) else { break };
            end += length;
            taken += 1;
        }
        let behind = Self { bytes: self.bytes.split_off(end), count: self.count - taken };
        self.count = taken;
        (behind.count > 0).then_some(behind)
    }
}

/// Leaves room for the head of a message that begins here, and tells where it begins.
pub(crate) fn begin_message(buffer: &mut Vec<u8>) -> usize {
    let begin = buffer.len();
    buffer.extend_from_slice(&[COPY_DATA, 0, 0, 0, 0]);
    begin
}

/// Ends the message that began there. It must be one that the server takes: less than 1 GiB.
pub(crate) fn end_message(buffer: &mut [u8], begin: usize) {
    let length = u32::try_from(buffer.len() - begin - 1).expect("rows of 1 GiB are refused");
    buffer[begin + 1..begin + HEAD].copy_from_slice(&length.to_be_bytes());
}

/// One message.
impl From<&[u8]> for Frames {
    fn from(message: &[u8]) -> Self {
        let length = u32::try_from(message.len() + HEAD - 1).unwrap_or(u32::MAX);
        Self { bytes: [&[COPY_DATA], &length.to_be_bytes()[..], message].concat().into(), count: 1 }
    }
}

/// How long the message is that begins here, with its head. `None` when the head is not whole.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(1..HEAD)?.try_into().map(u32::from_be_bytes).ok()?;
    Some(1 + length as usize)
}

/// Where rows wait: those that came for their reader, and those that go for their connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aside(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Frames>,
    bytes: usize,
    /// Whole messages, or what is left of them.
    leaving: Bytes,
}

impl Aside {
    /// The rows that came first.
    pub(crate) fn take(&self) -> Option<Frames> {
        let mut waiting = self.waiting();
        let frames = waiting.frames.pop_front()?;
        waiting.bytes -= frames.bytes.len();
        Some(frames)
    }

    /// Puts rows behind the others.
    pub(crate) fn put(&self, frames: Frames) {
        let mut waiting = self.waiting();
        waiting.bytes += frames.bytes.len();
        waiting.frames.push_back(frames);
    }

    /// Lets messages go to the server, before anything that the driver sends from now on. One call at a time.
    pub(crate) fn send(&self, messages: Bytes) {
        self.waiting().leaving = messages;
    }

    /// Whether all of them went.
    pub(crate) fn is_sent(&self) -> bool {
        self.waiting().leaving.is_empty()
    }

    fn is_full(&self) -> bool {
        self.waiting().bytes >= WAITING
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection whose rows are put aside.
pub(crate) struct Wire<S> {
    inner: S,
    aside: Aside,
    /// What came and went nowhere yet.
    buffer: BytesMut,
    /// How much of it is whole messages with rows, and how many.
    rows: usize,
    count: usize,
    /// How much of the message under way is still to go to the driver.
    passing: usize,
}

impl<S> Wire<S> {
    /// Messages come from the beginning.
    pub(crate) fn new(inner: S, aside: Aside) -> Self {
        Self { inner, aside, buffer: BytesMut::new(), rows: 0, count: 0, passing: 0 }
    }

    /// One byte comes before the first message: whether the server encrypts.
    pub(crate) fn behind_an_answer(inner: S, aside: Aside) -> Self {
        Self { passing: 1, ..Self::new(inner, aside) }
    }

    /// What is below, for whoever encrypts it.
    ///
    /// # Errors
    /// When something has come already: it would pass for encrypted, and was not.
    pub(crate) fn into_parts(self) -> io::Result<(S, Aside)> {
        if self.buffer.is_empty() {
            Ok((self.inner, self.aside))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the server sent more before it encrypted"))
        }
    }

    /// Looks through what came, up to a message for the driver or one that is not whole.
    fn look_through(&mut self) -> io::Result<()> {
        while self.passing == 0 {
            let rest = &self.buffer[self.rows..];
            let Some(length) = message_length(rest) else { return Ok(()) };
            if length < HEAD {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is shorter than its head"));
            }
            if rest[0] != COPY_DATA {
                self.put_aside();
                self.passing = length;
            } else if rest.len() >= length {
                self.rows += length;
                self.count += 1;
            } else {
                return Ok(());
            }
        }
        Ok(())
    }

    fn put_aside(&mut self) {
        if self.count > 0 {
            let bytes = self.buffer.split_to(std::mem::take(&mut self.rows)).freeze();
            self.aside.put(Frames { bytes, count: std::mem::take(&mut self.count) });
        }
    }

    /// Hands over what is for the driver, as much as there is and as it has room for.
    fn pass(&mut self, driver: &mut ReadBuf<'_>) {
        let length = self.passing.min(self.buffer.len()).min(driver.remaining());
        driver.put_slice(&self.buffer[..length]);
        self.buffer.advance(length);
        self.passing -= length;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        driver: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            this.look_through()?;
            if this.passing > 0 && !this.buffer.is_empty() {
                this.pass(driver);
                return Poll::Ready(Ok(()));
            }
            if this.rows >= PIECE {
                this.put_aside();
                if this.aside.is_full() {
                    // Whoever reads the rows asks again. Nobody else needs to be woken.
                    return Poll::Pending;
                }
            }
            if this.buffer.capacity() - this.buffer.len() < PIECE / 4 {
                this.buffer.reserve(PIECE);
            }
            let Poll::Ready(read) = poll_read_buf(Pin::new(&mut this.inner), cx, &mut this.buffer) else {
                this.put_aside();
                return Poll::Pending;
            };
            if read? == 0 {
                this.put_aside();
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Sends the rows that are to go, if there are.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.aside.waiting();
        while !waiting.leaving.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &waiting.leaving))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => waiting.leaving.advance(sent),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Wire<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn message(kind: u8, text: &[u8]) -> Vec<u8> {
        [&[kind], &u32::try_from(text.len() + 4).unwrap().to_be_bytes()[..], text].concat()
    }

    fn connection() -> (DuplexStream, Wire<DuplexStream>, Aside) {
        let (server, client) = duplex(1 << 20);
        let aside = Aside::default();
        (server, Wire::new(client, aside.clone()), aside)
    }

    fn taken(aside: &Aside) -> Vec<Vec<u8>> {
        let frames = std::iter::from_fn(|| aside.take());
        frames.flat_map(|frames| frames.messages().map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
    }

    #[tokio::test]
    async fn rows_are_put_aside_and_everything_else_goes_to_the_driver() {
        let (mut server, mut wire, aside) = connection();
        let (begin, end) = (message(b'H', b"two columns"), message(b'c', b""));
        let sent =
            [begin.clone(), message(b'd', b"one"), message(b'd', b""), end.clone(), message(b'd', b"two")];
        // However it is cut into pieces.
        for byte in sent.concat() {
            server.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(server);
        let mut passed = Vec::new();
        wire.read_to_end(&mut passed).await.unwrap();
        assert_eq!(passed, [begin, end].concat());
        assert_eq!(taken(&aside), [&b"one"[..], b"", b"two"]);
    }

    #[tokio::test]
    async fn a_row_may_be_larger_than_what_is_read_at_once() {
        let (mut server, mut wire, aside) = connection();
        let large = vec![7; 5 * PIECE];
        let sent = [message(b'd', &large), message(b'Z', b"I")].concat();
        server.write_all(&sent).await.unwrap();
        let mut passed = [0; 6];
        wire.read_exact(&mut passed).await.unwrap();
        assert_eq!(passed[..], message(b'Z', b"I"));
        assert_eq!(taken(&aside), [large]);
    }

    #[tokio::test]
    async fn no_more_is_read_than_somebody_takes() {
        let (mut server, mut wire, aside) = connection();
        let row = message(b'd', &[1; 1000]);
        let rows = 2 * WAITING / row.len();
        server.write_all(&row.repeat(rows)).await.unwrap();
        drop(server);
        let mut passed = [0];
        let mut reading = std::pin::pin!(wire.read(&mut passed));
        assert!(futures::poll!(reading.as_mut()).is_pending());
        let first = taken(&aside).len();
        assert!(first >= WAITING / row.len() - 1 && first < rows, "{first} of {rows}");
        while reading.as_mut().now_or_never().is_none() {
            assert!(!taken(&aside).is_empty());
        }
        assert!(first + taken(&aside).len() <= rows);
    }

    #[tokio::test]
    async fn rows_for_the_server_go_before_what_the_driver_sends_behind_them() {
        let (mut server, mut wire, aside) = connection();
        wire.write_all(b"copy").await.unwrap();
        aside.send(Bytes::from_static(b" rows"));
        assert!(!aside.is_sent());
        wire.write_all(b" done").await.unwrap();
        assert!(aside.is_sent());
        aside.send(Bytes::from_static(b" more"));
        wire.flush().await.unwrap();
        drop(wire);
        let mut sent = String::new();
        server.read_to_string(&mut sent).await.unwrap();
        assert_eq!(sent, "copy rows done more");
    }

    #[tokio::test]
    async fn rows_that_the_server_does_not_take_yet_are_sent_later() {
        let (mut server, client) = duplex(8);
        let aside = Aside::default();
        let mut wire = Wire::new(client, aside.clone());
        aside.send(Bytes::from_static(b"more than fits at once"));
        assert!(wire.flush().now_or_never().is_none());
        assert!(!aside.is_sent());
        let mut sent = [0; 22];
        let (_, flushed) = tokio::join!(server.read_exact(&mut sent), wire.flush());
        flushed.unwrap();
        assert_eq!(&sent, b"more than fits at once");
        assert!(aside.is_sent());
    }

    #[test]
    fn a_message_tells_its_length() {
        let mut buffer = b"before".to_vec();
        let begin = begin_message(&mut buffer);
        buffer.extend_from_slice(b"rows");
        end_message(&mut buffer, begin);
        assert_eq!(buffer, [&b"before"[..], &message(b'd', b"rows")].concat());
    }

    #[tokio::test]
    async fn the_answer_whether_the_server_encrypts_is_no_message() {
        let (mut server, client) = duplex(64);
        let mut wire = Wire::behind_an_answer(client, Aside::default());
        server.write_all(b"S").await.unwrap();
        assert_eq!(wire.read_u8().await.unwrap(), b'S');
        let (mut below, _) = wire.into_parts().unwrap();
        server.write_all(b"hello").await.unwrap();
        assert_eq!(below.read_u8().await.unwrap(), b'h');
    }

    #[tokio::test]
    async fn what_comes_before_encryption_does_not_pass_for_encrypted() {
        let (mut server, client) = duplex(64);
        let mut wire = Wire::behind_an_answer(client, Aside::default());
        server.write_all(b"Sdforged").await.unwrap();
        assert_eq!(wire.read_u8().await.unwrap(), b'S');
        assert!(wire.into_parts().is_err());
    }

    #[tokio::test]
    async fn a_message_without_room_for_its_length_is_an_error() {
        let (mut server, mut wire, _) = connection();
        server.write_all(&[b'd', 0, 0, 0, 3]).await.unwrap();
        let error = wire.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn messages_are_split_where_a_batch_is_full() {
        let bytes: Bytes =
            [message(b'd', b"one"), message(b'd', b"two"), message(b'd', b"three")].concat().into();
        let all = Frames { bytes, count: 3 };
        let split = |bytes, count| {
            let mut first = all.clone();
            let behind = first.split_behind(bytes, count);
            (first.count(), behind.map_or(0, |behind| behind.count()))
        };
        assert_eq!(split(100, 100), (3, 0));
        assert_eq!(split(100, 2), (2, 1));
        assert_eq!(split(4, 100), (2, 1));
        assert_eq!(split(3, 100), (1, 2));
        assert_eq!(split(1, 100), (1, 2));
        let (first, behind) = all.split_first().unwrap();
        assert_eq!((&first[..], behind.messages().next().unwrap()), (&b"one"[..], &b"two"[..]));
    }
}
