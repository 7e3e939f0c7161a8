//! BSON as it comes over the wire: documents as slices of bytes, walked and never copied.
//!
//! The form is that of <https://bsonspec.org/spec.html>.

mod json;
mod name;
mod numbers;
mod text;

use std::fmt;

pub(crate) use json::{document_json, write_json};
pub(crate) use name::Name;
pub(crate) use numbers::{decimal_text, is_exact};
pub(crate) use text::{uuid, with_object_id, write_scalar};

/// The number that says which type a value has.
pub(crate) mod tag {
    pub(crate) const DOUBLE: u8 = 0x01;
    pub(crate) const STRING: u8 = 0x02;
    pub(crate) const DOCUMENT: u8 = 0x03;
    pub(crate) const ARRAY: u8 = 0x04;
    pub(crate) const BINARY: u8 = 0x05;
    pub(crate) const UNDEFINED: u8 = 0x06;
    pub(crate) const OBJECT_ID: u8 = 0x07;
    pub(crate) const BOOL: u8 = 0x08;
    pub(crate) const DATE: u8 = 0x09;
    pub(crate) const NULL: u8 = 0x0a;
    pub(crate) const REGEX: u8 = 0x0b;
    pub(crate) const POINTER: u8 = 0x0c;
    pub(crate) const CODE: u8 = 0x0d;
    pub(crate) const SYMBOL: u8 = 0x0e;
    pub(crate) const SCOPED_CODE: u8 = 0x0f;
    pub(crate) const INT32: u8 = 0x10;
    pub(crate) const TIMESTAMP: u8 = 0x11;
    pub(crate) const INT64: u8 = 0x12;
    pub(crate) const DECIMAL: u8 = 0x13;
    pub(crate) const MIN_KEY: u8 = 0xff;
    pub(crate) const MAX_KEY: u8 = 0x7f;
}

/// The subtype of binary values that hold a UUID in the order of its digits.
pub(crate) const UUID_SUBTYPE: u8 = 4;

/// Bytes that are no BSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl From<Malformed> for towpath_core::Error {
    fn from(malformed: Malformed) -> Self {
        Self::data(format!("a document is no BSON: {malformed}")).connector(crate::NAME)
    }
}

/// A value with its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) bytes: &'a [u8],
}

/// A field of a document, or an item of an array.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Element<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: Value<'a>,
}

/// The fields of a document, or the items of an array, one after the other.
#[derive(Debug)]
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Those of a document with its length in front.
    pub(crate) fn of(document: &'a [u8]) -> Result<Self, Malformed> {
        let length = length(document)?;
        match document {
            [_, _, _, _, rest @ .., 0] if length == document.len() => Ok(Self { rest }),
            _ => Err(Malformed("its length is wrong")),
        }
    }

    /// The next one, and whether it has the name that was guessed.
    #[inline]
    pub(crate) fn next_guessed(
        &mut self,
        guess: Option<&Name>,
    ) -> Option<Result<(Element<'a>, bool), Malformed>> {
        let (&tag, rest) = self.rest.split_first()?;
        Some(match guess.and_then(|guess| guess.split(rest)) {
            Some(split) => self.take(tag, Ok(split)).map(|element| (element, true)),
            None => self.take(tag, take_name(rest)).map(|element| (element, false)),
        })
    }

    /// The element with a type and a name; what is in front of the value is taken already.
    #[inline]
    fn take(
        &mut self,
        tag: u8,
        split: Result<(&'a [u8], &'a [u8]), Malformed>,
    ) -> Result<Element<'a>, Malformed> {
        match split.and_then(|(name, rest)| take_value(tag, name, rest)) {
            Ok((element, rest)) => {
                self.rest = rest;
                Ok(element)
            }
            Err(malformed) => {
                self.rest = &[];
                Err(malformed)
            }
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.rest.split_first()?;
        Some(self.take(tag, take_name(rest)))
    }
}

#[inline]
fn take_value<'a>(tag: u8, name: &'a [u8], rest: &'a [u8]) -> Result<(Element<'a>, &'a [u8]), Malformed> {
    let size = size(tag, rest)?;
    let (bytes, rest) = rest.split_at_checked(size).ok_or(Malformed("a value is cut off"))?;
    Ok((Element { name, value: Value { tag, bytes } }, rest))
}

#[inline]
pub(crate) fn take_name(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let end = bytes.iter().position(|&byte| byte == 0).ok_or(Malformed("a name does not end"))?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}

/// How many bytes a value of this type takes.
#[inline]
fn size(tag: u8, bytes: &[u8]) -> Result<usize, Malformed> {
    Ok(match tag {
        tag::DOUBLE | tag::DATE | tag::TIMESTAMP | tag::INT64 => 8,
        tag::INT32 => 4,
        tag::STRING | tag::CODE | tag::SYMBOL => 4 + length(bytes)?,
        tag::DOCUMENT | tag::ARRAY | tag::SCOPED_CODE => length(bytes)?,
        tag::OBJECT_ID => 12,
        tag::BOOL => 1,
        tag::NULL | tag::UNDEFINED | tag::MIN_KEY | tag::MAX_KEY => 0,
        tag::BINARY => 5 + length(bytes)?,
        tag::DECIMAL => 16,
        tag::POINTER => 4 + length(bytes)? + 12,
        tag::REGEX => {
            let (_, options) = take_name(bytes)?;
            let (_, rest) = take_name(options)?;
            bytes.len() - rest.len()
        }
        _ => return Err(Malformed("a value has an unknown type")),
    })
}

