//! The answers of the service, which are XML.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use towpath_core::{Error, Result};

/// Tells the elements of a document as they end: their path, such as `EnumerationResults/NextMarker`, and their text.
pub(crate) fn each(xml: &[u8], mut tell: impl FnMut(&str, &str)) -> Result<()> {
    let broken = |why: &str| Error::unexpected(format!("the store's answer is no XML: {why}"));
    let text = String::from_utf8_lossy(xml);
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let (mut path, mut text, mut is_encoded) = (String::new(), String::new(), false);
    loop {
        match reader.read_event().map_err(|error| broken("it breaks off").source(error))? {
            Event::Start(start) => {
                enter(&mut path, &start);
                is_encoded = encoded(&start);
                text.clear();
            }
            Event::Empty(start) => {
                enter(&mut path, &start);
                tell(&path, "");
                leave(&mut path);
            }
            Event::Text(found) => text.push_str(&found.xml10_content()),
            Event::CData(found) => text.push_str(&found.xml10_content()),
            Event::GeneralRef(reference) => {
                text.push_str(&resolved(&reference).ok_or_else(|| broken("an entity is unknown"))?);
            }
            Event::End(_) => {
                if is_encoded {
                    text = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
                }
                tell(&path, &text);
                leave(&mut path);
                text.clear();
                is_encoded = false;
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

fn enter(path: &mut String, start: &BytesStart<'_>) {
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(start.name().as_ref());
}

fn leave(path: &mut String) {
    path.truncate(path.rfind('/').unwrap_or_default());
}

/// Whether the text is percent-encoded: names are that hold what XML cannot.
fn encoded(start: &BytesStart<'_>) -> bool {
    let attribute = start.try_get_attribute("Encoded").ok().flatten();
    attribute.is_some_and(|attribute| &*attribute.value == "true")
}

fn resolved(reference: &BytesRef<'_>) -> Option<String> {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Some(character.to_string());
    }
    resolve_predefined_entity(reference).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_told_with_their_paths_and_whole_texts() {
        let xml = b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<A Of=\"x\"> <B><N> a&amp;b&#x41; </N><E/></B><N Encoded=\"true\">%EF%BF%BE!</N></A>";
        let mut told = Vec::new();
        each(xml, |path, text| told.push(format!("{path}={text}"))).unwrap();
        assert_eq!(told, ["A/B/N= a&bA ", "A/B/E=", "A/B=", "A/N=\u{fffe}!", "A="]);
        assert!(each(b"<A><B></A>", |_, _| {}).is_err());
    }
}
