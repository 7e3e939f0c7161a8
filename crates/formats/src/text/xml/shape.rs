//! The form that fits all records of a block: which elements are lists, and which have something besides text.

use arrow_schema::{DataType, Fields};

use super::tree::Element;

/// What is known of the elements of one name at one place.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shape {
    /// Whether some come more than once.
    pub(super) is_list: bool,
    /// Whether some have attributes or children.
    pub(super) is_object: bool,
    /// The children, in the order in which they were met first.
    pub(super) children: Vec<(String, Shape)>,
}

impl Shape {
    /// Makes the element at the end of these names a list.
    pub(super) fn mark_list<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let end = names.fold(self, |shape, name| shape.child(name));
        end.is_list = true;
    }

    /// What is known of a child.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|(known, _)| known == name).map(|(_, shape)| shape)
    }

    fn child(&mut self, name: &str) -> &mut Self {
        let index = self.children.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.children.push((name.to_owned(), Self::default()));
            self.children.len() - 1
        });
        &mut self.children[index].1
    }

    /// Learns from columns that are known already.
    pub(super) fn learn_columns(&mut self, fields: &Fields) {
        for field in fields.iter().filter(|field| !field.name().starts_with(['@', '#'])) {
            let child = self.child(field.name());
            let mut data_type = field.data_type();
            if let DataType::List(item) = data_type {
                child.is_list = true;
                data_type = item.data_type();
            }
            if let DataType::Struct(fields) = data_type {
                child.is_object = true;
                child.learn_columns(fields);
            }
        }
    }

    /// Learns from an element.
    pub(super) fn learn(&mut self, element: &Element) {
        self.is_object |= !element.attributes.is_empty() || !element.children.is_empty();
        for (index, child) in element.children.iter().enumerate() {
            let again = element.children[..index].iter().rev().any(|before| before.name == child.name);
            let shape = self.child(&child.name);
            shape.is_list |= again;
            shape.learn(child);
        }
    }
}

/// Writes a record as a line of JSON.
pub(super) fn write_record(record: &Element, shape: &Shape, line: &mut String) {
    write_object(record, shape, line);
    line.push('\n');
}

fn write_value(element: &Element, shape: &Shape, line: &mut String) {
    if element.is_null() {
        line.push_str("null");
    } else if shape.is_object {
        write_object(element, shape, line);
    } else {
        write_text(element.trimmed(), line);
    }
}

fn write_object(element: &Element, shape: &Shape, line: &mut String) {
    let mut comma = "{";
    let mut begin = |name: &str, line: &mut String| {
        line.push_str(comma);
        comma = ",";
        write_text(name, line);
        line.push(':');
    };
    for (name, value) in &element.attributes {
        begin(name, line);
        write_text(value, line);
    }
    if !element.trimmed().is_empty() {
        begin("#text", line);
        write_text(element.trimmed(), line);
    }
    for (index, child) in element.children.iter().enumerate() {
        let same = |other: &&Element| other.name == child.name;
        if element.children[..index].iter().any(|other| same(&other)) {
            continue;
        }
        let Some(shape) = shape.get(&child.name) else { continue };
        begin(&child.name, line);
        if !shape.is_list {
            write_value(child, shape, line);
            continue;
        }
        let mut comma = '[';
        for item in element.children[index..].iter().filter(same) {
            line.push(comma);
            comma = ',';
            write_value(item, shape, line);
        }
        line.push(']');
    }
    line.push_str(if comma == "{" { "{}" } else { "}" });
}

fn write_text(text: &str, line: &mut String) {
    line.push_str(&serde_json::Value::from(text).to_string());
}
