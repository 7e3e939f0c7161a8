//! Values as JSON that loses nothing: plain where plain JSON is read as the same type, extended elsewhere.
//!
//! <https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md>

use std::fmt::Write as _;

use super::numbers::{decimal_text, write_double};
use super::text::{base64, object_id, regex_parts, write_date};
use super::{Elements, Malformed, Value, tag, utf8};

/// A whole document.
pub(crate) fn document_json(document: &[u8]) -> Result<String, Malformed> {
    let mut json = String::with_capacity(2 * document.len());
    write_json(Value { tag: tag::DOCUMENT, bytes: document }, &mut json)?;
    Ok(json)
}

/// Writes a value behind a text.
pub(crate) fn write_json(value: Value<'_>, json: &mut String) -> Result<(), Malformed> {
    match value.tag {
        tag::STRING => quote(value.text()?, json),
        tag::INT32 => push(json, format_args!("{}", i32::from_le_bytes(value.fixed()?))),
        tag::INT64 => write_int64(i64::from_le_bytes(value.fixed()?), json),
        tag::DOUBLE => write_double_json(f64::from_le_bytes(value.fixed()?), json),
        tag::BOOL => json.push_str(if value.truth()? { "true" } else { "false" }),
        tag::NULL => json.push_str("null"),
        tag::DOCUMENT => write_document(value.elements()?, json)?,
        tag::ARRAY => write_array(value.elements()?, json)?,
        _ => write_extended(value, json)?,
    }
    Ok(())
}

fn push(json: &mut String, arguments: std::fmt::Arguments<'_>) {
    json.write_fmt(arguments).expect("writing to a String cannot fail");
}

fn quote(text: &str, json: &mut String) {
    json.push('"');
    let mut plain = 0;
    for (index, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        json.push_str(&text[plain..index]);
        plain = index + 1;
        match byte {
            b'"' => json.push_str("\\\""),
            b'\\' => json.push_str("\\\\"),
            b'\n' => json.push_str("\\n"),
            b'\r' => json.push_str("\\r"),
            b'\t' => json.push_str("\\t"),
            control => push(json, format_args!("\\u{control:04x}")),
        }
    }
    json.push_str(&text[plain..]);
    json.push('"');
}

/// A number without a fraction is read as the shortest type that holds it.
fn write_int64(number: i64, json: &mut String) {
    if i32::try_from(number).is_ok() {
        push(json, format_args!("{{\"$numberLong\":\"{number}\"}}"));
    } else {
        push(json, format_args!("{number}"));
    }
}

fn write_double_json(number: f64, json: &mut String) {
    if number.is_finite() {
        write_double(number, json);
    } else {
        let name = if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        push(json, format_args!("{{\"$numberDouble\":\"{name}\"}}"));
    }
}

fn write_document(elements: Elements<'_>, json: &mut String) -> Result<(), Malformed> {
    json.push('{');
    for (index, element) in elements.enumerate() {
        let element = element?;
        if index > 0 {
            json.push(',');
        }
        quote(utf8(element.name)?, json);
        json.push(':');
        write_json(element.value, json)?;
    }
    json.push('}');
    Ok(())
}

fn write_array(elements: Elements<'_>, json: &mut String) -> Result<(), Malformed> {
    json.push('[');
    for (index, element) in elements.enumerate() {
        if index > 0 {
            json.push(',');
        }
        write_json(element?.value, json)?;
    }
    json.push(']');
    Ok(())
}

/// What JSON has no form for.
fn write_extended(value: Value<'_>, json: &mut String) -> Result<(), Malformed> {
    match value.tag {
        tag::OBJECT_ID => {
            push(json, format_args!("{{\"$oid\":\"{}\"}}", object_id(value.fixed()?)));
        }
        tag::DATE => write_extended_date(i64::from_le_bytes(value.fixed()?), json),
        tag::DECIMAL => {
            let text = decimal_text(u128::from_le_bytes(value.fixed()?));
            push(json, format_args!("{{\"$numberDecimal\":\"{text}\"}}"));
        }
        tag::BINARY => {
            let (subtype, bytes) = value.binary()?;
            push(
                json,
                format_args!(
                    "{{\"$binary\":{{\"base64\":\"{}\",\"subType\":\"{subtype:02x}\"}}}}",
                    base64(bytes)
                ),
            );
        }
        tag::TIMESTAMP => {
            let both = u64::from_le_bytes(value.fixed()?);
            push(
                json,
                format_args!("{{\"$timestamp\":{{\"t\":{},\"i\":{}}}}}", both >> 32, both & 0xffff_ffff),
            );
        }
        tag::REGEX => {
            let (pattern, options) = regex_parts(value)?;
            json.push_str("{\"$regularExpression\":{\"pattern\":");
            quote(pattern, json);
            json.push_str(",\"options\":");
            quote(options, json);
            json.push_str("}}");
        }
        tag::CODE | tag::SYMBOL => {
            json.push_str(if value.tag == tag::CODE { "{\"$code\":" } else { "{\"$symbol\":" });
            quote(value.text()?, json);
            json.push('}');
        }
        tag::SCOPED_CODE => {
            let (code, scope) = value.scoped_code()?;
            json.push_str("{\"$code\":");
            quote(code, json);
            json.push_str(",\"$scope\":");
            write_document(Elements::of(scope)?, json)?;
            json.push('}');
        }
        tag::POINTER => {
            let (collection, id) = value.pointer()?;
            json.push_str("{\"$dbPointer\":{\"$ref\":");
            quote(collection, json);
            push(json, format_args!(",\"$id\":{{\"$oid\":\"{}\"}}}}}}", object_id(id)));
        }
        tag::MIN_KEY => json.push_str("{\"$minKey\":1}"),
        tag::MAX_KEY => json.push_str("{\"$maxKey\":1}"),
        tag::UNDEFINED => json.push_str("{\"$undefined\":true}"),
        _ => return Err(Malformed("a value has an unknown type")),
    }
    Ok(())
}

