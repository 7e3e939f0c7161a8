//! From a config's schema to tables of options, one for each object in it.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::schema::{Document, Node, Property};

/// One object of a config: its options, and the kinds that it comes in.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Section {
    /// Where the object stands, such as `auth.token`; empty for the config itself.
    pub(super) path: String,
    pub(super) text: String,
    pub(super) options: Vec<Entry>,
    pub(super) kinds: Vec<Kind>,
}

/// An alternative shape of an object.
#[derive(Debug, PartialEq)]
pub(super) struct Kind {
    pub(super) title: String,
    pub(super) text: String,
    pub(super) options: Vec<Entry>,
}

/// A line of a table.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) type_name: String,
    /// The section with the options of the value, if it is an object.
    pub(super) details: Option<String>,
    pub(super) default: String,
    pub(super) text: String,
}

/// The config's own section first, then those of the objects in it, from the outside to the inside.
pub(super) fn sections(schema: &Value) -> Vec<Section> {
    let document = Document::new(schema);
    let mut reader = Reader { document: &document, documented: BTreeMap::new(), waiting: VecDeque::new() };
    reader.waiting.push_back((String::new(), document.root()));
    let mut sections = Vec::new();
    while let Some((path, node)) = reader.waiting.pop_front() {
        sections.push(reader.section(path, &node));
    }
    sections
}

struct Reader<'a> {
    document: &'a Document<'a>,
    /// The section of each definition, so that one that is used twice, or within itself, is described once.
    documented: BTreeMap<String, String>,
    waiting: VecDeque<(String, Node)>,
}

impl Reader<'_> {
    fn section(&mut self, path: String, node: &Node) -> Section {
        let options = self.entries(&path, node, None);
        let mut kinds = Vec::new();
        for (index, kind) in self.document.alternatives(node).iter().enumerate() {
            if kind.has_properties() {
                kinds.push(self.kind(&path, kind, index));
            }
        }
        Section { path, text: node.description().to_owned(), options, kinds }
    }

    fn kind(&mut self, path: &str, node: &Node, index: usize) -> Kind {
        let properties = self.document.properties(node);
        let tag =
            properties.iter().find(|property| property.required && property.node.constants().len() == 1);
        let title = match tag {
            Some(tag) => format!("{}: {}", tag.name, plain(tag.node.constants()[0])),
            None => untagged_title(node, &properties, index),
        };
        let options = self.entries(path, node, tag.map(|tag| tag.name.as_str()));
        Kind { title, text: node.description().to_owned(), options }
    }

    fn entries(&mut self, path: &str, node: &Node, tag: Option<&str>) -> Vec<Entry> {
        let properties = self.document.properties(node);
        let shown = properties.into_iter().filter(|property| Some(property.name.as_str()) != tag);
        shown.map(|property| self.entry(path, property)).collect()
    }

    fn entry(&mut self, path: &str, property: Property) -> Entry {
        let Property { name, required, node } = property;
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        Entry {
            type_name: self.type_name(&node),
            default: match node.default() {
                Some(value) => format!("`{}`", plain(value)),
                None if required => "required".to_owned(),
                None => String::new(),
            },
            text: self.text(&node),
            details: self.details(path, &node),
            name,
        }
    }

    /// The description, and below it that of each value that can be chosen.
    fn text(&self, node: &Node) -> String {
        let mut text = node.description().to_owned();
        for choice in self.document.alternatives(node) {
            if let ([value], false) = (choice.constants().as_slice(), choice.description().is_empty()) {
                text.extend(["\n\n`", &plain(value), "`: ", choice.description()]);
            }
        }
        text
    }

    /// Queues a section for the object in a value, if there is one, and returns its path.
    fn details(&mut self, path: String, node: &Node) -> Option<String> {
        let object = self.object_in(node)?;
        if let Some(definition) = &object.definition {
            if let Some(documented) = self.documented.get(definition) {
                return Some(documented.clone());
            }
            self.documented.insert(definition.clone(), path.clone());
        }
        self.waiting.push_back((path.clone(), object));
        Some(path)
    }

    /// The object that a value is, or that its list or map holds.
    fn object_in(&self, node: &Node) -> Option<Node> {
        let has_kinds = self.document.alternatives(node).iter().any(Node::has_properties);
        if node.has_properties() || has_kinds {
            return Some(node.clone());
        }
        let inner = self.document.items(node).or_else(|| self.document.values(node));
        let inner = inner.and_then(|inner| self.object_in(&inner));
        inner.or_else(|| self.document.alternatives(node).iter().find_map(|choice| self.object_in(choice)))
    }

    fn type_name(&self, node: &Node) -> String {
        let mut names: Vec<String> =
            node.constants().iter().map(|value| format!("`{}`", plain(value))).collect();
        if names.is_empty() {
            for name in self.document.alternatives(node).iter().map(|choice| self.type_name(choice)) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        if names.is_empty() {
            names = node.types().into_iter().map(|name| self.basic_type(name, node)).collect();
        }
        if names.is_empty() { "any value".to_owned() } else { names.join(" or ") }
    }

    fn basic_type(&self, name: &str, node: &Node) -> String {
        match name {
            "array" => match self.document.items(node) {
                Some(items) => format!("list of {}", grouped(self.type_name(&items))),
                None => "list".to_owned(),
            },
            "object" => match self.document.values(node) {
                Some(values) => format!("map of {}", grouped(self.type_name(&values))),
                None => "object".to_owned(),
            },
            "string" => node.format().unwrap_or("string").to_owned(),
            other => other.to_owned(),
        }
    }
}