/// The length that stands in front.
#[inline]
fn length(bytes: &[u8]) -> Result<usize, Malformed> {
    let front = bytes.first_chunk::<4>().ok_or(Malformed("a length is cut off"))?;
    usize::try_from(i32::from_le_bytes(*front)).map_err(|_| Malformed("a length is negative"))
}

impl<'a> Value<'a> {
    /// A value of fixed size.
    #[inline]
    pub(crate) fn fixed<const N: usize>(self) -> Result<[u8; N], Malformed> {
        self.bytes.try_into().map_err(|_| Malformed("a value has a wrong size"))
    }

    /// A truth value.
    #[inline]
    pub(crate) fn truth(self) -> Result<bool, Malformed> {
        match self.bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Malformed("a truth value is neither true nor false")),
        }
    }

    /// The bytes of a string, of code, or of a symbol, which should be UTF-8.
    #[inline]
    pub(crate) fn string(self) -> Result<&'a [u8], Malformed> {
        match self.bytes {
            [_, _, _, _, text @ .., 0] => Ok(text),
            _ => Err(Malformed("a text does not end")),
        }
    }

    /// The text of a string, of code, or of a symbol.
    #[inline]
    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        utf8(self.string()?)
    }

    /// Subtype and bytes of a binary value. Those of the old subtype have their length in front once more.
    pub(crate) fn binary(self) -> Result<(u8, &'a [u8]), Malformed> {
        match self.bytes {
            [_, _, _, _, 2, inner @ ..] => match inner.split_first_chunk::<4>() {
                Some((_, bytes)) if length(inner)? == bytes.len() => Ok((2, bytes)),
                _ => Err(Malformed("a binary value has a wrong length")),
            },
            [_, _, _, _, subtype, bytes @ ..] if *subtype != 2 => Ok((*subtype, bytes)),
            _ => Err(Malformed("a binary value is cut off")),
        }
    }

    /// The fields of a document, or the items of an array.
    #[inline]
    pub(crate) fn elements(self) -> Result<Elements<'a>, Malformed> {
        Elements::of(self.bytes)
    }

    /// Code and scope of code that has one.
    fn scoped_code(self) -> Result<(&'a str, &'a [u8]), Malformed> {
        let rest = self.bytes.get(4..).ok_or(Malformed("code is cut off"))?;
        let size = 4 + length(rest)?;
        let (code, scope) = rest.split_at_checked(size).ok_or(Malformed("code is cut off"))?;
        Ok((Value { tag: tag::CODE, bytes: code }.text()?, scope))
    }

    /// Collection and id of a pointer.
    fn pointer(self) -> Result<(&'a str, [u8; 12]), Malformed> {
        let (name, id) = self.bytes.split_last_chunk::<12>().ok_or(Malformed("a pointer is cut off"))?;
        Ok((Value { tag: tag::STRING, bytes: name }.text()?, *id))
    }
}

#[inline]
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a text is no UTF-8"))
}

/// The field of a document.
pub(crate) fn field<'a>(document: &'a [u8], name: &str) -> Result<Option<Value<'a>>, Malformed> {
    for element in Elements::of(document)? {
        let element = element?;
        if element.name == name.as_bytes() {
            return Ok(Some(element.value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use bson::{doc, serialize_to_vec};

    use super::*;

    #[test]
    fn a_document_is_walked_field_by_field() {
        let bytes = serialize_to_vec(&doc! { "a": 1, "b": { "c": "d" }, "": [true] }).unwrap();
        let elements: Vec<_> = Elements::of(&bytes).unwrap().map(Result::unwrap).collect();
        assert_eq!(elements.len(), 3);
        assert_eq!((elements[0].name, elements[0].value.tag), (&b"a"[..], tag::INT32));
        let nested: Vec<_> = elements[1].value.elements().unwrap().map(Result::unwrap).collect();
        assert_eq!(nested[0].value.text().unwrap(), "d");
        assert_eq!(elements[2].name, b"");
        assert_eq!(field(&bytes, "a").unwrap().unwrap().fixed::<4>().unwrap(), [1, 0, 0, 0]);
        assert_eq!(field(&bytes, "z").unwrap(), None);
    }

    #[test]
    fn whatever_is_cut_off_or_has_a_wrong_length_is_an_error_and_no_panic() {
        let bytes = serialize_to_vec(&doc! {
            "a": "text", "b": [1.5, bson::Bson::Null], "c": bson::Regex { pattern: "x".try_into().unwrap(), options: "i".try_into().unwrap() },
            "d": bson::oid::ObjectId::new(), "e": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2] },
        })
        .unwrap();
        for end in 0..bytes.len() {
            let mut cut = bytes[..end].to_vec();
            assert!(Elements::of(&cut).is_err(), "{end}");
            if let Some(length) = cut.first_chunk_mut::<4>() {
                *length = u32::try_from(end).unwrap().to_le_bytes();
                if let Ok(elements) = Elements::of(&cut) {
                    for element in elements.filter_map(Result::ok) {
                        let mut text = String::new();
                        let _ = write_json(element.value, &mut text);
                    }
                }
            }
        }
    }
}
