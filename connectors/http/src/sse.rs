//! `text/event-stream`: bytes to events, as the standard of the web has it.

use std::time::Duration;

use towpath_core::{ByteSize, Error, Result};

/// The longest event.
const LONGEST: usize = 64 << 20;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// What to tell a server to go on behind it; it stays the same until an event brings another.
    pub(crate) id: Option<String>,
    /// Its kind; `message` where it has none.
    pub(crate) kind: String,
    pub(crate) data: String,
}

/// Takes events out of bytes, however these are cut.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    /// Whether a line feed would belong to the line before.
    after_return: bool,
    /// Whether the first line is behind us, which may begin with a byte order mark.
    begun: bool,
    id: Option<String>,
    /// The id as of the last event that ended.
    last_id: Option<String>,
    event: String,
    data: String,
    has_data: bool,
    /// How long the server wants us to wait before we connect again.
    pub(crate) retry: Option<Duration>,
}

impl Parser {
    /// Behind the event with this id.
    pub(crate) fn behind(id: Option<String>) -> Self {
        Self { last_id: id.clone(), id, ..Self::default() }
    }

    /// For the next connection: what had begun on this one will come again.
    pub(crate) fn again(&self) -> Self {
        Self { retry: self.retry, ..Self::behind(self.last_id.clone()) }
    }

    /// The id of the last event.
    pub(crate) fn id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// The events that end in these bytes.
    ///
    /// # Errors
    /// `DataInvalid` for an event that never ends.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_return) {
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.line.extend_from_slice(bytes);
                break;
            };
            self.line.extend_from_slice(&bytes[..end]);
            self.after_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            events.extend(self.take(&line));
        }
        if self.line.len() + self.data.len() > LONGEST {
            let most = ByteSize::new(LONGEST as u64);
            return Err(Error::data(format!("an event has more than {most}")).help("is it an event stream?"));
        }
        Ok(events)
    }

    /// Takes a line. An empty one ends an event.
    fn take(&mut self, line: &[u8]) -> Option<Event> {
        let is_first = !std::mem::replace(&mut self.begun, true);
        let line = if is_first { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
        if line.is_empty() {
            return self.end();
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()).filter(|id| !id.is_empty()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis);
            }
            // A comment, or a field that nobody knows.
            _ => {}
        }
        None
    }

    fn end(&mut self) -> Option<Event> {
        self.last_id.clone_from(&self.id);
        let (event, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
        let has_data = std::mem::take(&mut self.has_data);
        let event = if event.is_empty() { "message".to_owned() } else { event };
        has_data.then(|| Event { id: self.id.clone(), kind: event, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}: hello\n\ndata: one\nid: 1\n\nevent: add\r\ndata:two\r\ndata:  lines\r\n\r\n\
                          retry: 250\revent: none\r\rid\ndata\n\nid: a\0b\nretry: x\nnonsense: 1\ndata: last\n\ndata: cut";

    fn events(pieces: impl Iterator<Item = &'static [u8]>) -> (Vec<Event>, Parser) {
        let mut parser = Parser::default();
        let events = pieces.flat_map(|piece| parser.push(piece).unwrap()).collect();
        (events, parser)
    }

    fn event(id: Option<&str>, event: &str, data: &str) -> Event {
        Event { id: id.map(str::to_owned), kind: event.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let expected = [
            event(Some("1"), "message", "one"),
            event(Some("1"), "add", "two\n lines"),
            event(None, "message", ""),
            event(None, "message", "last"),
        ];
        for length in 1..=STREAM.len() {
            let (found, parser) = events(STREAM.as_bytes().chunks(length));
            assert_eq!(found, expected, "pieces of {length} bytes");
            assert_eq!(parser.retry, Some(Duration::from_millis(250)));
        }
    }

    #[test]
    fn an_event_that_never_ends_is_an_error() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        let error = (0..100).find_map(|_| parser.push(&piece).err()).unwrap();
        assert_eq!(error.message(), "an event has more than 64MiB");
    }
}
