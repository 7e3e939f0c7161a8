//! Reading a JSON Schema (draft 2020-12) as far as config types need it.

use serde_json::{Map, Value};

/// A schema with its definitions.
pub(super) struct Document<'a> {
    root: &'a Value,
}

/// A schema that is no reference; `definition` is the name it had in `$defs`.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) definition: Option<String>,
    keywords: Map<String, Value>,
}

impl<'a> Document<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> Node {
        self.node(self.root)
    }

    /// Follows references. What stands beside a reference (a description, a default) wins over its target.
    fn node(&self, schema: &Value) -> Node {
        let mut keywords = schema.as_object().cloned().unwrap_or_default();
        let mut definition = None;
        // A chain of references ends after as many steps as there are definitions, or is a circle.
        for _ in 0..100 {
            let Some(Value::String(reference)) = keywords.remove("$ref") else { break };
            definition = reference.rsplit('/').next().map(str::to_owned);
            let target = self.root.pointer(reference.trim_start_matches('#')).and_then(Value::as_object);
            for (key, value) in target.into_iter().flatten() {
                keywords.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        let mut node = Node { definition, keywords };
        self.merge_parts(&mut node);
        self.unwrap_nullable(node)
    }

    /// Takes the properties of `allOf` parts as the schema's own.
    fn merge_parts(&self, node: &mut Node) {
        let Some(Value::Array(parts)) = node.keywords.remove("allOf") else { return };
        for part in &parts {
            for (key, value) in self.node(part).keywords {
                match (node.keywords.get_mut(&key), value) {
                    (Some(Value::Object(own)), Value::Object(more)) => own.extend(more),
                    (Some(Value::Array(own)), Value::Array(more)) => own.extend(more),
                    (Some(_), _) => {}
                    (None, value) => {
                        node.keywords.insert(key, value);
                    }
                }
            }
        }
    }

    /// An optional value is described as the value itself.
    fn unwrap_nullable(&self, mut node: Node) -> Node {
        for keyword in ["anyOf", "oneOf"] {
            let Some(Value::Array(choices)) = node.keywords.get(keyword) else { continue };
            let rest: Vec<_> = choices.iter().filter(|choice| !is_null(choice)).cloned().collect();
            if rest.len() == choices.len() {
                continue;
            }
            if let [only] = rest.as_slice() {
                let inner = self.node(only);
                node.keywords.remove(keyword);
                node.definition = node.definition.or(inner.definition);
                for (key, value) in inner.keywords {
                    node.keywords.entry(key).or_insert(value);
                }
            } else {
                node.keywords.insert(keyword.to_owned(), Value::Array(rest));
            }
        }
        node
    }

    /// The properties, those that must be given first, then by name.
    pub(super) fn properties(&self, node: &Node) -> Vec<Property> {
        let required: Vec<_> = node.list("required").iter().filter_map(Value::as_str).collect();
        let properties = node.keywords.get("properties").and_then(Value::as_object);
        let mut properties: Vec<_> = properties
            .into_iter()
            .flatten()
            .map(|(name, schema)| Property {
                name: name.clone(),
                required: required.contains(&name.as_str()),
                node: self.node(schema),
            })
            .collect();
        properties.sort_by(|a, b| b.required.cmp(&a.required).then_with(|| a.name.cmp(&b.name)));
        properties
    }

    /// The alternatives of `oneOf` and `anyOf`.
    pub(super) fn alternatives(&self, node: &Node) -> Vec<Node> {
        let alternatives = node.list("oneOf").iter().chain(node.list("anyOf"));
        alternatives.map(|schema| self.node(schema)).collect()
    }

    /// The schema of a list's items.
    pub(super) fn items(&self, node: &Node) -> Option<Node> {
        node.keywords.get("items").filter(|items| items.is_object()).map(|items| self.node(items))
    }

    /// The schema of a map's values.
    pub(super) fn values(&self, node: &Node) -> Option<Node> {
        let values = node.keywords.get("additionalProperties")?;
        values.is_object().then(|| self.node(values))
    }
}

/// A named property of an object.
pub(super) struct Property {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn description(&self) -> &str {
        self.keywords.get("description").and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn title(&self) -> Option<&str> {
        self.keywords.get("title").and_then(Value::as_str)
    }

    pub(super) fn default(&self) -> Option<&Value> {
        self.keywords.get("default").filter(|value| !value.is_null())
    }

    /// The values of a `const` or an `enum`.
    pub(super) fn constants(&self) -> Vec<&Value> {
        let constant = self.keywords.get("const").into_iter();
        constant.chain(self.list("enum")).filter(|value| !value.is_null()).collect()
    }

    /// The names in `type`, without `null`.
    pub(super) fn types(&self) -> Vec<&str> {
        let types = match self.keywords.get("type") {
            Some(Value::String(name)) => vec![name.as_str()],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        types.into_iter().filter(|name| *name != "null").collect()
    }

    /// The format of a text, such as `uri`.
    pub(super) fn format(&self) -> Option<&str> {
        self.keywords.get("format").and_then(Value::as_str)
    }

    pub(super) fn has_properties(&self) -> bool {
        self.keywords
            .get("properties")
            .and_then(Value::as_object)
            .is_some_and(|properties| !properties.is_empty())
    }

    fn list(&self, keyword: &str) -> &[Value] {
        self.keywords.get(keyword).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|name| name == "null") || schema.get("const").is_some_and(Value::is_null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_beside_a_reference_wins() {
        let schema = json!({
            "properties": {"size": {"$ref": "#/$defs/Size", "description": "here", "default": 1}},
            "$defs": {"Size": {"type": "integer", "description": "there"}},
        });
        let document = Document::new(&schema);
        let size = &document.properties(&document.root())[0].node;
        assert_eq!(size.description(), "here");
        assert_eq!(size.default(), Some(&json!(1)));
        assert_eq!(size.types(), ["integer"]);
        assert_eq!(size.definition.as_deref(), Some("Size"));
    }

    #[test]
    fn an_optional_reference_reads_like_its_target() {
        let schema = json!({
            "anyOf": [{"$ref": "#/$defs/Name"}, {"type": "null"}],
            "$defs": {"Name": {"type": ["string", "null"]}},
        });
        let root = Document::new(&schema).root();
        assert_eq!(root.types(), ["string"]);
        assert_eq!(root.definition.as_deref(), Some("Name"));
    }

    #[test]
    fn parts_are_merged() {
        let schema = json!({
            "properties": {"b": {"type": "string"}},
            "required": ["b"],
            "allOf": [{"properties": {"a": {"type": "string"}, "c": true}, "required": ["c"]}],
        });
        let document = Document::new(&schema);
        let properties = document.properties(&document.root());
        let names: Vec<_> = properties.iter().map(|property| property.name.as_str()).collect();
        assert_eq!(names, ["b", "c", "a"]);
    }

    #[test]
    fn a_circle_of_references_ends() {
        let schema = json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}});
        assert!(Document::new(&schema).root().types().is_empty());
    }
}
