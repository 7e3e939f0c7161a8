//! A record as a tree.

use std::borrow::Cow;

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart};

use super::Layout;

/// An element with what is in it.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub(super) name: String,
    /// With the `@` before their names.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
    pub(super) text: String,
    /// Whether it says that it is null.
    pub(super) is_nil: bool,
}

impl Element {
    /// An element that has been opened. What is wrong with it is told beside.
    pub(super) fn open(start: &BytesStart<'_>, layout: &Layout) -> (Self, Option<String>) {
        let mut element = Self { name: layout.name(start.name().as_ref()).to_owned(), ..Self::default() };
        let mut fault = None;
        for attribute in start.attributes() {
            let attribute = match attribute {
                Ok(attribute) => attribute,
                Err(error) => {
                    fault = Some(format!("an attribute of `{}` is wrong: {error}", element.name));
                    break;
                }
            };
            let name: &str = attribute.key.as_ref();
            let declares = name == "xmlns" || name.starts_with("xmlns:");
            if declares && !layout.keeps_prefixes {
                continue;
            }
            match attribute.normalized_value(XmlVersion::Explicit1_0) {
                Ok(value) if is_nil(name, &value) => element.is_nil = true,
                Ok(value) => {
                    let name = format!("@{}", layout.name(name));
                    match element.attributes.iter_mut().find(|(known, _)| *known == name) {
                        // Without their prefixes two may be the same.
                        Some((_, known)) => *known = value.into_owned(),
                        None => element.attributes.push((name, value.into_owned())),
                    }
                }
                Err(error) => fault = Some(format!("the attribute `{name}` cannot be read: {error}")),
            }
        }
        (element, fault)
    }

    /// The text without the white space around it.
    pub(super) fn trimmed(&self) -> &str {
        self.text.trim_matches([' ', '\t', '\r', '\n'])
    }

    /// Whether there is nothing in it.
    pub(super) fn is_null(&self) -> bool {
        self.attributes.is_empty() && self.children.is_empty() && (self.is_nil || self.trimmed().is_empty())
    }
}

fn is_nil(name: &str, value: &str) -> bool {
    name.strip_suffix(":nil").is_some() && matches!(value, "true" | "1")
}

/// The text that a reference stands for.
///
/// # Errors
/// What is wrong with it: only the entities of XML itself are known.
pub(super) fn resolve(reference: &BytesRef<'_>) -> Result<Cow<'static, str>, String> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => return Ok(character.to_string().into()),
        Ok(None) => {}
        Err(error) => return Err(format!("a reference to a character is wrong: {error}")),
    }
    let name = reference.xml10_content();
    match resolve_predefined_entity(&name) {
        Some(text) => Ok(text.into()),
        None => Err(format!("the entity `&{name};` is not one of XML, and no other is expanded")),
    }
}
