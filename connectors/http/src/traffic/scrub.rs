//! Takes secrets out of bytes, also where they come in pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use towpath_core::Json;
use url::form_urlencoded;

use super::digest;
use crate::redact::{HIDDEN, Redactor, is_word};

/// How long a piece of a body is, about.
const PIECE: usize = 64 << 10;

/// No name of a parameter with what is before it is longer than this.
const LONGEST_NAME: usize = 128;

/// How long a value is of which a few digits of a digest tell nothing.
const LONG_ENOUGH: usize = 12;

/// How many letters a mark has between its stars.
const MARK: usize = 6;

/// No mark before a parameter is longer than this.
const LONGEST_MARK: usize = 6;

/// Knows what must not be kept, in all of its spellings.
pub(super) struct Scrubber {
    redactor: Redactor,
    /// The longest first: one may be a part of another. Each with what stands in its place.
    secrets: Vec<(Vec<u8>, Vec<u8>)>,
    /// How many bytes at the end of a piece may be the beginning of a secret.
    hold: usize,
}

impl Scrubber {
    pub(super) fn new(redactor: Redactor) -> Self {
        let spellings: BTreeSet<Vec<u8>> = redactor.values().flat_map(spellings).collect();
        let mut secrets: BTreeMap<_, _> =
            spellings.into_iter().map(|secret| (secret.clone(), instead(&secret))).collect();
        for (mark, value) in marks(&redactor) {
            secrets.entry(value).or_insert(mark);
        }
        let mut secrets: Vec<_> = secrets.into_iter().collect();
        secrets.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
        let hold = secrets.first().map_or(0, |(secret, _)| secret.len() + 1).max(LONGEST_NAME);
        Self { redactor, secrets, hold }
    }

    pub(super) fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    pub(super) fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.scrub(bytes, true).0
    }

    /// The bytes without secrets, and how many of these are settled, whatever follows.
    fn scrub(&self, bytes: &[u8], is_last: bool) -> (Vec<u8>, usize) {
        let mut bytes = bytes.to_vec();
        for (secret, instead) in &self.secrets {
            if memchr::memmem::find(&bytes, secret).is_some() {
                bytes = replace(&bytes, secret, instead);
            }
        }
        let (bytes, open) = self.parameters(&bytes, is_last);
        let settled = if is_last { bytes.len() } else { open.min(bytes.len().saturating_sub(self.hold)) };
        (bytes, settled)
    }

    /// Hides the values of secret parameters in URLs: `?token=...`, `&amp;sig=...`. Also gives where one begins whose end
    /// is not there yet.
    fn parameters(&self, bytes: &[u8], is_last: bool) -> (Vec<u8>, usize) {
        let mut out = Vec::with_capacity(bytes.len());
        let mut done = 0;
        for equals in memchr::memchr_iter(b'=', bytes) {
            let Some(begin) = name_before(bytes, done, equals) else { continue };
            let Ok(name) = std::str::from_utf8(&bytes[begin..equals]) else { continue };
            if !self.redactor.is_secret(name) {
                continue;
            }
            let value = &bytes[equals + 1..];
            let Some(length) =
                value.iter().position(|byte| ends_value(*byte)).or(is_last.then_some(value.len()))
            else {
                out.extend_from_slice(&bytes[done..]);
                // With what is before it, by which it is known.
                let open = (out.len() - (bytes.len() - begin)).saturating_sub(LONGEST_MARK);
                return (out, open);
            };
            out.extend_from_slice(&bytes[done..=equals]);
            out.extend(hidden(&value[..length]));
            done = equals + 1 + length;
        }
        out.extend_from_slice(&bytes[done..]);
        let open = out.len();
        (out, open)
    }
}

/// A secret as it stands in texts, URLs, forms and JSON.
fn spellings(secret: &str) -> Vec<Vec<u8>> {
    if is_word(secret) {
        // JSON would be broken without them.
        return Vec::new();
    }
    let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let url = form.replace('+', "%20");
    let json = Json::String(secret.to_owned()).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let slashes = json.replace('/', "\\/");
    let lower = url.to_ascii_lowercase();
    let all = [secret.to_owned(), form, url, json, slashes];
    let lower = Some(lower).filter(|_| secret.to_ascii_lowercase() == secret);
    all.into_iter().chain(lower).map(String::into_bytes).collect()
}

