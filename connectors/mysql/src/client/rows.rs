//! Rows as they came: whole packets of the binary protocol, many in one piece of memory.

use std::borrow::Cow;

use bytes::Bytes;
use towpath_core::Result;

use super::reply::{END, ERROR, ok, server_error};
use super::wire::{HEADER, MAX_FRAME, frame_length};
use super::{Client, State};

/// How many rows are taken at once: as many as either allows, and one at least.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

/// Rows of the binary protocol.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// Frames with their headers.
    bytes: Bytes,
    count: usize,
}

impl Rows {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// How many bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// One packet for each row. Only a row of more than 16 MiB is copied.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (mut frame, mut behind) = frame(rest)?;
            let mut row = Cow::Borrowed(frame);
            while frame.len() == MAX_FRAME {
                (frame, behind) = self::frame(behind)?;
                row.to_mut().extend_from_slice(frame);
            }
            rest = behind;
            Some(row)
        })
    }
}

fn frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = frame_length(bytes)?;
    bytes[HEADER..].split_at_checked(length)
}

/// What a look at the beginning of what came found.
enum Found {
    /// Whole rows, so many bytes and so many of them.
    Rows { bytes: usize, count: usize },
    /// Nothing whole yet, or less than wanted.
    Little,
    /// No further row.
    End,
}

impl Client {
    /// The next rows of the statement that was started; `None` behind the last one. Only so much is taken from the socket
    /// as is asked for, so a slow caller slows the server. It may be dropped and called again.
    pub(crate) async fn next_rows(&mut self, limit: Limit) -> Result<Option<Rows>> {
        let State::Rows { statement } = self.state else { return Ok(None) };
        let mut scan = Scan::default();
        loop {
            match scan.look(self.wire.inbox(), limit) {
                Found::Rows { bytes, count } => {
                    return Ok(Some(Rows { bytes: self.wire.take(bytes), count }));
                }
                Found::End => break,
                Found::Little => {
                    if let Err(error) = self.wire.fill().await {
                        self.state = State::Busy;
                        return Err(error);
                    }
                }
            }
        }
        self.end_rows(statement).await?;
        Ok(None)
    }

    /// How many bytes of rows and answers came since it was last asked.
    pub(crate) fn take_received(&mut self) -> u64 {
        self.wire.take_received()
    }

    /// Takes and drops all rows of a statement that was started, and an error that ends them.
    pub(crate) async fn drop_rows(&mut self) -> Result<()> {
        let limit = Limit { rows: usize::MAX, bytes: 1 << 20 };
        loop {
            match self.next_rows(limit).await {
                Ok(None) => return Ok(()),
                Ok(Some(_)) => {}
                Err(_) if self.state == State::Idle => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    async fn end_rows(&mut self, statement: u32) -> Result<()> {
        self.state = State::Busy;
        let packet = self.wire.read().await?;
        if packet.first() == Some(&ERROR) {
            self.state = State::Idle;
            self.close_statement(statement).await?;
            return Err(server_error(&packet).into());
        }
        let outcome = ok(&packet)?;
        self.end_of_results(outcome).await?;
        self.close_statement(statement).await
    }
}

/// How far what came was looked at.
#[derive(Default)]
struct Scan {
    /// Behind the last frame.
    at: usize,
    /// Behind the last row.
    whole: usize,
    count: usize,
    /// Whether the next frame goes on with the row of the last one.
    continues: bool,
}

impl Scan {
    fn look(&mut self, inbox: &[u8], limit: Limit) -> Found {
        while let Some((frame, _)) = frame(&inbox[self.at..]) {
            if !self.continues && is_end(frame) {
                return if self.count == 0 { Found::End } else { self.found() };
            }
            self.at += HEADER + frame.len();
            self.continues = frame.len() == MAX_FRAME;
            if self.continues {
                continue;
            }
            self.whole = self.at;
            self.count += 1;
            if self.count >= limit.rows || self.whole >= limit.bytes {
                return self.found();
            }
        }
        Found::Little
    }

    fn found(&self) -> Found {
        Found::Rows { bytes: self.whole, count: self.count }
    }
}

/// A row of the binary protocol begins with a zero.
fn is_end(frame: &[u8]) -> bool {
    match frame.first() {
        Some(&END) => frame.len() < MAX_FRAME,
        Some(&ERROR) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for payload in payloads {
            bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes()[..3]);
            bytes.push(0);
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    const MANY: Limit = Limit { rows: usize::MAX, bytes: usize::MAX };

    #[test]
    fn whole_rows_are_found_up_to_the_limit_and_the_end() {
        let inbox = framed(&[b"\0a", b"\0bc", b"\0d", b"\xFE\0\0\x02\0\0\0"]);
        let Found::Rows { bytes, count } = Scan::default().look(&inbox, Limit { rows: 2, ..MANY }) else {
            panic!("two rows are there");
        };
        assert_eq!((bytes, count), (13, 2));
        assert!(matches!(Scan::default().look(&inbox, MANY), Found::Rows { bytes: 19, count: 3 }));
        assert!(matches!(Scan::default().look(&inbox[19..], MANY), Found::End));
        assert!(matches!(Scan::default().look(&inbox[..18], MANY), Found::Little));
        let rows = Rows { bytes: Bytes::from(inbox).slice(..13), count: 2 };
        assert_eq!(rows.iter().collect::<Vec<_>>(), [&b"\0a"[..], b"\0bc"]);
    }

    #[test]
    fn a_row_of_several_frames_is_one_row() {
        let long = vec![0; MAX_FRAME];
        let inbox = framed(&[&long, b"\xFE", b"\0x"]);
        // The second frame begins like an end, and is none.
        let Found::Rows { bytes, count } = Scan::default().look(&inbox, Limit { rows: 1, ..MANY }) else {
            panic!("a row is there");
        };
        assert_eq!((bytes, count), (MAX_FRAME + 2 * HEADER + 1, 1));
        let rows = Rows { bytes: Bytes::from(inbox).slice(..bytes), count };
        assert_eq!(rows.iter().map(|row| row.len()).collect::<Vec<_>>(), [MAX_FRAME + 1]);
    }
}
