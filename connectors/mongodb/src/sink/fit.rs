//! What the server would refuse only while it moves rows, when a commit has been decided: it is refused before.

use crate::encode::{MOST_BYTES, Unfit};
use crate::wire::{Malformed, Value, field, tag};

/// Whether a document can be moved by `$merge`, which looks for others by `_id` or key.
pub(super) fn check_movable(document: &[u8], key: &[String]) -> Result<(), Unfit> {
    let malformed = |malformed: Malformed| format!("it is no BSON: {malformed}");
    if document.get(5) == Some(&b'$') {
        return Err(
            "its first field begins with `$`, which MongoDB takes for the operator of an update".to_owned()
        );
    }
    for name in key.iter().map(String::as_str).chain(["_id"]) {
        let Some(value) = field(document, name).map_err(malformed)? else { continue };
        if let Some(what) = unfit_key(value).map_err(malformed)? {
            return Err(format!("`{name}` is {what}, by which MongoDB finds no document"));
        }
    }
    Ok(())
}

/// What a value is that cannot be looked for.
fn unfit_key(value: Value<'_>) -> Result<Option<&'static str>, Malformed> {
    Ok(match value.tag {
        tag::NULL => Some("null"),
        tag::UNDEFINED => Some("undefined"),
        tag::ARRAY => Some("an array"),
        tag::REGEX => Some("a regular expression"),
        tag::DOCUMENT if has_operators(value)? => Some("a document with a field that begins with `$`"),
        _ => None,
    })
}

fn has_operators(document: Value<'_>) -> Result<bool, Malformed> {
    for element in document.elements()? {
        let element = element?;
        let is_nested = matches!(element.value.tag, tag::DOCUMENT | tag::ARRAY);
        if element.name.first() == Some(&b'$') || (is_nested && has_operators(element.value)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a document fits into what MongoDB takes, and what it is staged in as well.
pub(super) fn check_size(document: usize, staged: usize) -> Result<(), Unfit> {
    if document > MOST_BYTES {
        return Err(format!("its document has {document} bytes, and MongoDB takes no more than 16 MiB"));
    }
    if staged > MOST_BYTES {
        return Err(format!(
            "its document has {document} bytes, which leaves no room in 16 MiB for what it is staged with; \
             `replace` needs no room"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bson::{Bson, doc, serialize_to_vec};

    use super::*;

    #[test]
    fn what_cannot_be_looked_for_is_no_key_and_no_id() {
        let check = |document: bson::Document| {
            check_movable(&serialize_to_vec(&document).unwrap(), &["k".to_owned()]).err().unwrap_or_default()
        };
        let regex = bson::Regex { pattern: "a".try_into().unwrap(), options: "".try_into().unwrap() };
        assert_eq!(check(doc! { "_id": 1, "k": { "a": [1] }, "$x": 1, "a.b": 2, "": 3 }), "");
        assert!(check(doc! { "$set": 1, "_id": 1 }).contains("first field"));
        for (value, what) in [
            (Bson::Null, "null"),
            (Bson::Undefined, "undefined"),
            (vec![1].into(), "an array"),
            (regex.into(), "a regular expression"),
            (doc! { "a": [{ "$b": 1 }] }.into(), "begins with `$`"),
        ] {
            assert!(check(doc! { "_id": value.clone(), "k": 1 }).contains(what), "{what}");
            assert!(check(doc! { "_id": 1, "k": value }).contains(what), "{what}");
        }
    }
}