/// What stands in the place of values from outside, and is replaced by those of the run that replays: they may be parts of URLs
/// and of dates, by which it goes on.
pub(super) fn marks(redactor: &Redactor) -> Vec<(Vec<u8>, Vec<u8>)> {
    let of_value = |(name, value): (&str, &str)| {
        let spellings = spellings(value).into_iter().enumerate();
        spellings.map(|(number, spelling)| (mark(name, number), spelling)).collect::<Vec<_>>()
    };
    redactor.outside().flat_map(of_value).collect()
}

/// The same for the same name, in each run. Without vowels, so that no word is a part of it.
fn mark(name: &str, spelling: usize) -> Vec<u8> {
    const LETTERS: &[u8] = b"bcdfghjkmnpqrstvwxyz";
    let digest = digest([format!("{name}\0{spelling}").into_bytes()]);
    let letters = digest.bytes().take(MARK).map(|byte| LETTERS[usize::from(byte) % LETTERS.len()]);
    [HIDDEN.bytes().collect(), letters.collect::<Vec<_>>(), HIDDEN.bytes().collect()].concat()
}

/// What stands in the place of a secret: JSON stays JSON, also where that is a number.
fn instead(secret: &[u8]) -> Vec<u8> {
    if is_number(secret) { vec![b'9'; secret.len()] } else { HIDDEN.as_bytes().to_vec() }
}

fn is_number(secret: &[u8]) -> bool {
    secret.iter().all(u8::is_ascii_digit)
}

pub(super) fn replace(bytes: &[u8], secret: &[u8], instead: &[u8]) -> Vec<u8> {
    // A number within a longer one is another number.
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let other = |at: usize| is_number(secret) && (digit(at.checked_sub(1)) || digit(Some(at + secret.len())));
    let mut out = Vec::with_capacity(bytes.len());
    let mut done = 0;
    for at in memchr::memmem::find_iter(bytes, secret).filter(|at| !other(*at)) {
        out.extend_from_slice(&bytes[done..at]);
        out.extend_from_slice(instead);
        done = at + secret.len();
    }
    out.extend_from_slice(&bytes[done..]);
    out
}

/// What stands in the place of a parameter's value. Different ones stay different, as a chain of pages must not come back
/// to where it was.
fn hidden(value: &[u8]) -> Vec<u8> {
    if value.is_empty() || value.starts_with(HIDDEN.as_bytes()) {
        return value.to_vec();
    }
    let mut hidden = HIDDEN.as_bytes().to_vec();
    // A short one could be guessed from it.
    if value.len() >= LONG_ENOUGH {
        hidden.extend_from_slice(&digest([value.to_vec()]).as_bytes()[..6]);
    }
    hidden
}

/// Where the name of a parameter begins that ends here, if it is one.
fn name_before(bytes: &[u8], from: usize, end: usize) -> Option<usize> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let from = from.max(end.saturating_sub(LONGEST_NAME));
    let begin = bytes[from..end].iter().rposition(|byte| !is_name(*byte))? + from + 1;
    let before = &bytes[..begin];
    if before.ends_with(b"\\") && bytes[begin..end].starts_with(b"u0026") {
        return Some(begin + 5);
    }
    [&b"?"[..], b"&", b"&amp;"].iter().any(|mark| before.ends_with(mark)).then_some(begin)
}

fn ends_value(byte: u8) -> bool {
    byte <= b' '
        || matches!(byte, b'&' | b'"' | b'\'' | b'<' | b'>' | b'\\' | b'#' | b')' | b']' | b'}' | b',')
}

/// A body on its way, in pieces without secrets.
pub(super) struct Pieces {
    scrubber: Arc<Scrubber>,
    buffer: Vec<u8>,
    /// Whether what comes belongs to a parameter that is hidden already.
    hides: bool,
}

impl Pieces {
    pub(super) fn new(scrubber: Arc<Scrubber>) -> Self {
        Self { scrubber, buffer: Vec::new(), hides: false }
    }

    /// Takes bytes, and gives a piece if there are enough.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = bytes;
        if self.hides {
            let end = bytes.iter().position(|byte| ends_value(*byte))?;
            self.hides = false;
            bytes = &bytes[end..];
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < PIECE + self.scrubber.hold {
            return None;
        }
        let (mut piece, settled) = self.scrubber.scrub(&self.buffer, false);
        if settled == 0 {
            // A parameter that has no end is not waited for.
            self.hides = true;
            return Some(self.rest());
        }
        let mut cut = settled;
        // Not in the middle of a character, so that a text stays one.
        while cut > settled.saturating_sub(4) && piece.get(cut).is_some_and(|byte| byte & 0xC0 == 0x80) {
            cut -= 1;
        }
        self.buffer = piece.split_off(cut);
        (!piece.is_empty()).then_some(piece)
    }