/// Alternatives in brackets, so that it is clear how far they reach.
fn grouped(type_name: String) -> String {
    if type_name.contains(" or ") { format!("({type_name})") } else { type_name }
}

fn untagged_title(node: &Node, properties: &[Property], index: usize) -> String {
    let required: Vec<_> = properties.iter().filter(|property| property.required).collect();
    if let Some(title) = node.title() {
        title.to_owned()
    } else if required.is_empty() {
        format!("kind {}", index + 1)
    } else {
        required.iter().map(|property| property.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// A value as one would write it in a pipeline.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry<'a>(section: &'a Section, name: &str) -> &'a Entry {
        section.options.iter().find(|entry| entry.name == name).unwrap()
    }

    #[test]
    fn each_option_has_type_default_and_text() {
        let sections = sections(&json!({
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "Which files."},
                "limit": {"type": ["integer", "null"], "format": "uint64"},
                "header": {"type": "boolean", "default": true},
                "columns": {"type": "array", "items": {"type": "string"}, "default": []},
                "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                "ids": {"type": "array", "items": {"type": ["string", "integer"]}},
                "base": {"type": "string", "format": "uri"},
                "anything": true,
            },
            "required": ["path"],
        }));
        let [section] = sections.as_slice() else { panic!("one section: {sections:?}") };
        assert_eq!(section.options[0].name, "path");
        assert_eq!(section.options[0].default, "required");
        assert_eq!(section.options[0].text, "Which files.");
        let types: Vec<_> = section.options.iter().map(|entry| entry.type_name.as_str()).collect();
        let expected = [
            "string",
            "any value",
            "uri",
            "list of string",
            "boolean",
            "map of string",
            "list of (string or integer)",
            "integer",
        ];
        assert_eq!(types, expected);
        assert_eq!(entry(section, "header").default, "`true`");
        assert_eq!(entry(section, "columns").default, "`[]`");
        assert_eq!(entry(section, "limit").default, "");
    }

    #[test]
    fn values_to_choose_from_are_listed_with_their_descriptions() {
        let sections = sections(&json!({
            "properties": {
                "plain": {"enum": ["a", "b"], "type": "string"},
                "told": {"$ref": "#/$defs/Told", "description": "How."},
            },
            "$defs": {"Told": {"oneOf": [
                {"const": "fast", "type": "string", "description": "At once."},
                {"enum": ["slow", "never"], "type": "string"},
            ]}},
        }));
        assert_eq!(entry(&sections[0], "plain").type_name, "`a` or `b`");
        assert_eq!(entry(&sections[0], "told").type_name, "`fast` or `slow` or `never`");
        assert_eq!(entry(&sections[0], "told").text, "How.\n\n`fast`: At once.");
        assert_eq!(sections.len(), 1);
    }

    #[test]
    fn an_object_inside_gets_a_section_with_its_kinds() {
        let sections = sections(&json!({
            "properties": {"auth": {"anyOf": [{"$ref": "#/$defs/Auth"}, {"type": "null"}]}},
            "$defs": {"Auth": {"description": "Who asks.", "oneOf": [
                {"type": "object", "description": "By token.", "required": ["type", "token"], "properties": {
                    "type": {"const": "bearer", "type": "string"}, "token": {"type": "string"}}},
                {"type": "object", "required": ["basic"], "properties": {"basic": {"type": "string"}}},
            ]}},
        }));
        assert_eq!(entry(&sections[0], "auth").details.as_deref(), Some("auth"));
        assert_eq!(entry(&sections[0], "auth").type_name, "object");
        let auth = &sections[1];
        assert_eq!((auth.path.as_str(), auth.text.as_str()), ("auth", "Who asks."));
        let titles: Vec<_> = auth.kinds.iter().map(|kind| kind.title.as_str()).collect();
        assert_eq!(titles, ["type: bearer", "basic"]);
        let names: Vec<_> = auth.kinds[0].options.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["token"]);
    }

    #[test]
    fn a_definition_within_itself_is_described_once() {
        let sections = sections(&json!({
            "properties": {"filter": {"$ref": "#/$defs/Filter"}},
            "$defs": {"Filter": {"type": "object", "properties": {
                "and": {"type": "array", "items": {"$ref": "#/$defs/Filter"}},
                "column": {"type": "string"},
            }}},
        }));
        let paths: Vec<_> = sections.iter().map(|section| section.path.as_str()).collect();
        assert_eq!(paths, ["", "filter"]);
        assert_eq!(entry(&sections[1], "and").details.as_deref(), Some("filter"));
        assert_eq!(entry(&sections[1], "and").type_name, "list of object");
    }

    #[test]
    fn options_shared_by_all_kinds_stand_before_them() {
        let sections = sections(&json!({
            "properties": {"shared": {"type": "string"}},
            "oneOf": [{"properties": {"kind": {"const": "one"}, "more": {"type": "string"}}, "required": ["kind"]}],
        }));
        assert_eq!(sections[0].options[0].name, "shared");
        assert_eq!(sections[0].kinds[0].title, "kind: one");
        assert_eq!(sections[0].kinds[0].options[0].name, "more");
    }
}
