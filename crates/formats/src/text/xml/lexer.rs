//! The tags of XML, piece by piece: as much of the grammar as tells where tags, comments and the like end.

use quick_xml::parser::{ElementParser, Parser};
use towpath_core::{Error, Result};

/// The longest name of an element.
const MAX_NAME: usize = 1 << 10;

/// What a tag does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Open(Vec<u8>),
    /// Opens and closes at once.
    Empty(Vec<u8>),
    Close,
}

/// Where the text so far ended.
#[derive(Debug, Default)]
pub(super) struct Lexer(State);

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// Behind `<`, with what followed so far.
    Begun(Vec<u8>),
    Element(Element),
    /// The last bytes of something that ends with these.
    Until {
        end: &'static [u8],
        seen: usize,
    },
}

#[derive(Debug)]
struct Element {
    parser: ElementParser,
    name: Vec<u8>,
    named: bool,
    closes: bool,
    /// Whether the last byte was a slash.
    slash: bool,
}

impl Lexer {
    /// Whether a tag or the like is open.
    pub(super) fn is_within(&self) -> bool {
        !matches!(self.0, State::Text)
    }

    /// Goes on from here to the end of the next tag. Gives the tag, if it ends in the text, and how far it went.
    ///
    /// # Errors
    /// `DataInvalid` for what is no XML.
    pub(super) fn next(&mut self, text: &[u8]) -> Result<(usize, Option<Tag>)> {
        let mut at = 0;
        while at < text.len() {
            match &mut self.0 {
                State::Text => match memchr::memchr(b'<', &text[at..]) {
                    None => return Ok((text.len(), None)),
                    Some(offset) => {
                        at += offset + 1;
                        self.0 = State::Begun(Vec::new());
                    }
                },
                State::Begun(begun) => {
                    begun.push(text[at]);
                    at += 1;
                    if let Some(state) = decide(begun)? {
                        self.0 = state;
                    }
                }
                State::Element(element) => {
                    let (length, ended) = element.feed(&text[at..])?;
                    at += length;
                    if ended {
                        let tag = element.tag();
                        self.0 = State::Text;
                        return Ok((at, Some(tag)));
                    }
                }
                State::Until { end, seen } => {
                    // Of `]]]>` the first bracket may be text.
                    let byte = text[at];
                    at += 1;
                    if byte == end[*seen] {
                        *seen += 1;
                        if *seen == end.len() {
                            self.0 = State::Text;
                        }
                    } else if byte != end[0] {
                        *seen = 0;
                    } else if *seen == 0 || end[*seen - 1] != byte {
                        *seen = 1;
                    }
                }
            }
        }
        Ok((at, None))
    }
}

/// What the bytes behind `<` begin; `None` when more of them are needed.
fn decide(begun: &[u8]) -> Result<Option<State>> {
    const COMMENT: &[u8] = b"!--";
    const CDATA: &[u8] = b"![CDATA[";
    let until = |end| Ok(Some(State::Until { end, seen: 0 }));
    match begun {
        COMMENT => until(b"-->"),
        CDATA => until(b"]]>"),
        [b'?'] => until(b"?>"),
        [b'!', ..] if COMMENT.starts_with(begun) || CDATA.starts_with(begun) => Ok(None),
        [b'!', ..] => Err(Error::data("invalid XML: `<!` begins no comment and no CDATA")),
        [b'/'] => Ok(Some(State::Element(Element::new(true)))),
        [byte] if byte.is_ascii_whitespace() || matches!(byte, b'<' | b'>' | b'=') => {
            Err(Error::data("invalid XML: `<` is not followed by a name"))
        }
        _ => {
            let mut element = Element::new(false);
            element.name.extend_from_slice(begun);
            Ok(Some(State::Element(element)))
        }
    }
}

impl Element {
    fn new(closes: bool) -> Self {
        Self { parser: ElementParser::Outside, name: Vec::new(), named: false, closes, slash: false }
    }

    /// Goes on to the end of the tag. Gives how far, and whether it was there.
    fn feed(&mut self, text: &[u8]) -> Result<(usize, bool)> {
        let end = self.parser.feed(text);
        let inside = &text[..end.unwrap_or(text.len())];
        if !self.named {
            let stop = inside.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'/');
            self.named = stop.is_some();
            self.name.extend_from_slice(&inside[..stop.unwrap_or(inside.len())]);
            if self.name.len() > MAX_NAME {
                return Err(Error::data("invalid XML: the name of an element does not end"));
            }
        }
        if let Some(last) = inside.last() {
            self.slash = *last == b'/';
        }
        Ok((end.map_or(text.len(), |end| end + 1), end.is_some()))
    }

    fn tag(&mut self) -> Tag {
        let name = std::mem::take(&mut self.name);
        match (self.closes, self.slash) {
            (true, _) => Tag::Close,
            (false, true) => Tag::Empty(name),
            (false, false) => Tag::Open(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"<a x='>' y=\"/\"><!-- <b> -- --><![CDATA[ <c> ]]]></a ><?p <d> ?><e f='1'/><g/>";

    fn tags(pieces: impl Iterator<Item = &'static [u8]>) -> Vec<Tag> {
        let (mut lexer, mut tags) = (Lexer::default(), Vec::new());
        for piece in pieces {
            let mut at = 0;
            while at < piece.len() {
                let (length, tag) = lexer.next(&piece[at..]).unwrap();
                at += length;
                tags.extend(tag);
            }
        }
        assert!(!lexer.is_within());
        tags
    }

    #[test]
    fn tags_are_found_however_the_text_is_cut() {
        let expected =
            [Tag::Open(b"a".to_vec()), Tag::Close, Tag::Empty(b"e".to_vec()), Tag::Empty(b"g".to_vec())];
        for length in 1..=TEXT.len() {
            assert_eq!(tags(TEXT.chunks(length)), expected, "pieces of {length} bytes");
        }
    }

    #[test]
    fn what_is_no_xml_is_an_error() {
        for text in [&b"<a><1 < 2>"[..], b"< b>", b"<a><!ENTITY x 'y'>"] {
            let mut lexer = Lexer::default();
            let mut at = 0;
            let failed = loop {
                match lexer.next(&text[at..]) {
                    Err(error) => break error,
                    Ok((length, _)) => at += length,
                }
                if at == text.len() {
                    return;
                }
            };
            assert!(failed.message().starts_with("invalid XML"), "{failed}");
        }
    }
}