    /// What is left.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        self.scrubber.bytes(&std::mem::take(&mut self.buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubber(secrets: &[&str]) -> Scrubber {
        let mut redactor = Redactor::default();
        redactor.hide_parameter("passkey");
        for secret in secrets {
            redactor.hide_value(secret);
        }
        Scrubber::new(redactor)
    }

    #[test]
    fn a_secret_is_hidden_in_every_spelling() {
        let scrubber = scrubber(&["p/w \"x\"+1", "p/w \"x\"+1 longer"]);
        for (text, expected) in [
            ("a p/w \"x\"+1 b", "a *** b"),
            ("a p/w \"x\"+1 longer b", "a *** b"),
            ("{\"k\":\"p/w \\\"x\\\"+1\"}", "{\"k\":\"***\"}"),
            ("{\"k\":\"p\\/w \\\"x\\\"+1\"}", "{\"k\":\"***\"}"),
            ("/p%2Fw%20%22x%22%2B1/", "/***/"),
            ("k=p%2Fw+%22x%22%2B1&", "k=***&"),
            ("/p%2fw%20%22x%22%2b1/", "/***/"),
        ] {
            assert_eq!(scrubber.text(text), expected);
        }
    }

    #[test]
    fn json_stays_json() {
        let scrubber = scrubber(&["12345", "true", "null"]);
        assert_eq!(
            scrubber.text(r#"{"a":12345,"b":true,"c":null,"d":"12345","e":112345,"f":123456}"#),
            r#"{"a":99999,"b":true,"c":null,"d":"99999","e":112345,"f":123456}"#
        );
    }

    #[test]
    fn secret_parameters_of_urls_are_hidden_in_texts() {
        let scrubber = scrubber(&[]);
        for (text, expected) in [
            (r#"{"next":"https://a/?page=2&token=abc"}"#, r#"{"next":"https://a/?page=2&token=***"}"#),
            (
                r#"{"next":"https:\/\/a\/?page=2\u0026sig=a%3D\u0026x=1"}"#,
                r#"{"next":"https:\/\/a\/?page=2\u0026sig=***\u0026x=1"}"#,
            ),
            ("<a href='/?Passkey=1&amp;access_token=2'>", "<a href='/?Passkey=***&amp;access_token=***'>"),
            ("<https://a/?api_key=xyz>; rel=next", "<https://a/?api_key=***>; rel=next"),
            ("token=stays key=stays a.token=1?token=", "token=stays key=stays a.token=1?token="),
            ("?x-amz-signature=abc", "?x-amz-signature=***"),
        ] {
            assert_eq!(scrubber.text(text), expected);
        }
    }

    /// All pieces of a text that comes in chunks of this length.
    fn in_chunks(text: &str, chunk: usize) -> Vec<u8> {
        let mut pieces = Pieces::new(Arc::new(scrubber(&["hush-hush"])));
        let mut found = Vec::new();
        for chunk in text.as_bytes().chunks(chunk) {
            let piece = pieces.add(chunk).unwrap_or_default();
            assert!(std::str::from_utf8(&piece).is_ok());
            found.extend(piece);
        }
        found.extend(pieces.rest());
        found
    }

    #[test]
    fn a_secret_that_is_cut_in_pieces_is_hidden_all_the_same() {
        let secret = "\"hush-hush?token=abcdefghijklmnopqrstuvwxyz0123456789\" ü ";
        // Each begins at another place of its piece.
        let repeated =
            |echo: &str| -> String { (0..9000).flat_map(|n| ["x".repeat(n % 7), echo.to_owned()]).collect() };
        let token = String::from_utf8(hidden(b"abcdefghijklmnopqrstuvwxyz0123456789")).unwrap();
        assert!(token.starts_with("***") && token.len() == 9);
        let (text, expected) = (repeated(secret), repeated(&["\"***?token=", &token, "\" ü "].concat()));
        for chunk in [1000, 4099, 65_537, 1 << 20] {
            assert!(in_chunks(&text, chunk) == expected.as_bytes(), "chunks of {chunk}");
        }
    }

    #[test]
    fn a_parameter_that_never_ends_is_hidden_as_a_whole() {
        let text = format!("?token={}\" and more", "a".repeat(300_000));
        let found = String::from_utf8(in_chunks(&text, 10_000)).unwrap();
        assert!(found.starts_with("?token=***") && found.ends_with("\" and more"), "{found}");
        assert!(!found.contains("aaaaaaa"), "{found}");
    }
}