fn write_extended_date(milliseconds: i64, json: &mut String) {
    json.push_str("{\"$date\":");
    let mut text = String::new();
    // Readers of extended JSON need no more than the years from 1970 to 9999 as text.
    if (0..253_402_300_800_000).contains(&milliseconds) && write_date(milliseconds, &mut text) {
        push(json, format_args!("\"{text}\"}}"));
    } else {
        push(json, format_args!("{{\"$numberLong\":\"{milliseconds}\"}}}}"));
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, deserialize_from_slice, doc, serialize_to_vec};

    use super::*;

    /// Through our text, as the bson crate reads it.
    fn there_and_back(document: &Document) -> (String, Document) {
        let json = document_json(&serialize_to_vec(document).unwrap()).unwrap();
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        let Bson::Document(back) = Bson::try_from(parsed).unwrap() else { panic!("{json}") };
        (json, back)
    }

    #[test]
    fn plain_values_are_plain_json() {
        let document = doc! { "a": 1, "b": 1.5, "c": "q\"\n\u{1}é", "d": [true, Bson::Null], "e": { "f": 5_000_000_000_i64 }, "g": 2.0 };
        let (json, back) = there_and_back(&document);
        assert_eq!(
            json,
            "{\"a\":1,\"b\":1.5,\"c\":\"q\\\"\\n\\u0001é\",\"d\":[true,null],\"e\":{\"f\":5000000000},\"g\":2.0}"
        );
        assert_eq!(back, document);
    }

    #[test]
    fn every_type_comes_back_as_it_was() {
        let document = doc! {
            "int64": 5_i64,
            "nan": f64::INFINITY,
            "oid": bson::oid::ObjectId::from_bytes([7; 12]),
            "date": bson::DateTime::from_millis(1_700_000_000_123),
            "long ago": bson::DateTime::from_millis(-1),
            "decimal": "1.50".parse::<bson::Decimal128>().unwrap(),
            "binary": bson::Binary { subtype: bson::spec::BinarySubtype::Md5, bytes: vec![0, 255, 3, 4] },
            "old": bson::Binary { subtype: bson::spec::BinarySubtype::BinaryOld, bytes: vec![1, 2, 3] },
            "uuid": bson::Uuid::from_bytes([9; 16]),
            "timestamp": bson::Timestamp { time: 4_000_000_000, increment: 7 },
            "regex": bson::Regex { pattern: "a/b\"".try_into().unwrap(), options: "im".try_into().unwrap() },
            "code": Bson::JavaScriptCode("f()".into()),
            "scoped": bson::JavaScriptCodeWithScope { code: "f(x)".into(), scope: doc! { "x": 1 } },
            "symbol": Bson::Symbol("s".into()),
            "min": Bson::MinKey, "max": Bson::MaxKey, "undefined": Bson::Undefined,
        };
        let (json, back) = there_and_back(&document);
        assert_eq!(back, document, "{json}");
    }

    #[test]
    fn a_pointer_is_told_apart_from_a_reference() {
        // No constructor makes one any more.
        let bytes = b"\x1a\0\0\0\x0cp\0\x02\0\0\0b\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\0";
        let json = document_json(bytes).unwrap();
        assert_eq!(
            json,
            "{\"p\":{\"$dbPointer\":{\"$ref\":\"b\",\"$id\":{\"$oid\":\"0102030405060708090a0b0c\"}}}}"
        );
        assert!(deserialize_from_slice::<Document>(bytes).is_ok());
    }
}
